# SPDX-License-Identifier: Apache-2.0
"""The sections of an ELF, from its headers, all of them checked against the file."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hilagent.errors import InputError

HEADER = struct.Struct("<IIQQQQIIQQ")
"""Elf64_Shdr: name, type, flags, address, offset, size, link, info, alignment, entry size."""

MOST_STRINGS = 1 << 30
_ALLOC, _EXECUTABLE, _TLS, _COMPRESSED = 2, 4, 0x400, 0x800
_SPACE = 1 << 64
_LONGEST_NAME = 4096
_KINDS = {
    0: "SHT_NULL", 1: "SHT_PROGBITS", 2: "SHT_SYMTAB", 3: "SHT_STRTAB", 4: "SHT_RELA",
    8: "SHT_NOBITS", 9: "SHT_REL", 19: "SHT_RELR",
}  # fmt: skip


@dataclass(frozen=True)
class Section:
    """One section.

    Attributes:
        kind: ``SHT_PROGBITS`` and so on; a number in hex for kinds that nobody asks for.
        address: where it is at run time; in a relocatable file, where it was laid out
            here, one section behind the other.
        size: in bytes; ``data`` is empty where the file holds none (``.bss``).
        align: in bytes, as the file says it.
        compressed: ``data`` begins with an Elf64_Chdr.
    """

    index: int
    name: str
    kind: str
    address: int
    size: int
    data: memoryview
    executable: bool
    loaded: bool
    link: int = 0
    info: int = 0
    align: int = 1
    compressed: bool = False

    @property
    def end(self) -> int:
        """The address behind it."""
        return self.address + self.size


def read_sections(
    path: Path, headers: bytes, names_in: int, data: memoryview
) -> tuple[Section, ...]:
    """Return the sections that ``headers`` describe.

    Args:
        headers: the bytes of the whole table.
        names_in: index of the section that holds the names.
        data: the file.

    Raises InputError.
    """
    shapes = list(HEADER.iter_unpack(headers))
    names = _names(path, shapes, names_in, data)
    known: dict[int, str] = {}
    out = tuple(
        _section(path, index, shape, _name(names, shape[0], known), data)
        for index, shape in enumerate(shapes)
    )
    if sum(len(each.data) for each in out) > len(data):
        raise InputError(path, "its sections share bytes: they are longer than the file together")
    return out


def check_apart(path: Path, sections: Sequence[Section]) -> None:
    """Raise InputError where sections claim one address, or code isn't aligned."""
    end, last = 0, ""
    for each in sorted((s for s in sections if s.loaded and s.size), key=lambda s: s.address):
        if each.address < end:
            raise InputError(path, f"sections {last} and {each.name} overlap at {each.address:#x}")
        if each.end > _SPACE:
            raise _beyond(path, each.index, each.name, f"{each.address:#x} + {each.size:#x}")
        if each.executable and each.address % 4:
            raise InputError(path, f"code at {each.address:#x}, between two instructions",
                             field=f"section {each.name}")  # fmt: skip
        end, last = each.end, each.name


def _section(
    path: Path, index: int, shape: tuple[int, ...], name: str, data: memoryview
) -> Section:
    _, kind, flags, address, offset, size, link, info, align, _ = shape
    held = 0 if kind in (0, 8) else size
    if held and offset + held > len(data):
        raise InputError(
            path, f"{held} bytes at {offset:#x} are beyond the file's end ({len(data)})",
            field=f"section {name or index}",
        )  # fmt: skip
    # Thread-local .tbss shares its addresses with what follows, and takes none of them.
    loaded = bool(flags & _ALLOC) and not (flags & _TLS and kind == 8)
    return Section(
        index, name, _KINDS.get(kind, f"{kind:#x}"), address, size,
        data[offset : offset + held] if held else data[:0],
        bool(flags & _EXECUTABLE), loaded, link, info, align, bool(flags & _COMPRESSED),
    )  # fmt: skip


def _name(names: bytes, start: int, known: dict[int, str]) -> str:
    if start not in known:
        end = names.find(b"\0", start, start + _LONGEST_NAME)
        known[start] = names[start:end].decode("ascii", "replace") if end >= 0 else ""
    return known[start]


def _names(path: Path, shapes: Sequence[Sequence[int]], index: int, data: memoryview) -> bytes:
    if index >= len(shapes):
        raise InputError(path, f"section names in section {index} of {len(shapes)}")
    at, size = shapes[index][4], shapes[index][5]
    if at + size > len(data) or size > MOST_STRINGS:
        raise InputError(path, f"section names at {at:#x}, {size} bytes: beyond the file's end")
    return bytes(data[at : at + size])


def _beyond(path: Path, index: int, name: str, what: str) -> InputError:
    return InputError(path, f"ends behind all memory: {what}", field=f"section {name or index}")
