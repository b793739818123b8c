# SPDX-License-Identifier: Apache-2.0
"""A clean run with one fault in what the board says, at one byte after another.

::

    python -m tests.fault.replay RUN-OF-REFERENCE RUN-OF-A-MUTANT --every 100
    python -m tests.fault.replay --scripted --every 1

A *recorded* run can't answer what it never heard: most faults end it as the lab's. The
*scripted* board can, so that there most runs must reach the right verdict.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Protocol
from unittest import mock

from hilagent import journal
from hilagent.build import payload
from hilagent.session.settings import Request, look_up
from hilagent.session.shared import CHOSEN
from hilagent.testing import ManualClock, behaviour, runs
from hilagent.testing.clock import Stuck
from hilagent.testing.faults import Fault, Faults, Injector
from hilagent.testing.replayed import Replay
from hilagent.transport import recorded
from tests.fault.matrix.bed import LIMIT_S, Bed
from tests.fault.matrix.runner import MUTANTS, SUBJECTS, SUITES, work_folder
from tests.fault.matrix.score import Accused, Came, Scored, accused, score

KINDS = (Fault.DROP, Fault.FLIP, Fault.DOUBLE, Fault.GARBAGE, Fault.CUT, Fault.STALL)
STALL_S = 7.0
FIRST = 20_480
"""Of so many bytes each gets its fault; of those behind them, some."""


def faults(offset: int) -> Faults:
    """Return the fault of an offset: which one is drawn by its number."""
    return Faults(at={offset: Random(offset).choice(KINDS)}, stall_s=STALL_S)


class Clean(Protocol):
    """A run without faults that can be done again with some.

    Attributes:
        name: for the table.
        size: how many bytes the board said.
    """

    name: str
    size: int

    def again(self, offset: int, run_dir: Path) -> Scored:
        """Do it with the fault of that offset."""
        ...


def suite_of(test: str) -> str:
    """Return the module that a test is in: it begins its name, as in ``architecture_cpus``."""
    return test.partition("[")[0].partition("_")[0]


class Recorded:
    """A run that QEMU's board did."""

    def __init__(self, folder: Path) -> None:
        run = journal.read(folder)
        self._guilty = accused(run)
        self._suites = [*dict.fromkeys(suite_of(each) for each in run.plan or ())]
        self._settings = look_up(Request(board=f"recorded:{folder}"))
        self._boots = recorded.boots(folder)
        self.name = f"recorded, {' '.join(run.facts['asked']['vectors'])}"
        self.size = sum(len(said) for boot in self._boots for _, said in boot.said)

    def again(self, offset: int, run_dir: Path) -> Scored:
        clock = ManualClock(limit_s=LIMIT_S)
        line = Injector(faults(offset), seed=offset, clock=clock)
        replay = Replay(self._boots, clock, line)
        done = runs.run(replay, self._settings, run_dir, self._suites)
        return score(done, self._guilty, off=not replay.switch.state())


class Scripted:
    """A run of the scripted board."""

    def __init__(self, folder: Path, subject: str) -> None:
        folder.mkdir()
        self._bed, self._subject = Bed(folder), subject
        lab = self._bed.lab(behaviour=SUBJECTS[subject])
        done = runs.run(lab, self._bed.settings(), folder / "clean", SUITES)
        self._guilty: Accused = accused(done)
        self.name, self.size = f"scripted, {subject}", lab.line.said

    def again(self, offset: int, run_dir: Path) -> Scored:
        lab = self._bed.lab(behaviour=SUBJECTS[self._subject], to_host=faults(offset))
        done = runs.run(lab, self._bed.settings(), run_dir, SUITES)
        return score(done, self._guilty, off=lab.switch.did[-1] == "off")


