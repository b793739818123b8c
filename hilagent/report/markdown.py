# SPDX-License-Identifier: Apache-2.0
"""A step summary in Markdown, e.g. for ``$GITHUB_STEP_SUMMARY``: short, and inert.

Whatever Markdown or HTML could take for its own is written as a character reference.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence

from hilagent.journal import Run
from hilagent.report.results import by_suite, outcomes, verdict
from hilagent.result import Outcome, Verdict
from hilagent.text import scrub_line

MOST_ACCUSED = 20
_SPECIAL = re.compile(r"[^A-Za-z0-9 ,.;=/%'\"]")
_MARKS = {Verdict.PASS: "✅", Verdict.UNSUPPORTED: "⏭️", Verdict.FAIL: "❌", Verdict.CRASH: "❌",
          Verdict.HANG: "❌"}  # fmt: skip


def markdown(runs: Sequence[Run]) -> str:
    """Return the runs, one after the other."""
    return "\n".join("\n".join(_run(run)) + "\n" for run in runs)


def plain(text: object, limit: int = 300) -> str:
    """Return text that Markdown shows as it is, on one line."""
    return _SPECIAL.sub(lambda match: f"&#{ord(match[0])};", scrub_line(str(text), limit=limit))


def _run(run: Run) -> Iterator[str]:
    found, facts = verdict(run), run.facts
    kind = "emulated" if facts.get("emulated") else "real board"
    yield f"## {_mark(found)} {found.name}: {plain(facts.get('board', 'unknown board'))} ({kind})"
    yield ""
    said = [facts.get("cpu") or facts.get("cpu_model"), facts.get("abi"),
            *facts.get("vectors", []), facts.get("id")]  # fmt: skip
    yield ", ".join(plain(each) for each in said if each)
    yield ""
    yield from _suites(run)
    yield from _wrong(run)
    if words := facts.get("command"):
        yield "Again:"
        yield ""
        yield f"<pre>{plain(shlex.join(map(str, words)), 1000)}</pre>"


def _suites(run: Run) -> Iterator[str]:
    counts = {
        name: Counter(each.verdict for each in found) for name, found in by_suite(run).items()
    }
    shown = [each for each in Verdict if any(found[each] for found in counts.values())]
    yield f"| suite | {' | '.join(each.value for each in shown)} |"
    yield f"|---|{'---:|' * len(shown)}"
    for name, found in counts.items():
        yield f"| {plain(name)} | {' | '.join(str(found[each] or '') for each in shown)} |"
    yield ""


def _wrong(run: Run) -> Iterator[str]:
    wrong = [
        outcome
        for outcome in outcomes(run)
        if outcome.verdict not in {Verdict.PASS, Verdict.UNSUPPORTED}
    ]
    wrong.sort(key=lambda outcome: not outcome.verdict.accuses)
    for outcome in wrong[:MOST_ACCUSED]:
        yield from _one(outcome)
    if len(wrong) > MOST_ACCUSED:
        yield f"- and {len(wrong) - MOST_ACCUSED} more"
    if wrong:
        yield ""


def _one(outcome: Outcome) -> Iterator[str]:
    times = f" ({outcome.times})" if outcome.times else ""
    name = plain(outcome.test)
    yield f"- {_mark(outcome.verdict)} **{outcome.verdict.name}**{times} {name}: " + plain(
        outcome.message
    )


def _mark(found: Verdict) -> str:
    return _MARKS.get(found, "⚠️")
