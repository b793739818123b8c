# SPDX-License-Identifier: Apache-2.0
"""Source lines: as addr2line has them, in whatever way DWARF says it."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hilagent.build import compile
from hilagent.elf import Elf, lines, open_elf, source_of
from hilagent.elf.line_table import BadLines, Reader, read_table

from .objects import MACROS, assembled, linked

C = """
	static int __attribute__((noinline)) local(int x)
	{
		for (int at = 0; at < x; at++)
			asm volatile("hvc #4" ::: "memory");
		return x + 1;
	}

	int __attribute__((section(".init.text"))) start(int x)
	{
		int r = local(x);
#line 77 "elsewhere/other.h"
		asm volatile("smc #0");
		return r;
	}
"""
ASSEMBLER = """
	.text
	.globl	stub
stub:	mov	x0, #0
	hvc	#2
	ret
	.section .init.text, "ax"
	nop
	ret
"""
VERSIONS = ["2", "3", "4", "5"]
_LENGTHS = bytes([0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1])
"""Of the arguments of each standard opcode."""

SMALL = st.integers(0, 127).map(lambda value: bytes([value]))
OPCODES = st.one_of(
    st.integers(200, 255).map(lambda value: bytes([value])),
    st.sampled_from([b"\x01", b"\x06", b"\x07", b"\x08", b"\x00\x01\x01"]),
    st.tuples(st.sampled_from([b"\x02", b"\x03", b"\x04", b"\x05"]), SMALL).map(b"".join),
    st.integers(0, 0xFFFF).map(lambda value: b"\x09" + struct.pack("<H", value)),
    st.integers(0, 127).map(lambda value: b"\x00\x02\x04" + bytes([value])),
)
"""Special and standard opcodes, ends of sequences and discriminators."""


def _tool(folder: Path, name: str, *argv: str) -> str:
    return compile.run([compile.toolchain().tool(name), *argv], folder)


def _objects(folder: Path, version: str) -> list[Path]:
    return [
        assembled(folder, C, "some.c", f"-gdwarf-{version}", "-ffunction-sections"),
        assembled(folder, ASSEMBLER, "stub.S", f"-gdwarf-{version}"),
    ]


def _addresses(elf: Elf) -> list[int]:
    return [at for each in elf.code for at in range(each.address, each.end, 4)]


def _said(folder: Path, path: Path, addresses: list[int]) -> list[str]:
    """Return what addr2line says, less the folder and the discriminator."""
    argv = ["-e", path.name, *(f"{address:#x}" for address in addresses)]
    lines = _tool(folder, "addr2line", *argv).splitlines()
    return [line.partition(" (")[0].removeprefix(f"{folder}/") for line in lines]


@pytest.mark.parametrize("version", VERSIONS)
def test_lines_are_those_of_addr2line(tmp_path: Path, version: str) -> None:
    path = linked(tmp_path, *_objects(tmp_path, version))
    elf = open_elf(path)
    addresses = _addresses(elf)
    found = [source_of(elf, address) for address in addresses]
    assert found == _said(tmp_path, path, addresses)
    line = f"{MACROS}\n{ASSEMBLER}".splitlines().index("\thvc\t#2") + 1
    assert "_by_unit" not in vars(elf.lines), "the index has every one of these"
    assert {f"stub.S:{line}", "some.c:5", "elsewhere/other.h:77"} <= set(found)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("how", ["compressed", "no index", "object"])
def test_lines_are_found_whatever_the_file_is_like(tmp_path: Path, version: str, how: str) -> None:
    objects = _objects(tmp_path, version)
    path = linked(tmp_path, *objects)
    wanted = _said(tmp_path, path, _addresses(open_elf(path)))
    if how == "object":
        path = linked(tmp_path, *objects, name="module", flags=("-r",))
        _tool(tmp_path, "objcopy", "--compress-debug-sections", path.name)
    elif how == "compressed":
        _tool(tmp_path, "objcopy", "--compress-debug-sections", path.name)
        info = open_elf(path).section(".debug_line")
        assert info is not None
        assert info.compressed or info.size < 100
    else:
        _tool(tmp_path, "objcopy", "-R", ".debug_aranges", path.name)
    elf = open_elf(path)
    found = [source_of(elf, address) for address in _addresses(elf)]
    assert sorted(found) == sorted(wanted)
    assert how == "object" or found == wanted


def test_a_unit_that_the_index_leaves_out_is_found_all_the_same(tmp_path: Path) -> None:
    one, other = _objects(tmp_path, "5")
    _tool(tmp_path, "objcopy", "-R", ".debug_aranges", other.name)
    path = linked(tmp_path, one, other)
    elf = open_elf(path)
    found = [source_of(elf, address) for address in _addresses(elf)]
    assert found == _said(tmp_path, path, _addresses(elf))
    assert {where.partition(":")[0] for where in found} >= {"some.c", "stub.S"}


def test_units_in_the_index_arent_read_for_code_of_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A distribution's kernel has thousands of units, and code in assembler without any."""
    read: list[object] = []

    def ranges(dwarf: object, entry: object) -> tuple[()]:
        read.append(entry)
        return ()

    monkeypatch.setattr(lines, "_ranges", ranges)
    elf = open_elf(linked(tmp_path, *_objects(tmp_path, "5")))
    assert source_of(elf, 0) == ""
    assert read == []


