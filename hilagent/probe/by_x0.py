# SPDX-License-Identifier: Apache-2.0
"""What to sweep where x0 names the hcall, and how it is judged by the rules of an immediate.

x0's value stands where an immediate does. Numbers up to ``LISTED`` are issued one by one;
of the 64 bits above them there are samples, each of which stands for one number that no
hcall has: ``OTHERS`` and up. Every immediate is issued too, with an x0 that names nothing:
they stand from ``IMMEDIATES`` on. Pure.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from hilagent.abi import UNKNOWN, Contract, Profile
from hilagent.link.wire import Origin, Seen
from hilagent.payload import SweepRequest
from hilagent.result import Finding, Sig, SweepPass

from . import clobber, dispatch, names
from .look import Lab, Look
from .names import Span
from .plan import ALL_CAUGHT, BASELINE, EVERYTHING, ORIGINS, PASSES, SAMPLE, SPREAD

LISTED = 0x1000
"""Numbers issued one by one, below every SMCCC function id that calls for something."""
OTHERS, IMMEDIATES = 0x1_0000, 0x2_0000
SEED = 0x6869_6C78_30
_NOT_X0 = ALL_CAUGHT & ~1
_SPREAD_COUNT = 254  # without 0 and all ones, which are a number and an answer
_SEEDED_COUNT = 4096
_WIDE_STEP = 1 << 32
_MASK = (1 << 64) - 1
_HOME = (Seen.RETURNED, Seen.VECTORS_SET, Seen.CALLED)
_LANDING = 3

Kind = Literal["number", "listed", "sample", "immediates", "at"]


@dataclass(frozen=True)
class Numbered:
    """One sweep, and which numbers it is about.

    Attributes:
        kind: ``number`` (one hcall), ``listed`` (unknown numbers one by one), ``sample``
            (of all the others), ``immediates`` (at an x0 that names nothing), ``at``
            (other immediates at the number of an hcall).
        number: the number of its first hvc; of ``sample`` and ``at``, of all of them.
        what: for the report.
    """

    request: SweepRequest
    kind: Kind
    number: int
    what: str

    @property
    def counted(self) -> bool:
        """Whether each hvc stands for a number of its own."""
        return self.kind in ("number", "listed", "immediates")


def plan(
    profile: Profile,
    server: str,
    cpus: Sequence[int] = (0,),
    *,
    skip: Sequence[int] = (),
    skip_imms: Sequence[int] = (),
    aliases: Sequence[tuple[int, int]] = (),
) -> tuple[Numbered, ...]:
    """Return the sweeps of vectors whose hcalls x0 names, in an order that is good to run.

    The first CPU is asked everything; what a CPU can't change, the others are asked less of.

    Args:
        skip: values of x0 to leave out besides those of the contract.
        skip_imms: immediates likewise.
        aliases: numbers, each with the bits of it that make it the one; all are left out.
    """
    origins = [name for name in ORIGINS if name in profile.servers[server].origins]
    made = _Maker(profile, server, frozenset(skip), tuple(skip_imms), aliases=tuple(aliases))
    return tuple(
        each
        for origin in origins
        for pass_no in PASSES
        for cpu in cpus
        for each in made.sweeps(cpu, ORIGINS[origin], pass_no, first=cpu == cpus[0])
    )


def closer(
    profile: Profile, server: str, cpu: int = 0, *, skip: Sequence[int] = ()
) -> tuple[Numbered, ...]:
    """Return short sweeps where only what the contract takes as an address is a catch table.

    As :func:`hilagent.probe.plan.narrow`: worth running where the dispatch rules held.
    """
    made = _Maker(profile, server, frozenset(skip), (), profile.catch_mask(server) & ~1)
    return tuple(
        each
        for origin in ORIGINS
        if origin in profile.servers[server].origins
        for pass_no in PASSES
        for each in made.short(cpu, ORIGINS[origin], pass_no)
    )


@dataclass(frozen=True)
class _Maker:
    profile: Profile
    server: str
    skip: frozenset[int]
    skip_imms: tuple[int, ...]
    catch: int = _NOT_X0
    aliases: tuple[tuple[int, int], ...] = ()

    def sweeps(self, cpu: int, origin: Origin, pass_no: int, *, first: bool) -> Iterator[Numbered]:
        base = SweepRequest(cpu=cpu, origin=origin, pass_no=pass_no, catch_mask=self.catch)
        yield from self._numbers(base)
        yield from self._listed(base, LISTED if first else BASELINE)
        whole = first and origin == Origin.EL1H and pass_no == PASSES[0]
        yield from self._immediates(base, EVERYTHING if whole else SAMPLE)
        yield from self._samples(base, first=first)
        if first and pass_no == PASSES[0]:
            yield from self._at(base)

    def short(self, cpu: int, origin: Origin, pass_no: int) -> Iterator[Numbered]:
        base = SweepRequest(cpu=cpu, origin=origin, pass_no=pass_no, catch_mask=self.catch)
        yield from self._numbers(base)
        yield from self._listed(base, BASELINE)

    def _known(self) -> Iterator[tuple[int, Contract]]:
        for contract in self.profile.hcalls(self.server):
            number = contract.number
            if number is not None and contract.sweep and number not in self.skip:
                yield number, contract

    def _numbers(self, base: SweepRequest) -> Iterator[Numbered]:
        """Each hcall's number; neighbours together, where one laboratory does for both.

        A landing goes home by itself, but where an hcall calls: there it has to return.
        """
        groups: list[tuple[bool, bool, list[int]]] = []
        for number, contract in self._known():
            way = (contract.needs_stack, contract.effect == "call")
            last = groups[-1] if groups else None
            if last is not None and last[:2] == way and last[2][-1] + 1 == number:
                last[2].append(number)
            else:
                groups.append((*way, [number]))
        for stack, calls, found in groups:
            request = replace(
                base, count=len(found), swept="x0", x0_first=found[0], sp_usable=stack,
                land_imms=() if calls else (0,),
            )  # fmt: skip
            yield Numbered(request, "number", found[0], "x0 = each hcall's number")

    def _listed(self, base: SweepRequest, most: int) -> Iterator[Numbered]:
        named = {each.number for each in self.profile.hcalls(self.server)} - {None}
        holes = [(number, number) for number in named if number is not None]
        holes += [(number, number) for number in range(LISTED) if not self._may(number)]
        for first, last in names.without([(0, LISTED - 1)], holes):
            if first < most:
                count = min(last + 1, most) - first
                request = replace(self._unknown(base), swept="x0", x0_first=first, count=count)
                yield Numbered(request, "listed", first, "x0's values one by one")

    def _immediates(self, base: SweepRequest, count: int) -> Iterator[Numbered]:
        """x0 is a catch table's address, which is no hcall's number; vectors that take x0
        for an address all the same are named at their immediate."""
        request = replace(
            self._unknown(base), count=count, catch_mask=ALL_CAUGHT, skip=self.skip_imms
        )
        yield Numbered(request, "immediates", IMMEDIATES, "immediates, x0 naming nothing")

    def _samples(self, base: SweepRequest, *, first: bool) -> Iterator[Numbered]:
        spread = replace(
            self._unknown(base), swept="x0", x0_first=SPREAD, x0_step=SPREAD, count=_SPREAD_COUNT
        )
        start, step = _seeded()
        seeded = replace(spread, x0_first=start, x0_step=step)
        seeded = replace(seeded, count=_SEEDED_COUNT if first else BASELINE)
        out = [(seeded, "x0 seeded over 64 bits")]
        out += [(spread, "x0 spread over 64 bits")] if first else []
        for number in range(self._bound() if first else 0):
            # Vectors that look at half of x0 take these for the hcall.
            if self._runs(number):
                wide = replace(
                    spread, x0_first=number + _WIDE_STEP, x0_step=_WIDE_STEP, count=BASELINE
                )
                out.append((wide, "x0 with a number's low half"))
        for index, (request, what) in enumerate(out):
            if all(self._may(_value(request, at)) for at in range(request.count)):
                yield Numbered(request, "sample", OTHERS + index, what)

    def _at(self, base: SweepRequest) -> Iterator[Numbered]:
        """Other immediates at each hcall's number: they must change nothing."""
        for number, contract in self._known():
            request = replace(base, fixed={0: number}, sp_usable=contract.needs_stack)
            spans = [(1, BASELINE - 1)]
            if not contract.returns:
                spans = [(1, _LANDING), (1 + _LANDING, 2 * _LANDING)]
            for low, high in spans:
                imms = tuple(range(low, high + 1))
                asked = replace(request, first=low, count=len(imms), skip=self.skip_imms)
                asked = replace(asked, land_imms=() if contract.returns else imms)
                yield Numbered(asked, "at", number, "immediates at each hcall's number")

    def _unknown(self, base: SweepRequest) -> SweepRequest:
        """A landing that was not due goes home by itself, unless calls may be meant."""
        calls = any(each.effect == "call" for each in self.profile.hcalls(self.server))
        stack = self.profile.named(UNKNOWN, self.server).needs_stack
        return replace(base, land_imms=() if calls else (0,), sp_usable=stack)

    def _bound(self) -> int:
        return max(self.profile.numbers.values(), default=-1) + 1

    def _may(self, value: int) -> bool:
        """Whether ``value`` is none of those that are left out."""
        alias = any(value & bits == number & bits for number, bits in self.aliases)
        return not alias and value not in self.skip

    def _runs(self, number: int) -> bool:
        """Whether the code of ``number`` may run at all."""
        contract = self.profile.contract(number, self.server)
        return contract.sweep and number not in self.skip


