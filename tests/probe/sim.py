# SPDX-License-Identifier: Apache-2.0
"""A laboratory of the imagination: vectors that keep their contract, and ways to break it.

A *behaviour* gets a fresh :class:`Shot`, which already did what the contract says,
and changes what it likes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from hilagent import abi, probe
from hilagent.abi import Contract, Profile
from hilagent.link import wire
from hilagent.link.wire import Seen
from hilagent.payload import SweepRequest
from hilagent.result import CpuFacts, Exchange, Frame, Sig, SweepPass

FRONT, CATCH, BAD_SP = 0x4060_0000, 0x4060_1000, 1 << 54 | 0xF00
SLOT = (0x4050_0000, 0x4050_FFFF)
MASK = (1 << 64) - 1
FIXED_SYS = {"VBAR_EL2", "HCR_EL2", "SCTLR_EL2", "MDCR_EL2", "CPTR_EL2"}


@dataclass
class Shot:
    """One hvc: what went in, and what comes home."""

    imm: int
    cpu: int
    pass_no: int
    origin: int
    before: Frame
    x: list[int]
    v: list[int]
    sys: dict[str, int]
    seen: int = Seen.RETURNED
    vector: int = 8
    catch: int = 0xFF
    pstate: int = 0
    pc_off: int = 0
    esr: int = 0
    far: int = 0
    flags: int = 0
    z_changed: int = 0
    args: list[int] = field(default_factory=lambda: [0xFF] * 8)
    landing: int = 0

    def hit(self, register: int) -> None:
        """Reach the catch table that stands in an input register."""
        self.catch = register + 4 * self.pass_no

    def land(self, callee: Mapping[str, str], level: int = 2) -> None:
        """Enter the landing with arguments taken from input registers."""
        self.args = [0, 1, 2, 3, 4, 5, 6, 7]
        for register, source in callee.items():
            self.args[int(register[1:])] = int(source[1:])
        self.landing = level | 1 << 8 | 0xF << 16

    def fault(self, esr: int, *, seen: int = Seen.EL2_FAULT, vector: int = 4, far: int = 0) -> None:
        """End in an exception."""
        self.seen, self.esr, self.vector, self.far = seen, esr, vector, far


Behaviour = Callable[[Shot], None]


def facts(cpu: int) -> CpuFacts:
    """What a CPU says of itself."""
    at = cpu << 16
    return CpuFacts(
        cpu=cpu, mpidr=cpu, midr=0x411FD070, front=FRONT + at, base_vectors=FRONT + at + 0x800,
        catch=CATCH + at, catch_size=0x800, catch_count=8, stack_page=0, bad_sp=BAD_SP, ids={},
        entry={},
    )  # fmt: skip


def lab(cpus: Sequence[int] = (0,)) -> probe.Lab:
    """Return the laboratory of these CPUs."""
    return probe.Lab({cpu: facts(cpu) for cpu in cpus}, regions=(("the table", *SLOT),))


def before(request: SweepRequest, imm: int) -> Frame:
    """Return the register file that goes in."""
    noise = random.Random(request.seed)
    flip = MASK if request.pass_no else 0
    x = [noise.getrandbits(64) ^ flip for _ in range(31)]
    v = [noise.getrandbits(128) ^ (flip << 64 | flip) for _ in range(32)]
    sys = {name: noise.getrandbits(48) ^ (flip >> 16) for name in wire.SYSREGS}
    sys |= {"VBAR_EL2": facts(request.cpu).front, "HCR_EL2": 0x80040000, "SCTLR_EL2": 0x30C50830}
    sys["SP_EL2"] = BAD_SP
    for register in range(4):
        if request.catch_mask >> register & 1:
            x[register] = facts(request.cpu).catch + (register + 4 * request.pass_no) * 0x800
    return Frame(
        x=tuple(x), sp=sys["SP_EL1"], pc=0x4070_0000 + imm * 16, pstate=0x600003C0 | request.origin,
        esr=0, far=0, seen=0, imm=imm, sys=sys, v=tuple(v),
    )  # fmt: skip


def perfect(shot: Shot, contract: Contract, profile: Profile) -> None:
    """Do what the contract says."""
    kind = contract.result.kind
    if contract.effect == "set-vectors":
        shot.seen = Seen.VECTORS_SET
        shot.hit(int(next(r for r, k in contract.args.items() if k == "vectors")[1:]))
    if contract.effect in {"call", "restart"}:
        shot.seen = Seen.CALLED if contract.effect == "call" else Seen.LANDED
        shot.hit(int(next(r for r, k in contract.args.items() if k != "value")[1:]))
        shot.land(contract.callee)
    if kind == "value":
        shot.x[0] = contract.result.values[0]
    if kind == "vectors":
        shot.x[0] = facts(shot.cpu).front
    if contract.effect == "call":
        for register, source in contract.after.items():
            shot.x[int(register[1:])] = shot.before.x[int(source[1:])]
    for register in ("x16", "x17", "x18"):
        if register in contract.clobbers:
            shot.x[int(register[1:])] = shot.imm


def shoot(
    profile: Profile, server: str, request: SweepRequest, imm: int, behave: Behaviour | None
) -> tuple[Sig, Exchange]:
    """Issue one hvc."""
    going = before(request, imm)
    shot = Shot(
        imm, request.cpu, request.pass_no, request.origin, going, list(going.x), list(going.v),
        dict(going.sys), pstate=going.pstate,
    )  # fmt: skip
    if imm in request.skip:
        shot.seen = Seen.NOT_ISSUED
    else:
        perfect(shot, profile.contract(imm, server), profile)
        if behave is not None:
            behave(shot)
    sig, after = came_home(shot, going, imm)
    return sig, Exchange(going, after, sig)


def came_home(shot: Shot, going: Frame, imm: int) -> tuple[Sig, Frame]:
    """Return what is seen of a shot, and the register file that it left."""
    after = Frame(
        x=tuple(shot.x), sp=going.sp, pc=going.pc + 4 + shot.pc_off, pstate=shot.pstate,
        esr=shot.esr, far=shot.far, seen=shot.seen, imm=imm, sys=shot.sys, v=tuple(shot.v),
    )  # fmt: skip
    return _signature(shot, going, imm), after


def _signature(shot: Shot, going: Frame, imm: int) -> Sig:
    gpr = sum(1 << r for r in range(31) if shot.x[r] != going.x[r])
    names = enumerate(wire.SYSREGS)
    return Sig(
        seen=shot.seen, vector=shot.vector, catch=shot.catch, el=shot.pstate >> 2 & 3,
        gpr_changed=gpr, v_changed=sum(1 << r for r in range(32) if shot.v[r] != going.v[r]),
        sys_changed=sum(1 << bit for bit, name in names if shot.sys[name] != going.sys[name]),
        x0=shot.x[0] if gpr & 1 else 0, pstate_diff=shot.pstate ^ going.pstate,
        pc_off=shot.pc_off, esr=shot.esr, flags=shot.flags, first=imm, args=tuple(shot.args),
        landing_state=shot.landing, z_changed=shot.z_changed, elr=0,
    )  # fmt: skip


def sweep(
    profile: Profile,
    server: str,
    request: SweepRequest,
    behave: Behaviour | None = None,
    *,
    evidence: bool = True,
    odd: Sequence[int] = (),
) -> SweepPass:
    """Return one pass; only known hcalls, ``odd`` ones and one unknown are really computed."""
    special = sorted({*profile.numbers.values(), *odd, *request.skip, 0x1234, request.first})
    table: dict[Sig, int] = {}
    sigs: list[Sig] = []
    runs: list[tuple[int, int, int]] = []
    frames: dict[int, Exchange] = {}
    end = request.first + request.count
    marks = [m for m in special if request.first <= m < end] + [end]
    plain = _index(profile, server, request, _plain(profile, odd), behave, table, sigs, frames)
    at = request.first
    for mark in marks:
        if at < mark:
            runs.append((at, mark - at, plain))
        if mark < end:
            runs.append(
                (mark, 1, _index(profile, server, request, mark, behave, table, sigs, frames))
            )
        at = mark + 1
    return SweepPass(
        cpu=request.cpu, origin=request.origin, pass_no=request.pass_no, first=request.first,
        count=request.count, seed=request.seed, sigs=tuple(sigs), runs=tuple(runs), left_out=0,
        ticks=1000, frames=frames if evidence else {},
    )  # fmt: skip


def _plain(profile: Profile, odd: Sequence[int]) -> int:
    taken = {*profile.numbers.values(), *odd}
    return next(n for n in range(0x10000) if n not in taken)


def _index(
    profile: Profile, server: str, request: SweepRequest, imm: int, behave: Behaviour | None,
    table: dict[Sig, int], sigs: list[Sig], frames: dict[int, Exchange],
) -> int:  # fmt: skip
    sig, exchange = shoot(profile, server, request, imm, behave)
    key = Sig(**{**vars(sig), "first": 0})
    if key not in table:
        table[key] = len(sigs)
        frames[len(sigs)] = exchange
        sigs.append(sig)
    return table[key]


def observe(
    behave: Behaviour | None = None,
    *,
    profile: Profile | None = None,
    server: str = "hyp-stub",
    cpus: Sequence[int] = (0, 1),
    odd: Sequence[int] = (),
    evidence: bool = True,
) -> tuple[list[SweepPass], tuple[SweepRequest, ...]]:
    """Return the passes of a whole run, and what was asked for."""
    profile = profile or abi.load("iss-2015")
    wanted = probe.requests(profile, server, "vectors", cpus)
    passes = [
        sweep(profile, server, request, behave, evidence=evidence, odd=odd) for request in wanted
    ]
    return passes, wanted


def judged(
    behave: Behaviour | None = None,
    *,
    profile: Profile | None = None,
    server: str = "hyp-stub",
    cpus: Sequence[int] = (0, 1),
    odd: Sequence[int] = (),
    evidence: bool = True,
) -> probe.Judgement:
    """Observe and judge."""
    profile = profile or abi.load("iss-2015")
    passes, wanted = observe(
        behave, profile=profile, server=server, cpus=cpus, odd=odd, evidence=evidence
    )
    return probe.judge(profile, server, passes, lab(cpus), wanted=wanted)
