# SPDX-License-Identifier: Apache-2.0
"""A running kernel of the imagination, whose EL2 keeps a contract, and ways to break it."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from hilagent.abi import Profile
from hilagent.link import wire
from hilagent.link.wire import Origin, Seen
from hilagent.linux.exchange import Landing, LiveExchange, LiveSweep
from hilagent.linux.request import Request
from hilagent.linux.wire import LANDING_REGS, Flag, Landed
from hilagent.probe import asks, live
from hilagent.probe.asks import Ask, Live, Plan
from hilagent.probe.judgement import Judgement
from hilagent.result import Exchange, Frame, Sig, SweepPass
from tests.probe import arrivals, sim
from tests.probe.sim import Behaviour, Shot

CATCH, SLOT, VBAR, MASK = 0x4700_0000, 0xFFFF_8000_0100_0000, 0x4081_0800, (1 << 64) - 1
IDMAP = 0x4022_0800
SCS, ISS, X0, OLD = "iss-6.12-scs", "iss-6.12", "x0-mainline@6.12", "iss-2015"
SERVED = [
    *((name, server) for name in (SCS, ISS, X0) for server in ("hyp-stub", "kvm", "pkvm")),
    *((OLD, server) for server in ("hyp-stub", "kvm")),
]
UNSEEN = frozenset(wire.SYSREGS[wire.SYSREGS.index("VBAR_EL2") :]) | {"SP_EL1"}
ENTERED = {
    "CurrentEL": 8, "DAIF": 0x3C0, "SPSel": 1, "SCTLR_EL2": 0x30C50830, "HCR_EL2": 0x80000000,
    "VBAR_EL2": VBAR, "CNTFRQ": 62_500_000, "SCTLR_EL1": 0x30500800,
}  # fmt: skip


@dataclass
class Kernel:
    """One running kernel.

    Attributes:
        behave: what its EL2 does otherwise than promised.
        entered: registers that a restart is entered with otherwise than promised.
        deaf: KVM ignores set-vectors; ``vectors``: VBAR_EL2.
    """

    profile: Profile
    server: str
    behave: Behaviour | None = None
    entered: dict[str, int] = field(default_factory=dict)
    deaf: bool = False
    vectors: int = 0x4081_0800

    def hvc(self, request: Request) -> LiveExchange:
        """Answer one request."""
        shot = self._shot(request, request.imm, request.fixed.get(0))
        frame = shot.before
        after = Frame(
            x=tuple(shot.x), sp=frame.sp, pc=frame.pc + 4 + shot.pc_off, pstate=shot.pstate,
            esr=shot.esr, far=0, seen=shot.seen, imm=request.imm, sys=shot.sys, v=tuple(shot.v),
        )  # fmt: skip
        exchange = Exchange(frame, after, _signature(shot, request.imm))
        return LiveExchange(request.cpu, request.pass_no, exchange, UNSEEN, self._landing(shot))

    def sweep(self, request: Request) -> LiveSweep:
        """Answer a sweep; few numbers are really computed."""
        sigs: list[Sig] = []
        runs: list[tuple[int, int, int]] = []
        frames: dict[int, Exchange] = {}
        for first, count in _pieces(self.profile, request):
            one = replace(request, imm=first) if request.swept == "imm" else _by_x0(request, first)
            if first in request.skip:
                sig = replace(_empty(first), seen=Seen.NOT_ISSUED)
                exchange = None
            else:
                exchange = self.hvc(one).exchange
                sig = exchange.sig
            key = replace(sig, first=0)
            index = next((i for i, s in enumerate(sigs) if replace(s, first=0) == key), len(sigs))
            if index == len(sigs):
                sigs.append(sig)
                if exchange is not None:
                    frames[index] = exchange
            runs.append((first, count, index))
        swept = SweepPass(
            cpu=request.cpu, origin=Origin.EL1H, pass_no=request.pass_no,
            first=request.imm if request.swept == "imm" else 0, count=request.count, seed=0,
            sigs=tuple(sigs), runs=tuple(runs), left_out=0, ticks=1, frames=frames,
            swept=request.swept,
        )  # fmt: skip
        return LiveSweep(swept, UNSEEN)

    def do(self, ask: Ask) -> live.Done:
        """Answer one ask."""
        if ask.kind == "sweep":
            return live.Done(ask, self.sweep(ask.request))
        got, *more = [self.hvc(request) for request in (ask.request, *ask.then)]
        return live.Done(ask, got, tuple(more))

    def _shot(self, request: Request, imm: int, x0: int | None) -> Shot:
        frame = _before(request, imm)
        shot = Shot(
            imm, request.cpu, request.pass_no, Origin.EL1H, frame, list(frame.x), list(frame.v),
            dict(frame.sys), pstate=frame.pstate,
        )  # fmt: skip
        if request.flags & Flag.NO_HVC:
            return shot
        number = imm if self.profile.selector == "immediate" else frame.x[0]
        contract = self.profile.contract(number, self.server)
        sim.perfect(shot, contract, self.profile)
        if self.server == "hyp-stub" and contract.hcall == "HVC_CALL_HYP":
            shot.x[0] = self.profile.error or 0  # only KVM speaks SMCCC
        if contract.result.kind == "vectors":
            shot.x[0] = self.vectors
        if shot.seen == Seen.VECTORS_SET and not request.flags & Flag.ASK:
            shot.seen, shot.catch = Seen.RETURNED, 0xFF
            if not self.deaf:
                self.vectors = frame.x[asks.vectors_register(contract)]
        if self.behave is not None:
            self.behave(shot)
        return shot

    def _landing(self, shot: Shot) -> Landing | None:
        kinds = {
            Seen.LANDED: Landed.RESTARTED,
            Seen.CALLED: Landed.CALLED,
            Seen.VECTORS_SET: Landed.VECTORS,
        }
        kind = kinds.get(Seen(shot.seen))
        if kind is None:
            return None
        return Landing(
            kind, shot.catch % 4, 1, {**dict.fromkeys(LANDING_REGS, 0), **ENTERED, **self.entered}
        )


def _before(request: Request, imm: int) -> Frame:
    noise = random.Random(request.seed)
    flip = MASK if request.pass_no else 0
    x = [noise.getrandbits(64) ^ flip for _ in range(31)]
    v = [noise.getrandbits(128) ^ (flip << 64 | flip) for _ in range(32)]
    sys = {name: noise.getrandbits(48) ^ (flip >> 16) for name in wire.SYSREGS}
    sys |= dict.fromkeys(UNSEEN, 0)
    for register in range(4):
        if request.catch_mask >> register & 1:
            x[register] = CATCH + (register + request.pass_no) % 4 * 0x1000
    for register, value in request.fixed.items():
        x[register] = value
    return Frame(
        x=tuple(x), sp=0x5AA5 << 48, pc=SLOT, pstate=0x600003C5, esr=0, far=0, seen=0, imm=imm,
        sys=sys, v=tuple(v),
    )  # fmt: skip


def _by_x0(request: Request, index: int) -> Request:
    value = (request.x0_first + index * request.x0_step) & MASK
    return replace(request, fixed={**request.fixed, 0: value})


def _pieces(profile: Profile, request: Request) -> Iterable[tuple[int, int]]:
    """Return (first, count): numbers alone, and the rest as its first one does."""
    first = request.imm if request.swept == "imm" else 0
    end = first + request.count
    alone = sorted({*profile.numbers.values(), *request.skip, first} & set(range(first, end)))
    for at, after in zip(alone, [*alone[1:], end], strict=True):
        yield at, 1
        if after > at + 1:
            yield at + 1, after - at - 1


def _empty(first: int) -> Sig:
    return Sig(
        seen=0, vector=0, catch=0xFF, el=0, gpr_changed=0, v_changed=0, sys_changed=0, x0=0,
        pstate_diff=0, pc_off=0, esr=0, flags=0, first=first, args=(0xFF,) * 8,
        landing_state=0, z_changed=0, elr=0,
    )  # fmt: skip


def _signature(shot: Shot, imm: int) -> Sig:
    going = shot.before
    gpr = sum(1 << r for r in range(31) if shot.x[r] != going.x[r])
    return replace(
        _empty(imm), seen=shot.seen, vector=shot.vector, catch=shot.catch,
        el=shot.pstate >> 2 & 3, gpr_changed=gpr,
        v_changed=sum(1 << r for r in range(32) if shot.v[r] != going.v[r]),
        sys_changed=sum(
            1 << bit for bit, name in enumerate(wire.SYSREGS) if shot.sys[name] != going.sys[name]
        ),
        x0=shot.x[0] if gpr & 1 else 0, pstate_diff=shot.pstate ^ going.pstate,
        pc_off=shot.pc_off, esr=shot.esr, args=tuple(shot.args), landing_state=shot.landing,
    )  # fmt: skip


def facts(*cpus: int, **changes: object) -> Live:
    """Return what the planner knows of a kernel with these CPUs (0 and 1)."""
    numbers = cpus or (0, 1)
    made = Live(
        numbers, switchable=frozenset(numbers), vectors=dict.fromkeys(numbers, VBAR), stub=SLOT
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def profile_of(name: str, server: str = "hyp-stub") -> Profile:
    """Return a profile, with the server ``pkvm`` where that is meant."""
    profile = arrivals.load(name)
    return asks.refusing(profile) if server == asks.PKVM else profile


def judged(
    name: str,
    server: str,
    behave: Behaviour | None = None,
    known: Live | None = None,
    stub: int = 0,
) -> tuple[Judgement, Plan, Sequence[live.Done]]:
    """Plan, issue and judge."""
    profile = profile_of(name, server)
    planned = asks.plan(profile, server, known or facts())
    kernel = Kernel(profile, server, behave)
    done = [kernel.do(ask) for ask in planned.asks]
    return live.judge_all(profile, planned, done, stub=stub), planned, done
