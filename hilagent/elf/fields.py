# SPDX-License-Identifier: Apache-2.0
"""What is known, on one path through a handler, about registers and about what it compared.

A register holds a constant, a field of what came in (``x0`` bits 15:0, ``esr`` bits 31:26,
each perhaps less a constant), or nothing that is known. A compare of a field and a branch
on it say something about the field from then on.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

MASK = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Field:
    """Bits of what came in, less ``minus``: ``source`` is a register's name or ``esr``."""

    source: str
    low: int = 0
    width: int = 64
    minus: int = 0

    @property
    def bits(self) -> tuple[str, int, int]:
        """Which bits they are."""
        return self.source, self.low, self.width

    def part(self, low: int, width: int) -> Field | None:
        """Return ``width`` bits of it from ``low`` on; None where that can't be told."""
        if self.minus or low >= self.width:
            return None
        return Field(self.source, self.low + low, min(width, self.width - low))


Value = int | Field | None
IMMEDIATE = Field("esr", 0, 16)
"""ESR_EL2.ISS of an hvc: its immediate (Arm ARM DDI 0487, D24.2.40)."""
CLASS = Field("esr", 26, 6)
HVC64 = 0x16


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of one field: a number that it is, or numbers that it isn't."""

    equal: int | None = None
    other: frozenset[int] = frozenset()
    least: int = 0
    most: int = MASK

    def admits(self, number: int) -> bool:
        """Whether the field may be ``number``."""
        if self.equal is not None:
            return self.equal == number
        return self.least <= number <= self.most and number not in self.other

    def told(self, number: int) -> Known | None:
        """Return it with the field known to be ``number``; None where it can't be."""
        return Known(equal=number) if self.admits(number) else None

    def told_not(self, number: int) -> Known | None:
        """Return it with the field known not to be ``number``; None where it must be."""
        if self.equal is not None:
            return None if self.equal == number else self
        return replace(self, other=self.other | {number})

    def within(self, least: int, most: int) -> Known | None:
        """Return it with the field known to lie in a range; None where it can't."""
        if self.equal is not None:
            return self if least <= self.equal <= most else None
        found = replace(self, least=max(least, self.least), most=min(most, self.most))
        return found if found.least <= found.most else None


@dataclass(frozen=True)
class State:
    """A path so far: registers, the last compare, and what is known of fields."""

    registers: Mapping[int, Value]
    compared: tuple[Field | int, int] | None = None
    known: Mapping[tuple[str, int, int], Known] = field(default_factory=dict)

    def key(self) -> tuple[object, ...]:
        """Return what makes two states the same."""
        registers = frozenset((number, value) for number, value in self.registers.items())
        return registers, self.compared, frozenset(self.known.items())

    def of(self, what: Field) -> Known:
        """Return what is known of a field."""
        return self.known.get(what.bits, Known(most=(1 << what.width) - 1))

    def number(self, source: str, most: int) -> tuple[int, int] | None:
        """Return what the low bits of ``source`` are known to be, and a mask of those bits.

        ``most``: how many bits of it name an hcall. None where the lowest isn't known.
        """
        value = mask = 0
        for (name, low, width), known in self.known.items():
            if name == source and known.equal is not None and low < most:
                bits = (1 << min(width, most - low)) - 1
                value |= (known.equal & bits) << low
                mask |= bits << low
        return (value, mask) if mask & 1 else None

    def set(self, register: int, value: Value) -> State:
        """Return it with one register changed; 31 is XZR here."""
        if register == 31:
            return self
        return replace(self, registers={**self.registers, register: value})

    def split(self, condition: str) -> tuple[State | None, State | None]:
        """Return it where a branch on ``condition`` is taken, and where not; None: never."""
        if self.compared is None:
            return self, self
        what, number = self.compared
        if isinstance(what, int):
            holds = _HOLDS.get(condition)
            if holds is None:
                return self, self
            return (self, None) if holds(what, number) else (None, self)
        ordered = condition not in ("eq", "ne")
        if what.minus:
            number = (number + what.minus) & ((1 << what.width) - 1)
        if condition not in _NOT or (ordered and what.minus):
            return self, self
        if number >> what.width:  # never equal, and always less
            yes = condition in ("ne", "lo", "ls")
            return (self, None) if yes else (None, self)
        return self._with(what, condition, number), self._with(what, _NOT[condition], number)

    def _with(self, what: Field, condition: str, number: int) -> State | None:
        known, most = self.of(what), (1 << what.width) - 1
        found: Known | None = known
        if condition == "eq":
            found = known.told(number)
        elif condition == "ne":
            found = known.told_not(number)
        elif condition == "hs":
            found = known.within(number, most)
        elif condition == "lo":
            found = known.within(0, number - 1)
        elif condition == "hi":
            found = known.within(number + 1, most)
        elif condition == "ls":
            found = known.within(0, number)
        if found is None:
            return None
        return replace(self, known={**self.known, what.bits: found})


_HOLDS: Mapping[str, Callable[[int, int], bool]] = {
    "eq": operator.eq, "ne": operator.ne, "hs": operator.ge, "lo": operator.lt,
    "hi": operator.gt, "ls": operator.le,
}  # fmt: skip
_NOT = {"eq": "ne", "ne": "eq", "hs": "lo", "lo": "hs", "hi": "ls", "ls": "hi"}


def entered() -> State:
    """Return the state in which a vector is entered by an hvc."""
    registers: dict[int, Value] = {number: Field(f"x{number}") for number in range(31)}
    return State(registers, known={CLASS.bits: Known(equal=HVC64)})
