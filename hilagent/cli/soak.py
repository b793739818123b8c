# SPDX-License-Identifier: Apache-2.0
"""``hilagent soak``: one board, over and over, until time is up or something is accused.

Each round is a ``hilagent run`` of its own, from power to power, with seeds of its own. An
accusation, a bug of ours or wrong usage ends it; so does a lab that failed three rounds
in a row. Of rounds that passed, the journals go into one line each, and only the
last few folders are kept.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import queue
import shutil
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from hilagent import __version__, journal
from hilagent import board as boards_room
from hilagent import report as reports
from hilagent.cli import table
from hilagent.cli.children import Child
from hilagent.cli.ending import say
from hilagent.cli.table import Followed, View
from hilagent.clock import SYSTEM, Deadline
from hilagent.journal import Journal
from hilagent.plugin import runs
from hilagent.report import many, soak
from hilagent.result import EXIT_ACCUSED, EXIT_BUG, EXIT_USAGE, Verdict
from hilagent.session import signals

LOOK_S = 0.25
"""Between two looks at the round's journal, and at what a signal asked for."""
LAB_ROUNDS = 3
KEPT = 5
"""Folders of rounds that passed."""
_ENDS = frozenset({EXIT_ACCUSED, EXIT_BUG, EXIT_USAGE})


@dataclass(frozen=True)
class Wanted:
    """What was asked for.

    Attributes:
        board: its name, or its file.
        folders: of boards.
        seconds: after which no round begins.
        rounds: at most; 0: as many as there is time for.
        argv: what each round gets behind its board's name.
        place: that the board is at; each round acquires it anew.
    """

    board: str
    folders: Sequence[Path]
    seconds: float
    rounds: int
    argv: Sequence[str]
    place: boards_room.Place | None = None


def run_soak(wanted: Wanted, run_dir: Path | None, *, as_json: bool) -> int:
    """Run the rounds; print the summary; return the exit code.

    Raises:
        errors.UsageError: no such board; nothing was begun.
    """
    board = boards_room.load(wanted.board, dirs=wanted.folders, place=wanted.place)
    log = runs.begun(run_dir or journal.new_run_dir(f"soak-{board.name}"))
    try:
        log.run(
            hilagent=__version__, host=platform.node(), soak=board.name,
            emulated=board.emulated, seconds=wanted.seconds, argv=list(wanted.argv),
        )  # fmt: skip
        with signals.quiet() as noted:
            why = _Rounds(wanted, log, noted).run()
        log.write("end", why=why, **({"signal": noted[0]} if noted else {}))
    finally:
        log.close()
    done = journal.read(log.run_dir)
    if not as_json:
        _tell_accusation(done)
    text = json.dumps(soak.results(done), indent=1) + "\n"
    reports.replace(log.run_dir / "results.json", text)
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    print(text if as_json else soak.summary(done, colour=colour), end="", flush=True)
    return soak.exit_code(done)


class _Rounds:
    """One round after the other."""

    def __init__(self, wanted: Wanted, log: Journal, noted: list[str]) -> None:
        self._wanted, self._log, self._noted = wanted, log, noted
        # No SimpleQueue: in CPython 3.11 its get waits for ever where a signal comes just as
        # its time is up.
        self._ended: queue.Queue[Child] = queue.Queue()
        self._passed: list[Path] = []
        self._lab = 0

    def run(self) -> str:
        """Return why it ended."""
        time = Deadline.after(self._wanted.seconds)
        shown: list[Followed] = []
        with table.shown(shown) as view:
            view.say(f"soak, {self._log.run_dir}")
            number = 0
            while not time.expired() and not (0 < self._wanted.rounds <= number):
                number += 1
                shown[:] = [Followed(f"{number:04}", self._log.run_dir / f"{number:04}")]
                if why := self._round(shown[0], view):
                    return why
        return "time is up" if time.expired() else f"{number} rounds are done"

    def _round(self, followed: Followed, view: View) -> str:
        """Run one; return why it was the last."""
        folder = self._log.run_dir / followed.name
        argv = ["run", self._wanted.board, *self._wanted.argv, "--run-dir", str(folder)]
        child = Child(followed.name, argv, folder, self._ended.put)
        followed.state, followed.began_s = "running", child.began_s
        if not self._follow(child, followed, view):
            say(f"the board is being switched off by process {child.pid}, which was left")
            return "a second signal"
        assert child.ended is not None
        ended = {**asdict(child.ended), "said": child.last_words()}
        found = many.judged({"name": followed.name}, folder, ended)
        self._log.write("round", name=followed.name, **soak.round_of(found))
        followed.state, followed.ended_s = found.verdict.name, SYSTEM.now_s()
        view.say(f"{followed.name}: {found.verdict.name} after {child.ended.took_s:.1f} s")
        view.refresh()
        return self._after(found, folder)

    def _after(self, found: many.BoardRun, folder: Path) -> str:
        """Keep its folder or not; return why there is no round after it."""
        self._lab += 1
        if found.verdict is Verdict.PASS:
            self._lab = 0
            self._passed.append(folder)
            for old in self._passed[:-KEPT]:
                shutil.rmtree(old, ignore_errors=True)
        if self._noted:
            return self._noted[0]
        if found.exit_code in _ENDS:
            return f"round {found.name} is {found.verdict.name}"
        return f"the lab failed {LAB_ROUNDS} rounds in a row" if self._lab >= LAB_ROUNDS else ""

    def _follow(self, child: Child, followed: Followed, view: View) -> bool:
        """Wait for its end; return whether it came, and not a second signal."""
        told = 0
        while True:
            if len(self._noted) > max(told, 1):
                return False
            if len(self._noted) > told:
                told = len(self._noted)
                view.say(f"{self._noted[0]}: the board is switched off; once more ends this")
                child.signal(signal.Signals[self._noted[0]])
            with contextlib.suppress(queue.Empty):
                self._ended.get(timeout=LOOK_S)
            for record in followed.records():
                view.hear(followed, record)
            view.refresh()
            if child.ended is not None:
                followed.close()
                return True


def _tell_accusation(done: journal.Run) -> None:
    """Print the summary of the round that accused, with its evidence."""
    last = soak.rounds(done)[-1:]
    if last and last[0]["exit_code"] == EXIT_ACCUSED:
        print(reports.summary(journal.read(done.run_dir / last[0]["name"])))
