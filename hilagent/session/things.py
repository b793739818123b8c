# SPDX-License-Identifier: Apache-2.0
"""What a board is physically reached by: two files may describe it, and it is there once.

A lock and a quarantine are on these, never on a board's name. Of an emulated board
there is nothing: each run starts a machine of its own.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import urlsplit

from hilagent.board import Board
from hilagent.board.model import Place, Power
from hilagent.place import address_of


def things(board: Board) -> tuple[str, ...]:
    """Return the names of what ``board`` is physically reached by, each once, sorted."""
    outlet = _OUTLETS.get(board.power.kind)
    found = {
        *_port(board),
        *(outlet(board.power) if outlet is not None else ()),
        *_systems(board),
        *_place(board.place),
    }
    return tuple(sorted(found))


def _port(board: Board) -> Iterator[str]:
    """Yield the serial port: however it is called, where its server is, or what leads to it.

    A place's is had with the place, and may be another board's the next time.
    """
    console = board.console
    if console.kind == "recorded" or (board.place is not None and console.host is not None):
        return
    if console.argv is not None:
        yield f"console '{shlex.join(console.argv)}'"
    elif console.path is not None:
        yield os.path.realpath(console.path)
    elif console.host is not None:
        yield f"{console.host.lower()}:{console.port}"


def _place(place: Place | None) -> Iterator[str]:
    """Yield the place, by its coordinator: labgrid's own lock doesn't say which process has it."""
    if place is not None and place.name is not None:
        yield f"place {place.name} of {address_of(place.coordinator).lower()}"


def _of_commands(power: Power) -> Iterator[str]:
    """Yield what takes power away: of whoever shares that, one can end the other's run."""
    for argv in (power.off, power.cycle):
        if argv:
            yield f"outlet '{shlex.join(argv)}'"


def _of_a_device(power: Power) -> Iterator[str]:
    """Yield the outlet by the device's address, which has a port even where none is said."""
    url = urlsplit(str(power.url).lower())
    port = url.port or {"http": 80, "https": 443}[url.scheme]
    yield " ".join(filter(None, ["outlet", f"{url.hostname}:{port}", power.pdu, str(power.outlet)]))


_OUTLETS: Mapping[str, Callable[[Power], Iterator[str]]] = {
    "command": _of_commands,
    "http": _of_a_device,
}
"""By kind of power; a kind that isn't here has no outlet that two boards could share."""


def _systems(board: Board) -> Iterator[str]:
    """Yield where Linux answers; our root file system and a board's own may share that."""
    for block in (board.os, board.linux):
        if block is not None and block.ssh.host is not None:
            yield f"ssh {block.ssh.host.lower()}:{block.ssh.port}"
