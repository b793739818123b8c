# SPDX-License-Identifier: Apache-2.0
"""Switching a board for somebody: what was done, and what is known of it afterwards."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Iterator
from threading import Event

from hilagent import errors
from hilagent.board import Board
from hilagent.journal import Journal
from hilagent.power import Power
from hilagent.session import signals

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
    if board.power.state:
        return f"{board.power.state[0]} says neither on (exit 0) nor off (1)"
    return "its file has no 'power.state'"


def surely_off(
    board: Board, off: Callable[[], None], powered: Callable[[], bool | None], journal: Journal
) -> None:
    """Switch off, in several tries, and ask whether it is; at worst say that it may be on.

    Signals don't interrupt it.

    Raises:
        errors.LabError: it may have power; the hint says how to end that.
    """
    with signals.quiet() as noted:
        try:
            said = _off(off, powered)
            for _ in range(OFF_TRIES - 1):
                if said:
                    Event().wait(board.power.off_s)  # a relay has no event to wait for
                    said = _off(off, powered)
            if said:
                hint = f"{board.name} may still have power"
                hint += f"; run: {shlex.join(board.power.off)}" if board.power.off else ""
                with contextlib.suppress(errors.LabError):
                    journal.note(f"{hint} ({said})", blame="infra")
                raise errors.LabError(f"{board.name} wasn't switched off: {said}", hint=hint)
        finally:
            for name in noted:
                with contextlib.suppress(errors.LabError):
                    journal.note(f"{name} came while the board was being switched off")


def _off(off: Callable[[], None], powered: Callable[[], bool | None]) -> str:
    """Return why the board may be on after it was switched off, empty if it is off."""
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
        return said
    return said or "its switch says that it is on" if on else ""
