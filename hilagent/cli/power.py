# SPDX-License-Identifier: Apache-2.0
"""``hilagent power``: switches a board, and says what is known of it afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hilagent import board as boards_room
from hilagent import errors
from hilagent import power as power_room
from hilagent.board import Board
from hilagent.cli.ending import say
from hilagent.power import Power
from hilagent.result import EXIT_OK
from hilagent.session import signals, switch
from hilagent.session.held import hold


def power(
    name: str,
    verb: str,
    folders: Sequence[Path],
    wait_s: float = 0.0,
    place: boards_room.Place | None = None,
) -> int:
    """Do ``verb``: on, off, cycle or state; wait for whoever uses the board for ``wait_s``.

    Raises:
        errors.UsageError: this board can't be asked that.
        errors.LabError: it is in use, or its switch fails.
    """
    board = boards_room.load(name, dirs=folders, place=place)
    if board.power.kind == "qemu":
        hint = f"hilagent console {name} starts it, and switches it off at its own end"
        message = f"{name} is emulated: it lives no longer than the command that starts it"
        raise errors.UsageError(f"{message}, and has no switch for another", hint=hint)
    with signals.as_exceptions(), hold(board, None, wait_s, say, say) as have:
        outlet = power_room.open(have.board, None, have.place)
        if verb == "state":
            print(f"{board.name}: {_state(board, outlet)}")
        else:
            for step in switch.switched(board, outlet, verb):
                print(f"{board.name}: {step}", flush=True)
    return EXIT_OK


def _state(board: Board, outlet: Power) -> str:
    hint = "give 'power.state' a command that exits with 0 for on and 1 for off"
    if board.power.kind == "command" and not board.power.state:
        raise errors.UsageError(f"{board.name}: {switch.unknown(board)}", hint=hint)
    state = outlet.state()
    if state is None:
        hint = hint if board.power.kind == "command" else ""
        raise errors.LabError(f"{board.name}: {switch.unknown(board)}", hint=hint)
    return "on" if state else "off"
