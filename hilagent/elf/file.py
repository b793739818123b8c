# SPDX-License-Identifier: Apache-2.0
"""Opens an arm64 ELF: a vmlinux, a module, an object of the payload.

Nothing in such a file is believed: offsets, sizes and counts are checked before anything
is read by them, and all that is wrong ends in an InputError.
"""

from __future__ import annotations

import bisect
import mmap
import stat
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from hilagent.errors import InputError

from . import symbols as symbol_table
from .lines import Lines
from .relative import relative
from .relocate import APART, Relocations, lay_out
from .section import HEADER, MOST_STRINGS, Section, check_apart, read_sections
from .symbols import Symbols

__all__ = ["Elf", "Section", "open_elf"]

_AARCH64 = "EM_AARCH64"
_TYPES: dict[str, Literal["vmlinux", "object"]] = {
    "ET_EXEC": "vmlinux", "ET_DYN": "vmlinux", "ET_REL": "object"
}  # fmt: skip
_MOST_SECTIONS = 65_280
_MOST_SYMBOLS = 4_000_000
_MOST_ZEROS = 1 << 24
_MACHINES = {
    "EM_X86_64": "x86-64", "EM_386": "32-bit x86", "EM_ARM": "32-bit Arm", "EM_RISCV": "RISC-V",
    "EM_PPC64": "64-bit PowerPC", "EM_S390": "S/390", "EM_MIPS": "MIPS",
}  # fmt: skip
_PACKED = {b"\x1f\x8b": "gunzip", b"\xfd7zX": "unxz", b"\x28\xb5\x2f\xfd": "unzstd"}


@dataclass(frozen=True)
class Elf:
    """An arm64 ELF; nothing of a linked one is copied until it is read.

    Attributes:
        kind: ``vmlinux`` for what is linked, ``object`` for a relocatable file (a module),
            whose sections got addresses of ours, and what relocations say of them.
        outside: of an object: the made-up address of symbol 0; ``absolute``: place and
            target of each address in it.
    """

    path: Path
    kind: Literal["vmlinux", "object"]
    sections: tuple[Section, ...]
    outside: int = field(default=0, kw_only=True)
    absolute: tuple[tuple[int, int], ...] = field(default=(), repr=False, kw_only=True)

    def section(self, name: str) -> Section | None:
        """Return the first section called ``name``."""
        return self._by_name.get(name)

    @cached_property
    def _by_name(self) -> Mapping[str, Section]:
        return {section.name: section for section in reversed(self.sections)}

    @cached_property
    def loaded(self) -> tuple[Section, ...]:
        """The sections that are in memory at run time, ascending."""
        return tuple(
            sorted((s for s in self.sections if s.loaded and s.size), key=lambda s: s.address)
        )

    @cached_property
    def code(self) -> tuple[Section, ...]:
        """Those of them with instructions that the file holds."""
        return tuple(s for s in self.loaded if s.executable and len(s.data) == s.size)

    @cached_property
    def _starts(self) -> list[int]:
        return [section.address for section in self.loaded]

    def at(self, address: int) -> Section | None:
        """Return the section that ``address`` lies in."""
        index = bisect.bisect_right(self._starts, address) - 1
        if index < 0 or address >= self.loaded[index].end:
            return None
        return self.loaded[index]

    def read(self, address: int, size: int) -> bytes:
        """Return ``size`` bytes; zeros where the file holds none (``.bss``).

        Raises InputError for addresses that aren't all in one section.
        """
        section = self.at(address)
        if section is None or size < 0 or address + size > section.end:
            raise InputError(
                self.path, f"holds nothing for the addresses {address:#x} to {address + size:#x}"
            )
        start = address - section.address
        if start + size > len(section.data) and size > _MOST_ZEROS:
            raise InputError(self.path, f"{size} bytes at {address:#x} aren't all in the file")
        return bytes(section.data[start : start + size]).ljust(size, b"\0")

    def word(self, address: int) -> int:
        """Return the instruction at ``address``. Raises InputError."""
        return int.from_bytes(self.read(address, 4), "little")

    def external(self, address: int) -> str:
        """Return the name of the symbol that is defined elsewhere; empty for other addresses.

        Only objects have such: their made-up addresses lie in no section.
        """
        if self.kind != "object":
            return ""
        return self._externals.get(address, "")

    @cached_property
    def _externals(self) -> Mapping[int, str]:
        return {each.address: each.name for each in self.symbols if not each.section}

    @cached_property
    def relocations(self) -> tuple[tuple[int, int], ...]:
        """Place and target of every address that the file holds as data, ascending.

        In what is linked: of ``R_AARCH64_RELATIVE`` and RELR (nothing in a kernel that isn't
        relocatable). In objects: of ``R_AARCH64_ABS64``. Raises InputError.
        """
        return self.absolute if self.kind == "object" else relative(self.path, self.loaded, self.at)

    @cached_property
    def lines(self) -> Lines:
        """Its source lines, see :func:`hilagent.elf.lines.source_of`."""
        relocations = Relocations(self.path, self.sections, self.outside)
        return Lines(self.sections, relocations if self.kind == "object" else None)

    @cached_property
    def symbols(self) -> Symbols:
        """Its symbol table; empty for a stripped file. Raises InputError."""
        code = [(section.address, section.end) for section in self.code]
        table = _symbol_table(self.path, self.sections)
        if table is None:
            return Symbols((), code)
        if table.link >= len(self.sections) or self.sections[table.link].size > MOST_STRINGS:
            raise InputError(self.path, "its symbol table has no names")
        names = bytes(self.sections[table.link].data)
        is_object = self.kind == "object"
        bases = [s.address if is_object else 0 for s in self.sections]
        outside = (self.outside, APART) if is_object else (0, 0)
        return Symbols(symbol_table.parse(bytes(table.data), names, bases, outside), code)


