# SPDX-License-Identifier: Apache-2.0
"""Runs on lines that damage bytes, and whether each verdict was the right one.

::

    python -m tests.fault.legs a 0 10        # leg a, seeds 0 to 9; a line for each
    python -m tests.fault.legs a 7 1         # the one that went wrong, again

A mutant is under test in every second run, reference vectors in the others.
"""

from __future__ import annotations

import enum
import json
import random
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from hilagent.build.mutants import ANY, MUTANTS, Mutant
from hilagent.result import Finding
from tests.fault.agent import Spec
from tests.fault.harness import Ran, faulty, ran

Key = tuple[str, str, str]
CPUS = 2


@dataclass(frozen=True)
class Leg:
    """A line's faults, and how the payload is brought over it."""

    name: str
    rate: float
    transfer: str
    after_boot: bool


LEGS = {
    "a": Leg("1 % after the payload's hello", 0.01, "tftp", True),
    "b": Leg("0.1 % from power-on, TFTP", 0.001, "tftp", False),
    "c": Leg("0.01 % from power-on, YMODEM", 0.0001, "ymodem", False),
}


class Came(enum.Enum):
    """What a run's verdict was worth."""

    RIGHT = "right"
    INFRA = "infra"  # no verdict, and nobody accused
    WRONG = "wrong"
    STUCK = "stuck"  # it didn't end


@dataclass(frozen=True)
class Scored:
    """One run."""

    seed: int
    vectors: str
    came: Came
    why: str
    faults: int
    ran: Ran

    def __str__(self) -> str:
        took = f"{self.ran.took_s:5.1f} s  {self.faults:5d} faults"
        return f"seed {self.seed:3d}  {self.came.value:5}  {took}  {self.vectors}  {self.why}"


@dataclass
class Truth:
    """What each subject is accused of on a good line; measured once each."""

    folder: Path
    known: dict[str, set[Key]] = field(default_factory=dict)

    def of(self, vectors: str, mutant: Mutant | None) -> set[Key]:
        if mutant is None:
            return set()
        if vectors not in self.known:
            folder = self.folder / f"good-line-{mutant.name}"
            clean = ran(argv(vectors, mutant, "tftp"), folder)
            assert clean.code == 1, clean.story()
            self.known[vectors] = accused(clean)
        return self.known[vectors]


def key(finding: Finding) -> Key:
    """Return what of a finding doesn't depend on the run."""
    return finding.rule, finding.hcall, finding.what


def accused(done: Ran) -> set[Key]:
    """Return all that a run accuses: each test that does, and each finding."""
    outcomes = done.run.outcomes.values() if done.run else ()
    tests = {(each.verdict.name, each.test, "") for each in outcomes if each.verdict.accuses}
    return tests | set(map(key, done.findings))


def drawn(seed: int) -> tuple[str, Mutant | None]:
    """Return what is under test with ``seed``: a mutant that ends, or reference vectors."""
    choose = random.Random(seed)
    if seed % 2:
        mutant = choose.choice([mutant for mutant in MUTANTS if mutant.rule != "hang"])
        return f"mutant:{mutant.name}", mutant
    return choose.choice(["reference-stub", "reference-kvm"]), None


def argv(vectors: str, mutant: Mutant | None, transfer: str) -> list[str]:
    """Return the arguments of a short run: one subject, two CPUs."""
    abi = mutant.profile if mutant else "iss-2015"
    suites = ["--suite", "dispatch", "--suite", "clobber"]
    board = ["run", "qemu-virt", "-o", f"smp={CPUS}", "--transfer", transfer]
    return [*board, *suites, "--vectors", vectors, "--abi", abi]


def run(leg: Leg, seed: int, folder: Path, truth: Truth) -> Scored:
    """Run one with the faults of ``leg`` and ``seed``, and judge its verdict."""
    vectors, mutant = drawn(seed)
    guilty = truth.of(vectors, mutant)
    home = folder / f"seed-{seed}"
    tally = home / "tally.json"
    spec = Spec(rate=leg.rate, seed=seed, after_boot=leg.after_boot, tally=str(tally))
    done = ran(argv(vectors, mutant, leg.transfer), home, faulty(spec))
    came, why = judged(done, mutant, guilty)
    faults = sum(json.loads(tally.read_text())) if tally.exists() else 0
    return Scored(seed, vectors, came, why, faults, done)


def judged(done: Ran, mutant: Mutant | None, guilty: set[Key]) -> tuple[Came, str]:
    """Return what the verdict of a run was worth, and why."""
    if done.code is None:
        return Came.STUCK, f"killed after {done.took_s:.0f} s"
    if done.emulators:
        return Came.WRONG, f"left emulators running: {done.emulators}"
    found = accused(done)
    if found - guilty:
        return Came.WRONG, f"accused of {sorted(found - guilty)}"
    if done.code == 125:
        return Came.INFRA, _first_trouble(done)
    if done.code != (1 if mutant else 0):
        return Came.WRONG, f"exit code {done.code}: {done.err.strip()[-300:]}"
    if mutant and not any(_names(finding, mutant) for finding in found):
        return Came.WRONG, f"not accused of {mutant.rule} {mutant.hcall} {mutant.what}: {found}"
    return Came.RIGHT, ""


def _names(finding: Key, mutant: Mutant) -> bool:
    rule, hcall, what = finding
    return (rule, what) == (mutant.rule, mutant.what) and mutant.hcall in {hcall, ANY}


def _first_trouble(done: Ran) -> str:
    outcomes = done.run.all_outcomes() if done.run else []
    bad = [each for each in outcomes if each.verdict.name not in {"PASS", "UNSUPPORTED"}]
    end = (done.run.end or {}) if done.run else {}
    return f"{bad[0].verdict.name} {bad[0].message}" if bad else str(end.get("lab", "no outcome"))


def tallied(scored: list[Scored]) -> str:
    """Return the counts in a few words."""
    counts = Counter(each.came for each in scored)
    times = sorted(each.ran.took_s for each in scored)
    counted = ", ".join(f"{counts[came]} {came.value}" for came in Came if counts[came])
    middle_s, most_s = times[len(times) // 2], times[-1]
    return f"{counted} of {len(scored)}; {middle_s:.0f} s each, at most {most_s:.0f} s"


def main(name: str, first: int, count: int) -> None:
    """Run ``count`` seeds of a leg and print what came of each; keep the run directories."""
    folder = Path(tempfile.mkdtemp(prefix=f"hilagent-leg-{name}-"))
    truth, scored = Truth(folder), list[Scored]()
    print(f"{LEGS[name].name}; runs in {folder}", flush=True)
    for seed in range(first, first + count):
        scored.append(run(LEGS[name], seed, folder, truth))
        print(scored[-1], flush=True)
    print(tallied(scored))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
