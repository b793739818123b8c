# SPDX-License-Identifier: Apache-2.0
"""What was observed, and the verdict on it: plain frozen data, no I/O.

The verdict table below is closed: pytest category, JUnit, KTAP, KCIDB and exit
code of every verdict are decided here and nowhere else.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


class Verdict(enum.Enum):
    """How a test ended. The default, until it has really ended, is UNFINISHED."""

    PASS = "pass"
    FAIL = "fail"
    CRASH = "crash"
    HANG = "hang"
    UNSUPPORTED = "unsupported"
    INFRA = "infra"
    PRECONDITION = "precondition"
    UNFINISHED = "unfinished"
    BUG = "bug"

    @property
    def accuses(self) -> bool:
        """Whether it accuses what is under test."""
        return self in {Verdict.FAIL, Verdict.CRASH, Verdict.HANG}


@dataclass(frozen=True)
class Rendering:
    """How one verdict is shown by each consumer."""

    pytest: str  # category of pytest_report_teststatus: passed, failed, error, skipped
    letter: str
    junit: str  # element inside <testcase>: "", failure, error, skipped
    ktap: str  # "ok"/"not ok" and directive
    kcidb: str  # PASS, FAIL, ERROR, MISS, SKIP
    exit_code: int


RENDERINGS: Mapping[Verdict, Rendering] = {
    Verdict.PASS: Rendering("passed", ".", "", "ok", "PASS", 0),
    Verdict.FAIL: Rendering("failed", "F", "failure", "not ok", "FAIL", 1),
    Verdict.CRASH: Rendering("failed", "C", "failure", "not ok", "FAIL", 1),
    Verdict.HANG: Rendering("failed", "H", "failure", "not ok # TIMEOUT", "FAIL", 1),
    Verdict.UNSUPPORTED: Rendering("skipped", "s", "skipped", "ok # SKIP", "SKIP", 0),
    Verdict.INFRA: Rendering("error", "I", "error", "not ok # ERROR", "ERROR", 125),
    Verdict.PRECONDITION: Rendering("error", "P", "error", "not ok # ERROR", "ERROR", 125),
    Verdict.UNFINISHED: Rendering("error", "U", "error", "not ok # ERROR", "MISS", 125),
    Verdict.BUG: Rendering("error", "B", "error", "not ok # ERROR", "ERROR", 3),
}

SEVERITY: tuple[Verdict, ...] = (
    Verdict.CRASH,
    Verdict.HANG,
    Verdict.FAIL,
    Verdict.BUG,
    Verdict.INFRA,
    Verdict.PRECONDITION,
    Verdict.UNFINISHED,
    Verdict.UNSUPPORTED,
    Verdict.PASS,
)
"""Worst first: what one test shows when its phases ended differently."""


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the worst of ``verdicts``; UNFINISHED where there are none."""
    return min(verdicts, key=SEVERITY.index, default=Verdict.UNFINISHED)


EXIT_OK, EXIT_ACCUSED, EXIT_USAGE, EXIT_BUG, EXIT_LAB = 0, 1, 2, 3, 125
EXIT_SIGINT, EXIT_SIGTERM = 130, 143


def exit_code(planned: Iterable[str], ended: Mapping[str, Verdict]) -> int:
    """Return the exit code of a run from its plan and its outcomes.

    The first that applies: something accused 1; a BUG 3; lab trouble or
    something planned that did not end 125; nothing passed 125; else 0.
    """
    verdicts = [ended.get(test, Verdict.UNFINISHED) for test in planned]
    verdicts += [verdict for test, verdict in ended.items() if test not in set(planned)]
    codes = {RENDERINGS[verdict].exit_code for verdict in verdicts}
    for code in (EXIT_ACCUSED, EXIT_BUG, EXIT_LAB):
        if code in codes:
            return code
    return EXIT_OK if Verdict.PASS in verdicts else EXIT_LAB


