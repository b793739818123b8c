# SPDX-License-Identifier: Apache-2.0
"""``hilagent run BOARD...``: one child a board, side by side, and one report of all.

The parent opens no console and holds no lock: it starts ``hilagent run`` for each board,
follows the journals, and judges from them and from how each process ended.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import queue
import signal
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hilagent import __version__, errors, journal
from hilagent import board as boards_room
from hilagent.board.choose import Choice, choose
from hilagent.cli import table
from hilagent.cli.children import Child, Ended
from hilagent.cli.ending import say
from hilagent.cli.table import Followed
from hilagent.clock import SYSTEM
from hilagent.journal import Journal
from hilagent.plugin import runs
from hilagent.report import many
from hilagent.result import EXIT_LAB
from hilagent.session import signals

LOOK_S = 0.25
"""Between two looks at the journals, and at what a signal asked for."""
_FORWARDED = {"SIGINT": signal.SIGINT}


@dataclass(frozen=True)
class Wanted:
    """What was asked for.

    Attributes:
        names: of boards; empty for those that are chosen by ``tags``, or all.
        tags: see :mod:`hilagent.board.choose`.
        folders: of boards.
        jobs: how many run at the same time; 0: each real one at once, and as many emulated
            ones as this process may use CPUs, for they take each other's.
        argv: what each child gets behind its board's name.
    """

    names: Sequence[str]
    tags: Sequence[str]
    folders: Sequence[Path]
    jobs: int
    argv: Sequence[str]


def run_many(wanted: Wanted, run_dir: Path | None, *, as_json: bool) -> int:
    """Run each board; print the summary of all; return the worst of their exit codes.

    Raises:
        errors.UsageError: no such board; nothing was begun.
    """
    chosen = _chosen(wanted)
    log = runs.begun(run_dir or journal.new_run_dir("many"))
    end: dict[str, str] = {}
    try:
        log.run(hilagent=__version__, host=platform.node(), boards=[_facts(c) for c in chosen])
        with signals.quiet() as noted:
            _Side(chosen, wanted, log, noted).run()
        if noted:
            end = {"signal": "SIGINT" if noted[0] == "SIGINT" else "SIGTERM"}
    except errors.LabError as exc:
        end = {"lab": exc.message}
        raise
    finally:
        log.write("end", **end)
        log.close()
        many.write(log.run_dir)
    return _tell(log.run_dir, as_json=as_json)


def _chosen(wanted: Wanted) -> list[Choice]:
    if not wanted.names:
        return choose(wanted.tags, wanted.folders)
    if wanted.tags:
        raise errors.UsageError("--tag chooses boards, and these were named", hint="do one of both")
    found: dict[str, Choice] = {}
    for name in dict.fromkeys(wanted.names):
        board = boards_room.load(name, dirs=wanted.folders)
        if board.name in found:
            raise errors.UsageError(f"{found[board.name].name} and {name} are both {board.name}")
        found[board.name] = Choice(name, board)
    return list(found.values())


def _facts(choice: Choice) -> dict[str, Any]:
    board = choice.board
    if board is None:
        return {"name": choice.name}
    said = {"description": board.description, "soc": board.soc, "emulated": board.emulated}
    return {"name": board.name, **said}


class _Side:
    """The runs of one invocation, side by side."""

    def __init__(
        self, chosen: Sequence[Choice], wanted: Wanted, log: Journal, noted: list[str]
    ) -> None:
        self._wanted, self._log, self._noted = wanted, log, noted
        self._heeded = 0
        self._waiting = deque(chosen)
        self._running: dict[str, tuple[Choice, Child]] = {}
        # No SimpleQueue: in CPython 3.11 its get waits for ever where a signal comes just as
        # its time is up.
        self._ended: queue.Queue[Child] = queue.Queue()
        names = [str(_facts(each)["name"]) for each in chosen]
        self._followed = {name: Followed(name, log.run_dir / name) for name in names}
        self._cpus = len(os.sched_getaffinity(0))

    def run(self) -> None:
        """Return when all have ended, or at the second signal."""
        with table.shown(list(self._followed.values())) as self._view:
            self._view.say(f"{len(self._followed)} boards, {self._log.run_dir}")
            while (self._waiting or self._running) and self._heed():
                self._start()
                try:
                    self._bury(self._ended.get(timeout=LOOK_S))
                except queue.Empty:
                    self._look()
        for each in self._followed.values():
            each.close()

    def _heed(self) -> bool:
        """Do what a signal asked for; return whether to go on."""
        while self._heeded < len(self._noted):
            name = self._noted[self._heeded]
            self._heeded += 1
            if self._heeded > 1:
                for board, child in self._children():
                    say(f"{board} is being switched off by process {child.pid}, which was left")
                return False
            self._waiting.clear()
            self._view.say(f"{name}: each board is switched off; once more ends this at once")
            for board, child in self._children():
                self._followed[board].state = "ending"
                child.signal(_FORWARDED.get(name, signal.SIGTERM))
            self._view.refresh()
        return True

    def _children(self) -> list[tuple[str, Child]]:
        return [(name, child) for name, (_, child) in self._running.items()]

    def _start(self) -> None:
        """Start what may start now; whoever can't yet doesn't keep the others."""
        for choice in list(self._waiting):
            if not self._may(choice):
                continue
            self._waiting.remove(choice)
            name = str(_facts(choice)["name"])
            folder = self._log.run_dir / name
            own = ("--run-dir", str(folder))
            argv = ["run", choice.name, *self._wanted.argv, *own]
            try:
                child = Child(name, argv, folder, self._ended.put)
            except errors.LabError as exc:
                self._log.write("child", board=name, phase="begin", pid=0)
                self._record(name, Ended(EXIT_LAB, 0.0, 0.0, 0), exc.message)
                continue
            self._running[name] = (choice, child)
            self._log.write("child", board=name, phase="begin", pid=child.pid)
            followed = self._followed[name]
            followed.state, followed.began_s = "running", child.began_s

    def _may(self, choice: Choice) -> bool:
        running = [_emulated(other) for other, _ in self._running.values()]
        return may_start(_emulated(choice), running, self._wanted.jobs, self._cpus)

    def _look(self) -> None:
        for name in self._running:
            self._hear(name)
        self._view.refresh()

    def _hear(self, name: str) -> None:
        followed = self._followed[name]
        for record in followed.records():
            self._view.hear(followed, record)

    def _bury(self, child: Child) -> None:
        del self._running[child.name]
        self._hear(child.name)
        assert child.ended is not None
        self._record(child.name, child.ended, child.last_words())

    def _record(self, name: str, ended: Ended, said: str) -> None:
        self._log.write("child", board=name, phase="end", said=said, **asdict(ended))
        judged, followed = many.read_one(self._log.run_dir, name), self._followed[name]
        followed.state, followed.ended_s = judged.verdict.name, SYSTEM.now_s()
        self._view.say(f"{name}: {judged.verdict.name} after {ended.took_s:.1f} s")
        self._view.refresh()


def may_start(emulated: bool, running: Sequence[bool], jobs: int, cpus: int) -> bool:
    """Return whether one more may run beside others.

    Args:
        emulated: whether it is.
        running: the same of each that runs.
        jobs: how many may; 0: see :class:`Wanted`.
        cpus: that this process may use.
    """
    if jobs:
        return len(running) < jobs
    return not emulated or sum(running) < cpus


def _emulated(choice: Choice) -> bool:
    return choice.board is not None and choice.board.emulated


def _tell(run_dir: Path, *, as_json: bool) -> int:
    done = many.read(run_dir)
    if as_json:
        text = json.dumps(many.results(done), indent=1) + "\n"
    else:
        colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        text = many.summary(done, colour=colour)
    try:
        print(text, end="", flush=True)
    except OSError as exc:
        if exc.errno != errno.EIO:
            raise
        # The terminal hung up, and nobody reads it any more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return done.exit_code
