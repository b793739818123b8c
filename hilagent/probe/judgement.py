# SPDX-License-Identifier: Apache-2.0
"""The matrix of verdicts: for each hcall and rule, held, broken, or why neither."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from types import ModuleType

from hilagent.abi import UNKNOWN, Contract, Profile
from hilagent.link.wire import Seen
from hilagent.payload import SweepRequest
from hilagent.result import Finding, SweepPass

from . import clobber, coverage, dispatch, names
from .coverage import Gap
from .dispatch import Lacks
from .look import Breach, Lab, Look, looks
from .names import Span

Withheld = Mapping[tuple[int, int], frozenset[str]]
"""By (CPU, origin): what the payload's own recorder changed too, so that nobody else
can be accused of it (see :func:`hilagent.probe.architecture.withheld`)."""

_AFTER_MISROUTE = frozenset({"result", "callee-args", "callee-state", "clobber", "leak"})


MOST_SEEN = 4


class State(enum.Enum):
    """What became of one rule for one hcall. Only HELD is a pass."""

    HELD = "held"
    BROKEN = "broken"
    UNFINISHED = "unfinished"  # not all of it was observed
    VOID = "void"  # observed, but another finding of the same hcall drowns it
    NOT_APPLICABLE = "not-applicable"


@dataclass(frozen=True)
class Cell:
    """One rule for one hcall.

    ``reason`` says why it is neither held nor broken, or of one that is held, where not.
    """

    hcall: str
    rule: str
    state: State
    findings: tuple[Finding, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class Note:
    """A change that the contract allows."""

    hcall: str
    what: str
    cpus: tuple[int, ...]


@dataclass(frozen=True)
class Segment:
    """A range of immediates that all did the same, on every CPU and in every pass."""

    first: int
    last: int
    hcall: str
    effect: str
    ok: bool


@dataclass(frozen=True)
class Judgement:
    """What the passes say about one server's vectors.

    Attributes:
        cells: by (hcall, rule), in the order of the profile and the rules.
        segments: the dispatch map, by origin.
        changes: the clobber matrix: hcall -> register -> ``breach``, ``leak``,
            ``allowed``; a register that isn't named was never changed.
        gaps: what was not observed.
        changed: what came home changed, whoever is to blame: hcall -> register (PSTATE's
            fields by their names) -> numbers that it was seen at, ``MOST_SEEN`` at most.
    """

    profile: str
    server: str
    cells: Mapping[tuple[str, str], Cell]
    segments: Mapping[str, tuple[Segment, ...]]
    changes: Mapping[str, Mapping[str, str]]
    notes: tuple[Note, ...]
    gaps: tuple[Gap, ...]
    changed: Mapping[str, Mapping[str, tuple[int, ...]]] = field(default_factory=dict)

    def cell(self, hcall: str, rule: str) -> Cell:
        """Return one cell. Raises KeyError for a rule or hcall that there isn't."""
        return self.cells[hcall, rule]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Every finding, in the order of the cells."""
        return tuple(finding for cell in self.cells.values() for finding in cell.findings)

    @property
    def open(self) -> tuple[str, ...]:
        """What was not judged, and why: a line a cell."""
        return tuple(
            f"{cell.rule}: {cell.hcall}: {cell.reason}"
            for cell in self.cells.values()
            if cell.state in (State.UNFINISHED, State.VOID)
        )

    @property
    def clean(self) -> bool:
        """Whether every cell is held or not applicable."""
        return not self.findings and not self.open


def judge(
    profile: Profile,
    server: str,
    passes: Sequence[SweepPass],
    lab: Lab,
    *,
    wanted: Sequence[SweepRequest],
    suites: Sequence[ModuleType] = (dispatch, clobber),
    withheld: Withheld | None = None,
    vectors_crc: int | None = None,
) -> Judgement:
    """Judge ``passes`` over the vectors of ``server`` against its contracts.

    Args:
        profile: the ABI.
        server: whose contract the vectors keep.
        passes: every pass of every CPU and origin.
        lab: what the laboratory is made of.
        wanted: what was asked for; whatever of it is missing is never a pass.
        suites: which rules: the modules :mod:`dispatch` and :mod:`clobber`.
        withheld: what the recorder shows too.
        vectors_crc: of the vectors that were meant.
    """
    gaps = coverage.check(passes, wanted, vectors_crc=vectors_crc)
    tally = _Tally(withheld or {}, suites)
    everything = [look for swept in passes for look in looks(profile, server, swept, lab)]
    for look in everything:
        tally.add(look)
    cells = {
        (contract.hcall, rule): _cell(profile, contract, suite, rule, tally, gaps)
        for contract in profile.hcalls(server)
        for suite in suites
        for rule in suite.RULES
    }
    return Judgement(
        profile=profile.name,
        server=server,
        cells=cells,
        segments=_segments(profile, server, everything),
        changes=_changes(everything, tally),
        notes=_notes(everything),
        gaps=gaps,
        changed=_changed(everything),
    )


def with_findings(judgement: Judgement, findings: Sequence[Finding]) -> Judgement:
    """Return ``judgement`` with findings that were not swept for: of code that can't be run."""
    cells = dict(judgement.cells)
    for finding in findings:
        key = (finding.hcall, finding.rule)
        before = cells[key].findings if key in cells else ()
        cells[key] = Cell(*key, State.BROKEN, (*before, finding))
    return replace(judgement, cells=cells)


