# SPDX-License-Identifier: Apache-2.0
"""The code of a handler against the contract of its hcall.

A finding is something that the code certainly does on a path that it can take, and that
the contract forbids. What comes out of memory or of a C function may be what the caller
had: that is *unproven*, and no finding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hilagent.abi import Contract
from hilagent.elf import Elf

from .follow import Way
from .handlers import EXCEPTION, Served, name_of, sure
from .values import Value, symbol

_EL2H_MASKED = 0x3C9
"""SPSR_EL2 of a soft restart that leaves by ``eret``: EL2h, DAIF masked (kvm/hyp/nvhe/
hyp-init.S of 6.12)."""
_EL2H = 9


@dataclass(frozen=True)
class Broken:
    """One breach that the code shows.

    Attributes:
        rule: as the suites name it: ``clobber``, ``result``, ``dispatch``, ``stack``...
        at: the instruction that is the proof.
        forks: branches on the way to it that nobody can decide: it happens where they go
            that way.
        patched: what a boot has to write over the code for it to happen.
    """

    server: str
    hcall: str
    number: int
    rule: str
    what: str
    expected: str
    found: str
    at: int
    forks: tuple[int, ...] = ()
    patched: tuple[int, ...] = ()

    @property
    def proven(self) -> bool:
        """Whether the code as it is in the file does it."""
        return not self.patched

    def __str__(self) -> str:
        said = f"{self.what}: expected {self.expected}, found {self.found}"
        return f"{self.rule}: {self.hcall} by {self.server}: {said}"


def judge(elf: Elf, served: Served, *, ours: bool = False) -> tuple[Broken, ...]:
    """Return what the code of ``served`` breaks, one for each rule and thing.

    Args:
        ours: vectors of this program, which no kernel installs: they find EL2's MMU off, and
            have nothing to finalise.
    """
    found: dict[tuple[str, str], Broken] = {}
    hcall = served.contract.hcall
    for way in sorted(served.ways, key=lambda way: (len(way.patched), len(way.forks))):
        for rule, what, expected, said, at in _way(elf, served, way):
            broken = Broken(
                served.server, hcall, served.number, rule, what, expected, said, at, way.forks,
                way.patched,
            )  # fmt: skip
            found.setdefault((rule, what), broken)
    if not ours:
        found |= {(each.rule, each.what): each for each in _kernels(served)}
    if served.seen.stack and not served.contract.needs_stack:
        at = min(served.seen.stack)
        said = f"used at {name_of(elf, at)}"
        found["stack", "SP_EL2"] = Broken(
            served.server, hcall, served.number, "stack", "SP_EL2", "not used", said, at
        )
    return tuple(found.values())


def _kernels(served: Served) -> Iterator[Broken]:
    """Yield what a kernel's vectors leave undone that ours have no need of."""
    contract = served.contract

    def undone(rule: str, what: str, expected: str, found: str, at: int) -> Broken:
        return Broken(served.server, contract.hcall, served.number, rule, what, expected, found, at)

    ways = [way for way in served.ways if not way.patched]
    if any(way.ending == "given up" for way in served.ways):
        return
    # HVC_VHE_RESTART, as it was called before, needs CONFIG_ARM64_VHE.
    finalises = contract.effect == "finalise" and contract.hcall == "HVC_FINALISE_EL2"
    if finalises and not any("HCR_EL2" in w.system for w in served.ways):
        at, found = min(way.at for way in served.ways), "nothing that could: HCR_EL2 is not written"
        yield undone("dispatch", "effect", "finalises", found, at)
    if contract.effect == "restart" and "SCTLR_EL2" in contract.el2_changes:
        for way in ways:
            if _effect(way)[0] == "restart" and "SCTLR_EL2" not in way.system:
                found = "SCTLR_EL2 is left as it was, the MMU on"
                yield undone("entry-mmu", "SCTLR_EL2.M", "0", found, way.at)


_Said = tuple[str, str, str, str, int]


def _way(elf: Elf, served: Served, way: Way) -> Iterator[_Said]:
    contract = served.contract
    if way.ending == "given up" or contract.effect == "finalise":
        return  # with VHE finalise goes on at EL2: no path of it tells what the contract says
    if way.ending == "fault":
        if not way.forks:  # BUG() stands behind many a branch that is never taken
            yield "fault", "EL2 exception", "no exception", way.why, way.at
        return
    if way.ending in ("loop", "panic"):
        found = "an endless loop" if way.ending == "loop" else f"a panic ({way.why})"
        yield "dispatch", "effect", promise(contract), found, way.at
        return
    effect = _effect(way)
    if contract.effect in ("set-vectors", "call", "restart") or effect[0] != "none":
        yield from _dispatch(contract, way, effect)
    if effect[0] == _named(contract):
        yield from _result(served, way)
        yield from _clobbers(elf, served, way)
        if contract.returns:
            yield from _return(served, way)


def _named(contract: Contract) -> str:
    return contract.effect if contract.effect in ("set-vectors", "call", "restart") else "none"


def _effect(way: Way) -> tuple[str, str]:
    """Return what a way out does, and to which of the caller's registers."""
    if way.ending == "enters":
        return "restart", str(way.target)
    elr = way.system.get("ELR_EL2")
    if elr is not None and elr.symbols != {"ELR_EL2"}:
        return "restart", str(elr)
    given = [call for call in way.called if call.target.symbol.startswith("x")]
    if given:
        return "call", str(given[0].target)
    vectors = way.system.get("VBAR_EL2")
    if vectors is not None and vectors.symbol.startswith("x"):
        return "set-vectors", vectors.symbol
    return "none", ""


