# SPDX-License-Identifier: Apache-2.0
"""Holding a board: the locks of this host and, where it is at one, its place."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hilagent.board import Board
from hilagent.clock import Deadline
from hilagent.journal import Journal
from hilagent.place import Place
from hilagent.session import lock
from hilagent.session.placed import placed


@dataclass(frozen=True)
class Held:
    """A board that is held.

    Attributes:
        board: with the console of its place, where it is at one.
        place: that; None for a board of this host.
    """

    board: Board
    place: Place | None = None


@contextlib.contextmanager
def held(board: Board, journal: Journal, wait_s: float) -> Iterator[Held]:
    """Hold ``board`` for a command that keeps a journal, which tells who waits for whom.

    Args:
        wait_s: how long to wait for whoever uses it; 0: not at all.

    Raises:
        errors.LabError: it is in use (names by whom), or its place can't be had.
    """

    def wait(text: str) -> None:
        journal.note(text, waits=True)

    def told(text: str) -> None:
        journal.note(text, blame="infra")

    with hold(board, journal.run_dir, wait_s, wait, told) as found:
        if found.place is not None:
            place = found.place
            journal.write(
                "facts", place=place.name, coordinator=place.coordinator,
                exporters=list(place.exporters),
            )  # fmt: skip
        yield found


@contextlib.contextmanager
def hold(
    board: Board,
    run_dir: Path | None,
    wait_s: float,
    wait: Callable[[str], object],
    told: Callable[[str], object],
) -> Iterator[Held]:
    """Hold everything that ``board`` is physically reached by, for the ``with`` block.

    Args:
        run_dir: where its log grows, if it has one.
        wait_s: see :func:`held`.
        wait: hears who is waited for.
        told: hears of a run that was killed and may have left it on, and what becomes of
            the place's coordinator, maybe from a thread.

    Raises:
        errors.LabError: as :func:`held`.
    """
    queue = lock.Queue(Deadline.after(wait_s), wait) if wait_s else None
    names = lock.things(board)
    with contextlib.ExitStack() as stack:
        before = lock.hold(names, board=board.name, run_dir=run_dir, queue=queue)
        for killed in stack.enter_context(before):
            told(f"the run before, by {killed}, was killed: it may have left the board on")
        if board.place is None:
            yield Held(board)
            return
        board, place = stack.enter_context(placed(board, queue, told))
        more = sorted({*lock.things(board)} - {*names})  # its name, if it was chosen by tags
        stack.enter_context(lock.hold(more, board=board.name, run_dir=run_dir, queue=queue))
        yield Held(board, place)