def _seeded() -> tuple[int, int]:
    """Return first value and step of a walk over 64 bits that meets no small number."""
    chance = random.Random(SEED)
    while True:
        start, step = chance.getrandbits(64), chance.getrandbits(64) | 1
        if all((start + at * step) & _MASK >= OTHERS for at in range(_SEEDED_COUNT)):
            return start, step


def _value(request: SweepRequest, at: int) -> int:
    return (request.x0_first + at * request.x0_step) & _MASK


def as_passes(profile: Profile, server: str, each: Numbered, swept: SweepPass) -> list[SweepPass]:
    """Return a sweep as passes over the numbers that it is about.

    What the result had no room for, or a map that can't be trusted, stays a gap.
    """
    if each.counted:
        shift = each.number - swept.first
        runs = tuple((first + shift, count, index) for first, count, index in swept.runs)
        moved = replace(swept, first=each.number, runs=runs, swept="imm")
        return _apart(profile, server, moved) if each.kind == "number" else [moved]
    whole = swept.crc_ok and not swept.left_out and swept.count == each.request.count
    parts = [
        replace(
            swept, first=each.number, count=1, runs=((each.number, 1, index),), swept="imm",
            crc_ok=whole, left_out=0, given=_given(each, swept, index),
        )
        for index in sorted({index for _, _, index in swept.runs})
    ]  # fmt: skip
    return [given_already(profile, server, part) for part in parts] if each.kind == "at" else parts


