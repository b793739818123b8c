# SPDX-License-Identifier: Apache-2.0
"""What changed from one run to another: verdicts, dispatch, clobbers, times, and the facts.

What the lab spoiled is told apart: a test that could not be asked has not begun to fail.
"""

from __future__ import annotations

import bisect
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hilagent.journal import Run
from hilagent.report.results import outcomes, scrubbed, tables
from hilagent.report.subjects import span
from hilagent.result import EXIT_ACCUSED, EXIT_LAB, EXIT_OK, Outcome, Verdict

SCHEMA, VERSION = "hilagent-diff", 1
SLOWER, SLOWER_EMULATED, SLOWER_S = 1.5, 4.0, 0.5
"""A time has changed if it did by this factor and by this many seconds. An emulated board
shares its host: sweeps of the same vectors took from 2.3 to 7 s there."""
FACTS = (
    "board", "soc", "emulated", "cpu", "cpus", "midr", "abi", "vectors", "transfer", "options",
    "payload_build_id", "kernel_build_id", "uboot", "qemu", "own_system", "hilagent", "host",
)  # fmt: skip
_NOT_MEASURED = frozenset("?-")
_JUDGED = frozenset({Verdict.PASS, Verdict.FAIL, Verdict.CRASH, Verdict.HANG})


@dataclass(frozen=True)
class Test:
    """A test whose verdict changed; None: it was not in the plan.

    Attributes:
        worse: of one that fails in both: there is an accusation that was none before.
    """

    test: str
    before: Verdict | None
    after: Verdict | None
    message: str
    worse: bool = False


@dataclass(frozen=True)
class Change:
    """Something measured that changed: ``what`` from ``before`` to ``after``."""

    what: str
    before: str
    after: str


@dataclass(frozen=True)
class Diff:
    """Everything that changed.

    Attributes:
        began: an accusation that was none before.
        stopped: it passes now, and was accused before.
        otherwise: accused in both, of something else.
        lab: it was judged before and could not be now, or the other way round.
        plan: asked in one of them alone, or declared unsupported in one of them.
        judged: whether the newer run judged anything.
    """

    before: Run
    after: Run
    began: Sequence[Test] = ()
    stopped: Sequence[Test] = ()
    otherwise: Sequence[Test] = ()
    lab: Sequence[Test] = ()
    plan: Sequence[Test] = ()
    dispatch: Sequence[Change] = ()
    clobber: Sequence[Change] = ()
    times: Sequence[Change] = ()
    facts: Sequence[Change] = ()
    judged: bool = field(default=True)

    @property
    def exit_code(self) -> int:
        """1 if something began to fail; 125 if the newer run judged nothing; else 0."""
        if self.began or any(each.worse for each in self.otherwise):
            return EXIT_ACCUSED
        return EXIT_OK if self.judged else EXIT_LAB


def compare(before: Run, after: Run) -> Diff:
    """Return what changed from ``before`` to ``after``."""
    old = {outcome.test: outcome for outcome in outcomes(before)}
    new = {outcome.test: outcome for outcome in outcomes(after)}
    parts: dict[str, list[Test]] = {}
    for test in dict.fromkeys([*old, *new]):
        part = _part(old.get(test), new.get(test))
        if part:
            parts.setdefault(part, []).append(_test(test, old.get(test), new.get(test)))
    return Diff(
        before, after, **parts,
        dispatch=list(_dispatch(before, after)),
        clobber=list(_clobber(before, after)),
        times=list(_times(before, after)),
        facts=list(_facts(before, after)),
        judged=any(outcome.verdict in _JUDGED for outcome in new.values()),
    )  # fmt: skip


def _part(old: Outcome | None, new: Outcome | None) -> str:
    """Return the field of `Diff` that a test belongs to; empty if nothing changed."""
    was, now = old.verdict if old else None, new.verdict if new else None
    if now is not None and now.accuses:
        if was is None or not was.accuses:
            return "began"
        return "otherwise" if was is not now or _accused(old) != _accused(new) else ""
    if was is now:
        return ""
    if was in _JUDGED and now in _JUDGED:
        return "stopped"
    if None in {was, now} or Verdict.UNSUPPORTED in {was, now}:
        return "plan"
    return "lab"


def _accused(outcome: Outcome | None) -> set[tuple[str, ...]]:
    """Return what was found, without values: those differ from boot to boot."""
    assert outcome is not None
    return {(each.rule, each.hcall, each.what) for each in outcome.findings}


def _test(test: str, old: Outcome | None, new: Outcome | None) -> Test:
    told = new if new is not None and new.message else old
    was, now = old.verdict if old else None, new.verdict if new else None
    both = was is not None and now is not None and was.accuses and now.accuses
    worse = both and (was is not now or bool(_accused(new) - _accused(old)))
    return Test(test, was, now, told.message if told else "", worse)


def _about(record: Mapping[str, Any]) -> str:
    return f"{record.get('subject')} from {record.get('origin')}"


