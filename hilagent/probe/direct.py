# SPDX-License-Identifier: Apache-2.0
"""The direct pass: VBAR_EL2 is the table under test itself, each hcall once.

It shows that the payload's front table hides nothing. The way home leads
through the vectors under test too (their own set-vectors, or a call), so
a lost one means a reset; it is judged by the same rules as a sweep.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from hilagent.abi import UNKNOWN, Contract, Profile
from hilagent.link.wire import JobFlag, Seen
from hilagent.payload import SweepRequest
from hilagent.result import Exchange, Sig, SweepPass

from . import observation
from .by_x0 import given_already
from .judgement import Cell, Judgement, State, judge
from .look import Lab, with_vectors
from .plan import ALL_CAUGHT

_NO_TABLE = 0xFF
_EFFECTS = frozenset({"dispatch", "callee-args", "callee-state"})
_X0_GIVEN = 1 << 31  # wire.JOB.fixed_mask: home_imm takes x0 = x0_step, x1 = the front table


@dataclass(frozen=True)
class Direct:
    """One hvc of the direct pass: ``Payload.hvc(..., direct=True)``.

    Attributes:
        hcall: its name.
        request: cpu, immediate (``first``) and registers.
        home: name of the hcall that gives VBAR_EL2 back; ``home_imm``: its immediate.
        extra: further fields of ``wire.JOB``.
        number: x0's value where that names the hcall; None where the immediate does.
    """

    hcall: str
    request: SweepRequest
    home: str
    home_imm: int
    extra: Mapping[str, int] = field(default_factory=dict)
    number: int | None = None


def plan(
    profile: Profile, server: str, cpus: Sequence[int] = (0,), *, skip: Sequence[int] = ()
) -> tuple[Direct, ...]:
    """Return the direct pass; empty where the server has no way home.

    Args:
        skip: numbers that can't be issued.
    """
    home = _home(profile, server)
    if home is None:
        return ()
    return tuple(
        _direct(profile, server, cpu, each.hcall, _number(profile, each, skip), *home)
        for cpu in cpus
        for each in profile.hcalls(server)
        if each.sweep and each.number not in skip
    )


def judge_all(
    profile: Profile,
    server: str,
    done: Sequence[tuple[Direct, Exchange]],
    lab: Lab,
    *,
    table: int,
) -> Judgement:
    """Judge the exchanges; ``table``: where the vectors under test stand."""
    passes: list[SweepPass] = []
    hidden: set[str] = set()
    for each, exchange in done:
        swept = observation.of_exchange(exchange, cpu=each.request.cpu, origin=each.request.origin)
        if each.number is not None:
            swept = replace(swept, first=each.number, runs=((each.number, 1, 0),))
            swept = given_already(profile, server, swept)
        promised = _as_promised(profile.named(each.hcall, server), exchange.sig)
        if promised is not None:
            hidden.add(each.hcall)
            swept = replace(swept, sigs=(promised,))
        passes.append(swept)
    wanted = [
        each.request if each.number is None else replace(each.request, first=each.number)
        for each, _ in done
    ]
    here = with_vectors(lab, dict.fromkeys(lab.cpus, table))
    return _without(judge(profile, server, passes, here, wanted=wanted), hidden)


def _as_promised(contract: Contract, sig: Sig) -> Sig | None:
    """Return ``sig`` with the effect that its hcall should have had, where none was recorded.

    With VBAR_EL2 in other hands the payload may see no more than that it came home;
    the registers, the stack and the way back are still judged.
    """
    seen = {"call": Seen.CALLED, "set-vectors": Seen.VECTORS_SET}.get(contract.effect)
    if seen is None or sig.seen != Seen.RETURNED or sig.catch != _NO_TABLE:
        return None
    register = next(int(r[1:]) for r, kind in contract.args.items() if kind != "value")
    args = [_NO_TABLE] * 8
    for callee, source in contract.callee.items():
        args[int(callee[1:])] = int(source[1:])
    landed = contract.landing_el | 1 << 8 | 0xF << 16
    return replace(sig, seen=seen, catch=register, args=tuple(args), landing_state=landed)


def _without(judgement: Judgement, hidden: set[str]) -> Judgement:
    """Return ``judgement`` without a verdict on effects that were not recorded."""
    cells = dict(judgement.cells)
    for (hcall, rule), cell in judgement.cells.items():
        if hcall in hidden and rule in _EFFECTS and cell.state is State.HELD:
            reason = "a direct exchange doesn't record it"
            cells[hcall, rule] = Cell(hcall, rule, State.NOT_APPLICABLE, reason=reason)
    return replace(judgement, cells=cells)


def _home(profile: Profile, server: str) -> tuple[str, int, Mapping[str, int]] | None:
    """Return the hcall that leads home, and how."""
    for each in profile.hcalls(server):
        if each.effect == "set-vectors" and each.number is not None:
            if profile.selector == "x0":
                return each.hcall, 0, {"fixed_mask": _X0_GIVEN, "x0_step": each.number}
            by_x0 = each.args.get("x0") == "vectors"
            given = {} if by_x0 else {"fixed_mask": _X0_GIVEN, "x0_step": each.number}
            return each.hcall, each.number, given
    if profile.selector == "x0":
        return None
    for each in profile.hcalls(server):
        if each.effect in {"call", "restart"} and each.number is not None:
            return each.hcall, each.number, {"flags": int(JobFlag.HOME_CALL)}
    return None


def _number(profile: Profile, contract: Contract, skip: Sequence[int]) -> int:
    if contract.hcall != UNKNOWN and contract.number is not None:
        return contract.number
    known = {*profile.numbers.values(), *skip}
    return next(number for number in range(0x10000) if number not in known)


def _direct(
    profile: Profile,
    server: str,
    cpu: int,
    hcall: str,
    number: int,
    home: str,
    home_imm: int,
    extra: Mapping[str, int],
) -> Direct:
    request = SweepRequest(
        cpu=cpu,
        first=number,
        count=1,
        catch_mask=ALL_CAUGHT,
        stack_imms=profile.stack_imms(server),
    )
    if profile.selector == "immediate":
        return Direct(hcall, request, home, home_imm, extra)
    stack = (0,) if number in request.stack_imms else ()
    request = replace(
        request, first=0, fixed={0: number}, catch_mask=ALL_CAUGHT & ~1, stack_imms=stack
    )
    given = {**extra, "fixed_mask": extra.get("fixed_mask", 0) | 1}
    return Direct(hcall, request, home, home_imm, given, number)
