# SPDX-License-Identifier: Apache-2.0
"""Where one instruction goes on, and what it reaches by its own address.

Encodings: Arm ARM DDI 0487, C4.1 (A64 instruction set encoding), "Branches, Exception
Generating and System instructions", "PC-rel. addressing" and "Load register (literal)".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PAGE = 0x1000
_UNCONDITIONAL, _CONDITIONAL, _COMPARE, _TEST = 0x1400_0000, 0x5400_0000, 0x3400_0000, 0x3600_0000
_REGISTER, _ADR, _LITERAL = 0xD600_0000, 0x1000_0000, 0x1800_0000
_RETURNS = {0: "br", 1: "blr", 2: "ret", 4: "eret", 5: "drps"}

Ends = Literal["", "br", "ret", "eret", "udf"]


@dataclass(frozen=True, slots=True)
class Flow:
    """What follows one instruction.

    Attributes:
        targets: addresses that it may branch to.
        falls: the next instruction may follow.
        ends: how it ends a path, if nobody can say where it goes from its word.
        data: first address and size in bytes of what it names or loads; ``page``: it names
            a whole page (``adrp``), whose bytes aren't known to be meant.
    """

    targets: tuple[int, ...] = ()
    falls: bool = True
    ends: Ends = ""
    data: tuple[int, int] | None = None
    page: bool = False


def flow(word: int, address: int) -> Flow:
    """Return what follows the instruction ``word`` at ``address``."""
    if word >> 16 == 0:
        return Flow(falls=False, ends="udf")
    if word & 0x7C00_0000 == _UNCONDITIONAL:
        target = address + _signed(word, 26) * 4
        return Flow((target,), falls=bool(word >> 31))
    if word & 0xFF00_0000 == _CONDITIONAL or word & 0x7E00_0000 == _COMPARE:
        return Flow((address + _signed(word >> 5, 19) * 4,), falls=_may_fall(word))
    if word & 0x7E00_0000 == _TEST:
        return Flow((address + _signed(word >> 5, 14) * 4,))
    if word & 0xFE00_0000 == _REGISTER:
        return _by_register(word)
    return _reaches(word, address)


def _may_fall(word: int) -> bool:
    """``b.al`` and ``b.nv`` are conditional by their encoding alone."""
    return not (word & 0xFF00_0000 == _CONDITIONAL and word & 0xE == 0xE)


def _by_register(word: int) -> Flow:
    kind = _RETURNS.get(word >> 21 & 7, "br")
    if kind == "blr":
        return Flow()
    ends: Ends = "eret" if kind in ("eret", "drps") else "ret" if kind == "ret" else "br"
    return Flow(falls=False, ends=ends)


def _reaches(word: int, address: int) -> Flow:
    if word & 0x1F00_0000 == _ADR:
        low = word >> 29 & 3
        offset = _signed(word >> 5, 19) << 2 | low
        if word >> 31:
            return Flow(data=((address & -PAGE) + offset * PAGE, PAGE), page=True)
        return Flow(data=(address + offset, 1))
    if word & 0x3B00_0000 == _LITERAL:
        size = (4, 8, 16 if word >> 26 & 1 else 4, 0)[word >> 30]
        if size:
            return Flow(data=(address + _signed(word >> 5, 19) * 4, size))
    return Flow()


def _signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value
