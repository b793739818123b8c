# SPDX-License-Identifier: Apache-2.0
"""The addresses that a relocatable kernel holds as data: where, and of what.

``R_AARCH64_RELATIVE`` in ``.rela.dyn`` (AAELF64, section 5.7.12), and RELR in
``.relr.dyn`` (ELF gABI, "Relative Relocation Table"): an even word is the place of one
address, and each odd word a map of the 63 places that follow.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from hilagent.errors import InputError

from .relocate import RELA, RELATIVE
from .section import Section

MOST = 1 << 21
"""Addresses in one file; a distribution's kernel has half a million."""
_WORD = struct.Struct("<Q")


def relative(
    path: Path, loaded: Sequence[Section], at: Callable[[int], Section | None]
) -> tuple[tuple[int, int], ...]:
    """Return (place, target) of each, ascending. Raises InputError.

    ``at`` returns the section that an address lies in.
    """
    out: dict[int, int] = {}
    for section in loaded:
        size = {"SHT_RELA": RELA.size, "SHT_RELR": _WORD.size}.get(section.kind, 0)
        if size and len(section.data) % size:
            raise InputError(path, "not whole relocations", field=f"section {section.name}")
        if section.kind == "SHT_RELA" and len(section.data) // RELA.size > MOST:
            raise InputError(path, "too many relocations", field=f"section {section.name}")
        if section.kind == "SHT_RELA":
            entries = RELA.iter_unpack(section.data)
            out |= {place: addend & (1 << 64) - 1
                    for place, kind, _, addend in entries if kind == RELATIVE}  # fmt: skip
        elif section.kind == "SHT_RELR":
            for place in _places(path, section):
                holder = at(place)
                offset = place - holder.address if holder else 0
                if holder is not None and offset + _WORD.size <= len(holder.data):
                    out[place] = _WORD.unpack_from(holder.data, offset)[0]
    return tuple(sorted(out.items()))


def _places(path: Path, section: Section) -> Iterator[int]:
    base, count = 0, 0
    for (word,) in _WORD.iter_unpack(section.data):
        if not word & 1:
            yield word
            base, count = word + 8, count + 1
            continue
        bits = word >> 1
        while bits:
            low = bits & -bits
            yield base + 8 * (low.bit_length() - 1)
            bits ^= low
            count += 1
        base += 63 * 8
        if count > MOST:
            raise InputError(path, "too many relocations", field=f"section {section.name}")
