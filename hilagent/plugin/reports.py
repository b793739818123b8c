# SPDX-License-Identifier: Apache-2.0
"""What pytest is told: every category comes from the closed table in ``result``.

The phase decides nothing: a crash seen in a fixture is a failure, a lost link
in a test's body is an error.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pytest

from hilagent import errors
from hilagent.result import RENDERINGS, Finding, Outcome, Verdict, worst
from hilagent.session.verdict import message_of, verdict_of
from hilagent.text import scrub, scrub_line

_ATTRIBUTE = "hilagent_judged"
_PYTEST_OUTCOME = {"passed": "passed", "failed": "failed", "error": "failed", "skipped": "skipped"}


@dataclass(frozen=True)
class Judged:
    """One phase of one test, judged."""

    verdict: Verdict
    message: str = ""
    details: str = ""
    findings: tuple[Finding, ...] = ()
    measured: tuple[Verdict, ...] = ()


class Story:
    """What a failed test shows: our message and evidence, without a traceback.

    Looks to pytest like one of its own failure representations.
    """

    @dataclass(frozen=True)
    class Crash:
        """The place and the one line of pytest's short summary."""

        path: str
        lineno: int
        message: str

    def __init__(self, item: pytest.Item, judged: Judged) -> None:
        path, line, _ = item.location
        self.reprcrash = self.Crash(path, line or 0, f"{judged.verdict.name}: {judged.message}")
        self.text = "\n".join(filter(None, [self.reprcrash.message, judged.details]))

    def __str__(self) -> str:
        return self.text

    def toterminal(self, out: Any) -> None:
        """Write it to pytest's terminal writer."""
        for line in self.text.splitlines():
            out.line(line)


def judge(item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport) -> None:
    """Set outcome and text of ``report`` by the verdict on what was raised."""
    _unhide(call, report)
    judged = _judged(call, report)
    setattr(report, _ATTRIBUTE, judged)
    if judged.verdict is Verdict.PASS or hasattr(report, "wasxfail"):
        return
    restate(item, report, judged)
    if call.excinfo and _is_ours(call.excinfo.value):
        _retell(item, report, judged)


def _unhide(call: pytest.CallInfo[None], report: pytest.TestReport) -> None:
    """Undo an xfail that hides a lost link or a bug: only an accusation can be expected."""
    if not (hasattr(report, "wasxfail") and call.excinfo):
        return
    exc = call.excinfo.value
    if not isinstance(exc, pytest.xfail.Exception) and not verdict_of(exc).accuses:
        del report.wasxfail
        report.outcome = "failed"


def restate(item: pytest.Item, report: pytest.TestReport, judged: Judged) -> None:
    """Give ``report`` the verdict of ``judged``, whatever it had."""
    setattr(report, _ATTRIBUTE, judged)
    outcome = _PYTEST_OUTCOME[RENDERINGS[judged.verdict].pytest]
    report.outcome = outcome  # type: ignore[assignment]
    if report.skipped and not isinstance(report.longrepr, tuple):
        path, line, _ = item.location
        report.longrepr = (path, line or 0, f"Skipped: {judged.message}")
    elif len(judged.measured) > 1:
        _retell(item, report, judged)


def _retell(item: pytest.Item, report: pytest.TestReport, judged: Judged) -> None:
    if report.failed:
        report.longrepr = Story(item, judged)  # type: ignore[assignment]


def _is_ours(exc: BaseException) -> bool:
    return isinstance(exc, errors.HilagentError)


def _judged(call: pytest.CallInfo[None], report: pytest.TestReport) -> Judged:
    if hasattr(report, "wasxfail"):
        verdict = Verdict.UNSUPPORTED if report.skipped else Verdict.PASS
        return Judged(verdict, f"expected to fail: {report.wasxfail}")
    if call.excinfo is None:
        if report.failed:  # a strict xfail that passed
            return Judged(Verdict.FAIL, scrub_line(str(report.longrepr)))
        return Judged(Verdict.PASS)
    return raised(call.excinfo.value, str(report.longrepr))


def raised(exc: BaseException, shown: str = "") -> Judged:
    """Return the judgement on what a test raised.

    Args:
        shown: the traceback, for what isn't an error of ours.
    """
    details = getattr(exc, "details", "") or ("" if _is_ours(exc) else shown)
    return Judged(
        verdict_of(exc),
        scrub_line(message_of(exc), limit=500),
        scrub(details, limit=100_000),
        tuple(getattr(exc, "findings", ())),
        tuple(getattr(exc, "measured", ())),
    )


def judged_of(report: pytest.TestReport | pytest.CollectReport) -> Judged | None:
    """Return the judgement that ``report`` carries; None for a test that isn't ours."""
    return getattr(report, _ATTRIBUTE, None)


def teststatus(report: pytest.TestReport | pytest.CollectReport) -> tuple[str, str, str] | None:
    """Return category, letter and word by the table; None leaves it to pytest."""
    judged = judged_of(report)
    if judged is None or judged.verdict is Verdict.PASS or hasattr(report, "wasxfail"):
        return None
    rendering = RENDERINGS[judged.verdict]
    return rendering.pytest, rendering.letter, judged.verdict.name


def junit_phase(report: pytest.TestReport) -> str | None:
    """Return the phase that makes pytest's own JUnit writer choose the table's element.

    It writes ``<failure>`` for the phase "call" and ``<error>`` for any other.
    """
    judged = judged_of(report)
    if judged is None or not report.failed:
        return report.when
    failure = RENDERINGS[judged.verdict].junit == "failure"
    if failure:
        return "call"
    return report.when if report.when != "call" else "setup"


def worst_of(reports: Iterable[pytest.TestReport]) -> tuple[pytest.TestReport, Judged]:
    """Return the report of a test that decides, and its judgement."""
    pairs = [(report, judged) for report in reports if (judged := judged_of(report))]
    verdict = worst(judged.verdict for _, judged in pairs)
    return next(pair for pair in pairs if pair[1].verdict is verdict)


def outcome_of(test: str, reports: list[pytest.TestReport]) -> Outcome:
    """Return how the test ended over all its phases."""
    _, judged = worst_of(reports)
    return Outcome(
        test=test,
        verdict=judged.verdict,
        message=judged.message,
        details=judged.details,
        findings=judged.findings,
        measured=judged.measured,
        duration_s=round(sum(report.duration for report in reports), 6),
    )