def worst_exit(codes: Iterable[int]) -> int:
    """Return the exit code of several runs: the worst of theirs; without any, 125.

    Accused 1, BUG 3, lab or unfinished 125, usage 2, else 0. Usage comes last: a board
    whose options are wrong was asked nothing, and 125 is the code that says so.
    """
    found = {*codes}
    for code in (EXIT_ACCUSED, EXIT_BUG, EXIT_LAB, EXIT_USAGE):
        if code in found:
            return code
    return EXIT_OK if found == {EXIT_OK} else EXIT_LAB


@dataclass(frozen=True)
class Sig:
    """What one issued hvc did; the fields of ``wire.SIG``, which documents them."""

    seen: int
    vector: int
    catch: int
    el: int
    gpr_changed: int
    v_changed: int
    sys_changed: int
    x0: int
    pstate_diff: int
    pc_off: int
    esr: int
    flags: int
    first: int
    args: tuple[int, ...]
    landing_state: int
    z_changed: int
    elr: int


@dataclass(frozen=True)
class Frame:
    """A whole register file; the fields of ``wire.FRAME``. ``v`` has 32 128-bit values."""

    x: tuple[int, ...]
    sp: int
    pc: int
    pstate: int
    esr: int
    far: int
    seen: int
    imm: int
    sys: Mapping[str, int]
    v: tuple[int, ...]


@dataclass(frozen=True)
class Exchange:
    """One issued hvc with evidence: what went in, what came home."""

    before: Frame
    after: Frame
    sig: Sig


@dataclass(frozen=True)
class SweepPass:
    """One register pass over a range, as the payload returned it.

    Attributes:
        runs: (first, count, index into sigs), covering first..first+count-1 in
            order, but for the last ``left_out``.
        frames: evidence for the first immediate of a signature, by its index.
        ticks: CNTPCT ticks that the payload took.
        swept: ``x0``: then first and count are indices into the values of x0.
        given: said of each finding, where the immediate doesn't say all; never recorded.
    """

    cpu: int
    origin: int
    pass_no: int
    first: int
    count: int
    seed: int
    sigs: tuple[Sig, ...]
    runs: tuple[tuple[int, int, int], ...]
    left_out: int
    ticks: int
    frames: Mapping[int, Exchange] = field(default_factory=dict)
    vectors_crc: int = 0
    job: int = 0
    crc_ok: bool = True
    swept: str = "imm"
    given: str = ""


@dataclass(frozen=True)
class CpuFacts:
    """What a CPU said of itself; addresses are the payload's."""

    cpu: int
    mpidr: int
    midr: int
    front: int
    base_vectors: int
    catch: int
    catch_size: int
    catch_count: int
    stack_page: int
    bad_sp: int
    ids: Mapping[str, int]
    entry: Mapping[str, int]


@dataclass(frozen=True)
class Finding:
    """One breach of one rule by one hcall; what an accusation is made of.

    Attributes:
        rule: short stable name, e.g. ``clobber``, ``dispatch``, ``leak``, ``return-pc``.
        hcall: name in the profile, or ``hvc #0x1234`` where it has none.
        what: the register or property, e.g. ``x19``.
        expected, found: short text.
        cpus, immediates: where it was seen; immediates as (first, last) ranges.
        x0: likewise its values, where they name the hcall.
    """

    rule: str
    hcall: str
    what: str
    expected: str
    found: str
    cpus: tuple[int, ...] = ()
    immediates: tuple[tuple[int, int], ...] = ()
    origin: str = ""
    evidence: str = ""
    x0: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Outcome:
    """How one test ended, as the journal keeps it.

    Attributes:
        message: one line; empty for a plain PASS.
        details: what a person reads to understand it, many lines.
        measured: the verdict of each measurement, where there was more than
            one: (FAIL, PASS) is shown as "1 of 2", and stays a FAIL.
    """

    test: str
    verdict: Verdict
    message: str = ""
    details: str = ""
    findings: tuple[Finding, ...] = ()
    measured: tuple[Verdict, ...] = ()
    duration_s: float = 0.0

    @property
    def times(self) -> str:
        """How many of the measurements accused, e.g. ``2 of 2``; empty for a single one."""
        if len(self.measured) < 2:
            return ""
        return f"{sum(v.accuses for v in self.measured)} of {len(self.measured)}"
