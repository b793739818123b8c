# SPDX-License-Identifier: Apache-2.0
"""Clobbers: which registers change, against the contract; leaks and the stack apart.

A changed register that the contract doesn't give away is a *clobber*, or, where
its value is EL2 state, a *leak*. EL2's own registers are *el2-state*. A change
that the contract allows is a note and never a finding.
"""

from __future__ import annotations

from collections.abc import Iterator

from hilagent.abi import Contract
from hilagent.link import wire

from . import names
from .look import AN_ADDRESS, Breach, Look, leaked

RULES: tuple[str, ...] = ("clobber", "leak", "pstate", "el2-state", "stack")


def not_applicable(contract: Contract, rule: str) -> str:
    """Return why ``rule`` says nothing about this hcall, or empty."""
    if rule == "stack":
        return "the contract lets it use the stack" if contract.needs_stack else ""
    if rule == "el2-state" and contract.effect == "restart":
        return ""  # the entry is promised EL2's MMU and caches as they were: off
    return "" if contract.returns else "it doesn't return"


def check(look: Look) -> Iterator[Breach]:
    """Yield what this signature changed against the contract."""
    if look.contract.returns and look.home:
        yield from _registers(look)
        yield from _pstate(look)
        yield from _el2_state(look)
    if look.contract.effect == "restart" and look.sig.seen == wire.Seen.LANDED:
        yield from _el2_state(look)
    yield from _stack(look)


def changed(look: Look) -> list[str]:
    """Return every caller's register that changed, allowed or not."""
    sig = look.sig
    listed = names.gpr(sig.gpr_changed) + names.vectors(sig.v_changed, sig.z_changed)
    system = [name for name in names.sysregs(sig.sys_changed) if name not in names.EL2_STATE]
    if sig.gpr_changed >> 31 & 1 and not {"SP_EL0", "SP_EL1", "SP_EL2"} & set(system):
        listed.append("SP")
    return listed + [name for name in system if name != "SP_EL2"]


def seen_changed(look: Look) -> list[str]:
    """Return everything that changed: the caller's registers, PSTATE's fields, EL2's own."""
    system = [name for name in names.sysregs(look.sig.sys_changed) if name in names.EL2_STATE]
    return [*changed(look), *names.pstate_changes(look.sig.pstate_diff), *system]


def allowed(look: Look) -> list[str]:
    """Return the changed registers that the contract allows: notes."""
    return [name for name in changed(look) if look.contract.may_change(name)]


def _registers(look: Look) -> Iterator[Breach]:
    for name in changed(look):
        if look.contract.may_change(name) or name == "x0":
            continue  # x0 is judged as the result
        value = _value(look, name)
        found = "changed" if value is None else f"{value:#x}"
        secret = "" if value is None else _secret(look, name, value)
        if secret and name == "x30" and secret.startswith(AN_ADDRESS):
            # What any call leaves there: the return address was not put back.
            yield Breach("clobber", name, "keeps its value", f"{found}, {secret}")
        elif secret:
            yield Breach("leak", name, "keeps its value", f"holds {secret}", evidence=found)
        else:
            yield Breach("clobber", name, "keeps its value", found, evidence=_was(look, name))


def _value(look: Look, name: str, *, before: bool = False) -> int | None:
    pair = look.exchange
    if pair is None:
        return None
    frame = pair.before if before else pair.after
    if name[0] in "xv" and name[1:].isdecimal():
        return (frame.x if name[0] == "x" else frame.v)[int(name[1:])]
    return frame.sp if name == "SP" else frame.sys.get(name)


def _secret(look: Look, name: str, value: int) -> str:
    """Return the EL2 state that ``value`` (or half of a vector register) is."""
    low, high = value & (1 << 64) - 1, value >> 64
    return leaked(look, low) or (leaked(look, high) if name[0] == "v" else "")


def _was(look: Look, name: str) -> str:
    value = _value(look, name, before=True)
    return "" if value is None else f"was {value:#x}"


def _pstate(look: Look) -> Iterator[Breach]:
    for name, found in names.pstate_changes(look.sig.pstate_diff).items():
        if not look.contract.may_change(name):
            yield Breach("pstate", name, "keeps its value", found)


def _el2_state(look: Look) -> Iterator[Breach]:
    for name in names.sysregs(look.sig.sys_changed):
        if name in names.EL2_STATE and name not in look.contract.el2_changes:
            value = _value(look, name)
            found = "changed" if value is None else f"{value:#x}"
            yield Breach("el2-state", name, "keeps its value", found, evidence=_was(look, name))


def _stack(look: Look) -> Iterator[Breach]:
    if look.contract.needs_stack or look.sig.seen == wire.Seen.NOT_ISSUED:
        return
    if look.sig.flags & 1:
        yield Breach("stack", "SP_EL2", "not used", "the page at SP_EL2 was written")
    if look.sig.flags & 2 and look.home:
        yield Breach("stack", "SP_EL2", "keeps its value", "SP_EL2 was moved")


def wants_frames(look: Look) -> bool:
    """Whether a judge needs the whole register files of this signature."""
    return any(check(look))
