# SPDX-License-Identifier: Apache-2.0
"""Dispatch: does every immediate reach the right handler? Judged by effect alone.

What counts is what came out: which catch table was reached, with which
arguments and at which exception level, what x0 holds, and where and how the
hvc returned. See the laboratory in lab.c for how each ``Sig`` comes about.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from hilagent.abi import Contract
from hilagent.link import wire
from hilagent.link.wire import Seen

from . import esr, names
from .look import Breach, Look, leaked

RULES: tuple[str, ...] = (
    "dispatch", "result", "callee-args", "callee-state", "return-pc", "return-el", "fault",
)  # fmt: skip

_BAD_SP_REACH = 0x10000
_WANTED = {"call": Seen.CALLED, "restart": Seen.LANDED, "set-vectors": Seen.VECTORS_SET}


class Lacks(NamedTuple):
    """A rule that can't be judged because evidence wasn't fetched."""

    rule: str
    reason: str


def not_applicable(contract: Contract, rule: str) -> str:
    """Return why ``rule`` says nothing about this hcall, or empty."""
    if rule in {"callee-args", "callee-state"} and not contract.callee:
        return "it calls nothing"
    if rule in {"result", "return-pc", "return-el"} and not contract.returns:
        return "it doesn't return"
    if rule == "result" and contract.result.kind == "any":
        return "the contract leaves x0 open"
    return ""


def check(look: Look) -> Iterator[Breach | Lacks]:
    """Yield what this signature broke."""
    if look.bucket:
        yield _bucket(look)
        return
    fault = _fault(look)
    if fault is not None:
        yield fault
        return
    if look.home and look.contract.returns and look.sig.pc_off:
        yield Breach(
            "return-pc",
            "pc",
            "the instruction after the hvc",
            _offset(look.sig.pc_off),
            primary=True,
        )
        return
    yield from _serror(look)
    yield from _effect(look)
    yield from _landing(look)
    yield from _return_el(look)
    yield from _result(look)


def effect(look: Look) -> str:
    """Return what was seen in a few words, for the dispatch map."""
    sig = look.sig
    if look.bucket:
        return "too many different effects"
    if sig.seen == Seen.NOT_ISSUED:
        return "not issued"
    if sig.seen == Seen.VECTORS_SET:
        return f"sets VBAR_EL2 from {look.catch_register}"
    if sig.seen == Seen.CALLED:
        return f"calls {look.catch_register}"
    if sig.seen == Seen.LANDED:
        return f"enters {look.catch_register} at EL{sig.landing_state & 3}"
    if sig.seen == Seen.RETURNED:
        where = f"returns {_offset(sig.pc_off)}, " if sig.pc_off else "returns, "
        return where + _x0(look)
    if sig.seen == Seen.RECORDED:
        return "the payload's own vectors took it"
    return _fault_text(look)


def _x0(look: Look) -> str:
    """Return what x0 holds, in words that don't differ between CPUs and passes."""
    if not look.sig.gpr_changed & 1:
        return "x0 unchanged"
    if look.sig.x0 == look.lab.vbar(look.cpu):
        return "x0 = VBAR_EL2"
    pair = look.exchange
    if pair is not None:
        for register, value in enumerate(pair.before.x):
            if value == look.sig.x0:
                return f"x0 = {names.gpr(1 << register)[0]}'s value"
    return f"x0 = {look.sig.x0:#x}"


def _bucket(look: Look) -> Breach:
    return Breach(
        "dispatch", "signature", f"what the contract of {look.contract.hcall} says",
        "more different effects than can be told apart", primary=True,
    )  # fmt: skip


def _fault(look: Look) -> Breach | None:
    sig = look.sig
    if sig.seen not in (Seen.EL2_FAULT, Seen.EL1_FAULT, Seen.LOST) or look.asynchronous:
        return None
    text = _fault_text(look)
    evidence = str(esr.decode(sig.esr)) + f", ELR {sig.elr:#x}"
    if sig.seen == Seen.EL2_FAULT and _used_bad_sp(look):
        return Breach("stack", "SP_EL2", "not used", text, primary=True, evidence=evidence)
    if sig.seen == Seen.LOST:
        return Breach("fault", "lost", "comes home", text, primary=True, evidence=evidence)
    what = f"{'EL2' if sig.seen == Seen.EL2_FAULT else 'EL1'} exception"
    return Breach("fault", what, "no exception", text, primary=True, evidence=evidence)


def _fault_text(look: Look) -> str:
    sig = look.sig
    where = {Seen.EL2_FAULT: "EL2", Seen.EL1_FAULT: "EL1"}.get(Seen(sig.seen), "lost")
    return f"{where}: {esr.decode(sig.esr).name}, vector {names.vector(sig.vector)}"


def _used_bad_sp(look: Look) -> bool:
    """Whether the fault at EL2 came of the SP_EL2 that points nowhere."""
    decoded = esr.decode(look.sig.esr)
    if look.sig.flags & 4 or decoded.ec != esr.EC_DATA_SAME:
        return False
    pair = look.exchange
    if pair is not None:
        return abs(pair.after.far - pair.before.sys.get("SP_EL2", 0)) < _BAD_SP_REACH
    return decoded.iss & 0x3C == 0  # an address size fault: no other address here is that big


