# SPDX-License-Identifier: Apache-2.0
"""Instructions that change how EL2 runs: masks, stack pointers, keys, and calls of firmware."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from .instruction import Instruction
from .values import Flags, Value, constant, symbol

if TYPE_CHECKING:
    from .follow import Seen, State

_ALL_MASKED = 0x3C0
AT_FIRST: Mapping[str, Value] = {"DAIF": constant(_ALL_MASKED), "SPSEL": constant(1)}
"""What an exception to EL2 leaves in PSTATE (Arm ARM D1.3.5, "Exception entry")."""
_OTHER_SP = "the other SP"
_SIGNED = symbol("the code of PAC")
_FIRMWARE_MAY_CHANGE = range(18)
"""SMCCC (Arm DEN0028) 1.0 gives away x0-x17, later versions x0-x3."""


def does(at: int, here: Instruction, state: State, seen: Seen) -> bool:
    """Execute ``here`` if it is one of these; return whether it was."""
    if here.name == "smc":
        for number in _FIRMWARE_MAY_CHANGE:
            state.x[number], state.because[number] = seen.fresh(at, "callee", state), at
        state.flags = Flags()
    elif here.name == "at":  # its answer is in PAR_EL1 (Arm ARM D8.15)
        state.system["PAR_EL1"] = seen.fresh(at, "code", state)
    elif here.name == "dc":
        if "zva" in here.text or "gva" in here.text:
            state.memory.clear()
    elif here.name in ("paciasp", "pacibsp", "autiasp", "autibsp"):
        x30 = state.x[30]
        state.x[30] = x30 + _SIGNED if here.name.startswith("pac") else x30 - _SIGNED
        state.because[30] = at
    elif here.text.startswith("msr daif") and here.text[8:9] in "sc":
        _masks(here, state)
    elif here.text.startswith("msr spsel, #"):
        select_stack(state, int(here.text.rpartition("#")[2], 0))
    else:
        return False
    return True


def _masks(here: Instruction, state: State) -> None:
    """``daifset`` and ``daifclr``."""
    which, _, number = here.text.removeprefix("msr daif").partition(", #")
    old, bits = state.system.get("DAIF", AT_FIRST["DAIF"]).known, int(number, 0) << 6
    if which == "set" and bits == _ALL_MASKED:
        old = 0
    if old is not None:
        state.system["DAIF"] = constant(old & ~bits if which == "clr" else old | bits)


def select_stack(state: State, which: int) -> None:
    """Make SP stand for SP_EL0 (0) or SP_EL2 (1), as ``msr spsel`` does."""
    now = state.system.get("SPSEL", AT_FIRST["SPSEL"]).known
    if now == which:
        return
    mine = state.sp
    if which == 0:
        state.sp = state.system.get("SP_EL0", symbol("SP_EL0"))
        state.system[_OTHER_SP] = mine
    else:
        state.sp = state.system.pop(_OTHER_SP, symbol("SP_EL2"))
        if mine != symbol("SP_EL0"):
            state.system["SP_EL0"] = mine
    state.system["SPSEL"] = constant(which)
