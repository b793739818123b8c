# SPDX-License-Identifier: Apache-2.0
"""Relocatable files: laid out and relocated as the linker would do it there."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from hilagent.elf import Elf, open_elf
from hilagent.errors import InputError

from .objects import SAMPLE, assembled, linked

EVERY = """
	.text
	bl	outside
	b	outside + 8
	cbz	x0, near
	b.eq	near + 4
	tbnz	x0, #3, near
	adr	x1, near + 3
	adrp	x2, there
	add	x2, x2, :lo12:there + 5
	ldrb	w3, [x2, :lo12:there]
	ldrh	w3, [x2, :lo12:there]
	ldr	w3, [x2, :lo12:there]
	ldr	x3, [x2, :lo12:there]
	ldr	q3, [x2, :lo12:there]
	ldr	x4, near
	.section .other.text, "ax"
	nop
near:	ret
	.data
	.balign	64
	.skip	48
there:	.quad	there, near, outside + 3
	.word	there - ., near - .
	.quad	near - .
	.word	absolute
	.globl	absolute
	.set	absolute, 0x12345678
"""


def _relinked(folder: Path, path: Path, elf: Elf) -> Elf:
    """Return what the linker makes of an object at the addresses that it has in ``elf``."""
    starts = [f"--section-start={section.name}={section.address:#x}" for section in elf.loaded]
    names = [f"--defsym={each.name}={each.address:#x}" for each in elf.symbols if not each.section]
    return open_elf(linked(folder, path, flags=(*starts, *names, "-e", "0", "-n", "--no-relax")))


def test_every_relocation_is_the_linkers(tmp_path: Path) -> None:
    path = assembled(tmp_path, EVERY)
    elf = open_elf(path)
    wanted = _relinked(tmp_path, path, elf)
    assert {each.name for each in elf.code} == {".text", ".other.text"}
    for section in elf.loaded:
        other = wanted.section(section.name)
        assert other is not None
        assert other.address == section.address
        assert section.data.tobytes().hex(" ", 4) == other.data.tobytes().hex(" ", 4)


def test_sections_lie_apart_and_symbols_elsewhere_in_none(tmp_path: Path) -> None:
    elf = open_elf(assembled(tmp_path, EVERY.replace("b	outside + 8", "b	farther")))
    names = {each.name: each.address for each in elf.symbols if not each.section}
    assert set(names) == {"outside", "farther"}
    assert len(set(names.values())) == 2
    for name, address in names.items():
        assert elf.at(address) is None
        assert elf.external(address) == name
        assert elf.external(address + 4) == ""
    assert all(elf.external(section.address) == "" for section in elf.loaded)
    assert elf.external(0) == ""


def test_addresses_in_data_are_listed(tmp_path: Path) -> None:
    elf = open_elf(assembled(tmp_path, EVERY))
    there, near = elf.symbols.named("there"), elf.symbols.named("near")
    assert there is not None
    assert near is not None
    outside = next(each.address for each in elf.symbols if each.name == "outside")
    assert elf.relocations == (
        (there.address, there.address),
        (there.address + 8, near.address),
        (there.address + 16, outside + 3),
    )


def test_a_linked_file_has_no_made_up_addresses(tmp_path: Path) -> None:
    elf = open_elf(linked(tmp_path, assembled(tmp_path, SAMPLE)))
    assert all(elf.external(each.address) == "" for each in elf.symbols)


@pytest.mark.parametrize(
    ("at", "shape", "value", "said"),
    [
        (0, "<Q", 1 << 62, "one for 0x4000000000000000"),
        (8, "<II", 283 | 0xFFFFFF << 32, "with symbol 16777215"),
        (16, "<q", 1 << 40, "out of reach"),
        (16, "<q", 2, "out of reach"),
    ],
)
def test_a_relocation_that_lies_is_refused(
    tmp_path: Path, at: int, shape: str, value: int, said: str
) -> None:
    path = assembled(tmp_path, "\t.text\n\tnop\n\tbl\toutside\n")
    data = bytearray(path.read_bytes())
    place = data.index(struct.pack("<QI", 4, 283))
    whole = (value & 0xFFFFFFFF, value >> 32) if shape == "<II" else (value,)
    struct.pack_into(shape, data, place + at, *whole)
    path.write_bytes(data)
    with pytest.raises(InputError, match=said):
        open_elf(path)


def test_other_relocations_are_left(tmp_path: Path) -> None:
    path = assembled(tmp_path, "\t.text\n\tmovz\tx0, #:abs_g0_nc:outside\n")
    elf = open_elf(path)
    assert elf.code[0].data.tobytes() == bytes.fromhex("000080d2")


def test_relocations_of_sections_that_arent_there_are_refused(tmp_path: Path) -> None:
    path = assembled(tmp_path, "\t.text\n\tbl\toutside\n")
    rela = open_elf(path).section(".rela.text")
    assert rela is not None
    data = bytearray(path.read_bytes())
    at = struct.unpack_from("<Q", data, 0x28)[0] + 64 * rela.index
    struct.pack_into("<I", data, at + 44, 500)
    path.write_bytes(data)
    with pytest.raises(InputError, match="sections that there are"):
        open_elf(path)
