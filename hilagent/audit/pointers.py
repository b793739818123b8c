# SPDX-License-Identifier: Apache-2.0
"""Addresses that data holds or code forms, and the shadow call stack's pointer in x18."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping

from hilagent.elf import Elf

_PUSH, _POP = 0xF800_865E, 0xF85F_8E5E
"""``str x30, [x18], #8`` and ``ldr x30, [x18, #-8]!`` (asm/scs.h; clang and GCC alike)."""
_MOST_DATA = 1 << 28
"""Bytes of data in which addresses are looked for."""
_TABLES = frozenset(
    (
        ".eh_frame", ".eh_frame_hdr", ".altinstructions", "__jump_table", "__ex_table",
        "__kvm_ex_table", "__bug_table", "__mcount_loc", "__patchable_function_entries",
    )
)  # fmt: skip
"""Sections that say where instructions are, for no call."""


def held(elf: Elf, wanted: set[int]) -> set[int]:
    """Return the ``wanted`` that data may hold as addresses.

    Of 8 bytes, or of 4 that say how far it is from where they stand.
    """
    found = set()
    for place, target in elf.relocations:
        section = elf.at(place)
        if target in wanted and (section is None or section.name not in _TABLES):
            found.add(target)
    for address, data in _data(elf):
        found |= wanted.intersection(array("Q", data[: len(data) & -8]))
        offsets = array("i", data[: len(data) & -4])
        places = range(address, address + 4 * len(offsets), 4)
        found |= wanted.intersection(map(int.__add__, offsets, places))
    return found


def page_offset(word: int) -> int:
    """Return the immediate of an ``adr`` or ``adrp``, in bytes or pages."""
    offset = word >> 3 & 0x1F_FFFC | word >> 29 & 3
    return offset - (1 << 21) if offset >> 20 else offset


def sums(
    pages: set[tuple[int, int]], lows: Mapping[int, set[int]], wanted: Mapping[int, set[int]]
) -> Iterator[int]:
    """Yield what ``add`` makes of what ``adrp`` left in the same register.

    Args:
        pages: register and page of each ``adrp``; ``lows``: by register what is added.
        wanted: offsets by page; other sums don't matter.
    """
    for register, page in pages:
        if register in lows and page in wanted:
            yield from (page + low for low in lows[register] & wanted[page])


def _data(elf: Elf) -> Iterator[tuple[int, bytes]]:
    total = 0
    for section in elf.loaded:
        total += section.size
        aligned = -section.address % 8
        held = not section.executable and len(section.data) == section.size
        if held and section.name not in _TABLES and total < _MOST_DATA:
            yield section.address + aligned, bytes(section.data[aligned:])
    for first, end in elf.symbols.data:
        yield -(-first // 8) * 8, elf.read(first, end - first)[-first % 8 :]


def shadow_call_stack(elf: Elf) -> int | None:
    """Return the first place that has x18 as the shadow call stack's pointer; None without."""
    found = (each for word in (_PUSH, _POP) for each in _places(elf, word.to_bytes(4, "little")))
    return min(found, default=None)


def _places(elf: Elf, word: bytes) -> Iterator[int]:
    """Yield the first place of an instruction in each section."""
    for section in elf.code:
        data = bytes(section.data)
        at = data.find(word)
        while at >= 0 and (at % 4 or elf.symbols.is_data(section.address + at)):
            at = data.find(word, at + 1)
        if at >= 0:
            yield section.address + at
