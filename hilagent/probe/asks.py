# SPDX-License-Identifier: Apache-2.0
"""Which hcalls are issued on a running kernel, in which order, and why the rest is not. Pure.

A running kernel is no laboratory: its vectors own VBAR_EL2, and what an hcall does to
EL2 stays done. So each is issued only where the way home is known:

* by the hyp-stub, with EL2's MMU off, set-vectors, calls and restarts are given the
  module's own catch tables, which come home by themselves;
* under KVM its vectors are set to those that it was started by (``__kvm_hyp_init``, in
  the identity map: they serve the same hcalls), asked for, and set back; or, where
  nobody knows their address, to what they are;
* under KVM nothing is called (the module isn't mapped at EL2), and a restart or reset
  takes KVM off that CPU until it was switched off and on again. Where that can't be,
  each CPU is given one of the two, last of all;
* finalise is never issued on a CPU that has VHE: it would move the kernel to EL2.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from hilagent.abi import UNKNOWN, Contract, Profile, Result, Server
from hilagent.abi.contract import Effect
from hilagent.linux import request as requests
from hilagent.linux.request import Request, for_contract, takes_address
from hilagent.linux.wire import Effect as Declared
from hilagent.linux.wire import Flag

PASSES = (0, 1)
STUB, KVM, PKVM = "hyp-stub", "kvm", "pkvm"
SAMPLE = 256
"""Immediates that are swept on a CPU that isn't swept whole."""
SPREAD = 0x0101_0101_0101_0101
SPREAD_COUNT = 254
"""x0 over all its 64 bits, without 0 and all ones, which are a number and an answer."""
X0_SWEPT = 0x1000
"""x0's values that are swept, from the bound on: below every SMCCC function id."""
X0_NUMBERS = ((0, 3), (3, 1), (4, 60))
"""First and count of x0's values that named hcalls before the immediate did, and could again.
3 was finalise (asm/virt.h of 6.12)."""
_X0_FINALISE = 3

_FINALISE = frozenset({"HVC_FINALISE_EL2", "HVC_VHE_RESTART"})
_GENTLE: frozenset[Effect] = frozenset({"none", "get-vectors"})
_ORDER: Mapping[str, tuple[Effect, ...]] = {
    STUB: (
        *("none", "get-vectors", "restart", "set-vectors", "call", "reset-vectors"),
        "finalise",
    ),
    KVM: ("none", "get-vectors", "set-vectors", "call", "finalise", "reset-vectors", "restart"),
}
"""By the hyp-stub the restart comes first: it tells the module where the stub is."""
_UNKNOWN_VECTORS = "which vectors are KVM's own is not known, and others would lose the CPU"
_LAST: tuple[Effect, Effect] = ("restart", "reset-vectors")


@dataclass(frozen=True)
class Live:
    """What the planner must know of the kernel that runs.

    Attributes:
        cpus: those that are online.
        switchable: those that can be switched off and on again.
        vhe: the CPUs have VHE (ID_AA64MMFR1_EL1.VH).
        refused: why the module issues no hvc at all; empty if it does.
        vectors: VBAR_EL2 by CPU, where HVC_GET_VECTORS has told it.
        stub: virtual address of __hyp_stub_vectors, 0 while unknown.
        idmap: physical address of __kvm_hyp_init, 0 while unknown.
        expendable: the kernel is left afterwards, so that KVM may stay off.
        whole: CPUs on which every immediate is issued.
    """

    cpus: tuple[int, ...]
    switchable: frozenset[int] = frozenset()
    vhe: bool = False
    refused: str = ""
    vectors: Mapping[int, int] = field(default_factory=dict)
    stub: int = 0
    idmap: int = 0
    expendable: bool = False
    whole: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Ask:
    """One record for the module.

    Attributes:
        hcall, number: what is asked for; of a sweep, ``unknown`` and None.
        restore: KVM is gone from this CPU afterwards: switch it off and on.
        last: likewise, for good: nothing that needs KVM can follow.
        own: the vectors are set to what they are, which nobody can see.
        then: issued right behind it: get-vectors, which shows whether they were set, and
            set-vectors to what they were.
    """

    kind: Literal["hvc", "sweep"]
    hcall: str
    number: int | None
    request: Request
    restore: bool = False
    last: bool = False
    own: bool = False
    then: tuple[Request, ...] = ()


@dataclass(frozen=True)
class LeftOut:
    """What is not asked, and why; ``meant``: it never is there, else it is still wanted."""

    hcall: str
    cpu: int
    reason: str
    meant: bool = True


