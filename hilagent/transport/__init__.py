# SPDX-License-Identifier: Apache-2.0
"""Byte streams to a board, one small file a kind."""

from __future__ import annotations

from hilagent.board.model import Console
from hilagent.errors import AgentBug
from hilagent.transport import command, labgrid, nothing, qemu, recorded, rfc2217, serial, tcp
from hilagent.transport.base import Breaks, FdStream, Stream

__all__ = ["Breaks", "FdStream", "Stream", "open"]


def open(console: Console, power: object = None, place: labgrid.Place | None = None) -> Stream:
    """Open a board's console.

    Args:
        console: how it is reached.
        power: the board's power back-end, already on where it is an emulator;
            each start of an emulator needs a new stream.
        place: whose console it is, and with which it ends.
    """
    stream = _opened(console, power)
    return labgrid.PlaceStream(stream, place) if place is not None else stream


def _opened(console: Console, power: object) -> Stream:
    if console.kind == "serial" and console.path:
        return serial.connect(console.path, console.baud, console.replug_s)
    if console.kind == "tcp" and console.host and console.port:
        return tcp.connect(console.host, console.port)
    if console.kind == "rfc2217" and console.host and console.port:
        return rfc2217.connect(console.host, console.port, console.baud)
    if console.kind == "command" and console.argv:
        return command.connect(console.argv)
    if console.kind == "qemu" and isinstance(power, qemu.Emulator):
        return qemu.connect(power)
    if console.kind == "none":
        return nothing.connect()
    if console.kind == "recorded" and isinstance(power, recorded.Source):
        return power.next_boot()
    raise AgentBug(f"no way to a {console.kind} console with {type(power).__name__}")
