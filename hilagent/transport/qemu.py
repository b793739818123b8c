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


def connect(emulator: Emulator) -> FdStream:
    """Return the console of the emulator that runs now."""
    return FdStream(emulator.console().detach(), "of the emulated board", emulator.epitaph)
