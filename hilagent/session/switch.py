# SPDX-License-Identifier: Apache-2.0
"""Switching a board for somebody: what was done, and what is known of it afterwards."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Event
from typing import NoReturn

from hilagent import errors
from hilagent.board import Board
from hilagent.journal import Journal
from hilagent.power import Power
from hilagent.session import quarantine, signals

OFF_TRIES = 3
_WORDS = {True: "on", False: "off"}


def switched(board: Board, power: Power, verb: str) -> Iterator[str]:
    """Do ``verb`` (on, off or cycle); yields a sentence about each step that was taken.

    A cycle without a command of its own is off and on, and both are verified: of a relay
    that sticks, an on alone tells nothing.

    Raises:
        errors.LabError: it can't be done, or the switch says the opposite afterwards.
    """
    if verb == "cycle" and board.power.cycle:
        power.cycle()
        yield _verified(board, power, True, "cycled by its own command")
        return
    for on in {"on": (True,), "off": (False,), "cycle": (False, True)}[verb]:
        (power.on if on else power.off)()
        yield _verified(board, power, on, f"switched {_WORDS[on]}")


def _verified(board: Board, power: Power, on: bool, did: str) -> str:
    state = power.state()
    if state is None:
        return f"{did}; not verified: {unknown(board)}"
    if state is not on:
        hint = "look at the outlet, and at 'power' in the board's file"
        said = f"its switch says that it is {_WORDS[state]}"
        raise errors.LabError(f"{board.name} was {did}, and {said}", hint=hint)
    return f"{did}; its switch says that it is {_WORDS[state]}"


def unknown(board: Board) -> str:
    """Return why the state of ``board`` can't be told."""
    match board.power.kind:
        case "manual":
            return "whoever switched it knows"
        case "labgrid":
            return "the switch of its place doesn't tell"
        case "http":
            return f"a {board.power.device} doesn't tell"
    if board.power.state:
        return f"{board.power.state[0]} says neither on (exit 0) nor off (1)"
    return "its file has no 'power.state'"


def surely_off(
    board: Board,
    off: Callable[[], None],
    powered: Callable[[], bool | None],
    journal: Journal,
    pause: Callable[[float], object] | None = None,
) -> None:
    """Switch off, in several tries, and ask whether it is; at worst say that it may be on.

    Signals don't interrupt it.

    Args:
        pause: waits for so many seconds: a relay has no event to wait for.

    Raises:
        errors.LabError: it may have power; the hint says how to end that.
    """
    with signals.quiet() as noted:
        try:
            left = _off(off, powered)
            for _ in range(OFF_TRIES - 1):
                if left:
                    (pause or Event().wait)(board.power.off_s)
                    left = _off(off, powered)
            if left:
                _may_be_on(board, journal, left)
        finally:
            for name in noted:
                with contextlib.suppress(errors.LabError):
                    journal.note(f"{name} came while the board was being switched off")


@dataclass(frozen=True)
class _Left:
    """Why a board may be on after it was switched off.

    Attributes:
        said: that.
        lied: whether the switch said that it did it, and that it did not.
    """

    said: str
    lied: bool = False


def _may_be_on(board: Board, journal: Journal, left: _Left) -> NoReturn:
    hint = f"{board.name} may still have power"
    hint += f"; run: {shlex.join(board.power.off)}" if board.power.off else ""
    with contextlib.suppress(errors.LabError):
        journal.note(f"{hint} ({left.said})", blame="infra")
        if left.lied:
            quarantine.lied(board, journal, f"switched off {OFF_TRIES} times: {left.said}")
    raise errors.LabError(f"{board.name} wasn't switched off: {left.said}", hint=hint)


def _off(off: Callable[[], None], powered: Callable[[], bool | None]) -> _Left | None:
    """Switch off; return why it may be on all the same, None if it is off."""
    said = ""
    try:
        off()
    except errors.LabError as exc:
        said = exc.message
    try:
        on = powered()
    except errors.LabError:
        on = None
    if on is None:
        return _Left(said) if said else None
    return _Left(said or "its switch says that it is on", lied=not said) if on else None
