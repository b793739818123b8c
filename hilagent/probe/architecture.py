# SPDX-License-Identifier: Apache-2.0
"""Architecture: the payload's own recording vectors take every hvc.

A finding here accuses the CPU or the emulator, not any vectors under test; and
what the recorder already sees changed on a CPU is *withheld* from the other
judges on that CPU, for nobody else can be accused of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from hilagent.link import wire
from hilagent.link.wire import Origin, Seen
from hilagent.payload import SweepRequest
from hilagent.result import Finding, Sig, SweepPass

from . import coverage, esr, names
from .coverage import Gap
from .look import BUCKET

RULE = "architecture"
SUBJECT = "recorder"
ESR_OF_HVC = 0x5A000000
"""EC 0x16, IL 1; the payload has taken the immediate out, so that ISS is 0."""

_VECTOR = {Origin.EL1H: 8, Origin.EL2H: 4, Origin.EL2T: 0}


def judge(
    passes: Sequence[SweepPass], wanted: Sequence[SweepRequest] = ()
) -> tuple[list[Finding], tuple[Gap, ...]]:
    """Return what was not as the architecture says, and what was not observed."""
    found: dict[tuple[str, int], Finding] = {}
    for swept in passes:
        for spans, sig in _signatures(swept):
            for finding in _check(swept, sig, spans):
                key = (finding.what, swept.origin)
                found[key] = _merged(found[key], finding) if key in found else finding
    return list(found.values()), coverage.check(passes, wanted)


def withheld(passes: Sequence[SweepPass]) -> dict[tuple[int, int], frozenset[str]]:
    """Return what changed under the recorder itself, by (CPU, origin)."""
    out: dict[tuple[int, int], set[str]] = {}
    for swept in passes:
        for _, sig in _signatures(swept):
            changed = {*_changed(sig), *names.pstate_changes(sig.pstate_diff)}
            if sig.flags & 0x10:
                changed.add("SError")
            out.setdefault((swept.cpu, swept.origin), set()).update(changed)
    return {key: frozenset(what) for key, what in out.items() if what}


def refusal(passes: Sequence[SweepPass]) -> str:
    """Return why nothing can be said about any vectors, or empty.

    That is so where the recorder never gets an hvc: then firmware has disabled
    the instruction, and the vectors under test would be accused of it.
    """
    for swept in passes:
        seen = [sig for _, sig in _signatures(swept) if sig.seen != Seen.NOT_ISSUED]
        if seen and not any(sig.seen == Seen.RECORDED for sig in seen):
            undefined = all(esr.decode(sig.esr).ec == esr.EC_UNKNOWN for sig in seen)
            why = "hvc is undefined: firmware disables it (SCR_EL3.HCE, or HCR_EL2.HCD)"
            where = f"CPU {swept.cpu}, {names.origin(swept.origin)}"
            return f"{where}: {why if undefined else 'no hvc reaches the recorder'}"
    return ""


def _signatures(swept: SweepPass) -> Iterator[tuple[tuple[names.Span, ...], Sig]]:
    spans: dict[int, list[names.Span]] = {}
    for first, count, index in swept.runs:
        spans.setdefault(index, []).append((first, first + count - 1))
    for index, each in spans.items():
        if index < len(swept.sigs):
            yield names.merge_spans(each), swept.sigs[index]


def _check(swept: SweepPass, sig: Sig, spans: tuple[names.Span, ...]) -> Iterator[Finding]:
    def wrong(what: str, expected: str, found: str) -> Finding:
        return Finding(
            RULE, SUBJECT, what, expected, found, (swept.cpu,), spans, names.origin(swept.origin),
            str(esr.decode(sig.esr)),
        )  # fmt: skip

    if sig.seen == Seen.NOT_ISSUED or (sig.seen in _FAULTS and sig.vector & 3):
        return
    vector = _VECTOR.get(Origin(swept.origin)) if swept.origin in _VECTOR else None
    if sig.flags & BUCKET:
        yield wrong("signature", "one effect", "more different effects than can be told apart")
    if sig.seen != Seen.RECORDED:
        yield wrong(
            "vector",
            "taken to EL2 by the recorder",
            f"{_seen(sig.seen)}, {names.vector(sig.vector)}",
        )
        return
    if sig.vector != vector:
        yield wrong(
            "vector", names.vector(vector if vector is not None else -1), names.vector(sig.vector)
        )
    yield from (wrong(*each) for each in _esr(sig.esr))
    if sig.pc_off:
        yield wrong("ELR", "the instruction after the hvc", f"{sig.pc_off:+d} bytes from there")
    for name, found in names.pstate_changes(sig.pstate_diff).items():
        yield wrong(f"SPSR.{name}", "the PSTATE it was issued with", found)
    if sig.pstate_diff & 0x1F:
        yield wrong(
            "SPSR.M", names.origin(swept.origin), names.mode(swept.origin ^ sig.pstate_diff)
        )
    for name in _changed(sig):
        yield wrong(name, "keeps its value", "changed")


_FAULTS = (Seen.EL2_FAULT, Seen.EL1_FAULT, Seen.LOST)


def _esr(value: int) -> Iterator[tuple[str, str, str]]:
    got, wanted = esr.decode(value), esr.decode(ESR_OF_HVC)
    if got.ec != wanted.ec:
        yield "EC", f"{wanted.ec:#04x} {wanted.name}", f"{got.ec:#04x} {got.name}"
    if got.il != wanted.il:
        yield "IL", "1", "0"
    if got.iss != wanted.iss:
        yield "ISS", "the immediate", f"the immediate xor {got.iss:#x}"
    if value >> 32:
        yield "ESR", "0 above bit 31", f"{value >> 32:#x}"


def _changed(sig: Sig) -> list[str]:
    return [
        *names.gpr(sig.gpr_changed & 0x7FFFFFFF),
        *names.vectors(sig.v_changed, sig.z_changed),
        *names.sysregs(sig.sys_changed),
    ]


def _seen(value: int) -> str:
    try:
        return Seen(value).name.lower().replace("_", " ")
    except ValueError:
        return f"seen {value}"


def _merged(one: Finding, two: Finding) -> Finding:
    cpus = tuple(sorted({*one.cpus, *two.cpus}))
    spans = names.merge_spans([*one.immediates, *two.immediates])
    return replace(one, cpus=cpus, immediates=spans)


ORIGINS: Mapping[int, str] = names.ORIGINS
assert set(_VECTOR) == set(wire.Origin)
