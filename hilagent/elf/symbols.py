# SPDX-License-Identifier: Apache-2.0
"""Symbols and the functions that they mark out.

arm64 assembler puts mapping symbols into every object (``$x`` where code begins, ``$d``
where data does: ELF for the Arm 64-bit Architecture, section "Mapping symbols"). In KVM's
nVHE object every symbol has a prefix, these too (Linux 6.12, kvm/hyp/nvhe/Makefile).
"""

from __future__ import annotations

import bisect
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

ENTRY = struct.Struct("<IBBHQQ")
"""Elf64_Sym: name, info, other, section, value, size."""

Kind = Literal["func", "object", "none", "other"]
_KINDS: dict[int, Kind] = {0: "none", 1: "object", 2: "func"}
_FILE, _SECTION = 4, 3
_PREFIX = "__kvm_nvhe_"
LONGEST = 512
"""Of a symbol's name, in bytes (KSYM_NAME_LEN of Linux 6.1 and later)."""
_ABS, _COMMON, _RESERVED = 0xFFF1, 0xFFF2, 0xFF00


@dataclass(frozen=True, slots=True)
class Symbol:
    """A named address.

    Attributes:
        size: in bytes; 0 where the symbol doesn't say.
        section: index of the section; 0 for one that is defined elsewhere, which in an
            object has an address all the same, made up and its own.
        unit: the source file that the last ``STT_FILE`` before a local symbol names; a
            global one has none. Assembler files name no file of their own.
    """

    name: str
    address: int
    size: int
    kind: Kind
    is_global: bool
    section: int
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Function:
    """Code from one symbol to the next, or to its end.

    Attributes:
        names: every symbol that stands at its start, functions and those with a size first.
        is_global: one of those can be called from other units.
        unit: the one that it comes from, see :meth:`Symbols.unit_at`; empty if unknown.
    """

    address: int
    end: int
    names: tuple[str, ...]
    is_global: bool
    unit: str = ""

    @property
    def name(self) -> str:
        """The name that a person would use."""
        return self.names[0] if self.names else f"{self.address:#x}"

    @property
    def is_compiled(self) -> bool:
        """Whether its unit is a C file; an unknown one counts as assembler."""
        return self.unit.endswith(".c")

    def __contains__(self, address: object) -> bool:
        return isinstance(address, int) and self.address <= address < self.end


class Symbols(Sequence[Symbol]):
    """Every symbol of an ELF, by name and by address."""

    def __init__(self, symbols: Iterable[Symbol], code: Sequence[tuple[int, int]]) -> None:
        """``code``: first address and end of each section with instructions, ascending."""
        self._all = tuple(symbols)
        self._code = tuple(code)

    def __len__(self) -> int:
        return len(self._all)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        return self._all[index]

    @cached_property
    def _by_name(self) -> dict[str, Symbol]:
        out: dict[str, Symbol] = {}
        for each in self._all:
            if each.section and (each.name not in out or each.is_global):
                out[each.name] = each
        return out

    def named(self, name: str) -> Symbol | None:
        """Return the symbol called ``name``, the global one of several; None without."""
        return self._by_name.get(name)

    @cached_property
    def functions(self) -> tuple[Function, ...]:
        """The functions of all code, ascending; they don't overlap."""
        return tuple(self._functions())

    @cached_property
    def _starts(self) -> list[int]:
        return [each.address for each in self.functions]

    def function_at(self, address: int) -> Function | None:
        """Return the function that ``address`` lies in."""
        index = bisect.bisect_right(self._starts, address) - 1
        if index < 0 or address >= self.functions[index].end:
            return None
        return self.functions[index]

    @cached_property
    def data(self) -> tuple[tuple[int, int], ...]:
        """First address and end of what stands in code and is none, by mapping symbols."""
        marks = sorted((each.address, _mapping(each.name) == "$d") for each in self._mapping)
        out = []
        for first, end in self._code:
            low = bisect.bisect_left(marks, (first, False))
            high = bisect.bisect_left(marks, (end, False))
            for index in range(low, high):
                address, is_data = marks[index]
                stop = marks[index + 1][0] if index + 1 < high else end
                if is_data and stop > address:
                    out.append((address, stop))
        return tuple(out)

    def unit_at(self, address: int) -> str:
        """Return the unit that the code at ``address`` comes from; empty if unknown.

        That of the last mapping symbol before it: every unit begins its part of a section
        with one, and they are local. A file that was stripped of them has no units.
        """
        index = bisect.bisect_right(self._marks[0], address) - 1
        code = bisect.bisect_right(self._code, (address, 1 << 65)) - 1
        if index < 0 or code < 0 or self._marks[0][index] < self._code[code][0]:
            return ""
        return self._marks[1][index]

    @property
    def mapped(self) -> bool:
        """Whether there are mapping symbols, as in every file that wasn't stripped of them."""
        return bool(self._mapping)

    @cached_property
    def _mapping(self) -> tuple[Symbol, ...]:
        return tuple(each for each in self._all if each.section and _mapping(each.name))

    @cached_property
    def _marks(self) -> tuple[list[int], list[str]]:
        """Address and unit of each mapping symbol of code or data, ascending."""
        marks = sorted((each.address, each.unit) for each in self._mapping if not each.is_global)
        return [address for address, _ in marks], [unit for _, unit in marks]

    def is_data(self, address: int) -> bool:
        """Whether mapping symbols say that ``address`` holds no instruction."""
        index = bisect.bisect_right(self.data, (address, 1 << 64)) - 1
        return index >= 0 and address < self.data[index][1]

    def _functions(self) -> Iterator[Function]:
        at: dict[int, list[Symbol]] = {}
        for each in self._all:
            if each.section and each.kind in ("func", "none") and not _mapping(each.name):
                at.setdefault(each.address, []).append(each)
        addresses = sorted(at)
        for first, end in self._code:
            low, high = bisect.bisect_left(addresses, first), bisect.bisect_left(addresses, end)
            inside = [address for address in addresses[low:high] if _starts(at[address])]
            if first < end and (not inside or inside[0] > first):
                yield Function(first, inside[0] if inside else end, (), is_global=False)
            for address, stop in zip(inside, [*inside[1:], end], strict=False):
                yield _function(address, stop, at[address], self.unit_at(address))


