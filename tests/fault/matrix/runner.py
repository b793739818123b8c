# SPDX-License-Identifier: Apache-2.0
"""Runs cells of the matrix: each run in a process of its own, forked from one that is warm.

A run may so be killed, find no room on the disk or hang, and nobody else is hurt.
"""

from __future__ import annotations

import dataclasses
import os
import pickle
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from unittest import mock

from hilagent import journal
from hilagent.result import Sig
from hilagent.session.shared import CHOSEN
from hilagent.testing import behaviour as behaviours
from hilagent.testing import runs
from hilagent.testing.behaviour import Behaviour
from hilagent.testing.clock import Stuck
from tests.fault.matrix.bed import Bed
from tests.fault.matrix.score import Accused, Came, Scored, accused, score
from tests.fault.matrix.table import PHASES, Cell
from tests.fault.matrix.troubles import TROUBLES, Lab

SUITES = ("clobber",)
WALL_S = 300
"""A run that takes so long hangs, whatever its own time says."""


def _clobbers(register: int, imm: int) -> Behaviour:
    def spoil(sig: Sig) -> Sig:
        return dataclasses.replace(sig, gpr_changed=sig.gpr_changed | 1 << register)

    return behaviours.changed(behaviours.hyp_stub, {imm: spoil})


REFERENCE = "reference"
SUBJECTS: Mapping[str, Behaviour] = {
    REFERENCE: behaviours.hyp_stub,
    "get clobbers x19": _clobbers(19, behaviours.GET_VECTORS),
    "one of 65,536 clobbers x20": _clobbers(20, 0xBEEF),
    "one of 65,536 hangs": behaviours.hangs_at(0x4321),
}
MUTANTS = tuple(name for name in SUBJECTS if name != REFERENCE)


def subject_of(seed: int) -> str:
    """Return what is under test with a seed: reference vectors, or in every second a mutant."""
    return MUTANTS[seed // 2 % len(MUTANTS)] if seed % 2 else REFERENCE


@dataclass(frozen=True)
class Ran:
    """One run of a cell."""

    cell: Cell
    seed: int
    scored: Scored
    happened: bool

    @property
    def wrong(self) -> str:
        """Why this run breaks the rules of its cell; "" where it doesn't."""
        scored, allowed = self.scored, self.cell.allowed
        if not self.happened:
            return "what was to go wrong didn't happen"
        if scored.came is Came.RIGHT:
            return ""
        if scored.came not in allowed.also:
            return f"{scored.came.value}: {scored.why}"
        if allowed.words and not any(word in scored.said for word in allowed.words):
            return f"{scored.came.value}, and none of {allowed.words} is said: {scored.said}"
        return ""


class Runner:
    """Runs cells in a folder; the first thing that it does is to learn the truth."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._bed = folder, Bed(folder)
        self._sizes: dict[str, int] = {}
        with mock.patch.dict(os.environ, {CHOSEN: str(folder / "state")}):
            self._guilty = {name: self._truth(name) for name in SUBJECTS}

    def cell(self, cell: Cell, seeds: range) -> Iterator[Ran]:
        """Yield a run of ``cell`` a seed."""
        for seed in seeds:
            yield self._forked(cell, seed)

    def _truth(self, subject: str) -> Accused:
        """Return what a subject is accused of on a good line; learn how long the phases are."""
        lab = self._lab(subject, 0)
        done = runs.run(lab, self._bed.settings(), self._bed.run_dir(), SUITES)
        assert done.exit_code == (0 if subject == REFERENCE else 1), subject
        if subject == REFERENCE:
            self._sizes = lab.sizes
        return accused(done)

    def _lab(self, subject: str, seed: int) -> Lab:
        lab = self._bed.lab(behaviour=SUBJECTS[subject], seed=seed, kind=Lab)
        assert isinstance(lab, Lab)
        lab.chance = Random(seed)
        return lab

    def _forked(self, cell: Cell, seed: int) -> Ran:
        run_dir = self._bed.run_dir()
        near, far = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(near)
            self._child(cell, seed, run_dir, far)
        os.close(far)
        with os.fdopen(near, "rb") as pipe:
            told = pipe.read()
        _, status = os.waitpid(pid, 0)
        ran = self._judged(cell, seed, run_dir, told, os.waitstatus_to_exitcode(status))
        shutil.rmtree(f"{run_dir}-state", ignore_errors=True)
        if not ran.wrong:
            shutil.rmtree(run_dir, ignore_errors=True)
        return ran

    def _child(self, cell: Cell, seed: int, run_dir: Path, far: int) -> None:
        """Do the run in a process that ends with it."""
        os.environ[CHOSEN] = f"{run_dir}-state"
        try:
            signal.alarm(WALL_S)
            os.write(far, pickle.dumps(self.run(cell, seed, run_dir)))
        finally:
            os._exit(0)

    def run(self, cell: Cell, seed: int, run_dir: Path) -> tuple[Scored, bool]:
        """Do one run in this process; return what came of it, and whether it went wrong at all."""
        subject, phase = subject_of(seed), PHASES[cell.phase]
        lab = self._lab(subject, seed)
        lab.run_dir = run_dir
        named = (size for words, size in self._sizes.items() if words.startswith(phase.begins))
        size = next(named, 0)
        at = lab.chance.randint(int(size * phase.first), int(size * phase.last))
        lab.when(phase.begins, at, lambda: TROUBLES[cell.trouble](lab))
        try:
            done = runs.run(lab, self._bed.settings(), run_dir, SUITES)
        except Stuck as stuck:
            return Scored(Came.HANG, str(stuck), ""), True
        off = lab.switch.did[-1:] == ["off"]
        return score(done, self._guilty[subject], off=off), bool(lab.happened)

    def _judged(self, cell: Cell, seed: int, run_dir: Path, told: bytes, code: int) -> Ran:
        """Return what came of a process."""
        if told:
            scored, happened = pickle.loads(told)
            return Ran(cell, seed, scored, happened)
        if code == -signal.SIGALRM:
            return Ran(cell, seed, Scored(Came.HANG, f"{WALL_S} s", ""), True)
        if code == -signal.SIGKILL:
            guilty = self._guilty[subject_of(seed)]
            return Ran(cell, seed, score(journal.read(run_dir), guilty), True)
        return Ran(cell, seed, Scored(Came.BUG, f"the process ended with {code}", ""), True)


def work_folder() -> Path:
    """Return a new folder, in memory where there is some: the logs are synced often."""
    memory = Path("/dev/shm")
    place = memory if os.access(memory, os.W_OK) else None
    return Path(tempfile.mkdtemp(prefix="hilagent-matrix-", dir=place))