@dataclass(frozen=True)
class Plan:
    """What is asked, in this order, and what isn't."""

    server: str
    asks: tuple[Ask, ...]
    left_out: tuple[LeftOut, ...]


def plan(profile: Profile, server: str, facts: Live) -> Plan:
    """Return what to issue on each CPU that ``server`` serves, and what not.

    Args:
        profile: the ABI; :func:`refusing` of it for protected KVM.
        server: ``hyp-stub``, ``kvm`` or ``pkvm``.
    """
    asks: list[Ask] = []
    left: list[LeftOut] = []
    for cpu in facts.cpus:
        for contract in _in_order(profile, server):
            reason = _barred(profile, contract, cpu, facts)
            if reason:
                left.append(LeftOut(contract.hcall, cpu, reason, reason != _UNKNOWN_VECTORS))
                continue
            passes = PASSES if not _for_good(contract, cpu, facts) else PASSES[:1]
            asks += (_ask(profile, contract, cpu, pass_no, facts) for pass_no in passes)
            if contract.hcall == UNKNOWN:
                asks += _sweeps(profile, server, cpu, facts)
                asks += _refused_numbers(profile, contract, cpu, facts)
    asks.sort(key=lambda ask: ask.last)
    return Plan(server, tuple(asks), tuple(left))


def baseline(cpus: tuple[int, ...]) -> tuple[Request, ...]:
    """Return requests with a nop for the hvc: what the module's own way home changes."""
    return tuple(
        Request(cpu=cpu, pass_no=pass_no, flags=Flag.NO_HVC) for cpu in cpus for pass_no in PASSES
    )


def refusing(profile: Profile) -> Profile:
    """Return ``profile`` with the server ``pkvm``: protected KVM, which refuses every hcall.

    nvhe/host.S answers SMCCC_RET_NOT_SUPPORTED without looking at the number.
    """
    about = "KVM in protected mode, which owns EL2 for good"
    server = Server(PKVM, about, ("EL1h",), "the entry ends in a hypervisor panic")
    unknown = Contract(
        UNKNOWN, None, PKVM, "EL1h", served=True, result=Result("value", (2**64 - 1,)),
        clobbers=frozenset({"x1", "x2", "x3"}), needs_stack=True,
    )  # fmt: skip
    return replace(
        profile,
        servers={**profile.servers, PKVM: server},
        contracts={**profile.contracts, (UNKNOWN, PKVM): unknown},
    )


def _in_order(profile: Profile, server: str) -> list[Contract]:
    order = _ORDER.get(server, _ORDER[KVM])
    return sorted(
        profile.hcalls(server), key=lambda each: (order.index(each.effect), each.number is None)
    )


def _barred(profile: Profile, contract: Contract, cpu: int, facts: Live) -> str:
    """Return why an hcall is not issued on ``cpu``, or empty."""
    if facts.refused:
        return facts.refused
    effect = contract.effect
    if facts.vhe and (effect == "finalise" or contract.hcall in _FINALISE):
        return "this CPU has VHE: it would move the kernel to EL2"
    if contract.server == STUB:
        return ""
    if effect == "call":
        return "under KVM the callee must be mapped at EL2, and nothing of ours is"
    if effect == "set-vectors" and cpu not in facts.vectors:
        return _UNKNOWN_VECTORS
    if not _for_good(contract, cpu, facts):
        return ""
    if not facts.expendable:
        return f"KVM would stay off: CPU {cpu} can't be switched off and on again"
    if effect != _LAST[facts.cpus.index(cpu) % 2]:
        return f"one alone of restart and reset: CPU {cpu} can't be given back to KVM"
    return ""


def _takes_kvm(contract: Contract) -> bool:
    return contract.server == KVM and contract.effect in _LAST


def _for_good(contract: Contract, cpu: int, facts: Live) -> bool:
    """Whether ``contract`` takes KVM off ``cpu`` and nothing brings it back."""
    return _takes_kvm(contract) and cpu not in facts.switchable


def _ask(profile: Profile, contract: Contract, cpu: int, pass_no: int, facts: Live) -> Ask:
    request = replace(
        for_contract(profile, contract, cpu=cpu, pass_no=pass_no), stub_vectors=facts.stub
    )
    under_kvm = contract.effect == "set-vectors" and contract.server != STUB
    then: tuple[Request, ...] = ()
    if under_kvm:
        back = _setting(request, contract, facts.vectors[cpu])
        request = _setting(request, contract, facts.idmap or facts.vectors[cpu])
        get = profile.contracts.get(("HVC_GET_VECTORS", KVM))
        if facts.idmap and get is not None:
            then = (for_contract(profile, get, cpu=cpu, pass_no=pass_no), back)
    named = profile.selector == "x0" and contract.number is not None
    if named and contract.effect in _GENTLE:
        # The module knows x0's numbers, and not that this server gives them no effect.
        request = replace(request, flags=request.flags | Flag.DANGEROUS)
    last = _for_good(contract, cpu, facts)
    restore = _takes_kvm(contract) and not last
    return Ask(
        "hvc", contract.hcall, _number(profile, request), request, restore, last,
        own=under_kvm and not then, then=then,
    )  # fmt: skip