def _starts(symbols: Sequence[Symbol]) -> bool:
    """Whether a function begins here: local labels of the assembler are none."""
    return any(not each.name.removeprefix(_PREFIX).startswith(".L") for each in symbols)


def _mapping(name: str) -> str:
    """Return ``$x`` or ``$d`` for a mapping symbol (``$d.1`` too), else nothing."""
    if "$" not in name[: len(_PREFIX) + 1]:
        return ""
    kind, _, _ = name.removeprefix(_PREFIX).partition(".")
    return kind if kind in ("$x", "$d") else ""


def _function(address: int, end: int, symbols: Sequence[Symbol], unit: str) -> Function:
    ranked = sorted(
        symbols, key=lambda each: (each.kind != "func", not each.size, not each.is_global)
    )
    return Function(
        address, end, tuple(dict.fromkeys(each.name for each in ranked)),
        any(each.is_global for each in symbols),
        next((each.unit for each in symbols if each.unit), unit),
    )  # fmt: skip


def parse(
    table: bytes, names: bytes, bases: Sequence[int], outside: tuple[int, int] = (0, 0)
) -> Iterator[Symbol]:
    """Yield the symbols of a ``.symtab``; a name ends after ``LONGEST`` bytes.

    Args:
        table: its bytes, whole entries.
        names: the string table behind it.
        bases: what is added to an address, by section (0 but in relocatable files).
        outside: the address of symbol 0 if it is defined elsewhere, and how far the next
            one is from it.
    """
    unit = ""
    for index, (name_at, info, _, section, value, size) in enumerate(ENTRY.iter_unpack(table)):
        kind, is_global = info & 15, info >> 4 != 0
        if section == _COMMON:
            section = 0
        if kind == _SECTION or (section >= _RESERVED and section != _ABS):
            continue
        end = names.find(b"\0", name_at, name_at + LONGEST)
        if name_at >= len(names):
            continue
        if end < 0:
            end = name_at + LONGEST
        name = names[name_at:end].decode("ascii", "replace")
        if kind == _FILE:
            unit = name
        elif name and section != _ABS:
            if not section:
                value = outside[0] + index * outside[1]
            base = bases[section] if 0 < section < len(bases) else 0
            where = "" if is_global else unit
            yield Symbol(
                name, value + base, size, _KINDS.get(kind, "other"), is_global, section, where
            )  # fmt: skip
