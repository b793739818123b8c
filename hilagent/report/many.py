# SPDX-License-Identifier: Apache-2.0
"""Many boards: one report of their runs, made of their journals and the parent's.

The parent's journal says which boards there were, when each child began, and how it
ended as a process; what was found on a board stands in the journal in its own folder.
A board passes if both say so: a child that was killed is never a PASS.
"""

from __future__ import annotations

import dataclasses
import json
import textwrap
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hilagent import errors, journal
from hilagent.journal import Run
from hilagent.report import replace, write_page
from hilagent.report import write as write_one
from hilagent.report.junit import document, suite
from hilagent.report.results import cut_short, scrubbed
from hilagent.report.results import results as one_results
from hilagent.report.results import verdict as verdict_of
from hilagent.report.summary import WIDTH, paint
from hilagent.result import (
    EXIT_ACCUSED,
    EXIT_BUG,
    EXIT_LAB,
    EXIT_OK,
    EXIT_SIGINT,
    EXIT_SIGTERM,
    EXIT_USAGE,
    RENDERINGS,
    Outcome,
    Verdict,
    worst,
    worst_exit,
)
from hilagent.text import scrub_line

SCHEMA = "hilagent-many-results"
VERSION = 1
_WHY_LINES = 3
"""Of a reason, in the summary; the board's own folder has it all."""
_BY_CODE = {
    EXIT_OK: Verdict.PASS,
    EXIT_ACCUSED: Verdict.FAIL,
    EXIT_BUG: Verdict.BUG,
    EXIT_LAB: Verdict.INFRA,
}


@dataclass(frozen=True)
class BoardRun:
    """What came of one board.

    Attributes:
        facts: its name, and what was known before its run.
        run: its journal; empty where it left none.
        began: whether its process was started.
        ended: how that ended: the fields of ``hilagent.cli.children.Ended`` and ``said``.
        verdict: on the whole run.
        exit_code: 0, 1, 2, 3 or 125.
        why: in a sentence; empty for a PASS.
    """

    facts: dict[str, Any]
    run: Run
    began: bool
    ended: dict[str, Any] | None
    verdict: Verdict
    exit_code: int
    why: str

    @property
    def name(self) -> str:
        """The board's name."""
        return str(self.facts.get("name", ""))


@dataclass(frozen=True)
class Many:
    """All of them."""

    run: Run
    boards: tuple[BoardRun, ...]

    @property
    def exit_code(self) -> int:
        """That of the whole: interrupted, else the worst of the boards'."""
        signal = (self.run.end or {}).get("signal")
        if signal:
            return EXIT_SIGINT if signal == "SIGINT" else EXIT_SIGTERM
        damaged = [EXIT_LAB] if self.run.damaged else []
        return worst_exit([*damaged, *(board.exit_code for board in self.boards)])

    @property
    def verdict(self) -> Verdict:
        """The worst of the boards' verdicts."""
        damaged = [Verdict.UNFINISHED] if self.run.damaged else []
        return worst([*damaged, *(board.verdict for board in self.boards)])


def read(run_dir: Path) -> Many:
    """Return what the journals in ``run_dir`` say.

    Raises:
        errors.InputError: there is no journal of a parent.
    """
    run = journal.read(run_dir)
    facts = [each for each in run.facts.get("boards", []) if isinstance(each, dict)]
    return Many(run, tuple(_of(run, each) for each in facts))


def read_one(run_dir: Path, name: str) -> BoardRun:
    """Return what came of the board called ``name``; raises as :func:`read` does."""
    run = journal.read(run_dir)
    return next(_of(run, each) for each in run.facts["boards"] if each["name"] == name)


def _of(parent: Run, facts: dict[str, Any]) -> BoardRun:
    name = facts.get("name")
    of = [each for each in parent.records if each["kind"] == "child" and each.get("board") == name]
    ended = next((record for record in of if record.get("phase") == "end"), None)
    return judged(facts, parent.run_dir / str(name), ended, began=bool(of))


