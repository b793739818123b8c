# SPDX-License-Identifier: Apache-2.0
"""The payload's build: reproducible, small, position-independent, and clear when it can't."""

from __future__ import annotations

import re
import shutil
import struct
from pathlib import Path

import pytest

from hilagent.board.memory import PAYLOAD_BYTES
from hilagent.build import cache, compile, payload, sources
from hilagent.errors import LabError, UsageError
from hilagent.link import wire


@pytest.fixture(scope="module")
def built() -> payload.PayloadBuild:
    return payload.build_payload()


def test_two_builds_in_different_folders_are_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, built: payload.PayloadBuild
) -> None:
    copy = tmp_path / "elsewhere" / "firmware"
    shutil.copytree(sources.firmware_dir(), copy)
    monkeypatch.setattr(sources, "firmware_dir", lambda: copy)
    monkeypatch.setenv(cache.ENV, str(tmp_path / "a much longer name of a cache"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    again = payload.build_payload(tmp_path / "out")
    assert again.image.read_bytes() == built.image.read_bytes()
    assert again.elf.read_bytes() == built.elf.read_bytes()
    assert again.build_id == built.build_id
    assert again.image == tmp_path / "out" / "payload.bin"


def test_the_image_is_an_arm64_image_of_40_kib_at_most(built: payload.PayloadBuild) -> None:
    image = built.image.read_bytes()
    offset, size, flags = struct.unpack_from("<QQQ", image, 8)
    assert len(image) == built.size <= payload.IMAGE_MAX_BYTES
    assert image[0x38:0x3C] == b"ARM\x64"
    assert (offset, flags) == (0, 0xA)
    assert size > built.size
    assert size % 4096 == 0


def test_a_board_keeps_room_for_the_payload_where_it_is_loaded(
    built: payload.PayloadBuild,
) -> None:
    (size,) = struct.unpack_from("<Q", built.image.read_bytes(), 16)
    assert size <= PAYLOAD_BYTES < size + (8 << 20)


def test_the_build_id_is_in_the_image_and_no_path_is(built: payload.PayloadBuild) -> None:
    image, elf = built.image.read_bytes(), built.elf.read_bytes()
    assert image.count(bytes.fromhex(built.build_id)) == 1
    for data in (image, elf):
        assert not re.search(rb"/(tmp|home|root|work|usr|build)/", data)
        assert not re.search(rb"20\d\d-\d\d|GCC: ", data)


def test_nothing_is_left_to_relocate(built: payload.PayloadBuild) -> None:
    from elftools.elf.elffile import ELFFile

    with built.elf.open("rb") as stream:
        elf = ELFFile(stream)
        names = {s.name for s in elf.iter_sections() if s["sh_size"]}
        assert not [name for name in names if name.startswith((".rela", ".dynamic"))]
        got = elf.get_section_by_name(".got")
        assert got is None or got["sh_size"] <= 32


def test_no_register_is_touched_whose_enable_at_el3_is_not_promised(
    built: payload.PayloadBuild,
) -> None:
    """6.12's booting.rst has firmware enable TCR2_EL2 where there is one; SCTLR2_EL2 never."""
    image = built.image.read_bytes()
    words = struct.unpack(f"<{len(image) // 4}I", image[: len(image) // 4 * 4])
    sctlr2, tcr2 = 0xD51C1060, 0xD51C2060  # msr; mrs has bit 21 too

    def accesses(register: int) -> list[int]:
        return [at for at, word in enumerate(words) if word & ~0x20001F == register]

    assert accesses(sctlr2) == []
    assert len(accesses(tcr2)) == 2
    for at in accesses(tcr2):
        tst, branch = words[at - 2], words[at - 1]  # ID_AA64MMFR3_EL1.TCRX, the lowest 4 bits
        assert (tst & ~0x3E0, branch & 0xFF00001F) == (0xF2400C1F, 0x54000000)


def test_the_second_build_compiles_nothing(
    monkeypatch: pytest.MonkeyPatch, built: payload.PayloadBuild
) -> None:
    monkeypatch.setattr(compile, "compile_objects", lambda *_: pytest.fail("compiled again"))
    assert payload.build_payload() == built


def test_a_missing_compiler_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="no arm64 compiler") as caught:
        payload.build_payload()
    assert "gcc-aarch64-linux-gnu" in caught.value.hint


def test_an_error_in_a_source_is_shown_as_the_compiler_says_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "firmware"
    shutil.copytree(sources.firmware_dir(), copy)
    with (copy / "payload" / "mem.c").open("a") as source:
        source.write("int broken(void) { return undeclared; }\n")
    monkeypatch.setattr(sources, "firmware_dir", lambda: copy)
    monkeypatch.setenv(cache.ENV, str(tmp_path / "cache"))
    with pytest.raises(LabError, match=r"mem\.c:\d+.*'?undeclared'? undeclared"):
        payload.build_payload()


def test_early_breadcrumbs_are_compiled_in_on_request(built: payload.PayloadBuild) -> None:
    early = payload.build_payload(early_uart=0x9000000)
    assert early.build_id != built.build_id
    assert (0x9000000).to_bytes(8, "little") in early.image.read_bytes()
    assert (0x9000000).to_bytes(8, "little") not in built.image.read_bytes()


def test_wire_h_agrees_with_the_protocol_field_by_field(tmp_path: Path) -> None:
    lines = ["#include <stddef.h>", '#include "wire.h"']
    for item in wire.STRUCTS:
        lines.append(f'_Static_assert(SIZEOF_{item.name.upper()} == {item.size}, "");')
        zero = item.pack()
        for name, _, count in item.fields:
            marked = item.pack(**{name: 1 if count == 1 else (1,)})
            at = next(i for i, byte in enumerate(marked) if byte != zero[i])
            member = f"struct wire_{item.name}, {name}"
            lines.append(f'_Static_assert(offsetof({member}) == {at}, "{name}");')
            lines.append(f'_Static_assert({item.name.upper()}_{name.upper()} == {at}, "");')
    for prefix, enum in wire.ENUMS.items():
        lines += [f'_Static_assert({prefix}_{m.name} == {int(m)}, "");' for m in enum]
    (tmp_path / "agree.c").write_text("\n".join([*lines, ""]))
    work = tmp_path / "work"
    work.mkdir()
    (work / "wire.h").write_text(wire.c_header())
    compile.compile_objects([tmp_path / "agree.c"], {}, [], work)


def test_a_blob_has_its_bytes_and_symbols_and_sees_its_headers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(cache.ENV, str(tmp_path / "cache"))
    source = tmp_path / "code.S"
    source.write_text(
        '#include "numbers.h"\n.text\n.globl first, second\n'
        "first: mov x0, #NUMBER\nsecond: mov x1, #DEFINED\n ret\n"
    )
    blob = compile.compile_blob(
        source, defines={"DEFINED": 3}, headers={"numbers.h": "#define NUMBER 2\n"}
    )
    assert blob.data == struct.pack("<III", 0xD2800040, 0xD2800061, 0xD65F03C0)
    assert (blob.symbols["first"], blob.symbols["second"]) == (0, 4)
    other = compile.compile_blob(
        source, defines={"DEFINED": 3}, headers={"numbers.h": "#define NUMBER 4\n"}
    )
    assert other.data[:4] == struct.pack("<I", 0xD2800080)
