# SPDX-License-Identifier: Apache-2.0
"""The kernel's own tables about its code, entry by entry, checked.

Every field that is an address must lie in code; a table with one that doesn't isn't what
it is called, and nothing may be concluded from it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from hilagent.elf import Elf
from hilagent.errors import InputError

CALLBACK = 1 << 15
"""ARM64_CB_BIT (asm/alternative-macros.h)."""

MOST_ENTRIES = 1 << 19
MOST_REPLACED = 1 << 20
"""Instructions in all regions of all alternatives."""
MOST_AT_ONE_PLACE = 64

_ALTERNATIVE, _JUMP = struct.Struct("<iiHBB"), struct.Struct("<iiq")
_FIXUP, _OLD_FIXUP = struct.Struct("<iiHH"), struct.Struct("<ii")
_MOST_TYPE = 15
_BOUNDS = {
    ".altinstructions": ("__alt_instructions", "__alt_instructions_end"),
    **{
        name: (f"__start_{name}", f"__stop_{name}")
        for name in ("__jump_table", "__ex_table", "__kvm_ex_table")
    },
}
"""Symbols around each table (arch/arm64/kernel/vmlinux.lds.S, asm-generic/vmlinux.lds.h)."""


def alternatives(elf: Elf) -> Iterator[tuple[int, int, int, int, int]]:
    """Yield original, replacement or callback, capability and both lengths of each.

    Raises InputError.
    """
    name, total = ".altinstructions", 0
    met: dict[int, int] = {}
    for place, (original, other, capability, size, length) in _entries(elf, name, _ALTERNATIVE):
        first, second = place + original, place + 4 + other
        called = bool(capability & CALLBACK) or length == 0
        _check(elf, name, place, first, size)
        if length > size or length % 4 or size % 4 or (capability & CALLBACK and length):
            raise _wrong(elf, name, place, f"{length} bytes for {size} at {first:#x}")
        if called:
            _check_callback(elf, name, place, second)
        else:
            _check(elf, name, place, second, length)
        total += size // 4
        for each in range(first, first + size, 4):
            met[each] = met.get(each, 0) + 1
        if total > MOST_REPLACED or met.get(first, 0) > MOST_AT_ONE_PLACE:
            raise _wrong(elf, name, place, "too many instructions to replace")
        if size:
            yield first, second, capability, size, length


def jumps(elf: Elf) -> Iterator[tuple[int, int]]:
    """Yield the instruction and the target of each static key's branch. Raises InputError."""
    name = "__jump_table"
    for place, (code, target, _) in _entries(elf, name, _JUMP):
        _check(elf, name, place, place + code, 4)
        _check(elf, name, place, place + 4 + target, 4)
        yield place + code, place + 4 + target


def fixups(elf: Elf) -> Iterator[tuple[int, int]]:
    """Yield the instruction that may fault and its fixup, for each. Raises InputError.

    Which layout it has is seen from the entries; where both fit, both are taken.
    """
    name = "__ex_table"
    found = [_fixups(elf, name, shape) for shape in (_FIXUP, _OLD_FIXUP)]
    fitting = [pairs for pairs in found if pairs is not None]
    if not fitting:
        raise InputError(elf.path, "its entries aren't addresses of code", field=name)
    for pairs in fitting:
        yield from pairs


def hyp_fixups(elf: Elf) -> Iterator[tuple[int, int]]:
    """Yield the same of KVM's table for EL2. Raises InputError."""
    name = "__kvm_ex_table"
    for place, (code, target) in _entries(elf, name, _OLD_FIXUP):
        _check(elf, name, place, place + code, 4)
        _check(elf, name, place, place + 4 + target, 4)
        yield place + code, place + 4 + target


def branches_to(word: int, address: int) -> int | None:
    """Return the target of a branch by an immediate; None for other instructions."""
    if word & 0x7C00_0000 == 0x1400_0000:
        return address + _signed(word, 26) * 4
    if word & 0xFE00_0000 == 0x5400_0000 or word & 0x7E00_0000 == 0x3400_0000:
        return address + _signed(word >> 5, 19) * 4
    return address + _signed(word >> 5, 14) * 4 if word & 0x7E00_0000 == 0x3600_0000 else None


def goes_on(word: int) -> bool:
    """Whether the next instruction may follow, or a call may return to it."""
    if word & 0xFC00_0000 == 0x1400_0000:  # b
        return False
    if word & 0xFE00_0000 == 0xD600_0000:  # by register: blr and its kin return
        return word >> 21 & 0b0111 == 1
    return True


def _signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def _fixups(elf: Elf, name: str, shape: struct.Struct) -> list[tuple[int, int]] | None:
    """Return the entries; None where the table isn't one of this shape."""
    size = sum(len(data) for _, data in _tables(elf, name))
    if size % shape.size:
        return None
    out = []
    for place, (code, target, *kind) in _entries(elf, name, shape):
        pair = place + code, place + 4 + target
        if not all(_is_code(elf, each, 4) for each in pair) or (kind and kind[0] > _MOST_TYPE):
            return None
        out.append(pair)
    return out


def _entries(elf: Elf, name: str, shape: struct.Struct) -> Iterator[tuple[int, tuple[int, ...]]]:
    for address, data in _tables(elf, name):
        if len(data) % shape.size or len(data) // shape.size > MOST_ENTRIES:
            raise InputError(
                elf.path, f"{len(data)} bytes: not entries of {shape.size} bytes", field=name
            )
        for index, entry in enumerate(shape.iter_unpack(data)):
            yield address + index * shape.size, entry


def _tables(elf: Elf, name: str) -> Iterator[tuple[int, bytes]]:
    """Yield address and bytes of the table: its own sections, or what symbols enclose."""
    sections = [each for each in elf.loaded if each.name == name]
    if sections:
        for each in sections:
            yield each.address, bytes(each.data)
        return
    bounds = [elf.symbols.named(each) for each in _BOUNDS[name]]
    if bounds[0] is not None and bounds[1] is not None:
        first, end = bounds[0].address, bounds[1].address
        if first != end:
            yield first, elf.read(first, end - first)


def _is_code(elf: Elf, address: int, size: int) -> bool:
    section = elf.at(address)
    inside = section is not None and section.executable and address + size <= section.end
    return inside and address % 4 == 0


def _check(elf: Elf, name: str, place: int, address: int, size: int) -> None:
    if not _is_code(elf, address, size):
        raise _wrong(elf, name, place, f"{address:#x} isn't code")


def _check_callback(elf: Elf, name: str, place: int, address: int) -> None:
    if not elf.external(address):
        _check(elf, name, place, address, 4)


def _wrong(elf: Elf, name: str, place: int, what: str) -> InputError:
    return InputError(elf.path, f"the entry at {place:#x}: {what}", field=name)
