# SPDX-License-Identifier: Apache-2.0
"""The summary on the terminal: verdict, what is accused, dispatch map, clobber matrix.

At most 80 columns, and it says the same without colour.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator
from typing import Any

from hilagent.journal import Run
from hilagent.report import kernels, subjects
from hilagent.report.results import CUT_SHORT, tables, verdict
from hilagent.result import Outcome, Verdict
from hilagent.text import scrub, scrub_line

WIDTH = 80
MOST_ACCUSED = 12
MOST_LINES = 14
MOST_EVIDENCE = 10
_COLOURS = {
    Verdict.PASS: "32",
    Verdict.FAIL: "31",
    Verdict.CRASH: "31",
    Verdict.HANG: "31",
    Verdict.UNSUPPORTED: "33",
}
LEGEND = ". kept  c changed, allowed  = prescribed  X breach  L leak  ? unknown  - none"


def summary(run: Run, *, colour: bool = False) -> str:
    """Return the summary of ``run``; with ``colour`` it has ANSI sequences of ours."""
    parts = [_head(run, colour), *_replayed(run), *_placed(run)]
    parts += [*_accused(run, colour), *_troubles(run, colour)]
    parts += subjects.sections(run)
    parts += _dispatch(run)
    parts += _clobber(run, colour)
    parts += subjects.code(run)
    parts += kernels.sections(run)
    parts.append(_foot(run))
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(run: Run, colour: bool) -> str:
    found = verdict(run)
    counts = Counter(outcome.verdict for outcome in run.all_outcomes())
    facts = run.facts
    kind = "emulated" if facts.get("emulated") else "real"
    kind = f"replay, {kind}" if facts.get("replay_of") else kind
    board = scrub_line(str(facts.get("board", "unknown board")), limit=40)
    cpu = scrub_line(str(facts.get("cpu") or facts.get("cpu_model") or ""), limit=30)
    if facts.get("started_by") == "QEMU":
        kind += " without firmware"
    if facts.get("console") == "none":
        kind += " without a console"
    duration = f", {run.records[-1]['t']:.1f} s" if run.records else ""
    line = f"{board} ({', '.join(filter(None, [kind, cpu]))}){duration}"
    said = ", ".join(f"{counts[v]} {v.value}" for v in Verdict if counts[v]) or "no tests"
    rest = wrap(", ".join(filter(None, [said, _about(run)])), "      ")
    return paint(f"{found.name:<5}", found, colour) + f" {line}\n{rest}"


def _replayed(run: Run) -> Iterator[str]:
    if then := run.facts.get("replay_of"):
        yield wrap(f"A replay of the run {then}: nothing was measured now.", "")


def _placed(run: Run) -> Iterator[str]:
    if place := run.facts.get("place"):
        exporters = ", ".join(map(str, run.facts.get("exporters", [])))
        where = f"At place {place} of {run.facts.get('coordinator')}"
        yield wrap(scrub_line(f"{where}, by exporter {exporters}.", limit=400), "")


def _about(run: Run) -> str:
    """Return what was under test: an ABI on some vectors, unless only kernels were."""
    vectors = ", ".join(str(v) for v in run.facts.get("vectors", []))
    only_kernels = kernels.names(run) and not tables(run, "dispatch")
    abi = str(run.facts.get("abi", ""))
    return "" if only_kernels else f"{abi} on {vectors}" if vectors else abi


def _accused(run: Run, colour: bool) -> Iterator[str]:
    groups: dict[tuple[str, str, str], list[Outcome]] = {}
    for outcome in run.all_outcomes():
        if outcome.verdict.accuses:
            word = f"{outcome.verdict.name} {outcome.times}".rstrip()
            groups.setdefault((word, outcome.message, outcome.details), []).append(outcome)
    lines = ["Accused"] if groups else []
    for (word, _, _), members in list(groups.items())[:MOST_ACCUSED]:
        first = members[0]
        more = f" and {len(members) - 1} more" if len(members) > 1 else ""
        head = f"  {scrub_line(first.test, limit=52)}{more}  "
        lines.append(head + paint(word, first.verdict, colour))
        lines += _finding_lines(first)
        if len(lines) <= MOST_LINES:
            lines += _evidence_lines(first)
    if len(groups) > MOST_ACCUSED:
        lines.append(f"  and {len(groups) - MOST_ACCUSED} more accusations, see results.json")
    if lines:
        yield "\n".join(lines)


def _troubles(run: Run, colour: bool) -> Iterator[str]:
    others = [
        outcome
        for outcome in run.all_outcomes()
        if not outcome.verdict.accuses
        and outcome.verdict not in {Verdict.PASS, Verdict.UNSUPPORTED}
    ]
    groups: dict[tuple[Verdict, str], list[Outcome]] = {}
    for outcome in others:
        groups.setdefault((outcome.verdict, outcome.message), []).append(outcome)
    for (found, message), members in list(groups.items())[:MOST_ACCUSED]:
        first = members[0].test
        more = f" and {len(members) - 1} more" if len(members) > 1 else ""
        head = f"{paint(found.name, found, colour)}  {scrub_line(first, limit=50)}{more}"
        yield "\n".join([head, wrap(message, "  ")])
    blamed = [r["text"] for r in run.records if r["kind"] == "note" and r.get("blame")]
    if blamed:
        more = f" ({len(blamed) - 1} more in the journal)" if len(blamed) > 1 else ""
        yield wrap(f"The lab: {blamed[0]}{more}", "")
    end = run.end or {}
    for name in CUT_SHORT:
        if end.get(name):
            yield wrap(f"The run was cut short ({name}): {end[name]}", "")
    if run.end is None:
        yield "The run did not end by itself: it was killed, or its journal was cut."
    elif run.damaged:
        yield f"{run.damaged} lines of its journal are damaged or missing: it is no pass."


def _finding_lines(outcome: Outcome) -> Iterator[str]:
    if not outcome.findings:
        yield wrap(outcome.message, "    ")
    for finding in outcome.findings[:3]:
        issued = immediates(finding.immediates) + subjects.x0(finding.x0)
        where = [finding.origin, cpus(finding.cpus), issued]
        text = (
            f"{finding.rule}: {finding.hcall} {finding.what}: expected {finding.expected}, "
            f"found {finding.found} ({', '.join(filter(None, where))})"
        )
        yield wrap(text, "    ")
    if len(outcome.findings) > 3:
        yield f"    and {len(outcome.findings) - 3} more"


def _evidence_lines(outcome: Outcome) -> Iterator[str]:
    """Return the registers of the first exchange that shows it."""
    lines = outcome.details.splitlines()
    start = next((n for n, line in enumerate(lines) if line.startswith("exchange")), len(lines))
    for line in lines[start : start + MOST_EVIDENCE]:
        if not line:
            return
        yield f"    {scrub(line)}"[:WIDTH]


def _dispatch(run: Run) -> Iterator[str]:
    for record in tables(run, "dispatch"):
        ranges = record.get("ranges", [])
        by = "by x0, " if record.get("selector") == "x0" else ""
        subject = subjects.short(str(record.get("subject")))
        lines = [f"Dispatch  {subject} {by}from {_origin(record)}"[:WIDTH]]
        wrong = [row for row in ranges if not row[4]]
        shown = ranges if len(ranges) <= MOST_LINES else (wrong or ranges)[:MOST_LINES]
        for first, last, hcall, effect, right in shown:
            span = subjects.span(first, last)
            mark = " " if right else "X"
            text = f"{mark} {span:<14} {scrub_line(hcall, limit=20):<20} {scrub_line(effect)}"
            lines.append("  " + text[: WIDTH - 2])
        if len(shown) < len(ranges):
            lines.append(f"  and {len(ranges) - len(shown)} more ranges, see results.json")
        lines += subjects.asked(record)
        yield "\n".join(lines)


def _clobber(run: Run, colour: bool) -> Iterator[str]:
    del colour
    for record in tables(run, "clobber"):
        registers = [str(name) for name in record.get("registers", [])]
        general = [name for name in registers if name.startswith("x")]
        others = [name for name in registers if not name.startswith("x")]
        subject = subjects.short(str(record.get("subject")))
        title = f"Clobber   {subject} from {_origin(record)}"[:WIDTH]
        ruler = "".join(f"{name:<10}" for name in general[::10]).rstrip()
        head = f"  {'':<17} {ruler:<33} {' '.join(others)}"
        lines = [title, head.rstrip()[:WIDTH]]
        for row in record.get("rows", []):
            cells = {
                name: scrub_line(str(cell), limit=1) or "?"
                for name, cell in zip(registers, row["cells"], strict=False)
            }
            first = "".join(cells.get(name, "?") for name in general)
            rest = " ".join(f"{cells.get(name, '?'):<{len(name)}}" for name in others)
            hcall = scrub_line(row["hcall"], limit=17)
            lines.append(f"  {hcall:<17} {first:<33} {rest}".rstrip()[:WIDTH])
        lines.append(f"  {LEGEND}")
        yield "\n".join(lines)


def _origin(record: dict[str, Any]) -> str:
    return scrub_line(str(record.get("origin")), limit=20)


def _foot(run: Run) -> str:
    return f"Evidence: {run.run_dir}"


def cpus(numbers: tuple[int, ...]) -> str:
    """Return CPUs as a person writes them."""
    if not numbers:
        return ""
    return f"CPU{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"


def immediates(ranges: tuple[tuple[int, int], ...], most: int = 4) -> str:
    """Return ranges of immediates as a person writes them."""
    texts = [f"#{a:#x}" if a == b else f"#{a:#x}-{b:#x}" for a, b in ranges[:most]]
    if len(ranges) > most:
        texts.append(f"{len(ranges) - most} more ranges")
    return "hvc " + ", ".join(texts) if texts else ""


def wrap(text: str, indent: str) -> str:
    lines = textwrap.wrap(
        " ".join(scrub(text).split()),
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent,
        break_on_hyphens=False,
    )
    return "\n".join(lines)


def paint(text: str, found: Verdict, colour: bool) -> str:
    return f"\x1b[1;{_COLOURS.get(found, '35')}m{text}\x1b[0m" if colour else text
