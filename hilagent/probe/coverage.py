# SPDX-License-Identifier: Apache-2.0
"""Coverage: was everything that was asked for really observed? Else no PASS.

A missing pass or CPU, immediates that a result had no room for, a wrong CRC, an
asynchronous exception: each is a :class:`Gap`, and a rule whose immediates lie in
one is *unfinished*, never held.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from hilagent.link.wire import Seen
from hilagent.payload import SweepRequest
from hilagent.result import SweepPass

from . import names
from .names import Span

_FAULTS = (Seen.EL2_FAULT, Seen.EL1_FAULT, Seen.LOST)


@dataclass(frozen=True)
class Gap:
    """Immediates that were asked for and not observed, and why."""

    cpu: int
    origin: int
    pass_no: int
    spans: tuple[Span, ...]
    reason: str

    def __str__(self) -> str:
        where = f"CPU {self.cpu}, {names.origin(self.origin)}, pass {self.pass_no}"
        return f"{where}: hvc #{names.show_spans(self.spans)}: {self.reason}"


Key = tuple[int, int, int]


def check(
    passes: Sequence[SweepPass],
    wanted: Sequence[SweepRequest],
    *,
    vectors_crc: int | None = None,
) -> tuple[Gap, ...]:
    """Return what of ``wanted`` the ``passes`` did not observe.

    Several passes of one CPU, origin and pass number may cover a range together.
    What a request skips on purpose is no gap.

    Args:
        passes: what was observed.
        wanted: what was asked for.
        vectors_crc: of the vectors that were meant; a pass over others counts as none.
    """
    gaps: list[Gap] = []
    seen: dict[Key, list[SweepPass]] = {}
    for swept in passes:
        seen.setdefault(_key(swept), []).append(swept)
    for key, asked in _asked(wanted).items():
        gaps += _of_key(key, asked, seen.get(key, []), vectors_crc)
    return tuple(gaps)


def _asked(wanted: Sequence[SweepRequest]) -> dict[Key, list[SweepRequest]]:
    out: dict[Key, list[SweepRequest]] = {}
    for request in wanted:
        out.setdefault((request.cpu, request.origin, request.pass_no), []).append(request)
    return out


def _key(swept: SweepPass) -> Key:
    return swept.cpu, swept.origin, swept.pass_no


def _of_key(
    key: Key, asked: Sequence[SweepRequest], found: Sequence[SweepPass], crc: int | None
) -> Iterator[Gap]:
    spans: list[Span] = [(each.first, each.first + each.count - 1) for each in asked]
    skipped: list[Span] = [(imm, imm) for each in asked for imm in each.skip]
    missing = names.without(spans, skipped)
    if not found:
        yield Gap(*key, missing, "never swept")
        return
    for swept in found:
        bad = _distrust(swept, crc)
        if bad:
            yield Gap(*key, missing, bad)
            continue
        for reason, holes in _holes(swept):
            hit = names.without(missing, names.without(missing, holes))
            if hit:
                yield Gap(*key, hit, reason)
        missing = names.without(missing, _observed(swept))
    holes_said = [span for swept in found for _, holes in _holes(swept) for span in holes]
    rest = names.without(missing, holes_said)
    if rest:
        yield Gap(*key, rest, "not in the result")


def _distrust(swept: SweepPass, crc: int | None) -> str:
    """Return why nothing in ``swept`` counts, or empty."""
    if not swept.crc_ok and not swept.left_out:
        return "the result's CRC doesn't match its map"
    if crc is not None and swept.vectors_crc != crc:
        return f"other vectors were swept: CRC {swept.vectors_crc:#010x}, not {crc:#010x}"
    at = swept.first
    for first, count, _ in swept.runs:
        if first != at or count < 1:
            return "the result's map has a hole or an overlap"
        at += count
    if at + swept.left_out != swept.first + swept.count:
        return f"{swept.first + swept.count - at - swept.left_out} immediates are not in the map"
    return ""


def _holes(swept: SweepPass) -> list[tuple[str, list[Span]]]:
    """Return the immediates of ``swept`` that were not observed, by reason."""
    idle: list[Span] = []
    asynchronous: list[Span] = []
    for first, count, index in swept.runs:
        if index >= len(swept.sigs):
            continue  # judged: more effects than can be told apart
        sig = swept.sigs[index]
        if sig.seen == Seen.NOT_ISSUED:
            idle.append((first, first + count - 1))
        elif sig.seen in _FAULTS and sig.vector & 3:
            asynchronous.append((first, first + count - 1))
    end = swept.first + swept.count
    left: list[Span] = [(end - swept.left_out, end - 1)] if swept.left_out else []
    reasons = (
        ("the result had no room for it", left),
        ("not issued", idle),
        ("an interrupt or SError ended it", asynchronous),
    )
    return [(reason, spans) for reason, spans in reasons if spans]


def _observed(swept: SweepPass) -> tuple[Span, ...]:
    spans: Iterable[Span] = ((first, first + count - 1) for first, count, _ in swept.runs)
    holes = [span for _, spans_ in _holes(swept) for span in spans_]
    return names.without(spans, holes)