def _serror(look: Look) -> Iterator[Breach]:
    if look.sig.flags & 0x10:
        yield Breach("fault", "SError", "none pending", "an SError is pending afterwards")


def _effect(look: Look) -> Iterator[Breach]:
    contract, sig = look.contract, look.sig
    wanted = _WANTED.get(contract.effect, Seen.RETURNED)
    if sig.seen == Seen.NOT_ISSUED or look.asynchronous:
        return
    if sig.seen == Seen.LANDED and wanted == Seen.CALLED and sig.landing_state & 3 != 2:
        return  # called at the wrong EL: callee-state says so
    other = wanted != Seen.RETURNED and look.catch_register != _address_register(contract)
    if sig.seen != wanted or other or _answers_vectors(look):
        yield Breach("dispatch", "effect", _promise(contract), effect(look))


def _answers_vectors(look: Look) -> bool:
    """Whether x0 is VBAR_EL2 though nobody asked for it: another hcall was reached."""
    if look.contract.result.kind in {"vectors", "any"} or not look.sig.gpr_changed & 1:
        return False
    return look.sig.seen == Seen.RETURNED and look.sig.x0 == look.lab.vbar(look.cpu)


def _promise(contract: Contract) -> str:
    register = _address_register(contract)
    return {
        "call": f"calls {register} at EL2",
        "restart": f"enters {register} at EL2",
        "set-vectors": f"sets VBAR_EL2 from {register}",
        "get-vectors": "returns VBAR_EL2 in x0",
    }.get(contract.effect, f"returns, x0 {contract.result}")


def _address_register(contract: Contract) -> str:
    return next((r for r, kind in contract.args.items() if kind != "value"), "")


def _landing(look: Look) -> Iterator[Breach]:
    contract, sig = look.contract, look.sig
    if sig.seen not in (Seen.CALLED, Seen.LANDED) or not contract.callee:
        return
    level, selected, masks = (
        sig.landing_state & 3,
        sig.landing_state >> 8 & 1,
        sig.landing_state >> 16,
    )
    if level != contract.landing_el:
        yield Breach("callee-state", "EL", f"EL{contract.landing_el}", f"EL{level}")
        return  # reached as an exception to EL1: nothing else was recorded
    if not selected:
        yield Breach("callee-state", "SPSel", "SP_EL2", "SP_EL0")
    if masks & 0xF != 0xF:
        clear = "".join(name for bit, name in enumerate("FIAD") if not masks >> bit & 1)
        yield Breach("callee-state", "DAIF", "all masked", f"{clear[::-1]} unmasked")
    for register, source in contract.callee.items():
        got = sig.args[int(register[1:])] if int(register[1:]) < 8 else 0xFF
        if got != int(source[1:]):
            found = "no argument's value" if got == 0xFF else f"x{got}'s value"
            yield Breach("callee-args", register, f"{source}'s value", found)


def _return_el(look: Look) -> Iterator[Breach]:
    diff = look.sig.pstate_diff & 0x1F
    if not look.home or not look.contract.returns or not diff:
        return
    origin = look.swept.origin
    what = "SPSel" if diff == 1 else "EL"
    yield Breach("return-el", what, names.mode(origin), names.mode(origin ^ diff))


def _result(look: Look) -> Iterator[Breach | Lacks]:
    contract, sig = look.contract, look.sig
    if not look.home or not contract.returns:
        return
    kind, changed = contract.result.kind, bool(sig.gpr_changed & 1)
    kept = {
        "unchanged": not changed,
        "value": changed and sig.x0 in contract.result.values,
        "vectors": changed and sig.x0 == look.lab.vbar(look.cpu),
    }.get(kind, True)
    if not kept:
        yield Breach("result", "x0", str(contract.result), _x0(look), evidence=_x0_evidence(look))
    elif kind == "callee":
        yield from _handed_on(look)


def _handed_on(look: Look) -> Iterator[Breach | Lacks]:
    """With a callee that changes nothing, x0 holds its argument; its other registers
    hold theirs, or what the caller had there: to keep more than promised is no breach."""
    pair = look.exchange
    if look.sig.seen != Seen.CALLED:
        return
    if pair is None:
        yield Lacks("result", "the register files of the call were not fetched")
        return
    for register, source in look.contract.after.items():
        got, wanted = pair.after.x[int(register[1:])], pair.before.x[int(source[1:])]
        kept = register != "x0" and got == pair.before.x[int(register[1:])]
        if got != wanted and not kept:
            found = f"{got:#x}" + (
                " (unchanged)" if got == pair.before.x[int(register[1:])] else ""
            )
            yield Breach("result", register, f"{source}'s value, {wanted:#x}", found)


def _x0_evidence(look: Look) -> str:
    name = leaked(look, look.sig.x0) if look.sig.gpr_changed & 1 else ""
    return f"x0 holds {name}" if name else ""


def _offset(pc_off: int) -> str:
    if abs(pc_off) >= 0x7FFFFFFF:
        return "far away"
    return f"{pc_off:+d} bytes from there"


def wants_frames(look: Look) -> bool:
    """Whether a judge needs the whole register files of this signature."""
    return look.sig.seen == Seen.CALLED or any(isinstance(each, Breach) for each in check(look))


assert set(_WANTED.values()) <= set(wire.Seen)
