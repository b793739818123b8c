# SPDX-License-Identifier: Apache-2.0
"""Lays out the sections of a relocatable file, and puts addresses into them.

A module or an object gets its addresses from a loader. Here its sections with code stand
one behind the other, then come made-up addresses for the symbols that are defined
elsewhere, in reach of a branch, then the other sections. Relocations: ELF for the Arm
64-bit Architecture (AAELF64), section 5.7; those not in ``_TYPES`` are left as they are.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from hilagent.errors import InputError

from .section import Section
from .symbols import ENTRY

RELA = struct.Struct("<QIIq")
"""Elf64_Rela: offset, type, symbol, addend."""
APART = 16
"""Bytes between the made-up addresses of two symbols."""
RELATIVE, ABS64 = 1027, 257

_GAP, _CODE_GAP = 1 << 16, 64
"""Bytes between two sections; little between those with code: tbz reaches 32 KiB."""
_ABS, _COMMON = 0xFFF1, 0xFFF2
_Encode = Callable[[int, int, int], int]
"""The new word, from the old one, what is named and the place. OverflowError: out of reach."""


def _branch(bits: int, shift: int) -> _Encode:
    mask, reach = (1 << bits) - 1, 1 << (bits + 1)

    def encode(word: int, target: int, place: int) -> int:
        offset = target - place
        if not -reach <= offset < reach or offset & 3:
            raise OverflowError
        return word & ~(mask << shift) | (offset >> 2 & mask) << shift

    return encode


def _adr(page: int) -> _Encode:
    def encode(word: int, target: int, place: int) -> int:
        offset = ((target & -page) - (place & -page)) // page
        if not -(1 << 20) <= offset < 1 << 20:
            raise OverflowError
        high, low = offset >> 2 & 0x7FFFF, offset & 3
        return word & ~(3 << 29 | 0x7FFFF << 5) | low << 29 | high << 5

    return encode


def _low12(shift: int) -> _Encode:
    return lambda word, target, place: word & ~(0xFFF << 10) | ((target & 0xFFF) >> shift) << 10


def _absolute(word: int, target: int, place: int) -> int:
    return target


def _relative(word: int, target: int, place: int) -> int:
    return target - place


_TYPES: Mapping[int, tuple[int, _Encode]] = {
    ABS64: (8, _absolute), 258: (4, _absolute),  # ABS32
    260: (8, _relative), 261: (4, _relative),  # PREL64, PREL32
    273: (4, _branch(19, 5)),  # LD_PREL_LO19
    274: (4, _adr(1)), 275: (4, _adr(4096)), 276: (4, _adr(4096)),  # ADR_PREL_LO21, PG_HI21(_NC)
    277: (4, _low12(0)), 278: (4, _low12(0)), 284: (4, _low12(1)),  # ADD_, LDST8_, LDST16_ABS
    285: (4, _low12(2)), 286: (4, _low12(3)), 299: (4, _low12(4)),  # LDST32_, 64_, 128_ABS
    279: (4, _branch(14, 5)), 280: (4, _branch(19, 5)),  # TSTBR14, CONDBR19
    282: (4, _branch(26, 0)), 283: (4, _branch(26, 0)),  # JUMP26, CALL26
}  # fmt: skip


def lay_out(sections: Sequence[Section], symbols: int) -> tuple[tuple[Section, ...], int]:
    """Return the sections with addresses, and the made-up address of symbol 0.

    ``symbols`` is how many there may be.
    """
    outside, where = _place((s for s in sections if s.loaded and s.executable), _GAP, _CODE_GAP)
    behind = -(-(outside + symbols * APART) // _GAP) * _GAP + _GAP
    where |= _place((s for s in sections if s.loaded and not s.executable), behind, _GAP)[1]
    moved = (replace(s, address=where.get(s.index, s.address)) for s in sections)
    return tuple(moved), outside


def _place(sections: Iterable[Section], free: int, gap: int) -> tuple[int, dict[int, int]]:
    """Return what is free behind the sections, and the address of each."""
    where = {}
    for each in sections:
        align = min(max(each.align, 4), _GAP)
        where[each.index] = free = -(-free // align) * align
        free += each.size + gap
    return -(-free // _GAP) * _GAP, where


class Relocations:
    """The relocations of one object; its sections are laid out.

    Args:
        outside: the made-up address of symbol 0.
    """

    def __init__(self, path: Path, sections: Sequence[Section], outside: int) -> None:
        self._path, self._sections, self._outside = path, sections, outside
        self._values: dict[int, Sequence[int]] = {}

    def loaded(self) -> tuple[tuple[Section, ...], tuple[tuple[int, int], ...]]:
        """Return the sections, what is loaded of them with addresses in it.

        And place and target of each of those addresses, ascending. Raises InputError.
        """
        copies: dict[int, bytearray] = {}
        absolute: list[tuple[int, int]] = []
        for each in self._sections:
            target = self._target(each)
            if target is not None and target.loaded:
                if target.index not in copies:
                    copies[target.index] = bytearray(target.data)
                absolute += self._apply(each, target, copies[target.index])
        changed = {index: memoryview(copy).toreadonly() for index, copy in copies.items()}
        sections = (replace(s, data=changed.get(s.index, s.data)) for s in self._sections)
        return tuple(sections), tuple(sorted(absolute))

    def apply(self, section: Section, data: bytearray) -> None:
        """Put the addresses of ``section`` (one that isn't loaded) into ``data``.

        Raises InputError.
        """
        for each in self._sections:
            if self._target(each) is section:
                self._apply(each, section, data)

    def _target(self, section: Section) -> Section | None:
        """Return the section that the relocations in ``section`` are for, if it holds any."""
        if section.kind != "SHT_RELA" or not section.data:
            return None
        if max(section.info, section.link) >= len(self._sections) or (
            len(section.data) % RELA.size
        ):
            raise self._wrong(section, "not whole relocations of sections that there are")
        target = self._sections[section.info]
        return target if target.data else None

    def _named(self, table: int) -> Sequence[int]:
        """Return the address of each symbol of the table in section ``table``."""
        if table not in self._values:
            self._values[table] = self._addresses(self._sections[table])
        return self._values[table]

    def _addresses(self, table: Section) -> Sequence[int]:
        if len(table.data) % ENTRY.size:
            raise self._wrong(table, "not whole symbols")
        out = []
        for index, entry in enumerate(ENTRY.iter_unpack(table.data)):
            section, value = entry[3], entry[4]
            if section in (0, _COMMON):
                out.append(self._outside + index * APART)
            elif section == _ABS:
                out.append(value)
            elif section < len(self._sections):
                out.append(self._sections[section].address + value)
            else:
                raise self._wrong(table, f"symbol {index} is in section {section}")
        return out

    def _apply(
        self, relocations: Section, target: Section, data: bytearray
    ) -> list[tuple[int, int]]:
        absolute = []
        values = self._named(relocations.link)
        for offset, kind, symbol, addend in RELA.iter_unpack(relocations.data):
            width, encode = _TYPES.get(kind, (0, _absolute))
            if not width:
                continue
            if offset + width > len(data) or symbol >= len(values):
                raise self._wrong(relocations, f"one for {offset:#x}, with symbol {symbol}")
            named, place = values[symbol] + addend, target.address + offset
            old = int.from_bytes(data[offset : offset + width], "little")
            try:
                new = encode(old, named, place)
            except OverflowError:
                far = f"{named:#x} is out of reach of {place:#x}"
                raise self._wrong(relocations, far) from None
            data[offset : offset + width] = (new & (1 << 8 * width) - 1).to_bytes(width, "little")
            if kind == ABS64:
                absolute.append((place, named & (1 << 64) - 1))
        return absolute

    def _wrong(self, section: Section, what: str) -> InputError:
        return InputError(self._path, f"its relocations: {what}", field=f"section {section.name}")