@dataclass
class Counted:
    """What came of one clean run, done again with a fault at each of some offsets."""

    name: str
    came: Counter[tuple[Fault, Came]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def right(self) -> float:
        """The share of right verdicts, without those whose line was cut."""
        mended = {key: n for key, n in self.came.items() if key[0] is not Fault.CUT}
        right = sum(n for (_, came), n in mended.items() if came is Came.RIGHT)
        return right / max(1, sum(mended.values()))

    def __str__(self) -> str:
        total = self.came.total()
        lines = [f"{self.name}: {total} runs, {self.right():.1%} right of those not cut"]
        for kind in KINDS:
            each = {came: self.came[kind, came] for came in Came if self.came[kind, came]}
            counts = ", ".join(f"{n} {came.value}" for came, n in each.items())
            lines.append(f"  {kind.value:8} {counts}")
        return "\n".join(lines)


def offsets(size: int, every: int, more: int) -> Iterator[int]:
    """Yield each ``every``th offset of the first bytes, and ``more`` of those behind them."""
    yield from range(0, min(size, FIRST), every)
    if size > FIRST:
        yield from sorted(Random(size).sample(range(FIRST, size), min(more, size - FIRST)))


def swept(clean: Clean, chosen: Iterable[int], folder: Path) -> Counted:
    """Do ``clean`` again with a fault at each offset, and count what came of it."""
    counted, numbers = Counted(clean.name), itertools.count()
    built = functools.cache(payload.build_payload)  # the same for each of thousands of runs
    with (
        mock.patch("hilagent.report.write_page"),  # a tenth of a run, and the matrix makes it
        mock.patch("hilagent.build.payload.build_payload", built),
    ):
        for offset in chosen:
            run_dir = folder / f"at-{offset}-{next(numbers)}"
            state = {CHOSEN: f"{run_dir}-state"}  # a board that failed is in quarantine there
            try:
                with mock.patch.dict(os.environ, state):
                    scored = clean.again(offset, run_dir)
            except Stuck as stuck:
                scored = Scored(Came.HANG, str(stuck), "")
            if scored.came is Came.STOPPED:
                counted.wrong.append("stopped by a signal, before the end")
                return counted
            counted.came[faults(offset).at[offset], scored.came] += 1
            if scored.came.never:
                kind = faults(offset).at[offset].value
                counted.wrong.append(
                    f"{clean.name}, {kind} at {offset}: {scored.came} {scored.why}"
                )
            else:
                shutil.rmtree(run_dir)
            shutil.rmtree(state[CHOSEN], ignore_errors=True)
    return counted


def scripted(folder: Path, subjects: Sequence[str] = ("reference", MUTANTS[0])) -> Iterator[Clean]:
    """Yield clean runs of the scripted board."""
    for number, subject in enumerate(subjects):
        yield Scripted(folder / f"clean-{number}", subject)


def main() -> int:
    """Sweep what was asked for and print the shares; 1 where something came that never may."""
    parser = argparse.ArgumentParser()
    parser.add_argument("recordings", nargs="*", type=Path)
    parser.add_argument("--scripted", action="store_true")
    parser.add_argument("--every", type=int, default=100)
    parser.add_argument("--more", type=int, default=2000)
    parser.add_argument("--in-turn", action="store_true", help="each run gets its share of them")
    asked = parser.parse_args()
    began_s, folder = time.monotonic(), work_folder()
    os.environ[CHOSEN] = str(folder / "state")
    clean: list[Clean] = [Recorded(path) for path in asked.recordings]
    clean += scripted(folder) if asked.scripted else []
    wrong = 0
    for number, each in enumerate(clean):
        chosen = offsets(each.size, asked.every, asked.more)
        if asked.in_turn:
            chosen = itertools.islice(chosen, number, None, len(clean))
        counted = swept(each, chosen, folder)
        print(counted, *counted.wrong, sep="\n", flush=True)
        wrong += len(counted.wrong)
    print(f"{wrong} of what never may be; {time.monotonic() - began_s:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    assert behaviour.is_pure(SUBJECTS["reference"])
    sys.exit(main())
