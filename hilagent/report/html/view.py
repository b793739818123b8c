# SPDX-License-Identifier: Apache-2.0
"""What the page shows, as plain values for its template: made of a run's journal alone."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hilagent.journal import Run
from hilagent.probe import entry, received
from hilagent.report.results import CUT_SHORT, by_suite, outcomes, tables, verdict
from hilagent.report.summary import immediates
from hilagent.result import SEVERITY, Finding, Outcome, Verdict

from . import picture

_MOST_RANGES = 300
_MOST_RINGS = 64
_MOST_NOTES = 3
_FACTS = (
    "board", "description", "soc", "emulated", "started_by", "place", "coordinator", "exporters",
    "cpu", "midr", "cpus", "cpus_started",
    "entry_el", "abi", "vectors", "transfer", "encoding", "options", "uboot", "qemu", "own_system",
    "payload_build_id", "kernel_build_id", "hilagent", "python", "host", "utc", "id", "replay_of",
)  # fmt: skip
_RED, _PAPER = (193, 18, 31), (222, 226, 230)
_HUES = ((29, 78, 137), (0, 109, 91), (106, 53, 138), (138, 90, 0), (64, 64, 64), (0, 119, 182))
CELLS = {
    ".": "kept", "c": "changed, as the contract allows", "=": "the prescribed result",
    "X": "changed against the contract", "L": "holds EL2 state: a leak", "?": "not known",
    "-": "not asked",
}  # fmt: skip


@dataclass(frozen=True)
class Test:
    """One row of the results.

    Attributes:
        number: by which the page links to it.
    """

    number: int
    outcome: Outcome

    @property
    def bad(self) -> bool:
        """Whether a reader has to look at it."""
        return self.outcome.verdict not in {Verdict.PASS, Verdict.UNSUPPORTED}


@dataclass(frozen=True)
class Map:
    """A dispatch map: what each immediate, or value of x0, did."""

    title: str
    image: str
    legend: Sequence[tuple[int, str, str]]
    rings: Sequence[tuple[int, int]]
    wrong: Sequence[tuple[str, str, str]]
    left_out: int
    ranges: Sequence[tuple[str, str, str, bool]]
    more: int
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Proof:
    """What one register did in one hcall."""

    id: str
    register: str
    cell: str
    contract: str
    static: str
    before: str
    after: str
    said: Sequence[str]


@dataclass(frozen=True)
class Row:
    """One hcall of a clobber matrix."""

    hcall: str
    proofs: Sequence[Proof]
    call: str
    esr: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Matrix:
    """A clobber matrix."""

    title: str
    registers: Sequence[str]
    rows: Sequence[Row]


@dataclass(frozen=True)
class Live:
    """What a live kernel did with its hcalls: rows of (hcall, (state, why) by rule)."""

    title: str
    refused: str
    abi: str
    rules: Sequence[str]
    rows: Sequence[tuple[str, Sequence[tuple[str, str]]]]
    evidence: Sequence[str]
    left_out: Sequence[str]


@dataclass(frozen=True)
class Leg:
    """One soft restart."""

    number: int
    way: str
    boot: str
    receiver: str
    server: str
    el: str
    verdict: str
    message: str
    parts: Sequence[tuple[int, str, float, float]]
    took: str
    notes: Sequence[str]


@dataclass(frozen=True)
class Rule:
    """One rule of the boot protocol, over all legs: (state, why)."""

    id: str
    text: str
    states: Sequence[tuple[str, str]] = field(default_factory=tuple)


def tests(run: Run) -> list[Test]:
    """Return every test, the worst first, and else in the order of the plan."""
    found = [Test(n, o) for n, o in enumerate(outcomes(run))]
    return sorted(found, key=lambda test: SEVERITY.index(test.outcome.verdict))


def wrong(found: Sequence[Test]) -> list[list[Test]]:
    """Return the tests that a reader has to look at; those that say the same together."""
    groups: dict[tuple[object, ...], list[Test]] = {}
    for test in found:
        if test.bad:
            outcome = test.outcome
            key = (outcome.verdict, outcome.times, outcome.message, outcome.findings)
            groups.setdefault(key, []).append(test)
    return list(groups.values())


def counts(run: Run) -> list[tuple[Verdict, int]]:
    """Return how often each verdict was found."""
    found = Counter(outcome.verdict for outcome in outcomes(run))
    return [(each, found[each]) for each in Verdict if found[each]]


def suites(run: Run) -> list[tuple[str, Counter[Verdict]]]:
    """Return how often each verdict was found in each suite, in the order of the plan."""
    return [(name, Counter(each.verdict for each in found))
            for name, found in by_suite(run).items()]  # fmt: skip


def about(run: Run) -> str:
    """Return in a line what was under test, where, when, and how long it took."""
    facts = run.facts
    took = f"{run.records[-1]['t']:.0f} s" if run.records else ""
    utc = str(facts.get("utc", ""))[:19].replace("T", " ")
    vectors = ", ".join(map(str, facts.get("vectors", [])))
    said = [facts.get("cpu") or facts.get("cpu_model"), facts.get("abi"), vectors,
            f"{utc} UTC" if utc else "", took]  # fmt: skip
    return " · ".join(str(each) for each in said if each)


def blame(run: Run) -> str:
    """Return in a sentence who is accused, or why nobody could be."""
    found = verdict(run)
    if found.accuses:
        return "What is under test did not do what its contract says."
    return {
        Verdict.PASS: "Everything that was asked did what its contract says.",
        Verdict.INFRA: "The lab failed: this says nothing about what is under test.",
        Verdict.PRECONDITION: "The board was not in a state in which this can be asked; "
        "it says nothing about what is under test.",
        Verdict.UNFINISHED: "Not everything came to an end; what did not is no pass.",
        Verdict.BUG: "hilagent has a defect; this says nothing about what is under test.",
    }.get(found, "")


def ends(run: Run) -> list[str]:
    """Return how the run ended, where it wasn't by itself."""
    said = [f"{name}: {(run.end or {})[name]}" for name in CUT_SHORT
            if (run.end or {}).get(name)]  # fmt: skip
    if run.end is None:
        said.append("It did not end by itself: it was killed, or its journal was cut.")
    if run.damaged or run.torn:
        said.append(f"{run.damaged + int(run.torn)} lines of its journal are damaged or missing.")
    lab = [f"The lab: {r['text']}" for r in run.records if r["kind"] == "note" and r.get("blame")]
    said += lab[:_MOST_NOTES]
    if len(lab) > _MOST_NOTES:
        said.append(f"and {len(lab) - _MOST_NOTES} more such notes, in the journal")
    return said