def _both(
    before: Run, after: Run, what: str
) -> Iterator[tuple[str, Mapping[str, Any], Mapping[str, Any]]]:
    old = {_about(record): record for record in tables(before, what)}
    for record in tables(after, what):
        if (about := _about(record)) in old:
            yield about, old[about], record


def _dispatch(before: Run, after: Run) -> Iterator[Change]:
    for about, old, new in _both(before, after, "dispatch"):
        edges = {0}
        for ranges in (old["ranges"], new["ranges"]):
            for first, last, *_ in ranges:
                edges |= {first, last + 1} if last >= first else {first}
        found: list[tuple[int, int, str, str]] = []
        ordered = sorted(edges)
        for first, following in zip(ordered, [*ordered[1:], None], strict=True):
            was, now = _did(old["ranges"], first), _did(new["ranges"], first)
            if was == now or "" in {was, now}:
                continue
            last = -1 if following is None else following - 1
            if found and found[-1][1] + 1 == first and found[-1][2:] == (was, now):
                found[-1] = (found[-1][0], last, was, now)
            else:
                found.append((first, last, was, now))
        for first, last, was, now in found:
            yield Change(f"{about}: {span(first, last)}", was, now)


def _did(ranges: Sequence[Sequence[Any]], number: int) -> str:
    """Return what a number did; the ranges are in order."""
    at = bisect.bisect_right(ranges, number, key=lambda each: each[0]) - 1
    if at < 0 or 0 <= ranges[at][1] < number:
        return ""
    return f"{ranges[at][2]}: {ranges[at][3]}"


def _clobber(before: Run, after: Run) -> Iterator[Change]:
    for about, old, new in _both(before, after, "clobber"):
        rows = {row["hcall"]: row["cells"] for row in old["rows"]}
        for row in new["rows"]:
            cells = rows.get(row["hcall"])
            if cells is None:
                continue
            names = [
                (name, was, now)
                for name, was, now in zip(new["registers"], cells, row["cells"], strict=False)
                if was != now and not {was, now} & _NOT_MEASURED
            ]
            if names:
                yield Change(
                    f"{about}: {row['hcall']}",
                    " ".join(f"{name} {was}" for name, was, _ in names),
                    " ".join(f"{name} {now}" for name, _, now in names),
                )


def _times(before: Run, after: Run) -> Iterator[Change]:
    old, new = _measured(before), _measured(after)
    emulated = before.facts.get("emulated") or after.facts.get("emulated")
    factor = SLOWER_EMULATED if emulated else SLOWER
    for what, now_s in new.items():
        was_s = old.get(what)
        if was_s is None:
            continue
        low, high = sorted((was_s, now_s))
        if high - low >= SLOWER_S and high >= factor * low:
            yield Change(what, f"{was_s:.1f} s", f"{now_s:.1f} s")


def _measured(run: Run) -> dict[str, float]:
    """Return times that say something of what is under test: restarts, and sweeps."""
    found: dict[str, list[float]] = {}
    for leg in run.observations("leg"):
        ready_s = leg.get("times", {}).get("ready_s")
        if ready_s is not None:
            what = f"{leg.get('way')} from {leg.get('boot')} into {leg.get('receiver')}"
            found.setdefault(what, []).append(float(ready_s))
    for record in run.records:
        ended = record["kind"] == "step" and "took_s" in record and "error" not in record
        if ended and str(record["what"]).startswith("sweep "):
            found.setdefault(str(record["what"]), []).append(float(record["took_s"]))
    return {what: statistics.median(times) for what, times in found.items()}


def _facts(before: Run, after: Run) -> Iterator[Change]:
    kernels = [name for name in {**before.facts, **after.facts} if name.startswith("kernel ")]
    for name in [*FACTS, *kernels]:
        was, now = before.facts.get(name), after.facts.get(name)
        if isinstance(was, dict) and isinstance(now, dict):
            for each in dict.fromkeys([*was, *now]):
                if was.get(each) != now.get(each):
                    yield Change(f"{name}: {each}", str(was.get(each)), str(now.get(each)))
        elif was != now:
            yield Change(name, _said(was), _said(now))


def _said(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, dict):
        return ", ".join(f"{name} {each}" for name, each in value.items()) or "-"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def as_json(diff: Diff) -> dict[str, Any]:
    """Return it as one JSON object."""
    tests = {
        name: [
            {"test": each.test, "before": each.before and each.before.value,
             "after": each.after and each.after.value, "message": each.message,
             "worse": each.worse}
            for each in getattr(diff, name)
        ]
        for name in ("began", "stopped", "otherwise", "lab", "plan")
    }  # fmt: skip
    changes = {
        name: [vars(each) for each in getattr(diff, name)]
        for name in ("dispatch", "clobber", "times", "facts")
    }
    ids = {"before": diff.before.facts.get("id"), "after": diff.after.facts.get("id")}
    out = {"schema": SCHEMA, "version": VERSION, **ids, "exit_code": diff.exit_code,
           **tests, **changes}  # fmt: skip
    return scrubbed(out)
