# SPDX-License-Identifier: Apache-2.0
"""From an exception to a verdict: one function, the same in a test and in a fixture."""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence

import pytest

from hilagent import errors
from hilagent.result import Finding, Verdict, worst


class Unfinished(errors.HilagentError):
    """Not all of it was observed: neither held nor broken (UNFINISHED)."""


VERDICTS: Mapping[type[BaseException], Verdict] = {
    errors.TargetCrash: Verdict.CRASH,
    errors.TargetHang: Verdict.HANG,
    errors.TargetError: Verdict.FAIL,
    errors.Unsupported: Verdict.UNSUPPORTED,
    errors.PreconditionError: Verdict.PRECONDITION,
    errors.LabError: Verdict.INFRA,
    errors.WorldError: Verdict.INFRA,
    errors.UsageError: Verdict.BUG,
    errors.AgentBug: Verdict.BUG,
    Unfinished: Verdict.UNFINISHED,
    AssertionError: Verdict.FAIL,
    pytest.fail.Exception: Verdict.FAIL,
    pytest.skip.Exception: Verdict.UNSUPPORTED,
    pytest.exit.Exception: Verdict.UNFINISHED,
    KeyboardInterrupt: Verdict.UNFINISHED,
    SystemExit: Verdict.UNFINISHED,
}
"""The nearest class in an exception's line of descent decides; none of them: BUG."""


_DISK = frozenset({errno.ENOSPC, errno.EDQUOT})


def verdict_of(exc: BaseException) -> Verdict:
    """Return the verdict that ``exc`` stands for; what nobody knows is a BUG, ours.

    Of a group (several fixtures failed in one teardown) the worst counts.
    """
    if isinstance(exc, BaseExceptionGroup):
        return worst(verdict_of(part) for part in exc.exceptions)
    if isinstance(exc, OSError) and exc.errno in _DISK:
        return Verdict.INFRA
    for kind in type(exc).__mro__:
        if kind in VERDICTS:
            return VERDICTS[kind]
    return Verdict.BUG


class Accusation(errors.TargetError):
    """FAIL with its evidence: what a judge found, and how often it was measured.

    Attributes:
        findings: the breaches; never empty.
        measured: one verdict a measurement, the first always accusing.
        details: expected and found, registers, where the raw log is.
    """

    def __init__(
        self,
        message: str,
        findings: Sequence[Finding],
        *,
        details: str = "",
        measured: Sequence[Verdict] = (),
    ) -> None:
        super().__init__(message)
        self.findings, self.details = tuple(findings), details
        self.measured = tuple(measured)


def message_of(exc: BaseException) -> str:
    """Return one line that says what happened and, where known, what to do."""
    text = str(exc) or type(exc).__name__
    if not isinstance(exc, errors.HilagentError | AssertionError | pytest.fail.Exception):
        text = f"{type(exc).__name__}: {text}"
    first = text.strip().splitlines()[0] if text.strip() else type(exc).__name__
    hint = getattr(exc, "hint", "")
    return f"{first} ({hint})" if hint else first