def command(run: Run) -> str:
    """Return the line that runs it again; empty where it isn't known."""
    words = run.facts.get("command")
    return shlex.join(str(word) for word in words) if words else ""


def facts(run: Run) -> list[tuple[str, str]]:
    """Return what was under test, where, and with what."""
    shown = [(name.replace("_", " "), run.facts[name]) for name in _FACTS if name in run.facts]
    for name, value in run.facts.items():
        if name.startswith("kernel ") and isinstance(value, Mapping):
            shown += [(f"{name}, {what}", each) for what, each in value.items()]
    return [(name, _said(value)) for name, value in shown if value not in ("", [], {}, None)]


def _said(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_said(each)}" for name, each in value.items())
    if isinstance(value, list):
        return ", ".join(map(_said, value))
    return str(value)


def findings(outcome: Outcome) -> Iterator[tuple[Finding, str]]:
    """Yield each finding, and where it was seen."""
    for each in outcome.findings:
        cpus = ", ".join(map(str, each.cpus))
        x0 = ", ".join(f"{a:#x}" if a == b else f"{a:#x} to {b:#x}" for a, b in each.x0[:4])
        where = [each.origin, f"CPU {cpus}" if cpus else "", immediates(each.immediates),
                 f"x0 {x0}" if x0 else ""]  # fmt: skip
        yield each, ", ".join(filter(None, where))


def maps(run: Run) -> list[Map]:
    """Return a dispatch map for each subject and origin."""
    return [_map(record) for record in tables(run, "dispatch")]


