# SPDX-License-Identifier: Apache-2.0
"""The console of an emulated board.

::

    console: {kind: qemu}

QEMU holds one end of a socket pair from its first instruction on, so nothing
that the board prints before somebody reads is lost, and there is neither a
path for others to connect to nor a moment of connecting.
"""

from __future__ import annotations

import socket
from typing import Protocol, runtime_checkable

from hilagent.transport.base import FdStream


@runtime_checkable
class Emulator(Protocol):
    """What a power back-end that runs an emulator has besides a switch."""

    def console(self) -> socket.socket:
        """Return a new socket object onto the console; LabError if it is off."""
        ...

    def epitaph(self) -> str:
        """Return why the emulator ended, ``""`` while it runs."""
        ...

    def send_break(self) -> None:
        """Send a break to the emulated UART; LabError."""
        ...


class EmulatedStream(FdStream):
    """The console of an emulator, which sends a break in our place."""

    def __init__(self, emulator: Emulator) -> None:
        super().__init__(emulator.console().detach(), "of the emulated board", emulator.epitaph)
        self._emulator = emulator

    def send_break(self) -> None:
        """Let the emulated UART receive a break; LabError."""
        self._emulator.send_break()


def connect(emulator: Emulator) -> EmulatedStream:
    """Return the console of the emulator that runs now."""
    return EmulatedStream(emulator)
