# SPDX-License-Identifier: Apache-2.0
"""What was asked where, in the words of a report; and what the immediate does beside x0."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hilagent.abi import Profile
from hilagent.payload import SweepRequest
from hilagent.result import SweepPass

from . import dispatch, names
from .by_x0 import IMMEDIATES, Numbered
from .look import Lab, looks
from .plan import EVERYTHING

_MOST_EFFECTS = 3


def immediates(requests: Sequence[SweepRequest]) -> list[str]:
    """Return how many immediates were issued where, a line for each way."""
    ways: dict[str, list[str]] = {}
    for request in requests:
        if request.swept == "imm":
            count = "all 65,536" if request.count == EVERYTHING else f"{request.count:,}"
            where = f"CPU {request.cpu} {names.origin(request.origin)} pass {request.pass_no}"
            ways.setdefault(count, []).append(where)
    return [f"{count} immediates: {_places(places)}" for count, places in ways.items()]


def _places(places: Iterable[str]) -> str:
    found = list(dict.fromkeys(places))
    return ", ".join(found[:4]) + (f" and {len(found) - 4} others" if len(found) > 4 else "")


def numbers(plan: Sequence[Numbered]) -> list[str]:
    """Return how many hvcs were issued of what, by CPU."""
    counts: dict[str, dict[int, int]] = {}
    for each in plan:
        by_cpu = counts.setdefault(each.what, {})
        by_cpu[each.request.cpu] = by_cpu.get(each.request.cpu, 0) + each.request.count
    return [f"{what}: {_counted(by_cpu)}" for what, by_cpu in counts.items()]


def _counted(by_cpu: dict[int, int]) -> str:
    """Return hvcs by CPU, all origins and passes together."""
    alike: dict[int, list[int]] = {}
    for cpu, count in by_cpu.items():
        alike.setdefault(count, []).append(cpu)
    each = [
        f"{count:,} hvcs on CPU{'s' if len(cpus) > 1 else ''} {', '.join(map(str, cpus))}"
        for count, cpus in alike.items()
    ]
    return "; ".join(each)


Pairs = Sequence[tuple[Numbered, Sequence[SweepPass]]]


def immediate(profile: Profile, server: str, done: Pairs, lab: Lab) -> str:
    """Return what the immediate does where x0 names the hcall: nothing, or what."""
    plain: dict[int, set[str]] = {}
    beside: dict[int, set[str]] = {}
    unnamed: dict[str, list[names.Span]] = {}
    for each, passes in done:
        for swept in passes:
            for look in looks(profile, server, swept, lab):
                effect, number = dispatch.effect(look), swept.first
                if each.kind == "immediates":
                    spans = [(a - IMMEDIATES, b - IMMEDIATES) for a, b in look.spans]
                    unnamed.setdefault(effect, []).extend(spans)
                elif each.kind in ("number", "at"):
                    known = plain if each.kind == "number" else beside
                    known.setdefault(number, set()).add(effect)
    other = [number for number, effects in beside.items() if effects != plain.get(number)]
    if not other and len(unnamed) == 1:
        return f"nothing: {next(iter(unnamed))}, whatever it is, and the same hcalls"
    said = [
        f"#{names.show_spans(names.merge_spans(spans), limit=3)}: {effect}"
        for effect, spans in list(unnamed.items())[:_MOST_EFFECTS]
    ] if len(unnamed) > 1 else []  # fmt: skip
    said += [f"at x0 = {number:#x} it changes what is done" for number in other]
    return "; ".join(said) or "not asked"
