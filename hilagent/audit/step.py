# SPDX-License-Identifier: Apache-2.0
"""What one instruction does to a followed handler's state.

What isn't known here in detail makes every register that it writes unknown: the names
and operands are those of Arm ARM C6.2, "Alphabetical list of A64 base instructions".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from hilagent.elf import Elf

from . import privileged
from .instruction import Instruction, Operand
from .values import Flags, Value, constant, symbol

if TYPE_CHECKING:
    from .follow import Seen, State

_MASK = (1 << 64) - 1
_SP, _ZERO = 31, 32
_CALLEE_MAY_CHANGE = (*range(19), 30)
_NOTHING = frozenset(
    (
        "nop", "isb", "dsb", "dmb", "hint", "bti", "tlbi", "ic", "clrex", "sb", "csdb", "esb",
        "prfm", "prfum", "yield", "wfe", "wfi", "sev", "sevl", "dgh", "psb", "tsb", "wfet",
        "wfit",
    )
)  # fmt: skip
Compute = Callable[[int, int], int]
_LOGIC: dict[str, Compute] = {
    "and": lambda a, b: a & b, "orr": lambda a, b: a | b, "eor": lambda a, b: a ^ b,
    "bic": lambda a, b: a & ~b, "orn": lambda a, b: a | ~b, "eon": lambda a, b: a ^ ~b,
}  # fmt: skip
_SHIFTS: dict[str, Compute] = {
    "lsl": lambda a, n: a << n, "lsr": lambda a, n: a >> n,
}  # fmt: skip


class Stepper:
    """Executes instructions on states; what it meets on the way is noted in ``seen``."""

    def __init__(self, elf: Elf, seen: Seen) -> None:
        self._elf, self._seen = elf, seen

    def __call__(self, at: int, here: Instruction, state: State) -> None:
        """Do what ``here`` does, other than flow."""
        if here.name in _NOTHING:
            return
        if privileged.does(at, here, state, self._seen):
            return
        if here.vectors or here.name.startswith("f"):  # what it adds to FPSR, if anything
            state.system["FPSR"] = self._seen.fresh(at, "callee", state)
        for vector in here.vectors:
            state.vectors.setdefault(vector, at)
        special = _SPECIAL.get(here.name)
        plain = all(operand.kind != "other" for operand in here.operands)
        if special is not None and plain and special(self, at, here, state):
            return
        if here.name[:2] in ("ld", "st") or here.name[:3] in ("cas", "swp"):
            self._memory(at, here, state)
            return
        for register in here.writes:
            self._set(at, state, register, self._seen.fresh(at, "code", state))
        state.flags = Flags()

    def decides(self, here: Instruction, state: State) -> bool | None:
        """Return whether a conditional branch is taken; None where nobody knows."""
        if here.condition:
            return state.flags.holds(here.condition)
        first = here.operands[0]
        value = self._value(first, state)
        if here.name in ("tbz", "tbnz"):
            known = value.known
            if known is None:
                return None
            return bool(known >> here.operands[1].number & 1) == (here.name == "tbnz")
        self._noted(value, constant(0))
        zero = Flags("sub", value, constant(0), first.bits).holds("eq")
        return None if zero is None else zero == (here.name == "cbz")

    def written_at_boot(self, at: int, here: Instruction, state: State) -> None:
        """Do what an instruction does whose constants a callback writes at boot."""
        for register in here.writes:
            self._set(at, state, register, self._seen.fresh(at, "boot", state))

    def forget_call(self, at: int, state: State) -> None:
        """Make everything unknown that a called C function may change."""
        for register in _CALLEE_MAY_CHANGE:
            if register != 30:
                self._set(at, state, register, self._seen.fresh(at, "callee", state))
        state.memory = {
            place: value for place, value in state.memory.items() if "SP_EL2" in place.symbols
        }
        state.flags = Flags()

    # -- operands ----------------------------------------------------------------------

    def _value(self, operand: Operand, state: State) -> Value:
        """Return what an operand holds, shifted as it says."""
        if operand.kind == "number":
            how, by = operand.shift
            return constant(operand.number << by if how == "lsl" else operand.number)
        value = self._register(operand.register, state)
        if operand.bits == 32 and value.known is None:
            value = self._narrow(value)
        elif operand.bits == 32:
            value = constant(value.const & 0xFFFFFFFF)
        return self._shifted(value, operand.shift)

    def _shifted(self, value: Value, shift: tuple[str, int]) -> Value:
        how, by = shift
        if not how or (how == "lsl" and by == 0):
            return value
        if how == "lsl":
            terms = tuple((name, count << by & _MASK) for name, count in value.terms)
            return Value(value.const << by & _MASK, tuple(t for t in terms if t[1]))
        if value.known is not None and how == "lsr":
            return constant(value.known >> by)
        return symbol(f"{how}{by}({value})")

    def _narrow(self, value: Value) -> Value:
        """Return the lower half of ``value``, the same symbol for the same value."""
        return symbol(f"low32({value})")

    def _register(self, number: int, state: State) -> Value:
        if number == _SP:
            return state.sp
        return constant(0) if number == _ZERO else state.x[number]

    def _set(self, at: int, state: State, number: int, value: Value, bits: int = 64) -> None:
        if bits == 32:
            known = value.known
            value = constant(known & 0xFFFFFFFF) if known is not None else self._low(value)
        if number == _SP:
            state.sp = value
        elif 0 <= number < 31:
            state.x[number], state.because[number] = value, at

    def _low(self, value: Value) -> Value:
        return value if value.symbol.startswith("low32(") else self._narrow(value)

    # -- instructions ------------------------------------------------------------------

    def _move(self, at: int, here: Instruction, state: State) -> bool:
        to, source = here.operands[0], here.operands[1]
        self._set(at, state, to.register, self._value(source, state), to.bits)
        return True

    def _move_not(self, at: int, here: Instruction, state: State) -> bool:
        to, known = here.operands[0], self._value(here.operands[1], state).known
        if known is None:
            return False
        self._set(at, state, to.register, constant(~known), to.bits)
        return True

    def _move_keep(self, at: int, here: Instruction, state: State) -> bool:
        to, source = here.operands
        old = self._register(to.register, state).known
        if old is None:
            return False
        by = source.shift[1]
        kept = old & ~(0xFFFF << by)
        self._set(at, state, to.register, constant(kept | source.number << by), to.bits)
        return True

    def _add(self, at: int, here: Instruction, state: State) -> bool:
        if len(here.operands) != 3:
            return False
        to, one, two = here.operands
        left, right = self._value(one, state), self._value(two, state)
        minus = here.name in ("sub", "subs")
        result = left - right if minus else left + right
        if here.name in ("subs", "adds"):
            state.flags = Flags("sub", left, right, one.bits) if minus else Flags()
            if minus:
                self._noted(left, right)
        self._set(at, state, to.register, result, to.bits)
        return True

    def _compare(self, at: int, here: Instruction, state: State) -> bool:
        one, two = here.operands[0], here.operands[1]
        left, right = self._value(one, state), self._value(two, state)
        kind = {"cmp": "sub", "tst": "and"}.get(here.name, "")
        state.flags = Flags(kind, left, right, one.bits) if kind else Flags()
        self._noted(left, right)
        return True

    def _negate(self, at: int, here: Instruction, state: State) -> bool:
        to, source = here.operands
        value = constant(0) - self._value(source, state)
        self._set(at, state, to.register, value, to.bits)
        return True

    def _logic(self, at: int, here: Instruction, state: State) -> bool:
        if len(here.operands) != 3:
            return False
        to, one, two = here.operands
        left, right = self._value(one, state), self._value(two, state)
        name = here.name.removesuffix("s") if here.name in ("ands", "bics") else here.name
        if here.name in ("ands", "bics"):
            state.flags = Flags("and", left, right, one.bits) if name == "and" else Flags()
        if left.known is None or right.known is None:
            if name in ("orr", "eor") and constant(0) in (left, right):
                self._set(at, state, to.register, left + right, to.bits)
                return True
            self._set(at, state, to.register, self._seen.fresh(at, "code", state), to.bits)
            return True
        value = constant(_LOGIC[name](left.known, right.known))
        self._set(at, state, to.register, value, to.bits)
        return True

    def _shift(self, at: int, here: Instruction, state: State) -> bool:
        to, one, two = here.operands
        left, by = self._value(one, state).known, self._value(two, state).known
        if left is None or by is None:
            return False
        value = constant(_SHIFTS[here.name](left, by % to.bits))
        self._set(at, state, to.register, value, to.bits)
        return True

    def _field(self, at: int, here: Instruction, state: State) -> bool:
        to, source, low, width = here.operands
        known = self._value(source, state).known
        if known is None:
            return False
        bits = known >> low.number & ((1 << width.number) - 1)
        self._set(at, state, to.register, constant(bits), to.bits)
        return True

    def _select(self, at: int, here: Instruction, state: State) -> bool:
        if len(here.operands) != 3:
            return False
        to, one, two = here.operands
        held = state.flags.holds(here.condition) if here.condition else None
        if held is None:
            return False
        self._set(at, state, to.register, self._value(one if held else two, state), to.bits)
        return True

    def _read_system(self, at: int, here: Instruction, state: State) -> bool:
        to, source = here.operands
        name = source.name or f"system@{at:#x}"
        if name.startswith("RNDR"):
            state.flags = Flags()
        value = state.system.get(name, privileged.AT_FIRST.get(name, symbol(name)))
        self._set(at, state, to.register, value)
        return True

    def _write_system(self, at: int, here: Instruction, state: State) -> bool:
        to, source = here.operands
        if source.kind == "register":
            state.system[to.name] = self._value(source, state)
            state.flags = Flags() if to.name == "NZCV" else state.flags
        return True

    def _address(self, at: int, here: Instruction, state: State) -> bool:
        to, source = here.operands
        self._set(at, state, to.register, constant(source.number))
        return True

    def _noted(self, left: Value, right: Value) -> None:
        for one, two in ((left, right), (right, left)):
            if one.known is not None and two.known is not None:
                self._seen.compared.add(one.known)

    # -- memory ------------------------------------------------------------------------

    def _memory(self, at: int, here: Instruction, state: State) -> None:
        place = next((each for each in here.operands if each.kind == "memory"), None)
        if place is None and here.name == "ldr" and here.operands[-1].kind == "number":
            self._literal(at, here, state)
            return
        others = any(each.kind == "other" for each in here.operands)  # vectors, say
        if place is None or place.index is not None or here.name not in _PLAIN or others:
            self._unknown_memory(at, here, place, state)
            return
        base = self._register(place.register, state)
        address = base + constant(place.number) if not here.post else base
        self._touched(at, address)
        data = [each for each in here.operands if each.kind == "register"]
        for index, each in enumerate(data):
            size = each.bits // 8
            where = address + constant(index * size)
            if here.name.startswith("st"):
                self._store(where, self._value(each, state), size, state)
            else:
                self._set(at, state, each.register, self._load(at, where, size, state))
        if here.writeback or here.post:
            by = here.operands[-1].number if here.post else place.number
            self._set(at, state, place.register, base + constant(by))

    def _literal(self, at: int, here: Instruction, state: State) -> None:
        """Load what the assembler put beside the code. An address is none that can be
        known: where the kernel runs is decided when it starts (CONFIG_RELOCATABLE)."""
        to, place = here.operands
        address, size = place.number % (1 << 64), to.bits // 8
        section = self._elf.at(address)
        if section is not None and section.executable and address + size <= section.end:
            number = int.from_bytes(self._elf.read(address, size), "little")
            if self._elf.at(number) is None:
                self._set(at, state, to.register, constant(number))
                return
        self._set(at, state, to.register, self._seen.fresh(at, "memory", state))

    def _unknown_memory(
        self, at: int, here: Instruction, place: Operand | None, state: State
    ) -> None:
        self._touched(at, self._register(place.register, state) if place else constant(0))
        for register in here.writes:
            self._set(at, state, register, self._seen.fresh(at, "memory", state))
        if not here.name.startswith("ld") or here.name[2:5] in _ATOMIC:
            state.memory.clear()

    def _touched(self, at: int, address: Value) -> None:
        by_stack = "SP_EL2" in address.symbols
        (self._seen.stack if by_stack else self._seen.memory).add(at)

    def _store(self, where: Value, value: Value, size: int, state: State) -> None:
        for other in list(state.memory):
            apart = (other - where).known
            near = apart is None or apart < size or apart > _MASK - 7
            same_kind = ("SP_EL2" in other.symbols) == ("SP_EL2" in where.symbols)
            if near and same_kind:
                del state.memory[other]
        if size == 8:
            state.memory[where] = value

    def _load(self, at: int, where: Value, size: int, state: State) -> Value:
        kept = state.memory.get(where) if size == 8 else None
        return kept if kept is not None else self._seen.fresh(at, "memory", state)


_ATOMIC = frozenset({"add", "clr", "eor", "set", "sma", "smi", "uma", "umi"})
"""How ``ldadd`` and its like go on: they store too (Arm ARM C3.2.14)."""
_PLAIN = frozenset({"ldr", "str", "ldp", "stp", "ldur", "stur"})
Special = Callable[[Stepper, int, Instruction, "State"], bool]
_SPECIAL: dict[str, Special] = {
    **dict.fromkeys(("mov", "movz"), Stepper._move), "movn": Stepper._move_not,
    "mvn": Stepper._move_not, "movk": Stepper._move_keep,
    **dict.fromkeys(("add", "sub", "adds", "subs"), Stepper._add),
    **dict.fromkeys(("cmp", "cmn", "tst"), Stepper._compare), "neg": Stepper._negate,
    **dict.fromkeys((*_LOGIC, "ands", "bics"), Stepper._logic),
    **dict.fromkeys(_SHIFTS, Stepper._shift), "ubfx": Stepper._field,
    "csel": Stepper._select, "mrs": Stepper._read_system, "msr": Stepper._write_system,
    **dict.fromkeys(("adr", "adrp"), Stepper._address),
}  # fmt: skip