def _setting(request: Request, contract: Contract, vectors: int) -> Request:
    """Return the request that sets these vectors; the module can't know that they are good."""
    register = vectors_register(contract)
    return replace(
        request,
        fixed={**request.fixed, register: vectors},
        catch_mask=request.catch_mask & ~(1 << register),
        flags=request.flags | Flag.DANGEROUS,
    )


def vectors_register(contract: Contract) -> int:
    """Return the number of the register that ``contract`` takes vectors in."""
    return next(int(name[1:]) for name, kind in contract.args.items() if kind == "vectors")


def _number(profile: Profile, request: Request) -> int:
    return request.fixed[0] if profile.selector == "x0" else request.imm


def _sweeps(profile: Profile, server: str, cpu: int, facts: Live) -> Iterator[Ask]:
    """Yield the sweeps over what the server doesn't know (and what does nothing)."""
    count = requests.EVERYTHING if cpu in facts.whole else SAMPLE
    for pass_no in PASSES:
        base = Request(
            cpu=cpu, pass_no=pass_no, count=count, catch_mask=requests.ALL_CAUGHT,
            stub_vectors=facts.stub,
        )  # fmt: skip
        if profile.selector == "immediate":
            skip = _skipped(profile, server, facts)
            yield Ask("sweep", UNKNOWN, None, replace(base, skip=skip))
            yield from _by_old_numbers(profile, server, base, facts)
            continue
        fixed = {0: requests.UNKNOWN_X0}
        other = replace(base, catch_mask=base.catch_mask & ~1)
        imms = count if pass_no == 0 else SAMPLE  # the immediate means nothing here
        by_imm = replace(other, fixed=fixed, count=imms)
        yield Ask("sweep", UNKNOWN, requests.UNKNOWN_X0, by_imm)
        bound = max(profile.numbers.values(), default=-1) + 1
        by_x0 = replace(other, swept="x0", x0_first=bound, count=min(count, X0_SWEPT))
        yield Ask("sweep", UNKNOWN, bound, by_x0)
        spread = replace(other, swept="x0", x0_first=SPREAD, x0_step=SPREAD, count=SPREAD_COUNT)
        yield Ask("sweep", UNKNOWN, requests.UNKNOWN_X0, spread)


def _by_old_numbers(profile: Profile, server: str, base: Request, facts: Live) -> Iterator[Ask]:
    """Yield sweeps over x0 at immediate 0, where it must name nothing but SMCCC functions:
    a server that still looks there, too, would do what a number in it says."""
    smccc = profile.contract(0, server)
    if smccc.number is None or smccc.effect != "none" or takes_address(profile, smccc.hcall):
        return
    by_x0 = replace(base, swept="x0", catch_mask=base.catch_mask & ~1, effect=Declared.NONE)
    for first, count in X0_NUMBERS:
        if not (facts.vhe and first == _X0_FINALISE):
            yield Ask("sweep", smccc.hcall, 0, replace(by_x0, x0_first=first, count=count))


def _refused_numbers(profile: Profile, contract: Contract, cpu: int, facts: Live) -> Iterator[Ask]:
    """Yield the known numbers in x0 where protected KVM must refuse them like any other."""
    if contract.server != PKVM or profile.selector != "x0":
        return
    for name, number in profile.numbers.items():
        if facts.vhe and name in _FINALISE:
            continue
        for pass_no in PASSES:
            request = for_contract(profile, contract, cpu=cpu, pass_no=pass_no)
            request = replace(request, fixed={0: number}, flags=Flag.DANGEROUS)
            yield Ask("hvc", UNKNOWN, number, request)


def _skipped(profile: Profile, server: str, facts: Live) -> tuple[int, ...]:
    """Return the immediates that only single hvcs, made for them, may issue."""
    out = set()
    for name, number in profile.numbers.items():
        contract = profile.contracts.get((name, server))
        if contract is not None and contract.effect not in _GENTLE:
            out.add(number)
        if facts.vhe and name in _FINALISE:
            out.add(number)
    return tuple(sorted(out))
