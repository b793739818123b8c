# SPDX-License-Identifier: Apache-2.0
"""One signature in its place: who issued which immediates, and what was promised."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from hilagent import errors
from hilagent.abi import Contract, Profile
from hilagent.link import wire
from hilagent.result import CpuFacts, Exchange, Sig, SweepPass

from . import names
from .names import Span

BUCKET = 1 << 31
"""``Sig.flags``: stands for every signature that found no place."""

AN_ADDRESS = "an address"

EL2_STATE_MIN = 0x1000
"""Smaller values are too common to be taken for a leaked register."""


@dataclass(frozen=True)
class Lab:
    """What the judges must know of the laboratory.

    Attributes:
        cpus: by number; ``front`` is the VBAR_EL2 that is expected.
        vectors: VBAR_EL2 by CPU where it isn't the front table (a direct exchange).
        regions: (name, first address, last address) of what no caller may learn.
    """

    cpus: Mapping[int, CpuFacts]
    vectors: Mapping[int, int] = field(default_factory=dict)
    regions: tuple[tuple[str, int, int], ...] = ()

    def vbar(self, cpu: int) -> int:
        """Return what HVC_GET_VECTORS must answer on ``cpu``. Raises AgentBug if unknown."""
        if cpu in self.vectors:
            return self.vectors[cpu]
        if cpu not in self.cpus:
            raise errors.AgentBug(f"no facts of CPU {cpu}: its vectors can't be judged")
        return self.cpus[cpu].front


@dataclass(frozen=True)
class Breach:
    """What one signature broke. ``primary``: nothing else of that signature counts."""

    rule: str
    what: str
    expected: str
    found: str
    primary: bool = False
    evidence: str = ""


@dataclass(frozen=True)
class Look:
    """One signature, for the immediates of one hcall, in one pass.

    Attributes:
        spans: the immediates that did this.
        exchange: whole register files of the first of them, where fetched.
        index: of the signature in its pass.
    """

    swept: SweepPass
    index: int
    sig: Sig
    contract: Contract
    spans: tuple[Span, ...]
    lab: Lab

    @property
    def exchange(self) -> Exchange | None:
        """The evidence, which may be another hcall's with the same signature."""
        return self.swept.frames.get(self.index)

    @property
    def cpu(self) -> int:
        """The CPU that issued it."""
        return self.swept.cpu

    @property
    def origin(self) -> str:
        """Where it was issued from, by name."""
        return names.origin(self.swept.origin)

    @property
    def bucket(self) -> bool:
        """Whether these effects could not be told apart any more."""
        return bool(self.sig.flags & BUCKET)

    @property
    def catch_register(self) -> str:
        """The input register whose catch table was reached, or what else it was."""
        register = self.sig.catch - 4 * self.swept.pass_no
        return f"x{register}" if 0 <= register < 4 else f"catch table {self.sig.catch}"

    @property
    def home(self) -> bool:
        """Whether it returned to the caller, whatever it did before."""
        return self.sig.seen in (wire.Seen.RETURNED, wire.Seen.VECTORS_SET, wire.Seen.CALLED)

    @property
    def asynchronous(self) -> bool:
        """Whether an interrupt or SError ended it: nobody's fault that can be named."""
        faults = (wire.Seen.EL2_FAULT, wire.Seen.EL1_FAULT, wire.Seen.LOST)
        return self.sig.seen in faults and self.sig.vector & 3 != 0


def looks(profile: Profile, server: str, swept: SweepPass, lab: Lab) -> Iterator[Look]:
    """Yield each (signature, hcall) of a pass with its immediates.

    Runs of a signature that isn't there (index too great) are yielded as a bucket.
    """
    origin = names.origin(swept.origin)
    cuts = {number: name for name, number in profile.numbers.items()}
    found: dict[tuple[int, str], list[Span]] = {}
    for first, count, index in swept.runs:
        for span, number in _cut(first, first + count - 1, sorted(cuts)):
            hcall = profile.name_of(number, server) if number is not None else "unknown"
            found.setdefault((index, hcall), []).append(span)
    for (index, hcall), spans in found.items():
        contract = profile.named(
            hcall, server, origin if origin in names.ORIGINS.values() else "EL1h"
        )
        sig = swept.sigs[index] if index < len(swept.sigs) else _missing(spans[0][0])
        yield Look(swept, index, sig, contract, names.merge_spans(spans), lab)


def _missing(first: int) -> Sig:
    return Sig(
        seen=0, vector=0, catch=0xFF, el=0, gpr_changed=0, v_changed=0, sys_changed=0, x0=0,
        pstate_diff=0, pc_off=0, esr=0, flags=BUCKET, first=first, args=(0xFF,) * 8,
        landing_state=0, z_changed=0, elr=0,
    )  # fmt: skip


def _cut(first: int, last: int, numbers: list[int]) -> Iterator[tuple[Span, int | None]]:
    """Yield the parts of a range: each number of ``numbers`` alone, the rest between them."""
    at = first
    for number in numbers:
        if not at <= number <= last:
            continue
        if at < number:
            yield (at, number - 1), None
        yield (number, number), number
        at = number + 1
    if at <= last:
        yield (at, last), None


def el2_values(look: Look) -> dict[int, str]:
    """Return the values that no caller may learn -> their name; needs the exchange."""
    pair = look.exchange
    if pair is None:
        return {}
    before, after = pair.before, pair.after
    out = {value: name for name, value in before.sys.items() if name in names.EL2_STATE}
    out |= {value: name for name, value in after.sys.items() if name in names.EL2_STATE}
    out[before.sys.get("SP_EL2", 0)] = "SP_EL2"
    out[before.pc + 4] = "ELR_EL2"
    out[before.pstate] = "SPSR_EL2"
    out[0x5A000000 | (before.imm or after.imm)] = "ESR_EL2"
    out[look.lab.vbar(look.cpu)] = "VBAR_EL2"
    given = set(before.x) | {0}
    return {v: n for v, n in out.items() if v >= EL2_STATE_MIN and v not in given}


def leaked(look: Look, value: int) -> str:
    """Return the name of the EL2 state that ``value`` is, or empty."""
    name = el2_values(look).get(value)
    if name is not None:
        return name
    pair = look.exchange
    if pair is None or value in pair.before.x:
        return ""
    for region, first, last in look.lab.regions:
        if first <= value <= last:
            return f"{AN_ADDRESS} in {region}"
    return ""


def with_vectors(lab: Lab, vectors: Mapping[int, int]) -> Lab:
    """Return ``lab`` for exchanges where VBAR_EL2 is the table under test itself."""
    return replace(lab, vectors=dict(vectors))