def _dispatch(contract: Contract, way: Way, effect: tuple[str, str]) -> Iterator[_Said]:
    wanted = _named(contract)
    register = next((r for r, kind in contract.args.items() if kind != "value"), "")
    if effect[0] != wanted or (wanted != "none" and effect[1] != register):
        found = {
            "none": f"returns, x0 = {way.x[0]}", "set-vectors": f"sets VBAR_EL2 from {effect[1]}",
            "call": f"calls {effect[1]}", "restart": f"enters {effect[1]}",
        }[effect[0]]  # fmt: skip
        yield "dispatch", "effect", promise(contract), found, way.at
        return
    if wanted == "restart":
        yield from _arrival(contract, way)
    elif wanted == "call":
        call, *more = (call for call in way.called if call.target.symbol.startswith("x"))
        yield from _arguments(contract, call.args, call.address)
        if more:
            found = f"calls {more[0].target} after that"
            yield "dispatch", "effect", promise(contract), found, more[0].address


def _arrival(contract: Contract, way: Way) -> Iterator[_Said]:
    yield from _arguments(contract, way.x, way.at)
    state = way.system.get("SPSR_EL2")
    if way.ending == "eret" and state is not None and state.known is not None:
        if state.known & 0x1F != _EL2H:
            yield "entry-el", "CurrentEL", "EL2", f"SPSR_EL2 = {state.known:#x}", way.at
        elif state.known & 0x3C0 != _EL2H_MASKED & 0x3C0:
            found = f"SPSR_EL2 = {state.known:#x}"
            yield "entry-daif", "PSTATE.DAIF", "all masked", found, way.at
    daif = way.system.get("DAIF")
    if way.ending == "enters" and daif is not None and daif.known != _EL2H_MASKED & 0x3C0:
        yield "entry-daif", "PSTATE.DAIF", "all masked", f"DAIF = {daif}", way.at
    sctlr = way.system.get("SCTLR_EL2")
    if sctlr is not None and sctlr.known is not None:
        if sctlr.known & 1:
            yield "entry-mmu", "SCTLR_EL2.M", "0", f"SCTLR_EL2 = {sctlr.known:#x}", way.at
        elif sctlr.known & 4:
            yield "entry-dcache", "SCTLR_EL2.C", "0", f"SCTLR_EL2 = {sctlr.known:#x}", way.at


def _arguments(contract: Contract, x: tuple[Value, ...], at: int) -> Iterator[_Said]:
    for register, source in contract.callee.items():
        got = x[int(register[1:])]
        if got != symbol(source):
            yield "callee-args", register, f"{source}'s value", str(got), at


def _result(served: Served, way: Way) -> Iterator[_Said]:
    contract, x0 = served.contract, way.x[0]
    kind = contract.result.kind
    if not contract.returns or way.ending != "eret" or not sure(served.seen, x0):
        return
    held = {
        "unchanged": x0 == symbol("x0") or x0.known == served.number,
        "value": x0.known in contract.result.values,
        "vectors": x0 == symbol("VBAR_EL2"),
        "callee": x0 == symbol(contract.callee.get("x0", "x0")),
    }.get(kind, True)
    if not held:
        yield "result", "x0", str(contract.result), str(x0), way.because.get(0, way.at)


def _clobbers(elf: Elf, served: Served, way: Way) -> Iterator[_Said]:
    contract = served.contract
    allowed = set(contract.callee) if contract.effect == "restart" else set()
    for number, value in enumerate(way.x):
        register = f"x{number}"
        if value == symbol(register) or register in allowed or contract.may_change(register):
            continue
        if number == 0 and value.known == served.number:
            continue  # x0 names the hcall
        if sure(served.seen, value):
            at = way.because.get(number, way.at)
            found = f"{value}, written at {name_of(elf, at)}"
            yield "clobber", register, "kept", found, at
    for number, at in way.vectors.items():
        yield "clobber", f"v{number}", "kept", f"written at {name_of(elf, at)}", at
    for name, value in way.system.items():
        if _foreign(contract, name, value) and sure(served.seen, value):
            rule = "el2-state" if name.endswith("_EL2") else "clobber"
            yield rule, name, "kept", str(value), way.at
    if way.sp != symbol("SP_EL2") and contract.returns and sure(served.seen, way.sp):
        yield "stack", "SP_EL2", "as it was", str(way.sp), way.at


def _foreign(contract: Contract, name: str, value: Value) -> bool:
    """Whether a system register was changed that this hcall has no business with."""
    return name not in EXCEPTION and value != symbol(name) and name not in contract.el2_changes


def _return(served: Served, way: Way) -> Iterator[_Said]:
    """An hcall returns behind the ``hvc``, in the PSTATE that it was issued in."""
    elr = way.system.get("ELR_EL2", symbol("ELR_EL2"))
    if elr != symbol("ELR_EL2"):
        yield "return-pc", "pc", "the instruction after the hvc", str(elr), way.at
    state = way.system.get("SPSR_EL2", symbol("SPSR_EL2"))
    if state != symbol("SPSR_EL2"):
        yield "pstate", "SPSR_EL2", "as the hvc was issued in", str(state), way.at


def promise(contract: Contract) -> str:
    """Return what an hcall is for, in a few words."""
    register = next((r for r, kind in contract.args.items() if kind != "value"), "")
    return {
        "call": f"calls {register}", "restart": f"enters {register}",
        "set-vectors": f"sets VBAR_EL2 from {register}",
        "get-vectors": "returns VBAR_EL2 in x0",
    }.get(contract.effect, f"returns, x0 {contract.result}")  # fmt: skip