class _Tally:
    """Collects breaches, and what could not be judged, by (hcall, rule)."""

    def __init__(self, withheld: Withheld, suites: Sequence[ModuleType]) -> None:
        self.withheld, self.suites = withheld, suites
        self.found: dict[tuple[str, str, str, str], Finding] = {}
        self.void: dict[tuple[str, str], list[tuple[str, tuple[Span, ...]]]] = {}
        self.lacks: dict[tuple[str, str], str] = {}
        self.judged: set[str] = set()

    def add(self, look: Look) -> None:
        if look.sig.seen == Seen.NOT_ISSUED and not look.bucket:
            return
        if look.asynchronous:
            return
        said = [*dispatch.check(look), *clobber.check(look)]
        breaches = [each for each in said if isinstance(each, Breach)]
        self.judged.add(look.contract.hcall)
        void_by, kept = _voided(breaches)
        for rule, by in void_by.items():
            self.void.setdefault((look.contract.hcall, rule), []).append((by, look.spans))
        for each in said:
            if isinstance(each, Lacks) and each.rule not in void_by:
                self.lacks[look.contract.hcall, each.rule] = each.reason
        for breach in kept:
            self._keep(look, breach)

    def _keep(self, look: Look, breach: Breach) -> None:
        hcall = look.contract.hcall
        if breach.what in self.withheld.get((look.swept.cpu, look.swept.origin), frozenset()):
            reason = f"the payload's own recorder shows a changed {breach.what} too"
            self.void.setdefault((hcall, breach.rule), []).append((reason, look.spans))
            return
        key = (breach.rule, hcall, breach.what, look.origin)
        given = f" where {look.swept.given}" if look.swept.given else ""
        finding = Finding(
            breach.rule, hcall, breach.what, breach.expected, f"{breach.found}{given}",
            (look.cpu,), look.spans, look.origin, breach.evidence,
        )  # fmt: skip
        self.found[key] = _merged(self.found[key], finding) if key in self.found else finding

    def findings(self, hcall: str, rule: str) -> tuple[Finding, ...]:
        return tuple(f for (r, h, _, _), f in self.found.items() if (h, r) == (hcall, rule))


def _voided(breaches: Sequence[Breach]) -> tuple[dict[str, str], list[Breach]]:
    """Return the rules that can't be judged (and by what), and the breaches that stay."""
    primary = [breach for breach in breaches if breach.primary]
    if primary:
        rules = (*dispatch.RULES, *clobber.RULES)
        by = primary[0].rule
        return {rule: by for rule in rules if rule != by}, primary[:1]
    if any(breach.rule == "dispatch" for breach in breaches):
        kept = [breach for breach in breaches if breach.rule not in _AFTER_MISROUTE]
        return dict.fromkeys(_AFTER_MISROUTE, "dispatch"), kept
    return {}, list(breaches)


def _merged(one: Finding, two: Finding) -> Finding:
    """Return both as one finding; what was found differently is shown for the first."""
    return replace(
        one,
        cpus=tuple(sorted({*one.cpus, *two.cpus})),
        immediates=names.merge_spans([*one.immediates, *two.immediates]),
        evidence=one.evidence or two.evidence,
    )


def _cell(
    profile: Profile,
    contract: Contract,
    suite: ModuleType,
    rule: str,
    tally: _Tally,
    gaps: Iterable[Gap],
) -> Cell:
    hcall = contract.hcall
    findings = tally.findings(hcall, rule)
    if findings:
        return Cell(hcall, rule, State.BROKEN, findings)
    if not contract.sweep:
        return Cell(hcall, rule, State.NOT_APPLICABLE, reason=f"not swept: {contract.sweep_reason}")
    reason = suite.not_applicable(contract, rule)
    if reason:
        return Cell(hcall, rule, State.NOT_APPLICABLE, reason=reason)
    if (hcall, rule) in tally.void:
        return Cell(hcall, rule, State.VOID, reason=_void_text(tally.void[hcall, rule]))
    gap = next((gap for gap in gaps if _touches(profile, contract, gap)), None)
    if gap is not None:
        return Cell(hcall, rule, State.UNFINISHED, reason=str(gap))
    if (hcall, rule) in tally.lacks:
        return Cell(hcall, rule, State.UNFINISHED, reason=tally.lacks[hcall, rule])
    if hcall not in tally.judged:
        return Cell(hcall, rule, State.UNFINISHED, reason="never observed")
    return Cell(hcall, rule, State.HELD)


