# SPDX-License-Identifier: Apache-2.0
"""Runs one test; what accuses is measured again after a fresh boot, and both are shown.

A FAIL or CRASH is never withdrawn: "1 of 2" stays what it was. A HANG needs the
same test to hang again, else it is the lab's: one silence is no evidence.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
from _pytest.runner import runtestprotocol

from hilagent.journal import Journal
from hilagent.plugin import collected, reports, runs
from hilagent.result import Outcome, Verdict


def run(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Run ``item``, journal its outcome, and log its reports."""
    hook, the_run = item.ihook, runs.of(item.config)
    hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    done = _run_once(item, nextitem)
    outcome = reports.outcome_of(collected.test_id(item), done)
    _distrust(item, outcome)
    repeat = (lambda: _repeated(item, nextitem, outcome.test)) if _repeatable(item) else None
    settled = settle(outcome, the_run.journal(), repeat)
    if settled is not outcome:
        _show(item, done, settled)
    for report in done:
        hook.pytest_runtest_logreport(report=report)
    hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)


def settle(outcome: Outcome, journal: Journal, repeat: Callable[[], Outcome] | None) -> Outcome:
    """Journal how a test ended; what accuses is measured again before that.

    Args:
        repeat: measures again; None where that can't be done.

    Returns:
        What counts, the same object where it was measured once.
    """
    if outcome.verdict.accuses and not outcome.measured and repeat is not None:
        if outcome.verdict is not Verdict.HANG:
            journal.outcome(outcome)
        outcome = combine(outcome, repeat())
    journal.outcome(outcome)
    return outcome


def _distrust(item: pytest.Item, outcome: Outcome) -> None:
    """Let the next test begin at power where this one left nobody knows what."""
    session = runs.of(item.config).opened
    fine = {Verdict.PASS, Verdict.UNSUPPORTED, Verdict.FAIL}
    if session is not None and not collected.is_suite(item) and outcome.verdict not in fine:
        session.taint(outcome.message)


def _run_once(item: pytest.Item, nextitem: pytest.Item | None) -> list[pytest.TestReport]:
    return runtestprotocol(item, log=False, nextitem=nextitem)


def _repeatable(item: pytest.Item) -> bool:
    return collected.uses_board(item) and runs.of(item.config).opened is not None


def _repeated(item: pytest.Item, nextitem: pytest.Item | None, test: str) -> Outcome:
    session = runs.of(item.config).session()
    if not collected.is_suite(item):
        session.taint("what accused is measured again after a fresh boot")
    with session.again():
        second = reports.outcome_of(test, _run_once(item, nextitem))
    _distrust(item, second)
    return second


def _show(item: pytest.Item, done: list[pytest.TestReport], outcome: Outcome) -> None:
    """Have the reports of the first measurement say what counts."""
    deciding, _ = reports.worst_of(done)
    shown = reports.Judged(
        outcome.verdict, outcome.message, outcome.details, outcome.findings, outcome.measured
    )
    reports.restate(item, deciding, shown)


def combine(first: Outcome, second: Outcome) -> Outcome:
    """Return the outcome of a test that accused, measured twice."""
    measured = (first.verdict, second.verdict)
    if first.verdict is Verdict.HANG and second.verdict is not Verdict.HANG:
        message = f"hung once, and not again from a fresh boot ({second.verdict.name})"
        details = "\n".join([f"first: {first.message}", first.details, f"then: {second.message}"])
        return dataclasses.replace(
            first, verdict=Verdict.INFRA, message=message, details=details, measured=measured
        )
    both = dataclasses.replace(first, measured=measured)
    parts = [both.details, f"Measured again after a fresh boot: {both.times}."]
    if second.verdict is not first.verdict:
        parts.append(f"The second time: {second.verdict.name} {second.message}".rstrip())
    return dataclasses.replace(both, details="\n".join(filter(None, parts)))