def _apart(profile: Profile, server: str, swept: SweepPass) -> list[SweepPass]:
    """Return a pass over hcalls' numbers as one for each of them."""
    whole = swept.crc_ok and not swept.left_out
    return [
        given_already(
            profile, server,
            replace(swept, first=number, count=1, runs=((number, 1, index),), crc_ok=whole,
                    left_out=0),
        )
        for first, count, index in swept.runs
        for number in range(first, first + count)
    ]  # fmt: skip


def as_asked(each: Numbered) -> SweepRequest:
    """Return a sweep as the coverage of the numbers that it asks for."""
    request = each.request
    shift = each.number - (0 if request.swept == "x0" else request.first)
    skip = tuple(imm + shift for imm in request.skip) if each.counted else ()
    count = request.count if each.counted else 1
    return replace(request, first=each.number, count=count, swept="imm", skip=skip)


def wanted_frames(profile: Profile, server: str, lab: Lab) -> Callable[[Sig], bool]:
    """Return whether a signature is like no hcall's, so that its register files are evidence."""
    contracts = [each for each in profile.hcalls(server) if each.sweep]
    by_vbar = {lab.vbar(cpu): cpu for cpu in lab.cpus}

    def want(sig: Sig) -> bool:
        cpu = by_vbar.get(sig.x0, min(lab.cpus))
        swept = SweepPass(
            cpu=cpu, origin=Origin.EL1H, pass_no=sig.catch >> 2 & 1, first=0, count=1, seed=0,
            sigs=(sig,), runs=((0, 1, 0),), left_out=0, ticks=0,
        )  # fmt: skip
        return not any(_fits(swept, each, lab) for each in contracts)

    return want


