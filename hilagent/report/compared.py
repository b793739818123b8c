# SPDX-License-Identifier: Apache-2.0
"""A comparison of two runs, for a terminal: at most 80 columns, the same without colour."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hilagent.report.compare import Change, Diff, Test
from hilagent.report.results import verdict
from hilagent.report.summary import WIDTH, paint, wrap
from hilagent.result import EXIT_ACCUSED, EXIT_LAB, Verdict
from hilagent.text import scrub_line

MOST, FEW = 20, 6
_TITLES = {
    "began": "Began to fail",
    "otherwise": "Fails still, otherwise",
    "stopped": "Stopped failing",
    "lab": "Judged in one of them alone",
    "plan": "Asked in one of them alone",
}
_CHANGES = {
    "dispatch": "Dispatch changed",
    "clobber": "Clobbers changed",
    "times": "Times changed",
    "facts": "Facts changed",
}


def text(diff: Diff, *, colour: bool = False) -> str:
    """Return what a person reads."""
    lines = [_head(diff), *_about(diff, colour)]
    for name, title in _TITLES.items():
        lines += _tests(title, getattr(diff, name), colour)
    for name, title in _CHANGES.items():
        lines += _changes(title, getattr(diff, name))
    return "\n".join(lines) + "\n"


def _head(diff: Diff) -> str:
    if diff.exit_code == EXIT_ACCUSED:
        count = len(diff.began) + sum(each.worse for each in diff.otherwise)
        return f"{count} test{'s' if count > 1 else ''} began to fail, or to fail worse"
    if diff.exit_code == EXIT_LAB:
        return "The newer run judged nothing: there is nothing to compare"
    return "Nothing began to fail"


def _about(diff: Diff, colour: bool) -> Iterator[str]:
    for word, run in (("before", diff.before), ("after", diff.after)):
        found = verdict(run)
        name = scrub_line(str(run.facts.get("id", run.run_dir.name)), limit=56)
        yield f"  {word:<7} {paint(f'{found.name:<12}', found, colour)} {name}"
    boards = [scrub_line(str(run.facts.get("board"))) for run in (diff.before, diff.after)]
    if boards[0] != boards[1]:
        yield wrap(f"These are different boards: {boards[0]} and {boards[1]}.", "  ")


def _tests(title: str, tests: Sequence[Test], colour: bool) -> Iterator[str]:
    if tests:
        yield f"\n{title}"
    most = MOST if title != _TITLES["plan"] else FEW
    for each in tests[:most]:
        now = _word(each.after, colour)
        yield f"  {scrub_line(each.test, limit=50)}  {_word(each.before)} -> {now}"
        if each.message:
            yield wrap(scrub_line(each.message, limit=300), "      ")
    if len(tests) > most:
        yield f"  and {len(tests) - most} more, see --json"


def _word(found: Verdict | None, colour: bool = False) -> str:
    return paint(found.value, found, colour) if found else "not asked"


def _changes(title: str, changes: Sequence[Change]) -> Iterator[str]:
    if changes:
        yield f"\n{title}"
    for each in changes[:MOST]:
        line = f"  {scrub_line(each.what)}: {scrub_line(each.before)} -> {scrub_line(each.after)}"
        if len(line) <= WIDTH:
            yield line
            continue
        yield wrap(scrub_line(each.what, limit=300), "  ")
        yield wrap(f"{scrub_line(each.before, limit=300)}", "      ")
        yield wrap(f"-> {scrub_line(each.after, limit=300)}", "      ")
    if len(changes) > MOST:
        yield f"  and {len(changes) - MOST} more, see --json"