def judged(
    facts: dict[str, Any], folder: Path, ended: dict[str, Any] | None, *, began: bool = True
) -> BoardRun:
    """Return what came of a child, by its own journal and by how it ended.

    Args:
        facts: what was known of its board before.
        folder: its run directory.
        ended: the fields of ``hilagent.cli.children.Ended`` and ``said``; None: it hasn't.
        began: whether it was started.
    """
    return _judged(facts, _run(folder), began, ended)


def _run(folder: Path) -> Run:
    try:
        return journal.read(folder)
    except errors.InputError:
        return Run(folder)


def _judged(facts: dict[str, Any], run: Run, began: bool, ended: dict[str, Any] | None) -> BoardRun:
    if ended is None:
        why = "was still running when this report was made" if began else "was not started"
        found, code, why = _cut(run, why)
    elif not run.facts:
        found, code, why = _without_journal(int(ended["code"]), str(ended.get("said", "")))
    elif int(ended["code"]) < 0:
        why = f"was killed by signal {-int(ended['code'])}"
        found, code, why = _cut(run, why)
    elif int(ended["code"]) in {EXIT_SIGINT, EXIT_SIGTERM}:
        found, code, why = _cut(run, "was interrupted")
    else:
        found, code, why = _both(run, int(ended["code"]))
    return BoardRun(facts, run, began, ended, found, code, why)


def _cut(run: Run, why: str) -> tuple[Verdict, int, str]:
    """Return what a run that didn't end by itself comes to: what was found before stays so."""
    found = worst([Verdict.UNFINISHED, *(outcome.verdict for outcome in run.all_outcomes())])
    if found is not Verdict.UNFINISHED:
        why = f"{_reason(run, found)}; then it {why}"
    return found, RENDERINGS[found].exit_code, why


def _without_journal(code: int, said: str) -> tuple[Verdict, int, str]:
    """Return what a child that left no journal comes to, by its exit code."""
    why = said or "it left no journal"
    if code in {EXIT_ACCUSED, EXIT_BUG, EXIT_LAB}:
        return _BY_CODE[code], code, why
    if code == EXIT_USAGE:
        return Verdict.UNFINISHED, code, why
    if code < 0:
        return Verdict.UNFINISHED, EXIT_LAB, f"was killed by signal {-code}, and left no journal"
    if code in {EXIT_SIGINT, EXIT_SIGTERM}:
        return Verdict.UNFINISHED, EXIT_LAB, "was interrupted before it began"
    return Verdict.BUG, EXIT_BUG, f"ended with {code} and left no journal"


def _both(run: Run, code: int) -> tuple[Verdict, int, str]:
    """Return what journal and process say together: it passed if both say so."""
    if run.end is None or run.torn:
        return _cut(run, "left a journal without an end")
    if run.damaged:
        return _cut(run, "left a journal that is damaged")
    if code == run.exit_code:
        found = verdict_of(run)
        return found, code, _reason(run, found)
    both = worst_exit([code, run.exit_code])
    found = worst([verdict_of(run), _BY_CODE.get(both, Verdict.UNFINISHED)])
    why = f"ended with {code}, and its journal says {run.exit_code}"
    return found, both, f"{why}: {_reason(run, found)}".rstrip(": ")


def _reason(run: Run, found: Verdict) -> str:
    """Return why a run has this verdict, in a line; empty for a PASS."""
    if found is Verdict.PASS:
        return ""
    for outcome in run.all_outcomes():
        if outcome.verdict is found:
            return f"{outcome.test}: {outcome.message}"
    return cut_short(run)


def write(run_dir: Path) -> None:
    """Write the combined ``results.json`` and ``junit.xml``, and those that a child left out.

    Raises:
        errors.LabError: the disk doesn't take them.
        errors.InputError: there is no journal.
    """
    many = read(run_dir)
    for board in many.boards:
        if board.run.facts and not (board.run.run_dir / "results.json").exists():
            write_one(board.run.run_dir)
    replace(run_dir / "junit.xml", junit(many))
    replace(run_dir / "results.json", json.dumps(results(many), indent=1) + "\n")
    write_page(run_dir, lambda: _page(many))