def _void_text(voids: Sequence[tuple[str, tuple[Span, ...]]]) -> str:
    by = voids[0][0]
    spans = names.merge_spans(span for _, each in voids for span in each)
    said = by if " " in by else f"the finding '{by}' leaves nothing to judge"
    return f"hvc #{names.show_spans(spans)}: {said}"


def _touches(profile: Profile, contract: Contract, gap: Gap) -> bool:
    """Whether any immediate of the gap is this hcall's."""
    if contract.number is not None:
        return any(first <= contract.number <= last for first, last in gap.spans)
    known = [
        (number, number)
        for number in profile.numbers.values()
        if profile.name_of(number, contract.server) != UNKNOWN
    ]
    return bool(names.without(gap.spans, known))


def _segments(
    profile: Profile, server: str, everything: Sequence[Look]
) -> dict[str, tuple[Segment, ...]]:
    """Return the dispatch map by origin."""
    by_origin: dict[str, list[Look]] = {}
    for look in everything:
        by_origin.setdefault(look.origin, []).append(look)
    return {origin: tuple(_joined(_pieces(each))) for origin, each in by_origin.items()}


def _pieces(everything: Sequence[Look]) -> Iterator[Segment]:
    """Yield the map, cut wherever any pass of any CPU changes what it does."""
    starts: dict[int, list[tuple[str, str, bool]]] = {}
    ends: dict[int, list[tuple[str, str, bool]]] = {}
    for look in everything:
        said = [each for each in dispatch.check(look) if isinstance(each, Breach)]
        ok = not [each for each in said if each.rule in dispatch.RULES]
        what = (look.contract.hcall, dispatch.effect(look), ok and not look.asynchronous)
        for first, last in look.spans:
            starts.setdefault(first, []).append(what)
            ends.setdefault(last + 1, []).append(what)
    live: dict[tuple[str, str, bool], int] = {}
    for at, after in pairwise(sorted({*starts, *ends})):
        for what in ends.get(at, []):
            live[what] -= 1
        for what in starts.get(at, []):
            live[what] = live.get(what, 0) + 1
        now = [what for what, count in live.items() if count]
        if now:
            effects = " / ".join(sorted({effect for _, effect, _ in now}))
            yield Segment(at, after - 1, now[0][0], effects, all(ok for _, _, ok in now))


def _joined(segments: Iterable[Segment]) -> list[Segment]:
    out: list[Segment] = []
    for each in segments:
        last = out[-1] if out else None
        if last and last.last + 1 == each.first and _same(last, each):
            out[-1] = replace(last, last=each.last)
        else:
            out.append(each)
    return out


def _same(one: Segment, two: Segment) -> bool:
    return (one.hcall, one.effect, one.ok) == (two.hcall, two.effect, two.ok)


def _notes(everything: Sequence[Look]) -> tuple[Note, ...]:
    cpus: dict[tuple[str, str], set[int]] = {}
    for look in everything:
        for what in clobber.allowed(look) if look.home else ():
            cpus.setdefault((look.contract.hcall, what), set()).add(look.cpu)
    return tuple(Note(hcall, what, tuple(sorted(each))) for (hcall, what), each in cpus.items())


def _changes(everything: Sequence[Look], tally: _Tally) -> dict[str, dict[str, str]]:
    out: dict[str, dict[str, str]] = {}
    for look in everything:
        row = out.setdefault(look.contract.hcall, {})
        for what in clobber.allowed(look) if look.home else ():
            row.setdefault(what, "allowed")
    for finding in tally.found.values():
        if finding.rule in clobber.RULES:
            said = "leak" if finding.rule == "leak" else "breach"
            out.setdefault(finding.hcall, {})[finding.what] = said
    return out


def _changed(everything: Sequence[Look]) -> dict[str, dict[str, tuple[int, ...]]]:
    out: dict[str, dict[str, tuple[int, ...]]] = {}
    for look in everything:
        if not look.home or look.bucket or not look.contract.returns:
            continue
        row = out.setdefault(look.contract.hcall, {})
        for what in clobber.seen_changed(look):
            at = row.get(what, ())
            if look.spans[0][0] not in at and len(at) < MOST_SEEN:
                row[what] = (*at, look.spans[0][0])
    return out