def test_a_kernels_files_are_named_from_its_tree(tmp_path: Path) -> None:
    tree = tmp_path / "linux" / "arch" / "arm64" / "kernel"
    tree.mkdir(parents=True)
    (tmp_path / "linux" / "drivers").mkdir()
    build = tmp_path / "build"
    build.mkdir()
    (tree / "head.S").write_text("\t.text\n\tret\n")
    (tmp_path / "linux" / "drivers" / "x.S").write_text("\t.text\n\tnop\n\tret\n")
    gcc = compile.toolchain().tool("gcc")
    for source in (tree / "head.S", tmp_path / "linux/drivers/x.S"):
        argv = [gcc, "-g", "-c", str(source), "-o", f"{source.stem}.o"]
        compile.run(argv, build)
    elf = open_elf(linked(build, build / "head.o", build / "x.o"))
    found = [source_of(elf, address) for address in _addresses(elf)]
    assert found == ["arch/arm64/kernel/head.S:2", "drivers/x.S:2", "drivers/x.S:3"]


def test_without_dwarf_there_is_no_line(tmp_path: Path) -> None:
    elf = open_elf(linked(tmp_path, assembled(tmp_path, ASSEMBLER, "stub.S")))
    assert {source_of(elf, address) for address in _addresses(elf)} == {""}


def test_an_address_that_isnt_code_has_no_line(tmp_path: Path) -> None:
    elf = open_elf(linked(tmp_path, *_objects(tmp_path, "5")))
    first, last = _addresses(elf)[0], _addresses(elf)[-1]
    assert [source_of(elf, at) for at in (0, first - 1, last + 4, 1 << 64)] == [""] * 4


@pytest.mark.parametrize("name", ["info", "abbrev", "line", "aranges", "str", "line_str"])
@pytest.mark.parametrize("value", [0, 0x7F, 0xFF])
def test_broken_dwarf_yields_no_error(tmp_path: Path, name: str, value: int) -> None:
    path = linked(tmp_path, *_objects(tmp_path, "5"))
    section = open_elf(path).section(f".debug_{name}")
    assert section is not None
    data = bytearray(path.read_bytes())
    start = data.index(section.data.tobytes())
    for part in (slice(start, start + section.size), slice(start + 8, start + 24)):
        broken = bytearray(data)
        broken[part] = bytes([value]) * (part.stop - part.start)
        path.write_bytes(broken)
        elf = open_elf(path)
        for address in _addresses(elf):
            assert isinstance(source_of(elf, address), str)


def test_a_compressed_bomb_is_left_alone(tmp_path: Path) -> None:
    path = linked(tmp_path, *_objects(tmp_path, "5"))
    _tool(tmp_path, "objcopy", "--compress-debug-sections", path.name)
    section = open_elf(path).section(".debug_info")
    assert section is not None
    data = bytearray(path.read_bytes())
    start = data.index(section.data.tobytes())
    struct.pack_into("<Q", data, start + 8, 1 << 40)
    path.write_bytes(data)
    elf = open_elf(path)
    assert {source_of(elf, address) for address in _addresses(elf)} == {""}


def _program(body: bytes, tail: bytes = b"", line_range: int = 14) -> memoryview:
    """A DWARF 5 program whose header ends with ``body``: formats, directories and files."""
    fixed = struct.pack("<BBBbBB", 4, 1, 1, -5, line_range, 10) + _LENGTHS[:9]
    header = struct.pack("<HBBI", 5, 8, 0, len(fixed + body)) + fixed + body
    return memoryview(struct.pack("<I", len(header + tail)) + header + tail)


