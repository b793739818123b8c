# SPDX-License-Identifier: Apache-2.0
"""From an address to its source line, by DWARF, for a few addresses of a big file.

Which unit an address is in is read from ``.debug_aranges`` (DWARF 5, section 6.1.2); of
units that aren't in it, from their own ranges. Only units that are asked for have their
line number programs read. DWARF that is broken yields no line, and no error.
"""

from __future__ import annotations

import bisect
import io
import posixpath
import struct
import zlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from hilagent.errors import InputError

from .line_table import BadLines, Reader, Table, read_table, size_of, unit

if TYPE_CHECKING:
    from .file import Elf
    from .relocate import Relocations
    from .section import Section

MOST_BYTES = 1 << 30
"""Of one debug section, uncompressed."""
_MOST_RATIO = 64
"""By which compressed DWARF may grow; it does so by 3 to 20."""
_CHDR = struct.Struct("<IIQQ")
_ZLIB = 1
_PAIR = struct.Struct("<QQ")
_READS_A_BYTE, _FREE_READS, _MOST_READS = 16, 20_000, 4_000_000
_MOST_PASSES = 2
"""How often the bytes of ``.debug_line`` are read, if units share programs or overlap."""
_LINE_STRP = 0x1F
_LONGEST = 4096


def source_of(elf: Elf, address: int) -> str:
    """Return the source of the code at ``address``, e.g. ``arch/arm64/kernel/head.S:83``.

    Relative to the source tree where that can be told; empty where DWARF doesn't say it.
    """
    return elf.lines.at(address)


class Lines:
    """The source lines of one file.

    Args:
        relocations: of an object: what puts addresses into its debug sections.
    """

    def __init__(self, sections: Sequence[Section], relocations: Relocations | None) -> None:
        self._sections = {each.name: each for each in reversed(sections)}
        self._relocations = relocations
        self._data: dict[str, memoryview] = {}
        self._tables: dict[int, tuple[Table, str] | None] = {}
        self._programs: dict[int, Table | None] = {}
        self._passed = 0

    def at(self, address: int) -> str:
        """See :func:`source_of`."""
        if ".debug_line" not in self._sections or ".debug_info" not in self._sections:
            return ""
        where = _holding(self._by_index, address)
        if where is None:
            where = _holding(self._by_unit, address)
        if where is None:
            return ""
        if where not in self._tables:
            self._tables[where] = self._table(where)
        found = self._tables[where]
        row = found[0].at(address) if found else None
        if found is None or row is None:
            return ""
        folder, name, line = (part.decode("utf-8", "replace") if isinstance(part, bytes) else part
                              for part in row)  # fmt: skip
        return f"{self._relative(posixpath.join(found[1], str(folder), str(name)))}:{line}"

    def _relative(self, path: str) -> str:
        path = posixpath.normpath(path)
        return path.removeprefix(self._root)

    @cached_property
    def _root(self) -> str:
        """The source tree, with a slash; of the kernel it is known from its first unit."""
        attributes = self._attributes(0)
        folder, name = attributes.get("DW_AT_comp_dir", ""), attributes.get("DW_AT_name", "")
        path = posixpath.normpath(posixpath.join(str(folder), str(name)))
        tree, found, _ = path.partition("/arch/arm64/")
        return (tree if found else str(folder)).rstrip("/") + "/"

    def _table(self, where: int) -> tuple[Table, str] | None:
        """Return the lines of the unit at an offset of ``.debug_info``, and its directory."""
        attributes = self._attributes(where)
        folder, offset = (
            str(attributes.get("DW_AT_comp_dir", "")),
            attributes.get("DW_AT_stmt_list"),
        )
        if not isinstance(offset, int):
            return None
        if offset not in self._programs:
            self._programs[offset] = self._program(offset, folder)
        table = self._programs[offset]
        return (table, folder) if table is not None else None

    def _program(self, offset: int, folder: str) -> Table | None:
        data = self._section(".debug_line")
        try:
            self._passed += size_of(data, offset)
            if self._passed > _MOST_PASSES * len(data):
                return None
            return read_table(data, offset, self._text, folder.encode())
        except BadLines:
            return None

    def _text(self, form: int, offset: int) -> bytes:
        data = self._section(".debug_line_str" if form == _LINE_STRP else ".debug_str")
        return Reader(data, min(offset, len(data)), len(data)).string()

    @cached_property
    def _by_index(self) -> list[tuple[int, int, int]]:
        """First address, end and unit of every range that ``.debug_aranges`` has."""
        out: list[tuple[int, int, int]] = []
        data = self._section(".debug_aranges")
        at = 0
        try:
            while at < len(data):
                at = _read_set(data, at, out)
        except BadLines:
            pass  # what was read before it is good
        return sorted(out)

    @cached_property
    def _by_unit(self) -> list[tuple[int, int, int]]:
        """The same by the units themselves, of those that the index leaves out.

        A unit that is in it is there with all of its code: so GCC and the assembler write it.
        """
        out: list[tuple[int, int, int]] = []
        dwarf, indexed = self._dwarf, {where for _, _, where in self._by_index}
        try:
            for where in _units(self._section(".debug_info")) if dwarf else ():
                if where not in indexed:
                    entry = dwarf.get_CU_at(where)
                    out += ((low, high, where) for low, high in _ranges(dwarf, entry))
        except Exception:  # pyelftools raises anything over broken DWARF
            pass
        return sorted(out)

    def _attributes(self, where: int) -> dict[str, object]:
        """Return the attributes of the unit itself; nothing where it is broken."""
        try:
            entry = self._dwarf.get_CU_at(where).get_top_DIE() if self._dwarf else None
            attributes = entry.attributes if entry is not None else {}
            return {
                name: each.value.decode("utf-8", "replace")
                if isinstance(each.value, bytes)
                else each.value
                for name, each in attributes.items()
            }
        except Exception:  # pyelftools raises anything over broken DWARF
            return {}

    @cached_property
    def _dwarf(self) -> Any:
        """The units as pyelftools reads them; None without any."""
        from elftools.dwarf.dwarfinfo import DebugSectionDescriptor, DwarfConfig, DWARFInfo

        names = ("info", "abbrev", "str", "line_str", "addr", "str_offsets", "ranges", "rnglists")
        data = {name: self._section(f".debug_{name}") for name in names}
        if not data["info"]:
            return None
        size = sum(len(each) for each in data.values())
        stream: Any = _Stream
        left = [min(_FREE_READS + _READS_A_BYTE * size, _MOST_READS)]
        found = {
            f"debug_{name}_sec": DebugSectionDescriptor(stream(each, left), name, 0, len(each), 0)
            for name, each in data.items()
            if each
        }
        others = (
            "aranges", "frame", "loc", "line", "pubtypes", "pubnames", "loclists", "sup", "types"
        )  # fmt: skip
        empty = {f"debug_{name}_sec": None for name in (*others, *names)}
        return DWARFInfo(
            config=DwarfConfig(True, "AArch64", 8),
            **{**empty, "eh_frame_sec": None, "gnu_debugaltlink_sec": None, **found},
        )

    def _section(self, name: str) -> memoryview:
        """Return the bytes of a debug section; none where it is missing or broken."""
        if name not in self._data:
            self._data[name] = self._read(name)
        return self._data[name]

    def _read(self, name: str) -> memoryview:
        section = self._sections.get(name)
        if section is None:
            return memoryview(b"")
        data = _uncompressed(section.data) if section.compressed else section.data
        if self._relocations is None:
            return data
        copy = bytearray(data)
        try:
            self._relocations.apply(section, copy)
        except InputError:
            return memoryview(b"")
        return memoryview(copy)


