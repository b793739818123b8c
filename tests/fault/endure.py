# SPDX-License-Identifier: Apache-2.0
"""One process that measures and restarts one board for hours, on a line that damages bytes.

::

    python -m tests.fault.endure 2000 200 0.001       # sweeps, restarts, faults a byte

Every fourth measurement is of a mutant, which must be accused. It ends with what came of
all of them, and with what the process held when it was warm, and at the end.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

from hilagent import errors, transport
from hilagent.board.model import Console
from hilagent.journal import Journal
from hilagent.probe.restart import Kind
from hilagent.result import Verdict
from hilagent.session import open as opening
from hilagent.session.linux import Boot
from hilagent.session.session import Session
from hilagent.session.settings import Request, Settings, look_up
from hilagent.suites import legs, observe
from hilagent.testing import FaultyStream
from hilagent.transport import Stream, labgrid
from tests.fault.agent import Spec, bad_line

MUTANT = "mutant:get_clobbers_x19"
WARM = 3
"""Measurements, after which nothing more is built, imported or cached."""


@dataclass(frozen=True)
class Held:
    """What this process holds.

    Attributes:
        threads, files: how many; rss_kib: resident memory.
    """

    rss_kib: int
    files: int
    threads: int

    @classmethod
    def now(cls) -> Held:
        status = Path("/proc/self/status").read_text()
        rss_kib = int(status.partition("VmRSS:")[2].split()[0])
        return cls(rss_kib, len(os.listdir("/proc/self/fd")), threading.active_count())


@dataclass
class Tally:
    """What came of it.

    Attributes:
        sweeps: of 65,536 immediates, in measurements that came to a verdict.
        measured, restarted: how often which outcome: ``right``, ``infra``, or what was wrong.
        faults: that the line had.
    """

    sweeps: int = 0
    measured: Counter[str] = field(default_factory=Counter)
    restarted: Counter[str] = field(default_factory=Counter)
    faults: int = 0
    held: dict[str, Held] = field(default_factory=dict)

    def hold(self, when: str) -> None:
        self.held[when] = Held.now()


def settings() -> Settings:
    """Return what is asked: a reference and a mutant, a kernel whose KVM is off."""
    vectors = ("reference-stub", MUTANT)
    return look_up(Request(options={"smp": "2"}, vectors=vectors, modes=("none",)))


def measure(session: Session, wanted: Settings, number: int, tally: Tally) -> None:
    """Measure one subject from the payload that runs; from a fresh boot after trouble."""
    subject = wanted.subjects[number % 4 == 3]
    session.forget("")
    try:
        judged = observe.vectors(session, wanted, subject)
    except errors.LabError:
        tally.measured["infra"] += 1
        return
    except errors.TargetError as exc:
        tally.measured[f"WRONG: {exc.message[:100]}"] += 1
        return
    found = {finding.what for finding in judged.judgement.findings} if judged.judgement else None
    expected = {"x19"} if subject.name == MUTANT else set[str]()
    tally.measured["right" if found == expected else f"WRONG: {found}"] += 1
    tally.sweeps += len(judged.passes)


def restart(session: Session, number: int, tally: Tally) -> None:
    """Restart the kernel once into itself."""
    try:
        done = legs.into_kernel(session, Boot("patched", "none"), Kind.FILE, number)
    except errors.LabError:
        tally.restarted["infra"] += 1
        session.taint("a restart failed")
        return
    except errors.TargetError as exc:
        tally.restarted[f"WRONG: {exc.message[:100]}"] += 1
        return
    if done.verdict is Verdict.PASS:
        tally.restarted["right"] += 1
        return
    session.taint("a restart failed")
    wrong = done.verdict.accuses
    tally.restarted[f"WRONG: {done.message[:100]}" if wrong else "infra"] += 1


def endure(sweeps: int, restarts: int, rate: float, say: Callable[[str], None]) -> Tally:
    """Do it; a line of progress a minute."""
    tally, lines = Tally(), list[FaultyStream]()
    really, count, told_s = transport.open, itertools.count(), time.monotonic()

    def faulty(
        console: Console, power: object = None, place: labgrid.Place | None = None
    ) -> Stream:
        spec = Spec(rate=rate, seed=2015, after_boot=True)
        stream = bad_line(really(console, power, place), spec, next(count))
        lines.append(stream)
        return stream

    def progress() -> None:
        nonlocal told_s
        if time.monotonic() - told_s >= 60:
            told_s = time.monotonic()
            say(f"{tally.sweeps} sweeps, {dict(tally.measured)}, {dict(tally.restarted)}")

    wanted, folder = settings(), Path(tempfile.mkdtemp(prefix="hilagent-endure-"))
    with (
        mock.patch.object(transport, "open", faulty),
        opening.open(wanted, Journal(folder)) as session,
    ):
        numbers = itertools.count()
        while tally.sweeps < sweeps:
            if (number := next(numbers)) == WARM:
                tally.hold("warm")
            measure(session, wanted, number, tally)
            progress()
        tally.hold("swept")
        for number in range(1, restarts + 1):
            if number == WARM:
                tally.hold("restarts warm")
            restart(session, number, tally)
            progress()
        tally.hold("end")
    tally.hold("off")
    ways = [way for line in lines for way in (line.proxy.to_board, line.proxy.to_host)]
    tally.faults = sum(len(way.done) for way in ways)
    return tally


if __name__ == "__main__":
    done = endure(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]),
                  lambda text: print(text, file=sys.stderr, flush=True))  # fmt: skip
    print(json.dumps(vars(done), default=vars, indent=1))
