# SPDX-License-Identifier: Apache-2.0
"""Values of a handler that is followed without being run: sums of what isn't known.

A value is a constant plus whole multiples of symbols, modulo 2^64. A symbol stands for a
register as the caller gave it (``x0``), for a system register (``VBAR_EL2``), or for
something that nobody can know before the code runs (``?7``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

_MASK = (1 << 64) - 1


@dataclass(frozen=True)
class Value:
    """``const`` plus the ``terms``; each symbol stands in them once, in order of name."""

    const: int = 0
    terms: tuple[tuple[str, int], ...] = ()

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash((self.const, self.terms))

    @property
    def known(self) -> int | None:
        """The number that it is; None while a symbol is in it."""
        return None if self.terms else self.const

    @property
    def symbol(self) -> str:
        """The symbol that it is, and nothing else; or empty."""
        if self.const or len(self.terms) != 1 or self.terms[0][1] != 1:
            return ""
        return self.terms[0][0]

    @property
    def symbols(self) -> frozenset[str]:
        """Every symbol in it."""
        return frozenset(name for name, _ in self.terms)

    def __add__(self, other: Value) -> Value:
        return _sum(self, other, 1)

    def __sub__(self, other: Value) -> Value:
        return _sum(self, other, -1)

    def __str__(self) -> str:
        parts = [name if count == 1 else f"{_signed(count)}*{name}" for name, count in self.terms]
        if self.const or not parts:
            parts.append(f"{self.const:#x}")
        return " + ".join(parts)


def constant(number: int) -> Value:
    """Return ``number`` modulo 2^64."""
    return Value(number & _MASK)


def symbol(name: str) -> Value:
    """Return what only ``name`` stands for."""
    return Value(0, ((name, 1),))


def _sum(one: Value, two: Value, sign: int) -> Value:
    counts: dict[str, int] = dict(one.terms)
    for name, count in two.terms:
        counts[name] = (counts.get(name, 0) + sign * count) & _MASK
    terms = tuple(sorted((name, count) for name, count in counts.items() if count))
    return Value((one.const + sign * two.const) & _MASK, terms)


def _signed(count: int) -> int:
    return count - (1 << 64) if count >> 63 else count


@dataclass(frozen=True)
class Flags:
    """What a comparison left in NZCV: the operands of a subtraction, or of an and (``tst``).

    None for an operand that isn't known any more.
    """

    kind: str = ""
    one: Value | None = None
    two: Value | None = None
    bits: int = 64

    def holds(self, condition: str) -> bool | None:
        """Return whether ``condition`` (``eq``, ``ne``, ``hi``...) holds; None: nobody knows."""
        if condition in ("al", "nv"):
            return True
        if self.one is None or self.two is None:
            return None
        mask = (1 << self.bits) - 1
        if self.kind == "sub" and condition in ("eq", "ne") and self.bits == 64:
            apart = (self.one - self.two).known
            return None if apart is None else (apart == 0) == (condition == "eq")
        one, two = self.one.known, self.two.known
        if one is None or two is None:
            return None
        return _CONDITIONS[condition](_nzcv(self.kind, one & mask, two & mask, self.bits))


def _nzcv(kind: str, one: int, two: int, bits: int) -> Mapping[str, bool]:
    """Return the flags of ``one - two`` or ``one & two`` (Arm ARM, AddWithCarry)."""
    mask, top = (1 << bits) - 1, 1 << (bits - 1)
    if kind == "and":
        result = one & two
        return {"n": bool(result & top), "z": result == 0, "c": False, "v": False}
    result = (one - two) & mask
    over = bool((one ^ two) & (one ^ result) & top)
    return {"n": bool(result & top), "z": result == 0, "c": one >= two, "v": over}


_CONDITIONS: dict[str, Callable[[Mapping[str, bool]], bool]] = {
    "eq": lambda f: f["z"], "ne": lambda f: not f["z"],
    "hs": lambda f: f["c"], "lo": lambda f: not f["c"],
    "cs": lambda f: f["c"], "cc": lambda f: not f["c"],
    "mi": lambda f: f["n"], "pl": lambda f: not f["n"],
    "vs": lambda f: f["v"], "vc": lambda f: not f["v"],
    "hi": lambda f: f["c"] and not f["z"], "ls": lambda f: not f["c"] or f["z"],
    "ge": lambda f: f["n"] == f["v"], "lt": lambda f: f["n"] != f["v"],
    "gt": lambda f: not f["z"] and f["n"] == f["v"], "le": lambda f: f["z"] or f["n"] != f["v"],
}  # fmt: skip
