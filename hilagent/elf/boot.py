# SPDX-License-Identifier: Apache-2.0
"""What a kernel changes of its own code and data at boot: relocations and alternatives."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from .file import Elf

_ALTERNATIVE = struct.Struct("<iiHBB")
"""struct alt_instr of asm/alternative.h: two offsets to themselves, capability, two lengths."""
_RELA = struct.Struct("<QQq")


def relocated(elf: Elf, first: int, end: int) -> tuple[int, ...]:
    """Return the addresses from ``first`` to ``end`` that the kernel relocates at boot."""
    places = {place for place, _ in elf.relocations}
    flat = _between(elf, "__pi_rela_start", "__pi_rela_end")  # an Image has no sections
    whole = flat[: len(flat) // _RELA.size * _RELA.size]
    places |= {place for place, _, _ in _RELA.iter_unpack(whole)}
    return tuple(sorted(place for place in places if first <= place < end))


def _between(elf: Elf, first: str, last: str) -> bytes:
    start, stop = elf.symbols.named(first), elf.symbols.named(last)
    if start is None or stop is None or not start.address <= stop.address:
        return b""
    section = elf.at(start.address)
    if section is None or stop.address > section.end:
        return b""
    return elf.read(start.address, stop.address - start.address)


def alternatives(elf: Elf) -> Iterator[tuple[int, int]]:
    """Yield address and size in bytes of each place that boot-time patching may change."""
    section = elf.section(".altinstructions")
    start = elf.symbols.named("__alt_instructions")
    if section is not None:
        base, data = section.address, bytes(section.data)
    elif start is not None:
        base, data = start.address, _between(elf, "__alt_instructions", "__alt_instructions_end")
    else:
        return
    step = _ALTERNATIVE.size
    for index in range(len(data) // step):
        offset, _, _, size, _ = _ALTERNATIVE.unpack_from(data, index * step)
        yield base + index * step + offset, size
