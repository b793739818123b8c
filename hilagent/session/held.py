# SPDX-License-Identifier: Apache-2.0
"""Holding a board for a command that keeps a journal: that tells who waits for whom."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from hilagent.board import Board
from hilagent.clock import Deadline
from hilagent.journal import Journal
from hilagent.session import lock


@contextlib.contextmanager
def held(board: Board, journal: Journal, wait_s: float) -> Iterator[None]:
    """Hold everything that ``board`` is physically reached by, for the ``with`` block.

    Args:
        wait_s: how long to wait for whoever uses it; 0: not at all.

    Raises:
        errors.LabError: it is in use; names by whom.
    """

    def tell(text: str) -> None:
        journal.note(text, waits=True)

    queue = lock.Queue(Deadline.after(wait_s), tell) if wait_s else None
    names = lock.things(board)
    with lock.hold(names, board=board.name, run_dir=journal.run_dir, queue=queue):
        yield
