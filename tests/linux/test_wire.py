# SPDX-License-Identifier: Apache-2.0
"""The module's header says what the host packs, and the module assembles with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from hilagent.build import compile
from hilagent.errors import LabError
from hilagent.link import wire as link
from hilagent.linux import wire


def _agreeing() -> list[str]:
    lines = ["#include <stddef.h>", '#include "wire.h"']
    for item in wire.STRUCTS:
        name = item.name.upper()
        lines.append(f'_Static_assert(HIL_SIZEOF_{name} == {item.size}, "");')
        zero = item.pack()
        for member, _, count in item.fields:
            marked = item.pack(**{member: 1 if count == 1 else (1,)})
            at = next(i for i, byte in enumerate(marked) if byte != zero[i])
            field = f"struct hil_{item.name}, {member}"
            lines.append(f'_Static_assert(offsetof({field}) == {at}, "{member}");')
            lines.append(f'_Static_assert(HIL_{name}_{member.upper()} == {at}, "");')
    for prefix, enum in wire.ENUMS.items():
        lines += [f'_Static_assert(HIL_{prefix}_{m.name} == {int(m)}u, "");' for m in enum]
    return lines


def _compiled(tmp_path: Path, lines: list[str]) -> None:
    (tmp_path / "agree.c").write_text("\n".join([*lines, ""]))
    work = tmp_path / "work"
    work.mkdir()
    (work / "wire.h").write_text(wire.c_header())
    compile.compile_objects([tmp_path / "agree.c"], {}, [], work)


def test_the_header_agrees_with_the_records_field_by_field(tmp_path: Path) -> None:
    _compiled(tmp_path, _agreeing())


def test_a_field_that_moved_is_seen(tmp_path: Path) -> None:
    moved = '_Static_assert(offsetof(struct hil_request, x) == 0, "moved");'
    with pytest.raises(LabError, match="moved"):
        _compiled(tmp_path, [*_agreeing(), moved])


def test_the_assembler_takes_the_header_too(tmp_path: Path) -> None:
    (tmp_path / "numbers.S").write_text('#include "wire.h"\n\tmov x0, #HIL_FRAME_SYS\n')
    work = tmp_path / "work"
    work.mkdir()
    (work / "wire.h").write_text(wire.c_header())
    compile.compile_objects([tmp_path / "numbers.S"], {"__ASSEMBLY__": 1}, [], work)


def test_no_structure_has_padding_that_c_would_add() -> None:
    sizes = {"u8": 1, "u16": 2, "u32": 4, "s32": 4, "u64": 8}
    for item in wire.STRUCTS:
        at = dict(wire.offsets(item))
        assert all(at[name] % sizes[kind] == 0 for name, kind, _ in item.fields), item.name
        assert item.size % max(sizes[kind] for _, kind, _ in item.fields) == 0, item.name


def test_the_register_file_is_the_payloads() -> None:
    assert link.FRAME in wire.STRUCTS
    assert link.SIG in wire.STRUCTS


def test_a_request_fits_into_what_the_module_takes() -> None:
    assert wire.REQUEST.size <= wire.MAX_BODY
