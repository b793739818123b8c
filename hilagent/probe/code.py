# SPDX-License-Identifier: Apache-2.0
"""Code against board: what handlers can change, held against what was seen to change.

What a board changed and no path of the code can: either other code ran, or instructions
don't do what they say, or this program is wrong about one of both.
What the code can change and no board did is a path that was not taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from hilagent.abi import Contract, Profile
from hilagent.audit.possible import PSTATE, Code, Possible
from hilagent.link import wire

from . import by_x0, names
from .judgement import Judgement, State, Withheld

_STACK_POINTERS = ("SP_EL0", "SP_EL1", "SP_EL2")
_FIELDS = frozenset({*names.PSTATE_BITS, PSTATE})


@dataclass(frozen=True)
class Row:
    """One hcall, by its contract, by its code and on the board.

    Attributes:
        contract: registers that may change.
        code: those that its code can change; None where that can't be told.
        board: those that changed; None where that was not measured.
        beyond: those that changed though no path changes them -> numbers they did at.
        untaken: those that the code can change and that didn't -> where it does.
        reason: why a column is None.
    """

    hcall: str
    contract: tuple[str, ...]
    code: tuple[str, ...] | None = None
    board: tuple[str, ...] | None = None
    beyond: Mapping[str, tuple[int, ...]] | None = None
    untaken: Mapping[str, str] | None = None
    reason: str = ""


def rows(profile: Profile, code: Code, judgement: Judgement, withheld: Withheld) -> Iterator[Row]:
    """Yield a row for each hcall that comes home.

    Args:
        profile: the ABI that was asked by.
        withheld: what the recorder changes too: that is no code's doing.
    """
    hidden = frozenset(name for each in withheld.values() for name in each)
    for contract in profile.hcalls(code.server):
        if contract.returns and contract.effect != "finalise":
            yield _row(profile, code, judgement, contract, hidden)


def _row(
    profile: Profile, code: Code, judgement: Judgement, contract: Contract, hidden: frozenset[str]
) -> Row:
    given = _given(contract)
    cell = judgement.cell(contract.hcall, "clobber")
    seen = judgement.changed.get(contract.hcall)
    measured = contract.sweep and seen is not None
    possible = code.possible(contract)
    writes = None if possible.unproven else _sorted(possible.writes)
    if not measured or seen is None:
        why = contract.sweep_reason or cell.reason or "never observed"
        return Row(contract.hcall, given, writes, reason=f"not measured: {why}")
    board = _sorted([*(name for name in seen if name not in hidden), *_did(contract, judgement)])
    if writes is None:
        return Row(contract.hcall, given, None, board, reason=possible.unproven[0])
    number = {profile.selector}  # an answer in x0 may be the number that stood there
    beyond = {
        name: seen[name]
        for name in board
        if name in seen
        and name not in number
        and not _can(possible, name)
        and not _may(profile, code, contract, name, seen[name])
    }
    untaken = {
        name: possible.where[name]
        for name in _sorted(possible.writes)
        if not _showed(name, board) and name not in number
    }
    whole = cell.state in (State.HELD, State.BROKEN)
    reason = "" if whole else f"not all of it was measured: {cell.reason}"
    return Row(contract.hcall, given, writes, board, beyond, untaken, reason)


def _given(contract: Contract) -> tuple[str, ...]:
    """Return what a contract lets change, the prescribed ones with it."""
    result = ("x0",) if contract.may_change("x0") else ()
    return _sorted({*contract.clobbers, *contract.after, *contract.el2_changes, *result})


def _did(contract: Contract, judgement: Judgement) -> tuple[str, ...]:
    """Return what was seen as the effect: VBAR_EL2 is set and put back before registers are."""
    state = judgement.cell(contract.hcall, "dispatch").state
    return ("VBAR_EL2",) if contract.effect == "set-vectors" and state is State.HELD else ()


def _may(
    profile: Profile, code: Code, contract: Contract, name: str, numbers: Iterable[int]
) -> bool:
    """Whether an hcall of one of these numbers can change a register, followed on its own.

    One that stands for another kind of hvc (:mod:`by_x0`) is followed as any number.
    """
    for number in numbers:
        stands_for = profile.selector == "x0" and number >= by_x0.LISTED
        possible = code.at(contract, None if stands_for else number)
        if possible.unproven or _can(possible, name):
            return True
    return False


def _can(possible: Possible, name: str) -> bool:
    writes = possible.writes
    if name in writes or _twins(name) & writes.keys():
        return True
    if name in wire.SYSREGS and any(each.startswith("S3_") for each in writes):
        return True  # a register without a name may be any
    if name == "SP":
        return any(each in writes for each in _STACK_POINTERS)
    if name in _FIELDS:
        return PSTATE in writes
    if name == "z31, P or FFR":
        return "v31" in writes
    return name[0] == "z" and f"v{name[1:]}" in writes


def _twins(name: str) -> set[str]:
    """Return other names that reach a register: with HCR_EL2.E2H, EL2's by those of EL1, and
    those of EL1 by _EL12 (Arm ARM D13.1.2, "Register redirection")."""
    if name.endswith("_EL2"):
        return {f"{name[:-1]}1"}
    return {f"{name}2"} if name.endswith("_EL1") else set()


def _showed(name: str, seen: Iterable[str]) -> bool:
    """Whether the board changed what the code names so, or can't show it.

    What an operation adds to FPSR depends on its values.
    """
    if name in seen or name == "FPSR":
        return True
    if name == PSTATE:
        return any(each in _FIELDS for each in seen)
    if name[0] == "v":
        return f"z{name[1:]}" in seen
    if name in _STACK_POINTERS:
        return "SP" in seen
    return name[0] != "x" and name not in wire.SYSREGS


def _sorted(registers: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(registers), key=_order))


def _order(register: str) -> tuple[str, int, str]:
    number = register[1:]
    kind = "A" if register[0] == "x" else "B"
    return (kind, int(number), "") if number.isdigit() else ("C", 0, register)
