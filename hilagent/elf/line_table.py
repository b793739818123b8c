# SPDX-License-Identifier: Apache-2.0
"""One line number program of ``.debug_line``: from an address to a file and a line.

DWARF 2 to 5 (DWARF 5, section 6.2). Each step takes at least one byte of the program,
whatever its counts say, so that no input makes this run long.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

_MASK = (1 << 64) - 1
_COPY, _ADVANCE_PC, _ADVANCE_LINE, _SET_FILE, _CONST_ADD_PC, _FIXED_ADVANCE_PC = 1, 2, 3, 4, 8, 9
_END_SEQUENCE, _SET_ADDRESS = 1, 2
_PATH, _DIRECTORY = 1, 2
_STRING, _LINE_STRP, _STRP, _UDATA, _BLOCK = 0x08, 0x1F, 0x0E, 0x0F, 0x09
_FIXED = {0x0B: 1, 0x05: 2, 0x06: 4, 0x07: 8, 0x1E: 16}
"""DW_FORM_data1, data2, data4, data8, data16: size in bytes."""


class BadLines(ValueError):
    """What should be a line number program is none."""


class Reader:
    """Reads numbers and strings of a part of a section, and nothing beyond it."""

    def __init__(self, data: memoryview, start: int, end: int) -> None:
        if not 0 <= start <= end <= len(data):
            raise BadLines("out of the section")
        self._data, self.at, self.end = data, start, end

    @property
    def left(self) -> int:
        """Bytes that weren't read yet."""
        return self.end - self.at

    def take(self, size: int) -> memoryview:
        """Return the next ``size`` bytes."""
        if size > self.left:
            raise BadLines("ends too early")
        self.at += size
        return self._data[self.at - size : self.at]

    def number(self, size: int, *, signed: bool = False) -> int:
        """Return the next number of ``size`` bytes."""
        return int.from_bytes(self.take(size), "little", signed=signed)

    def leb(self, *, signed: bool = False) -> int:
        """Return the next LEB128 number, of 64 bits at most."""
        value, shift = 0, 0
        while True:
            byte = self.number(1)
            value |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                break
            if shift > 63:
                raise BadLines("a number of more than 64 bits")
        return value - (1 << shift) if signed and byte & 0x40 else value

    def string(self) -> bytes:
        """Return the next string, without its zero."""
        data = bytes(self._data[self.at : min(self.end, self.at + 4096)])
        size = data.find(b"\0")
        if size < 0:
            raise BadLines("a string without an end")
        self.at += size + 1
        return data[:size]


@dataclass(frozen=True)
class Table:
    """The lines of one unit.

    Attributes:
        starts: first address of each sequence, ascending; ``sequences``: its addresses,
            and (file, line) from each of them on, the last one being its end.
    """

    starts: Sequence[int]
    sequences: Sequence[tuple[Sequence[int], Sequence[tuple[int, int]]]]
    directories: Sequence[bytes]
    files: Mapping[int, tuple[int, bytes]]

    def at(self, address: int) -> tuple[bytes, bytes, int] | None:
        """Return directory, file and line; None where the program doesn't say it."""
        index = bisect.bisect_right(self.starts, address) - 1
        if index < 0:
            return None
        addresses, rows = self.sequences[index]
        row = bisect.bisect_right(addresses, address) - 1
        if not 0 <= row < len(addresses) - 1:
            return None
        file, line = rows[row]
        where = self.files.get(file)
        if where is None or not line:
            return None
        folder, name = where
        return self.directories[folder] if folder < len(self.directories) else b"", name, line


@dataclass
class _Header:
    version: int = 0
    width: int = 4
    address_size: int = 8
    step: int = 1
    line_base: int = 0
    line_range: int = 1
    lengths: bytes = b""


def unit(data: memoryview, offset: int) -> tuple[Reader, int]:
    """Return a reader of what follows a unit's length, and the size of its offsets."""
    start = Reader(data, offset, len(data))
    width, length = 4, start.number(4)
    if length == 0xFFFF_FFFF:
        width, length = 8, start.number(8)
    if length > start.left:
        raise BadLines("longer than its section")
    return Reader(data, start.at, start.at + length), width


def size_of(data: memoryview, offset: int) -> int:
    """Return the size in bytes of the program there. Raises BadLines."""
    return unit(data, offset)[0].left


def read_table(
    data: memoryview, offset: int, text: Callable[[int, int], bytes], folder: bytes
) -> Table:
    """Return the table that begins at ``offset`` of ``.debug_line``.

    Args:
        text: a string of ``.debug_line_str`` or ``.debug_str``, by form and offset.
        folder: where the unit was compiled: directory 0 before DWARF 5.

    Raises BadLines.
    """
    reader, width = unit(data, offset)
    header = _Header(width=width)
    program = _read_header(reader, header)
    if header.version >= 5:
        directories, files = _entries(reader, header, text)
    else:
        directories, files = _old_entries(reader, folder)
    if not reader.at <= program <= reader.end:
        raise BadLines("its header is longer than it")
    reader.at = program
    sequences = sorted(_run(reader, header), key=lambda each: each[0][0])
    return Table([each[0][0] for each in sequences], sequences, directories, files)