def _fits(swept: SweepPass, contract: Contract, lab: Lab) -> bool:
    sig = swept.sigs[0]
    number = contract.number
    if contract.result.kind == "value" and number in contract.result.values:
        sig = _answered(sig, number or 0)
    look = Look(swept, 0, sig, contract, ((0, 0),), lab)
    return not (dispatch.wants_frames(look) or clobber.wants_frames(look))


def in_order(passes: Sequence[SweepPass]) -> tuple[SweepPass, ...]:
    """Return ``passes`` with those that can't be trusted first: what another pass over the
    same number saw doesn't stand in for them."""
    return tuple(sorted(passes, key=lambda swept: swept.crc_ok))


def told(finding: Finding) -> Finding:
    """Return a finding about numbers as one about hvcs: immediates, and values of x0."""
    spans = finding.immediates
    x0 = _clipped(spans, 0, OTHERS)
    imms = tuple((a - IMMEDIATES, b - IMMEDIATES) for a, b in _clipped(spans, IMMEDIATES, None))
    others = bool(_clipped(spans, OTHERS, IMMEDIATES))
    evidence = [finding.evidence, "and with other values of x0, too" if others and x0 else ""]
    if imms:
        evidence.append(f"hvc #{names.show_spans(imms)} with an x0 that names nothing")
    zero = ((0, 0),) if x0 or others else ()
    return replace(
        finding, immediates=zero or imms, x0=x0, evidence="; ".join(filter(None, evidence))
    )


def _clipped(spans: Sequence[Span], low: int, end: int | None) -> tuple[Span, ...]:
    """Return what of ``spans`` is from ``low`` to below ``end``."""
    out = []
    for first, last in spans:
        clipped = (max(first, low), last if end is None else min(last, end - 1))
        if clipped[0] <= clipped[1]:
            out.append(clipped)
    return tuple(out)


def _given(each: Numbered, swept: SweepPass, index: int) -> str:
    """Return what was issued where this signature was seen."""
    runs = [(first, first + count - 1) for first, count, at in swept.runs if at == index]
    if each.kind == "at":
        return f"the hvc was #{names.show_spans(names.merge_spans(runs), limit=3)}"
    first = runs[0][0] - swept.first
    count = sum(last - low + 1 for low, last in runs)
    more = f" and {count - 1} others" if count > 1 else ""
    return f"x0 was {_value(each.request, first):#x}{more}"


def given_already(profile: Profile, server: str, swept: SweepPass) -> SweepPass:
    """Return a pass where a result that stood in x0 already counts as given: set-vectors
    is number 0, and answers 0."""
    result = profile.contract(swept.first, server).result
    if result.kind != "value" or swept.first not in result.values:
        return swept
    return replace(swept, sigs=tuple(_answered(sig, swept.first) for sig in swept.sigs))


def _answered(sig: Sig, value: int) -> Sig:
    if sig.seen not in _HOME or sig.gpr_changed & 1:
        return sig
    return replace(sig, gpr_changed=sig.gpr_changed | 1, x0=value)
