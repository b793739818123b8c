# SPDX-License-Identifier: Apache-2.0
"""Runs the command as a user does, watches it from outside, and says what came of it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hilagent import journal
from hilagent.clock import Deadline
from hilagent.result import Finding
from tests import tree
from tests.fault.agent import Spec

LIMIT_S = 600.0
"""No run of these tests is meant to take so long: one that does hangs."""
_LOOK_S = 0.05
_BURIAL_S = 5.0
HILAGENT = ("-m", "hilagent")


def faulty(spec: Spec) -> tuple[str, ...]:
    """Return what runs the command with the faults of ``spec``."""
    return ("-m", "tests.fault.agent", spec.text())


@dataclass(frozen=True)
class Ran:
    """What a run came to.

    Attributes:
        code: exit code; None: it didn't end in time and was killed.
        run: the run directory, read back; None where there is none.
        emulators: process ids of emulators that it left behind.
    """

    argv: tuple[str, ...]
    code: int | None
    took_s: float
    out: str
    err: str
    run: journal.Run | None
    emulators: tuple[int, ...]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Everything that was found, by every test."""
        outcomes = self.run.outcomes.values() if self.run else ()
        return tuple(finding for outcome in outcomes for finding in outcome.findings)

    @property
    def verdicts(self) -> set[str]:
        """The verdicts of its tests, by name; one that didn't end is UNFINISHED."""
        return {outcome.verdict.name for outcome in self.run.all_outcomes()} if self.run else set()

    def story(self) -> str:
        """Return what a person needs to see of a run that went wrong."""
        said = [f"$ hilagent {' '.join(self.argv)}", f"exit {self.code} after {self.took_s:.1f} s"]
        return "\n".join([*said, self.out[-3000:], self.err[-3000:]])


class Agent:
    """A running ``hilagent``; made by `started`."""

    def __init__(self, how: Sequence[str], argv: Sequence[str], folder: Path) -> None:
        self.argv, self.run_dir = tuple(argv), folder / "run"
        self._mark = f"HILAGENT_RUNS={folder}"
        self._out, self._err = folder / "out", folder / "err"
        env = {**os.environ, "HILAGENT_RUNS": str(folder), "PYTHONPATH": str(tree.TOP)}
        self._began_s = time.monotonic()
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, *how, *argv],
                stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=folder, env=env,
            )  # fmt: skip

    def emulators(self) -> tuple[int, ...]:
        """Return the process ids of the emulators that this run started and that still run."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                environment = (process / "environ").read_bytes().split(b"\0")
                program = (process / "cmdline").read_bytes().split(b"\0")[0]
                if self._mark.encode() in environment and b"qemu" in program:
                    found.append(int(process.name))
        return tuple(found)

    def records(self) -> list[dict[str, Any]]:
        """Return what the journal says so far."""
        path = self.run_dir / journal.NAME
        lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
        return [json.loads(line) for line in lines]

    def swept(self) -> int:
        """Return the number of the sweep that is under way and has shown progress, else 0."""
        records = self.records()
        ended = {r["step"] for r in records if r["kind"] == "step" and r["phase"] == "end"}
        going = [r["step"] for r in records if r["kind"] == "progress" and r["what"][:5] == "sweep"]
        return max({*going} - ended, default=0)

    def until(self, seen: Callable[[], bool], deadline: Deadline) -> bool:
        """Wait until ``seen``; False where the run ended, or the time, before that."""
        while not seen():
            if deadline.expired():
                return False
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(_LOOK_S)
                return False
        return True

    def ended(self, limit_s: float = LIMIT_S) -> Ran:
        """Wait for the end and return what came of it."""
        code: int | None = None
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self.process.wait(limit_s)
        if code is None:
            self.process.kill()
            self.process.wait()
        took_s = time.monotonic() - self._began_s
        run = journal.read(self.run_dir) if (self.run_dir / journal.NAME).exists() else None
        out, err = (path.read_text(errors="replace") for path in (self._out, self._err))
        return Ran(self.argv, code, took_s, out, err, run, _outliving(self.emulators()))


def _outliving(pids: Sequence[int]) -> tuple[int, ...]:
    """Return those that don't end soon: who dies with a killed parent takes a moment for it."""
    deadline, left = Deadline.after(_BURIAL_S), []
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            ended = os.pidfd_open(pid)
            if not select.select([ended], [], [], deadline.left_s())[0]:
                left.append(pid)
            os.close(ended)
    return tuple(left)


@contextlib.contextmanager
def started(argv: Sequence[str], folder: Path, how: Sequence[str] = HILAGENT) -> Iterator[Agent]:
    """Start ``hilagent ARGV`` with all that it writes in ``folder``; it is gone afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    folder = folder.resolve()
    words = [*argv, "--run-dir", str(folder / "run")] if argv[0] == "run" else argv
    agent = Agent(how, words, folder)
    try:
        yield agent
    finally:
        if agent.process.poll() is None:
            agent.process.kill()
            agent.process.wait()


def ran(
    argv: Sequence[str], folder: Path, how: Sequence[str] = HILAGENT, limit_s: float = LIMIT_S
) -> Ran:
    """Run ``hilagent ARGV`` to its end."""
    with started(argv, folder, how) as agent:
        return agent.ended(limit_s)