def _read_header(reader: Reader, header: _Header) -> int:
    """Fill ``header``, and return where the program begins."""
    header.version = reader.number(2)
    if not 2 <= header.version <= 5:
        raise BadLines(f"version {header.version}")
    if header.version == 5:
        header.address_size = reader.number(1)
        reader.number(1)
    size = reader.number(header.width)
    program = reader.at + size
    header.step = reader.number(1)
    if header.version >= 4:
        reader.number(1)  # operations an instruction: 1 but for VLIW
    reader.number(1)
    header.line_base, header.line_range = reader.number(1, signed=True), reader.number(1)
    count = reader.number(1)
    if not header.line_range or not count or header.address_size not in (4, 8):
        raise BadLines("no line range, opcodes or size of addresses")
    header.lengths = bytes(reader.take(count - 1))
    return program


def _old_entries(reader: Reader, folder: bytes) -> tuple[list[bytes], dict[int, tuple[int, bytes]]]:
    directories = [folder]
    files: dict[int, tuple[int, bytes]] = {}
    while name := reader.string():
        directories.append(name)
    while name := reader.string():
        files[len(files) + 1] = (reader.leb(), name)
        reader.leb()
        reader.leb()
    return directories, files


def _entries(
    reader: Reader, header: _Header, text: Callable[[int, int], bytes]
) -> tuple[list[bytes], dict[int, tuple[int, bytes]]]:
    directories = [name for _, name in _list(reader, header, text)]
    return directories, dict(enumerate(_list(reader, header, text)))


def _list(
    reader: Reader, header: _Header, text: Callable[[int, int], bytes]
) -> list[tuple[int, bytes]]:
    shape = [(reader.leb(), reader.leb()) for _ in range(reader.number(1))]
    count = reader.leb()
    if count and not shape:
        raise BadLines(f"{count} names of no bytes")
    out = []
    for _ in range(count):
        folder, name = 0, b""
        for content, form in shape:
            value = _value(reader, header, form, text)
            if content == _PATH and isinstance(value, bytes):
                name = value
            elif content == _DIRECTORY and isinstance(value, int):
                folder = value
        out.append((folder, name))
    return out


def _value(
    reader: Reader, header: _Header, form: int, text: Callable[[int, int], bytes]
) -> bytes | int:
    if form == _STRING:
        return reader.string()
    if form in (_LINE_STRP, _STRP):
        return text(form, reader.number(header.width))
    if form == _UDATA:
        return reader.leb()
    if form == _BLOCK:
        return bytes(reader.take(reader.leb()))
    if form in _FIXED:
        return reader.number(_FIXED[form])
    raise BadLines(f"names of form {form:#x}")


def _run(reader: Reader, header: _Header) -> list[tuple[list[int], list[tuple[int, int]]]]:
    """Return the sequences of the program."""
    out: list[tuple[list[int], list[tuple[int, int]]]] = []
    special = len(header.lengths) + 1
    address, file, line = 0, 1, 1
    addresses: list[int] = []
    rows: list[tuple[int, int]] = []
    while reader.left:
        opcode = reader.number(1)
        if opcode >= special:
            opcode -= special
            address = address + opcode // header.line_range * header.step & _MASK
            line += header.line_base + opcode % header.line_range
            addresses.append(address)
            rows.append((file, line))
        elif opcode == 0:
            size = reader.leb()
            part = Reader(reader.take(size), 0, size)
            kind = part.number(1)
            if kind == _SET_ADDRESS:
                address = part.number(min(part.left, 8))
            elif kind == _END_SEQUENCE:
                addresses.append(address)
                rows.append((0, 0))
                if addresses == sorted(addresses):
                    out.append((addresses, rows))
                address, file, line, addresses, rows = 0, 1, 1, [], []
        elif opcode == _COPY:
            addresses.append(address)
            rows.append((file, line))
        elif opcode == _ADVANCE_PC:
            address = address + reader.leb() * header.step & _MASK
        elif opcode == _ADVANCE_LINE:
            line += reader.leb(signed=True)
        elif opcode == _SET_FILE:
            file = reader.leb()
        elif opcode == _CONST_ADD_PC:
            address = address + (255 - special) // header.line_range * header.step & _MASK
        elif opcode == _FIXED_ADVANCE_PC:
            address = address + reader.number(2) & _MASK
        else:
            for _ in range(header.lengths[opcode - 1]):
                reader.leb()
    return out