def open_elf(path: Path) -> Elf:
    """Return the arm64 ELF in ``path``.

    Raises InputError for anything else, and says what it is.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise InputError(path, "not a regular file")
        with path.open("rb") as stream:
            size = stream.seek(0, 2)
            if size < 64:
                raise InputError(path, f"{size} bytes, too short for an ELF file")
            data = memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
            stream.seek(0)
            return _read(path, stream, data)
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        reason = error.strerror if isinstance(error, OSError) else None
        raise InputError(path, f"can't be read: {reason or error}") from error


def packed_by(start: bytes) -> str:
    """Return what unpacks a file that begins so: modules come as .ko.xz, Images as .gz."""
    return next((tool for magic, tool in _PACKED.items() if start.startswith(magic)), "")


def _read(path: Path, stream: Any, data: memoryview) -> Elf:
    from elftools.common.exceptions import ELFError
    from elftools.construct.core import ConstructError
    from elftools.elf.elffile import ELFFile

    if bytes(data[:4]) != b"\x7fELF":
        tool = packed_by(bytes(data[:4]))
        found = f"it is compressed; unpack it ({tool})" if tool else "a vmlinux was expected"
        raise InputError(path, f"not an ELF file: {found}")
    try:
        elf = ELFFile(stream)
        kind = _kind(path, elf)
        headers, names_in = _headers(path, elf, data), elf.header["e_shstrndx"]
    except (ELFError, ConstructError, struct.error, ArithmeticError, LookupError) as error:
        raise InputError(path, f"not a whole ELF file: {error}") from error
    if isinstance(names_in, str):  # SHN_XINDEX and its kin, by name
        raise InputError(path, f"section names in section {names_in}")
    sections = read_sections(path, headers, names_in, data)
    if kind == "vmlinux":
        check_apart(path, sections)
        return Elf(path, kind, sections)
    table = _symbol_table(path, sections)
    count = len(table.data) // symbol_table.ENTRY.size if table else 0
    sections, outside = lay_out(sections, count)
    check_apart(path, sections)
    relocated, absolute = Relocations(path, sections, outside).loaded()
    return Elf(path, kind, relocated, outside=outside, absolute=absolute)


def _symbol_table(path: Path, sections: tuple[Section, ...]) -> Section | None:
    """Return the section with the symbols; None for a stripped file. Raises InputError."""
    table = next((each for each in sections if each.kind == "SHT_SYMTAB"), None)
    if table is None:
        return None
    size = symbol_table.ENTRY.size
    if table.size % size or table.size // size > _MOST_SYMBOLS or not table.data:
        raise InputError(path, f"its symbol table has {table.size} bytes: not whole")
    return table


def _kind(path: Path, elf: Any) -> Literal["vmlinux", "object"]:
    machine, kind = elf.header["e_machine"], elf.header["e_type"]
    if machine != _AARCH64:
        what = _MACHINES.get(machine, f"machine {machine}")
        raise InputError(path, f"code for {what}, and arm64 was expected")
    if elf.elfclass != 64 or not elf.little_endian:
        bits = f"{elf.elfclass}-bit, {'little' if elf.little_endian else 'big'}-endian"
        raise InputError(path, f"{bits}, and 64-bit little-endian was expected")
    if kind not in _TYPES:
        raise InputError(path, f"ELF type {kind}, and a kernel or a module was expected")
    return _TYPES[kind]


def _headers(path: Path, elf: Any, data: memoryview) -> bytes:
    at, step, count = (elf.header[name] for name in ("e_shoff", "e_shentsize", "e_shnum"))
    if not at or not count:
        raise InputError(path, "it has no section headers: code and symbols can't be found")
    if step != HEADER.size or count > _MOST_SECTIONS or at + count * step > len(data):
        raise InputError(
            path,
            f"{count} section headers of {step} bytes at {at:#x}, in a file of {len(data)} bytes",
        )
    return bytes(data[at : at + count * step])
