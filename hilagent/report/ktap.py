# SPDX-License-Identifier: Apache-2.0
"""KTAP version 1 (Linux 6.12, Documentation/dev-tools/ktap.rst), a subtest for each suite.

What a test's directive is the closed table in ``result`` says. A name holds no ``#``, and
messages stand in diagnostic lines before their result, as the kernel's own tests have them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from hilagent.journal import Run
from hilagent.report.results import by_suite, outcomes
from hilagent.result import RENDERINGS, Outcome
from hilagent.text import scrub_line

HEAD = "KTAP version 1"
_NOT_A_NAME = re.compile(r"[^A-Za-z0-9_.,:+@()\[\]=/-]+")
_MOST_FINDINGS = 8


def ktap(runs: Sequence[Run]) -> str:
    """Return the runs as KTAP; each is one test of the document."""
    lines = [HEAD, f"1..{len(runs)}"]
    for number, run in enumerate(runs, 1):
        suites = by_suite(run)
        body = [line for n, each in enumerate(suites.items(), 1) for line in _suite(n, *each)]
        name = _name(f"hilagent-{run.facts.get('board', 'unknown')}")
        lines += _indented([HEAD, f"# Subtest: {name}", f"1..{len(suites)}", *body])
        lines.append(_result(all(map(_ok, outcomes(run))), number, name))
    return "\n".join(lines) + "\n"


def _suite(number: int, name: str, members: Sequence[Outcome]) -> Iterable[str]:
    body = [HEAD, f"# Subtest: {_name(name)}", f"1..{len(members)}"]
    for each, outcome in enumerate(members, 1):
        body += _diagnostics(outcome)
        directive = RENDERINGS[outcome.verdict].ktap.partition(" # ")[2]
        reason = f" {_text(outcome.message)}" if outcome.message and directive else ""
        end = f" # {directive}{reason}" if directive else ""
        test = _name(outcome.test)
        if test == _name(name):  # kunit.py would take its result for the suite's
            test += "-itself"
        body.append(_result(_ok(outcome), each, test) + end)
    return [*_indented(body), _result(all(map(_ok, members)), number, _name(name))]


def _diagnostics(outcome: Outcome) -> Iterable[str]:
    if RENDERINGS[outcome.verdict].ktap.startswith("ok"):
        return
    yield f"# {outcome.verdict.value}: {_text(outcome.message)}"
    for each in outcome.findings[:_MOST_FINDINGS]:
        yield "# " + _text(
            f"{each.rule}: {each.hcall} {each.what}: expected {each.expected}, found {each.found}"
        )


def _ok(outcome: Outcome) -> bool:
    return RENDERINGS[outcome.verdict].ktap.startswith("ok")


def _result(ok: bool, number: int, name: str) -> str:
    return f"{'ok' if ok else 'not ok'} {number} {name}"


def _name(text: str) -> str:
    return _NOT_A_NAME.sub("_", scrub_line(text, limit=200)) or "_"


def _text(text: str) -> str:
    return scrub_line(text, limit=400).replace("#", "no. ")


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"  {line}" for line in lines]
