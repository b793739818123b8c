# SPDX-License-Identifier: Apache-2.0
"""Opening arm64 ELFs, and refusing everything else."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from hilagent.build import compile
from hilagent.elf import Elf, open_elf
from hilagent.errors import InputError

from .objects import SAMPLE, assembled, linked

SECTION = 64
"""Size of a section header; its fields are at these offsets."""
NAME, KIND, FLAGS, ADDRESS, OFFSET, SIZE, LINK = 0, 4, 8, 16, 24, 32, 40


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("kernel")
    return linked(folder, assembled(folder, SAMPLE)).read_bytes()


def _set(data: bytes, shape: str, at: int, value: int) -> bytes:
    out = bytearray(data)
    struct.pack_into(shape, out, at, value)
    return bytes(out)


def _header(data: bytes, index: int) -> int:
    """Return the offset of a section header."""
    return int(struct.unpack_from("<Q", data, 0x28)[0]) + SECTION * index


def _index(path: Path, name: str) -> int:
    section = open_elf(path).section(name)
    assert section is not None
    return section.index


def _opened(path: Path, data: bytes) -> Elf:
    """Open a file with these bytes, and read all that is read late."""
    path.write_bytes(data)
    elf = open_elf(path)
    assert elf.symbols.functions is not None
    assert elf.relocations is not None
    return elf


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d[:0], "0 bytes, too short for an ELF file"),
        (lambda d: d[:63], "63 bytes, too short for an ELF file"),
        (lambda d: b"\x7fEXE" + d[4:], "not an ELF file"),
        (lambda d: _set(d, "<H", 18, 62), "code for x86-64, and arm64 was expected"),
        (lambda d: _set(d, "<H", 18, 40), "code for 32-bit Arm"),
        (lambda d: _set(d, "<H", 18, 0x1234), "code for machine 4660"),
        (lambda d: _set(d, "<B", 4, 1), "32-bit, little-endian"),
        (lambda d: _set(d, "<B", 4, 9), "not a whole ELF file"),
        (lambda d: _set(d, "<B", 5, 2), "code for"),
        (lambda d: _set(d, "<H", 16, 4), "ELF type ET_CORE"),
        (lambda d: _set(d, "<Q", 0x28, 0), "no section headers"),
        (lambda d: _set(d, "<H", 0x3C, 0), "no section headers"),
        (lambda d: _set(d, "<H", 0x3C, 0xFFFF), "65535 section headers of 64 bytes"),
        (lambda d: _set(d, "<H", 0x3A, 63), "section headers of 63 bytes"),
        (lambda d: _set(d, "<Q", 0x28, (1 << 64) - 1), "section headers"),
        (lambda d: _set(d, "<H", 0x3E, 0xFFFE), "section names in section"),
    ],
)  # fmt: skip
def test_what_isnt_an_arm64_elf_is_refused_and_named(
    tmp_path: Path, kernel: bytes, change: Callable[[bytes], bytes], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        _opened(tmp_path / "kernel", change(kernel))


def test_a_big_endian_arm64_elf_is_named(tmp_path: Path, kernel: bytes) -> None:
    data = bytearray(kernel)
    data[5] = 2
    struct.pack_into(">HH", data, 16, 3, 183)
    data[0x28:0x40] = struct.pack(">QIHHHHHH", 64, 0, 64, 56, 0, 64, 1, 0)
    with pytest.raises(InputError, match="64-bit, big-endian, and 64-bit little-endian"):
        _opened(tmp_path / "kernel", bytes(data))


def test_a_file_cut_anywhere_is_refused(tmp_path: Path, kernel: bytes) -> None:
    bounds = {0, 1, 16, 52, 63, 64, 65, len(kernel) - 1}
    count = struct.unpack_from("<H", kernel, 0x3C)[0]
    for index in range(count):
        at = _header(kernel, index)
        offset, size = struct.unpack_from("<QQ", kernel, at + OFFSET)
        bounds |= {at, at + 1, at + 32, offset, offset + 1, max(offset + size - 1, 0)}
    for bound in sorted(bounds):
        with pytest.raises(InputError):
            _opened(tmp_path / "kernel", kernel[:bound])


def test_what_isnt_a_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(InputError, match="not a regular file"):
        open_elf(tmp_path / "fifo")
    with pytest.raises(InputError, match="not a regular file"):
        open_elf(tmp_path)
    with pytest.raises(InputError, match="can't be read: No such file"):
        open_elf(tmp_path / "missing")
    with pytest.raises(InputError, match="can't be read"):
        open_elf(tmp_path / "a\0b")


@pytest.mark.parametrize(
    ("section", "field", "value", "said"),
    [
        (".text", OFFSET, 1 << 40, "beyond the file's end"),
        (".text", SIZE, (1 << 64) - 1, "beyond the file's end"),
        (".text", ADDRESS, (1 << 64) - 4, "ends behind all memory"),
        (".text", ADDRESS, 0x1002, "between two instructions"),
        (".symtab", SIZE, 25, "its symbol table has 25 bytes: not whole"),
        (".symtab", SIZE, 0, "its symbol table has 0 bytes: not whole"),
        (".shstrtab", OFFSET, 1 << 60, "section names at"),
        (".rela.dyn", SIZE, 23, "not whole relocations"),
    ],
)
def test_a_section_that_lies_is_refused(
    tmp_path: Path, kernel: bytes, section: str, field: int, value: int, said: str
) -> None:
    path = tmp_path / "kernel"
    path.write_bytes(kernel)
    at = _header(kernel, _index(path, section))
    with pytest.raises(InputError, match=said):
        _opened(path, _set(kernel, "<Q", at + field, value))


def test_a_symbol_table_without_names_is_refused(tmp_path: Path, kernel: bytes) -> None:
    path = tmp_path / "kernel"
    path.write_bytes(kernel)
    at = _header(kernel, _index(path, ".symtab"))
    with pytest.raises(InputError, match="no names"):
        _opened(path, _set(kernel, "<I", at + LINK, 999))


def test_symbols_that_lie_are_no_harm(tmp_path: Path, kernel: bytes) -> None:
    path = tmp_path / "kernel"
    path.write_bytes(kernel)
    table = open_elf(path).section(".symtab")
    assert table is not None
    start = struct.unpack_from("<Q", kernel, _header(kernel, table.index) + OFFSET)[0]
    data = bytearray(kernel)
    for at in range(start + 24, start + table.size, 24):
        struct.pack_into("<IBBHQQ", data, at, at % 999, 2, 0, at % 77, (1 << 64) - at, 1 << 63)
    functions = _opened(path, bytes(data)).symbols.functions
    assert all(each.names == () for each in functions)


def test_sections_that_overlap_are_refused(tmp_path: Path, kernel: bytes) -> None:
    path = tmp_path / "kernel"
    path.write_bytes(kernel)
    elf = open_elf(path)
    text, other = elf.section(".text"), elf.section(".data")
    assert text is not None
    assert other is not None
    for address in (text.address, text.end - 8):
        moved = _set(kernel, "<Q", _header(kernel, other.index) + ADDRESS, address)
        with pytest.raises(InputError, match="overlap at"):
            _opened(path, moved)


def test_one_big_section_over_many_is_refused(tmp_path: Path, kernel: bytes) -> None:
    path = tmp_path / "kernel"
    path.write_bytes(kernel)
    first = min(open_elf(path).loaded, key=lambda each: each.address)
    at = _header(kernel, first.index)
    spread = _set(_set(kernel, "<Q", at + SIZE, 1 << 32), "<I", at + KIND, 8)
    with pytest.raises(InputError, match="overlap"):
        _opened(path, spread)


def test_sections_that_share_the_files_bytes_are_refused(tmp_path: Path, kernel: bytes) -> None:
    data = kernel
    for index in range(1, struct.unpack_from("<H", kernel, 0x3C)[0]):
        at = _header(kernel, index)
        data = _set(data, "<I", at + KIND, 1)
        data = _set(_set(data, "<Q", at + OFFSET, 0), "<Q", at + SIZE, len(kernel))
        data = _set(data, "<Q", at + FLAGS, 0)
    with pytest.raises(InputError, match="its sections share bytes"):
        _opened(tmp_path / "kernel", data)


def test_memory_is_read_by_address_and_never_beyond_a_section(tmp_path: Path) -> None:
    text = ".text\n nop\n ret\n .bss\n .globl zeros\nzeros: .skip 64\n"
    elf = open_elf(linked(tmp_path, assembled(tmp_path, text)))
    code, zeros = elf.section(".text"), elf.symbols.named("zeros")
    assert code is not None
    assert zeros is not None
    assert elf.word(code.address + 4) == 0xD65F03C0
    assert elf.read(zeros.address, 64) == bytes(64)
    assert elf.at(code.address - 1) is None
    for address, size in ((code.end - 3, 4), (code.address - 4, 8), (0, 1), (code.address, -1)):
        with pytest.raises(InputError, match="holds nothing"):
            elf.read(address, size)


def test_a_symbol_of_many_zeros_isnt_read(tmp_path: Path) -> None:
    text = ".text\n ret\n .bss\n .globl zeros\nzeros: .skip 1 << 31\n"
    elf = open_elf(linked(tmp_path, assembled(tmp_path, text)))
    zeros = elf.symbols.named("zeros")
    assert zeros is not None
    with pytest.raises(InputError, match="aren't all in the file"):
        elf.read(zeros.address, 1 << 30)


def test_relocations_are_those_that_readelf_shows(tmp_path: Path) -> None:
    other = "\t.data\n\t.quad elsewhere\n"
    path = linked(tmp_path, assembled(tmp_path, SAMPLE + other))
    said = compile.run([compile.toolchain().tool("readelf"), "-rW", path.name], tmp_path)
    wanted = [
        (int(fields[0], 16), int(fields[3], 16))
        for fields in (line.split() for line in said.splitlines())
        if len(fields) == 4 and fields[2] == "R_AARCH64_RELATIVE"
    ]
    assert len(wanted) == 2
    assert "R_AARCH64_ABS64" in said
    assert list(open_elf(path).relocations) == sorted(wanted)


def test_relr_names_places_and_maps_of_places(tmp_path: Path) -> None:
    text = """
	.text
	ret
	.data
	.balign 1024
words:	.fill 128, 8, 0x1234
	.section .words, "a"
	.quad	words, 1 << 63 | 1 << 2 | 1, 1 << 1 | 1, words + 0x3f8
"""
    options = ("-Ttext=0x1000", "-e", "0")
    path = linked(tmp_path, assembled(tmp_path, text), flags=options)
    elf_of = path.read_bytes()
    at = _header(elf_of, _index(path, ".words"))
    path.write_bytes(_set(elf_of, "<I", at + KIND, 19))  # SHT_RELR
    elf = open_elf(path)
    data = elf.section(".data")
    assert data is not None
    places = [0, 2 * 8, 63 * 8, 64 * 8, 127 * 8]
    assert elf.relocations == tuple((data.address + place, 0x1234) for place in places)