@pytest.mark.parametrize(
    "body",
    [
        bytes([0, *b"\xff" * 9, 1]),  # 2^63 names of no fields, nothing to read for any
        bytes([0, 3, 0, 0, 0, 0]),
        bytes([1, 1, 8, *b"\xff" * 9, 1]),
        bytes([0, 0, 1, 1, 0x55, 1, 0]),  # a form that names don't have
        bytes([1, 1, 9, 1, *b"\xff" * 9, 1]),  # a block of 2^63 bytes
        b"\xff" * 16,
        b"",
    ],
)
def test_counts_are_held_against_what_is_left(body: bytes) -> None:
    with pytest.raises(BadLines):
        read_table(_program(body), 0, lambda form, at: b"", b"/")


def test_a_line_range_of_nothing_is_refused() -> None:
    with pytest.raises(BadLines, match="no line range"):
        read_table(_program(bytes(4), b"\xff", 0), 0, lambda form, at: b"", b"/")


@example(opcodes=[b"\x08", b"\x01"], line_base=0, line_range=1, special=13, step=4)
@given(
    opcodes=st.lists(OPCODES, max_size=30),
    line_base=st.integers(-20, 20),
    line_range=st.integers(1, 40),
    special=st.integers(10, 200),
    step=st.sampled_from([1, 4]),
)
def test_programs_are_run_as_pyelftools_runs_them(
    opcodes: list[bytes], line_base: int, line_range: int, special: int, step: int
) -> None:
    body = b"".join(opcodes) + b"\x00\x01\x01"
    lengths = (_LENGTHS + bytes(200))[: special - 1]
    fixed = struct.pack("<BBBbBB", step, 1, 1, line_base, line_range, special) + lengths
    names = b"folder\0\0one.c\0\1\0\0two.c\0\0\0\0\0"
    header = struct.pack("<HI", 4, len(fixed + names)) + fixed + names
    data = struct.pack("<I", len(header + body)) + header + body
    table = read_table(memoryview(data), 0, lambda form, at: b"", b"/")
    wanted = _by_pyelftools(data, len(data) - len(body))
    found = [
        (address, *row)
        for addresses, rows in table.sequences
        for address, row in zip(addresses[:-1], rows[:-1], strict=True)
    ]
    assert sorted(found) == sorted(wanted)
    assert dict(table.files) == {1: (1, b"one.c"), 2: (0, b"two.c")}
    assert list(table.directories) == [b"/", b"folder"]


def _by_pyelftools(data: bytes, start: int) -> list[tuple[int, int, int]]:
    from elftools.common.utils import struct_parse
    from elftools.dwarf.lineprogram import LineProgram
    from elftools.dwarf.structs import DWARFStructs

    stream = io.BytesIO(data)
    structs = DWARFStructs(True, 32, 8, 4)
    header = struct_parse(structs.Dwarf_lineprog_header, stream, 0)
    program = LineProgram(header, stream, structs, start, len(data))
    states = [each.state for each in program.get_entries() if each.state is not None]
    return [(each.address, each.file, each.line) for each in states if not each.end_sequence]


def test_addresses_that_go_back_are_no_sequence() -> None:
    names = bytes([0, 0, 0, 0])
    back = b"\x00\x09\x02" + struct.pack("<Q", 64) + b"\x01" + b"\x00\x09\x02" + bytes(8)
    end = b"\x02\x04\x00\x01\x01"
    table = read_table(_program(names, back + end), 0, lambda form, at: b"", b"/")
    assert table.starts == []


@given(st.binary(max_size=200), st.integers(0, 8))
def test_no_program_raises_anything_else(data: bytes, offset: int) -> None:
    try:
        table = read_table(memoryview(data), offset, lambda form, at: b"x", b"/")
    except BadLines:
        return
    table.at(0)


@given(st.binary(max_size=120))
def test_no_header_raises_anything_else(body: bytes) -> None:
    try:
        table = read_table(_program(b"", body), 0, lambda form, at: b"x", b"/")
    except BadLines:
        return
    table.at(8)


@given(st.integers(-(1 << 63), (1 << 63) - 1))
def test_numbers_are_read_as_they_were_written(value: int) -> None:
    data, left = bytearray(), value
    while not -64 <= left < 64:
        data.append(left & 0x7F | 0x80)
        left >>= 7
    data.append(left & 0x7F)
    reader = Reader(memoryview(data), 0, len(data))
    assert reader.leb(signed=True) == value
    assert reader.left == 0
