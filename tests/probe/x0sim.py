# SPDX-License-Identifier: Apache-2.0
"""The laboratory of the imagination where x0 names the hcall: sweeps of :mod:`by_x0`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from hilagent import probe
from hilagent.abi import Profile
from hilagent.payload import SweepRequest
from hilagent.probe import by_x0
from hilagent.probe.by_x0 import Numbered
from hilagent.result import Exchange, Sig, SweepPass

from . import sim
from .sim import Shot

Behaviour = Callable[[Shot, int], None]
"""Changes a shot that did what the contract of its x0 says; the int is the immediate."""


def shoot(
    profile: Profile, request: SweepRequest, x0: int | None, imm: int, behave: Behaviour | None
) -> tuple[Sig, Exchange]:
    """Issue one hvc; ``x0`` None: it holds a catch table's address."""
    going = sim.before(request, imm)
    number = going.x[0] if x0 is None else x0
    going = replace(going, x=(number, *going.x[1:]))
    shot = Shot(
        number, request.cpu, request.pass_no, request.origin, going, list(going.x),
        list(going.v), dict(going.sys), pstate=going.pstate,
    )  # fmt: skip
    sim.perfect(shot, profile.contract(number, "hyp-stub"), profile)
    if behave is not None:
        behave(shot, imm)
    sig, after = sim.came_home(shot, going, imm)
    return replace(sig, first=0), Exchange(going, after, sig)


def sweep(
    profile: Profile, each: Numbered, behave: Behaviour | None, odd: Sequence[int] = ()
) -> SweepPass:
    """Return one pass; of immediates only the first and ``odd`` ones are really computed."""
    request = each.request
    table: dict[Sig, int] = {}
    frames: dict[int, Exchange] = {}
    runs: list[tuple[int, int, int]] = []
    first = 0 if request.swept == "x0" else request.first
    index = -1
    for at in range(request.count):
        imm = request.first if request.swept == "x0" else request.first + at
        if request.swept == "x0" or at == 0 or imm in odd or imm - 1 in odd:
            x0 = (request.x0_first + at * request.x0_step) % (1 << 64)
            value = x0 if request.swept == "x0" else request.fixed.get(0)
            sig, exchange = shoot(profile, request, value, imm, behave)
            index = table.setdefault(sig, len(table))
            frames.setdefault(index, exchange)
        if runs and runs[-1][2] == index:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1, index)
        else:
            runs.append((first + at, 1, index))
    return SweepPass(
        cpu=request.cpu, origin=request.origin, pass_no=request.pass_no, first=first,
        count=request.count, seed=request.seed, sigs=tuple(table), runs=tuple(runs), left_out=0,
        ticks=0, frames=frames, swept=request.swept,
    )  # fmt: skip


def judged(
    profile: Profile,
    plan: Sequence[Numbered],
    behave: Behaviour | None = None,
    *,
    odd: Sequence[int] = (),
    change: Callable[[Numbered, SweepPass], SweepPass | None] = lambda _, swept: swept,
) -> probe.Judgement:
    """Sweep by ``plan`` and judge; ``change`` may spoil a pass, or lose it."""
    passes: list[SweepPass] = []
    for each in plan:
        swept = change(each, sweep(profile, each, behave, odd))
        if swept is not None:
            passes += by_x0.as_passes(profile, "hyp-stub", each, swept)
    wanted = [by_x0.as_asked(each) for each in plan]
    cpus = sorted({each.request.cpu for each in plan})
    return probe.judge(profile, "hyp-stub", by_x0.in_order(passes), sim.lab(cpus), wanted=wanted)
