# SPDX-License-Identifier: Apache-2.0
"""A run that is killed at a boundary of its journal: its report, and the run after it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hilagent.result import EXIT_ACCUSED, EXIT_LAB, Verdict
from tests.fault.harness import HILAGENT, Ran, ran


@dataclass(frozen=True)
class Whole:
    """What the same run writes if nobody kills it.

    Attributes:
        lines: of its journal.
        verdicts: of its tests, by name.
        code: its exit code.
    """

    lines: int
    verdicts: dict[str, Verdict]
    code: int


def whole(argv: Sequence[str], folder: Path) -> Whole:
    """Run ``argv`` to its end."""
    done = ran(argv, folder)
    assert done.run is not None, done.story()
    verdicts = {test: outcome.verdict for test, outcome in done.run.outcomes.items()}
    return Whole(len(done.run.records), verdicts, done.code or 0)


def killed(argv: Sequence[str], folder: Path, lines: int, torn_bytes: int = 0) -> Ran:
    """Run ``argv`` until its journal has ``lines`` lines (and so many bytes of the next).

    It may end by itself before: how often progress is told is a matter of time.
    """
    return ran(argv, folder, ("-m", "tests.fault.killed", str(lines), str(torn_bytes)))


def check(done: Ran, lines: int, torn: bool, expected: Whole) -> dict[str, Verdict]:
    """Assert that the report of a run that was killed tells what its journal had, and no
    more; return the verdicts that had been measured."""
    run = done.run
    assert run is not None, done.story()
    assert not done.emulators, "its emulator runs on"
    assert (len(run.records), run.torn, run.damaged) == (lines, torn, 0)
    measured = {
        record["test"]: Verdict(record["verdict"])
        for record in run.records if record["kind"] == "outcome"
    }  # fmt: skip
    told = reported(run.run_dir)
    verdicts = {test["id"]: Verdict(test["verdict"]) for test in told["tests"]}
    assert set(verdicts) == set(run.plan or ()), "a test is missing, or was invented"
    for test, verdict in verdicts.items():
        assert verdict == measured.get(test, Verdict.UNFINISHED), test
        assert verdict in {expected.verdicts[test], Verdict.UNFINISHED}, test
    assert told["finished"] == (run.end is not None)
    accused = any(verdict.accuses for verdict in verdicts.values())
    code = expected.code if run.end is not None else EXIT_ACCUSED if accused else EXIT_LAB
    assert told["exit_code"] == code
    return measured


def reported(run_dir: Path) -> dict[str, Any]:
    """Return what ``hilagent report`` makes of a run; the same when it is asked again."""
    argv = [sys.executable, *HILAGENT, "report", str(run_dir), "--format", "json"]
    said = [subprocess.run(argv, capture_output=True, timeout=60) for _ in range(2)]
    assert said[0].stdout == said[1].stdout
    told: dict[str, Any] = json.loads(said[0].stdout)
    return told


def counted(board: str, runs: Path) -> list[str]:
    """Return the verdicts of the runs of ``board`` that its history has, the oldest first."""
    said = subprocess.run(
        [sys.executable, *HILAGENT, "history", board, "--json"],
        capture_output=True, timeout=60, env={**os.environ, "HILAGENT_RUNS": str(runs)},
    )  # fmt: skip
    return [run["verdict"] for run in json.loads(said.stdout)["runs"]]
