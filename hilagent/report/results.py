# SPDX-License-Identifier: Apache-2.0
"""``results.json``: the run for machines, with a versioned schema.

``version`` grows when a field changes its meaning or goes; fields may be added
without. Registers are hexadecimal strings: JSON's numbers end at 2^53 in most
languages.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, TypeVar, cast

from hilagent import journal, result
from hilagent.journal import Run
from hilagent.text import scrub

T = TypeVar("T")
SCHEMA = "hilagent-results"
VERSION = 1
REPORTS = ("junit.xml", "report.html", "results.json")
CUT_SHORT = ("bug", "lab", "usage", "signal")
"""What an ``end`` record says of a run that did not end by itself, the gravest first."""


def schema() -> str:
    """Return the JSON schema of ``results.json``."""
    return (Path(__file__).parent / "results.schema.json").read_text(encoding="utf-8")


def results(run: Run) -> dict[str, Any]:
    """Return the run as one JSON object."""
    found = run.all_outcomes()
    counts = Counter(outcome.verdict.value for outcome in found)
    out = {
        "schema": SCHEMA,
        "version": VERSION,
        "run": run.facts,
        "verdict": verdict(run).value,
        "exit_code": run.exit_code,
        "finished": run.end is not None,
        "end": run.end or {},
        "damaged_journal_lines": run.damaged + int(run.torn),
        "counts": {v.value: counts.get(v.value, 0) for v in result.Verdict},
        "tests": [_test(outcome) for outcome in found],
        "dispatch": [_table(record) for record in run.observations("dispatch")],
        "clobber": [_table(record) for record in run.observations("clobber")],
        "code": [_table(record) for record in run.observations("code")],
        "restarts": [_table(record) for record in run.observations("restarts")],
        "legs": [_table(record) for record in run.observations("leg")],
        "incidents": [_table(record) for record in run.observations("incident")],
        "files": files(run),
    }
    return scrubbed(out)


def verdict(run: Run) -> result.Verdict:
    """Return the verdict on the whole run; it says the same as the exit code."""
    found = [outcome.verdict for outcome in run.all_outcomes()]
    passed = [v for v in found if v not in {result.Verdict.PASS, result.Verdict.UNSUPPORTED}]
    if passed:
        return result.worst(passed)
    unfinished = result.Verdict.UNFINISHED
    return {
        result.EXIT_OK: result.Verdict.PASS,
        result.EXIT_BUG: result.Verdict.BUG,
        result.EXIT_LAB: result.Verdict.INFRA if run.end and run.end.get("lab") else unfinished,
    }.get(run.exit_code, unfinished)


def files(run: Run) -> list[str]:
    """Return the files of the run's directory, its reports among them, there or not yet."""
    there = {path.name for path in run.run_dir.iterdir() if path.is_file()}
    return sorted({each for each in there if not each.endswith(".new")} | {*REPORTS})


def outcomes(run: Run) -> list[result.Outcome]:
    """Return one outcome a test, and one called ``run`` for an end that none of them tells of.

    A run that the lab cut short after the last test, say, is no pass to whoever counts.
    """
    found = run.all_outcomes()
    whole = verdict(run)
    told = found and run.whole and not cut_short(run)
    if told or whole in {outcome.verdict for outcome in found}:
        return found
    return [*found, result.Outcome("run", whole, why(run))]


def why(run: Run) -> str:
    """Return how a run ended that didn't by itself, or judged nothing; in a sentence."""
    if run.end is None:
        return "it was killed, or its journal was cut"
    if run.damaged:
        return f"{run.damaged} lines of its journal are damaged or missing"
    return cut_short(run) or "nothing passed"


def cut_short(run: Run) -> str:
    """Return what its ``end`` record says of a run that was cut short; empty if it wasn't."""
    end = run.end or {}
    return next((str(end[name]) for name in CUT_SHORT if name in end), "")


def tables(run: Run, what: str) -> list[dict[str, Any]]:
    """Return the tables of what was under test, not those of the suite's own mutants."""
    chosen = run.facts.get("vectors", [])
    return [record for record in run.observations(what) if record.get("subject") in chosen]


def by_suite(run: Run) -> dict[str, list[result.Outcome]]:
    """Return the outcomes of each suite, in the order of the plan; ``own``: a user's tests."""
    found: dict[str, list[result.Outcome]] = {}
    for outcome in outcomes(run):
        found.setdefault(suite_of(outcome.test) or "own", []).append(outcome)
    return found


def suite_of(test: str) -> str:
    """Return which of our suites a test belongs to; empty for a user's own."""
    return test.partition("[")[0] if "::" not in test else ""


def _test(outcome: result.Outcome) -> dict[str, Any]:
    return {
        "id": outcome.test,
        "suite": suite_of(outcome.test),
        "verdict": outcome.verdict.value,
        "message": outcome.message,
        "details": outcome.details,
        "measured": [v.value for v in outcome.measured],
        "times": outcome.times,
        "duration_s": outcome.duration_s,
        "findings": [journal.plain(finding) for finding in outcome.findings],
    }


def _table(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in {"kind", "t", "what"}}


def scrubbed(value: T) -> T:
    """Return ``value`` with every string in it scrubbed: much of it came from a board."""
    return cast("T", _scrubbed(value))


def _scrubbed(value: object) -> object:
    if isinstance(value, str):
        return scrub(value)
    if isinstance(value, dict):
        return {scrub(key): _scrubbed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_scrubbed(item) for item in value]
    return value