def _map(record: Mapping[str, Any]) -> Map:
    ranges = [tuple(each) for each in record.get("ranges", [])]
    palette, legend, index = [_PAPER, _RED], [], dict[tuple[str, str], int]()
    cells = bytearray(picture.SIDE * picture.SIDE)
    for first, last, hcall, effect, right in ranges:
        if last < first or first >= len(cells):
            continue
        colour = 0 if right and hcall == "unknown" else 1
        if right and hcall != "unknown":
            colour = index.setdefault((hcall, effect), len(index) + 2)
        cells[first : last + 1] = bytes([colour]) * (min(last, len(cells) - 1) + 1 - first)
    palette += [_HUES[n % len(_HUES)] for n in range(len(index))]
    legend = [(colour, hcall, effect) for (hcall, effect), colour in index.items()]
    wrong = [each for each in ranges if not each[4]]
    by = "by x0" if record.get("selector") == "x0" else "by immediate"
    return Map(
        title=f"{record.get('subject')}, {by}, from {record.get('origin')}",
        image=picture.uri(bytes(cells), palette),
        legend=[((n - 2) % len(_HUES), hcall, effect) for n, hcall, effect in legend],
        rings=[(first % 256, first // 256) for first, *_ in wrong[:_MOST_RINGS] if first < 65536],
        wrong=[(_span(a, b), hcall, effect) for a, b, hcall, effect, _ in wrong[:_MOST_RANGES]],
        left_out=max(0, len(wrong) - _MOST_RANGES),
        ranges=[(_span(a, b), hcall, effect, right)
                for a, b, hcall, effect, right in ranges[:_MOST_RANGES]],
        more=max(0, len(ranges) - _MOST_RANGES),
        notes=[*map(str, record.get("asked", [])),
               *([f"the immediate does: {record['immediate']}"] if "immediate" in record else [])],
    )  # fmt: skip


def _span(first: int, last: int) -> str:
    if last < 0:
        return f"{first:#06x} and above"
    return f"{first:#06x}" if first == last else f"{first:#06x} to {last:#06x}"


def matrices(run: Run) -> list[Matrix]:
    """Return a clobber matrix for each subject and origin, each cell with its evidence."""
    from . import evidence

    out: list[Matrix] = []
    number = 0
    for record in tables(run, "clobber"):
        registers = [str(name) for name in record.get("registers", [])]
        rows = []
        for row in record.get("rows", []):
            rows.append(evidence.row(run, record, row, registers, number))
            number += 1
        title = f"{record.get('subject')} from {record.get('origin')}"
        out.append(Matrix(title, registers, rows))
    return out


def lives(run: Run) -> list[Live]:
    """Return what each live kernel's own hcalls did, rule by rule."""
    return [_live(record) for record in run.observations("live")]


def _live(record: Mapping[str, Any]) -> Live:
    rows: dict[str, dict[str, tuple[str, str]]] = {}
    for hcall, rule, state, why in record.get("cells", []):
        rows.setdefault(str(hcall), {})[str(rule)] = (str(state).replace("-", " "), str(why))
    rules_ = list(dict.fromkeys(rule for each in rows.values() for rule in each))
    left_out = [f"{hcall}: {why}" for hcall, _, why in record.get("left_out", [])]
    cpus = ", ".join(map(str, record.get("cpus", [])))
    return Live(
        title=f"{record.get('boot')}, {record.get('server')}, CPUs {cpus}",
        refused=str(record.get("refused", "")),
        abi=str(record.get("abi", "")),
        rules=rules_,
        rows=[(name, [each.get(rule, ("", "")) for rule in rules_]) for name, each in rows.items()],
        evidence=list(dict.fromkeys(map(str, record.get("evidence", [])))),
        left_out=list(dict.fromkeys(left_out)),
    )


def spoken(run: Run) -> list[tuple[str, list[str]]]:
    """Return of each kernel whose vectors were cut out what it speaks, and why."""
    return [
        (f"{said.get('name')}: {said.get('abi')}, {said.get('server')}, {said.get('place')}",
         [*map(str, said.get("evidence", [])),
          *(f"left out: {each}" for each in said.get("left_out", [])),
          *map(str, said.get("notes", []))])
        for said in run.facts.get("kernels_vectors", [])
    ]  # fmt: skip


def legs(run: Run) -> list[Leg]:
    """Return every soft restart, in order."""
    records = run.observations("leg")
    longest = max((_ready(each) for each in records), default=0.0) or 1.0
    return [_leg(n, record, longest) for n, record in enumerate(records)]


def _ready(record: Mapping[str, Any]) -> float:
    return max((each for each in record.get("times", {}).values() if each is not None), default=0.0)


def _leg(number: int, record: Mapping[str, Any], longest: float) -> Leg:
    times = record.get("times", {})
    marks = [("left the old kernel", times.get("left_s")), ("first word", times.get("first_s")),
             ("ready", times.get("ready_s"))]  # fmt: skip
    parts: list[tuple[int, str, float, float]] = []
    at = 0.0
    for kind, (what, end) in enumerate(marks, 1):
        if end is not None and end > at:
            parts.append((kind, what, 100 * at / longest, 100 * (end - at) / longest))
            at = end
    return Leg(
        number=number,
        way=str(record.get("way")),
        boot=str(record.get("boot")),
        receiver=str(record.get("receiver")),
        server=str(record.get("server")),
        el=f"EL{record['el']}" if record.get("el") else "",
        verdict=str(record.get("verdict")),
        message=str(record.get("message", "")),
        parts=parts,
        took=f"{at:.2f} s" if parts else "",
        notes=[str(each) for each in record.get("notes", [])],
    )


def rules(run: Run) -> list[Rule]:
    """Return each rule of the boot protocol that a leg was held against."""
    texts = {rule.id: rule.text for rule in received.RULES}
    texts |= {rule.id: rule.text for rule in entry.RULES}
    records = run.observations("leg")
    order = dict.fromkeys(str(each[0]) for record in records for each in record.get("rules", []))
    by_leg = [{str(i): (str(s), str(w)) for i, s, w in each.get("rules", [])} for each in records]
    return [
        Rule(name, texts.get(name, ""), [each.get(name, ("", "")) for each in by_leg])
        for name in order
    ]