def _page(many: Many) -> str:
    from hilagent.report.html.many import html

    return html(many)


def results(many: Many) -> dict[str, Any]:
    """Return all of it as one JSON object; each board's ``results`` are those of its own run."""
    counts = Counter(board.verdict.value for board in many.boards)
    out = {
        "schema": SCHEMA,
        "version": VERSION,
        "run": {name: value for name, value in many.run.facts.items() if name != "boards"},
        "verdict": many.verdict.value,
        "exit_code": many.exit_code,
        "finished": many.run.end is not None,
        "end": many.run.end or {},
        "counts": {v.value: counts.get(v.value, 0) for v in Verdict},
        "boards": [_result(board) for board in many.boards],
    }
    return scrubbed(out)


def _result(board: BoardRun) -> dict[str, Any]:
    ended = board.ended or {}
    return {
        "board": board.name,
        "verdict": board.verdict.value,
        "exit_code": board.exit_code,
        "why": board.why,
        "folder": board.name,
        "process": {n: ended[n] for n in ("code", "took_s", "cpu_s", "rss_kib") if n in ended},
        "results": one_results(board.run) if board.run.facts else None,
    }


def junit(many: Many) -> str:
    """Return all of it as JUnit XML: a suite for each board, and class names that begin with it."""
    return document(suites(many))


def suites(many: Many) -> list[ET.Element]:
    """Return the suite of each board."""
    return [_suite(board) for board in many.boards]


def _suite(board: BoardRun) -> ET.Element:
    """Return a board's suite; what none of its tests shows is a test of its own."""
    run = dataclasses.replace(board.run, facts={"board": board.name, **board.run.facts})
    shown = {outcome.verdict for outcome in run.all_outcomes()}
    more = () if board.verdict in shown else (Outcome("run", board.verdict, board.why),)
    return suite(run, more, board.name)


def summary(many: Many, *, colour: bool = False) -> str:
    """Return what a person reads at the end, in at most 80 columns."""
    counts = Counter(board.verdict for board in many.boards)
    said = ", ".join(f"{counts[v]} {v.value}" for v in Verdict if counts[v]) or "no boards"
    took = f", {many.run.records[-1]['t']:.1f} s" if many.run.records else ""
    head = paint(f"{many.verdict.name:<5}", many.verdict, colour)
    plural = "" if len(many.boards) == 1 else "s"
    lines = [f"{head} {len(many.boards)} board{plural}{took}: {said}", ""]
    for board in many.boards:
        lines += _lines(board, colour)
    if (many.run.end or {}).get("signal"):
        lines += ["", f"It was cut short (signal): {many.run.end['signal']}"]  # type: ignore[index]
    return "\n".join([*lines, "", f"Evidence: {many.run.run_dir}"]) + "\n"


def _lines(board: BoardRun, colour: bool) -> Iterator[str]:
    counts = Counter(outcome.verdict for outcome in board.run.all_outcomes())
    tests = ", ".join(f"{counts[v]} {v.value}" for v in Verdict if counts[v]) or "no tests"
    took = f"{board.ended['took_s']:.1f} s" if board.ended else ""
    kind = "emulated" if board.facts.get("emulated") else "real"
    word = paint(f"{board.verdict.name:<12}", board.verdict, colour)
    name = scrub_line(board.name, limit=24)
    yield f"{word} {name:<16} {kind:<8} {took:>8}  {tests}"
    if board.why:
        yield from textwrap.wrap(
            scrub_line(board.why, limit=1000), WIDTH, initial_indent=" " * 13,
            subsequent_indent=" " * 13, break_on_hyphens=False,
            max_lines=_WHY_LINES, placeholder=" ...",
        )  # fmt: skip
