# SPDX-License-Identifier: Apache-2.0
"""``hilagent console``: a board's console, for a person or for a pipe."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hilagent import board as boards_room
from hilagent import errors
from hilagent.board import Board
from hilagent.cli import using
from hilagent.cli.ending import say
from hilagent.cli.screen import screen
from hilagent.cli.terminal import LAST_WORDS_S, READ_BYTES, Showing, Terminal, raw
from hilagent.clock import Deadline
from hilagent.console import Console
from hilagent.journal import Record
from hilagent.result import EXIT_OK
from hilagent.session import signals
from hilagent.session.attended import Attended, Begin, attend

SENDING_S = 60.0
"""How long the board may take no byte of a pipe."""


@dataclass(frozen=True)
class Wanted:
    """What was asked for.

    Attributes:
        begin: what to do with power.
        timestamps: whether each line shows its time.
        quiet_s: how long a silence ends it, once the input, if that is a pipe, is at its end.
        options, folders: of the board.
        wait_s: how long to wait for whoever uses it.
        run_dir: where the log goes; None for a new folder.
        place: where the board is, instead of where its file says.
    """

    begin: Begin = "as it is"
    timestamps: bool = False
    quiet_s: float = 5.0
    options: dict[str, str] = field(default_factory=dict)
    folders: Sequence[Path] = ()
    run_dir: Path | None = None
    wait_s: float = 0.0
    place: boards_room.Place | None = None


def console(name: str, wanted: Wanted) -> int:
    """Connect stdin and stdout to a board's console.

    Raises:
        errors.LabError: the board is in use, or its line is lost.
        signals.Interrupted: by a signal; the terminal is restored.
    """
    board = boards_room.load(name, options=wanted.options, dirs=wanted.folders, place=wanted.place)
    if board.console.kind == "none":
        raise errors.UsageError(f"{name} has no console", hint="it is reached by SSH alone")
    stdin = sys.stdin.fileno()
    by_hand = os.isatty(stdin)
    with signals.as_exceptions(), contextlib.ExitStack() as stack:
        log = stack.enter_context(using.journal(board, wanted.run_dir, "console"))
        log.listeners.append(_say_waiting)
        shown = stack.enter_context(screen(timestamps=wanted.timestamps))

        def show(console: Console) -> Showing:
            showing = Showing(console, shown)
            before_closed.callback(showing.close, LAST_WORDS_S if by_hand else None)
            return showing

        before_closed = stack.enter_context(contextlib.ExitStack())
        attended = stack.enter_context(attend(board, log, wanted.begin, wanted.wait_s))
        if by_hand:
            with raw(stdin):
                _greet(board, attended, log.run_dir)
                Terminal(stdin, attended, show).run()
        else:
            _pipe(stdin, attended.console, show(attended.console), wanted.quiet_s)
    return EXIT_OK


def _greet(board: Board, attended: Attended, run_dir: Path) -> None:
    end = "; it will be switched off at the end" if attended.ours else ""
    say(f"{board.name}: Ctrl-] q quits, Ctrl-] ? is help{end}", f"log: {run_dir}")


def _pipe(stdin: int, console: Console, showing: Showing, quiet_s: float) -> None:
    """Send what comes from ``stdin``; return when that is at its end, and the board quiet."""
    while True:
        showing.ready(stdin)
        if not (data := os.read(stdin, READ_BYTES)):
            break
        console.write(data, Deadline.after(SENDING_S))
    while console.wait(console.position(), Deadline.after(quiet_s)):
        if showing.error is not None:  # nobody reads what a talkative board says
            raise showing.error


def _say_waiting(record: Record) -> None:
    if record["kind"] == "note" and record.get("waits"):
        say(record["text"])