class _Stream(io.RawIOBase):
    """A section as a file; ``left`` is how often it, and those with it, may still be read.

    So that broken DWARF, which pyelftools may read over and over, comes to an end.
    """

    def __init__(self, data: memoryview, left: list[int]) -> None:
        self._bytes, self._at, self._left = data, 0, left

    def read(self, size: int | None = -1) -> bytes:
        self._left[0] -= 1
        if self._left[0] < 0:
            raise BadLines("read too often")
        start = self._at
        end = len(self._bytes) if size is None or size < 0 else start + size
        found = bytes(self._bytes[start:end])
        self._at += len(found)
        return found

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = max(0, offset + (0, self._at, len(self._bytes))[whence])
        return self._at

    def tell(self) -> int:
        return self._at


def _uncompressed(data: memoryview) -> memoryview:
    """Return what a section with an Elf64_Chdr holds; nothing where it is broken."""
    if len(data) < _CHDR.size:
        return memoryview(b"")
    kind, _, size, _ = _CHDR.unpack_from(data)
    if kind != _ZLIB or size > min(MOST_BYTES, _LONGEST + _MOST_RATIO * len(data)):
        return memoryview(b"")
    try:
        return memoryview(zlib.decompressobj().decompress(data[_CHDR.size :], size))
    except zlib.error:
        return memoryview(b"")


def _read_set(data: memoryview, at: int, out: list[tuple[int, int, int]]) -> int:
    """Read the ranges of one unit in ``.debug_aranges``, and return where the next begins."""
    reader, width = unit(data, at)
    if reader.number(2) == 2:
        offset = reader.number(width)
        if (reader.number(1), reader.number(1)) == (8, 0):
            reader.take(min(-(reader.at - at) % 16, reader.left))
            pairs = reader.take(reader.left & -16)
            out += ((low, low + size, offset) for low, size in _PAIR.iter_unpack(pairs) if size)
    return reader.end


def _units(data: memoryview) -> Iterator[int]:
    """Yield where each unit begins in ``.debug_info``. Raises BadLines."""
    at = 0
    while at < len(data):
        yield at
        at = unit(data, at)[0].end


def _ranges(dwarf: Any, entry: Any) -> Iterator[tuple[int, int]]:
    """Yield first address and end of what a unit says to hold."""
    attributes = entry.get_top_DIE().attributes
    low = attributes["DW_AT_low_pc"].value if "DW_AT_low_pc" in attributes else 0
    if "DW_AT_ranges" in attributes:
        offset = attributes["DW_AT_ranges"].value
        for each in dwarf.range_lists().get_range_list_at_offset(offset, cu=entry):
            if hasattr(each, "base_address"):
                low = each.base_address
            else:
                base = 0 if each.is_absolute else low
                yield base + each.begin_offset, base + each.end_offset
    elif "DW_AT_high_pc" in attributes:
        high = attributes["DW_AT_high_pc"]
        yield low, high.value if high.form == "DW_FORM_addr" else low + high.value


def _holding(ranges: Sequence[tuple[int, int, int]], address: int) -> int | None:
    """Return the unit of the last range that begins at or before ``address``, if it is in it."""
    index = bisect.bisect_right(ranges, (address, 1 << 65, 0)) - 1
    if index < 0 or address >= ranges[index][1]:
        return None
    return ranges[index][2]
