# SPDX-License-Identifier: Apache-2.0
"""What the few instructions that dispatch an hcall compute: moves, fields, compares.

Encodings: Arm ARM DDI 0487, C4.1.93 (data processing, immediate) and C4.1.95 (register).
"""

from __future__ import annotations

from dataclasses import replace

from .fields import MASK, Field, State, Value


class Unfollowed:
    """Stands for what an instruction writes that isn't followed."""


UNFOLLOWED = Unfollowed()
Computed = Value | Unfollowed


def narrowed(value: Value, word: int) -> Value:
    """Return what the w or x register of an instruction holds of ``value``."""
    if word >> 31 or value is None:
        return value
    return value & 0xFFFF_FFFF if isinstance(value, int) else value.part(0, 32)


def compared(state: State, word: int) -> tuple[Field | int, int] | None:
    """Return what ``cmp`` compares: a field, or a number that is known, with a number."""
    if word & 0x7F80_001F == 0x7100_001F:  # subs xzr, xN, #imm
        number = (word >> 10 & 0xFFF) << (12 if word >> 22 & 1 else 0)
    elif word & 0x7FE0_FC1F == 0x6B00_001F:  # subs xzr, xN, xM
        other = narrowed(_register(state, word >> 16 & 31), word)
        if not isinstance(other, int):
            return None
        number = other
    else:
        return None
    what = narrowed(state.registers.get(word >> 5 & 31), word)
    return None if what is None else (what, number)


def _register(state: State, number: int) -> Value:
    return 0 if number == 31 else state.registers.get(number)


def computed(state: State, word: int) -> Computed:
    """Return what an instruction that is followed writes to its register, or UNFOLLOWED."""
    source = narrowed(state.registers.get(word >> 5 & 31), word)
    if word & 0x7FE0_FFE0 == 0x2A00_03E0:  # mov xD, xM
        return narrowed(_register(state, word >> 16 & 31), word)
    if word & 0x7F80_0000 in (0x5280_0000, 0x1280_0000, 0x7280_0000):
        return _moved(state, word)
    if word & 0x7F80_0000 == 0x5300_0000:  # ubfm
        return _bits(source, word >> 16 & 63, word >> 10 & 63)
    if word & 0x7F80_0000 == 0x1200_0000:  # and with an immediate
        ones = (word >> 10 & 63) + 1
        low = word >> 16 & 63 == 0 and (word >> 22 & 1 == word >> 31) and ones < 64
        return _bits(source, 0, ones - 1) if low else UNFOLLOWED
    if word & 0x7F80_0000 == 0x5100_0000 and word & 31 != 31 and not word >> 22 & 1:  # sub
        minus = word >> 10 & 0xFFF
        if isinstance(source, Field):
            return replace(source, minus=source.minus + minus)
    return UNFOLLOWED


def _bits(source: Value, low: int, last: int) -> Computed:
    if last < low:
        return UNFOLLOWED
    if isinstance(source, int):
        return source >> low & ((1 << (last - low + 1)) - 1)
    return source.part(low, last - low + 1) if source is not None else None


def _moved(state: State, word: int) -> Computed:
    """``movz``, ``movn`` and ``movk``."""
    shift, part = (word >> 21 & 3) * 16, word >> 5 & 0xFFFF
    width = MASK if word >> 31 else 0xFFFF_FFFF
    kind = word >> 29 & 3
    if kind == 2:
        return part << shift & width
    if kind == 0:
        return ~(part << shift) & width
    old = state.registers.get(word & 31)
    if not isinstance(old, int):
        return None
    return (old & ~(0xFFFF << shift) | part << shift) & width
