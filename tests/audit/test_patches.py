# SPDX-License-Identifier: Apache-2.0
"""What may stand at an address at run time, from the kernel's own tables."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilagent.audit.patches import Alternative, Patches, read_patches
from hilagent.elf import Elf, open_elf
from hilagent.errors import InputError
from tests.elf.objects import SAMPLE, assembled, linked

Made = Callable[[str], tuple[Patches, Callable[[str], int]]]


@pytest.fixture(params=["linked", "object"])
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Made:
    """Return the patches of some assembler, linked and as an object; and where its labels are."""

    def make(text: str) -> tuple[Patches, Callable[[str], int]]:
        path = assembled(tmp_path, f"\t.text\n{text}\t.data\n\t.align 3\nkey:\t.quad 0\n")
        elf = open_elf(linked(tmp_path, path) if request.param == "linked" else path)

        def at(label: str) -> int:
            symbol = elf.symbols.named(label)
            assert symbol is not None
            return symbol.address

        return read_patches(elf), at

    return make


def _replacement(patches: Patches, original: int) -> int:
    (found,) = [each for each in patches.alternatives if each.original == original]
    return found.replacement


def test_a_replacement_stands_beside_each_instruction_and_leads_behind_it(made: Made) -> None:
    patches, at = made(
        """
old:	alternative "nop; nop; nop", "mov x0, #1; mov x1, #2; mov x2, #3"
behind:	ret
"""
    )
    old, new = at("old"), _replacement(patches, at("old"))
    for offset in (0, 4, 8):
        assert patches.either(old + offset) == (new + offset,)
        assert patches.replaces(new + offset) == old + offset
        assert patches.either(new + offset) == ()
    assert patches.either(at("behind")) == ()
    assert [patches.ends(new + offset) for offset in (0, 4, 8)] == [False, False, True]
    assert [patches.edges(new + offset) for offset in (0, 4, 8)] == [(), (), (at("behind"),)]
    assert not patches.ends(old + 8)
    assert patches.edges(old + 8) == ()


@pytest.mark.parametrize("last", ["b away", "ret", "br x1", "eret"])
def test_a_replacement_that_goes_elsewhere_doesnt_lead_behind(made: Made, last: str) -> None:
    patches, at = made(f'old:	alternative "nop", "{last}"\n\tret\naway:	ret\n')
    new = _replacement(patches, at("old"))
    assert patches.ends(new)
    assert patches.edges(new) == ()


@pytest.mark.parametrize("last", ["bl away", "blr x1", "cbz x0, away", "svc #0"])
def test_a_call_or_a_condition_at_its_end_does(made: Made, last: str) -> None:
    patches, at = made(f'old:	alternative "nop", "{last}"\nbehind:\tret\naway:	ret\n')
    assert patches.edges(_replacement(patches, at("old"))) == (at("behind"),)


def test_a_branch_to_a_replacements_end_leads_behind_what_it_replaces(made: Made) -> None:
    patches, at = made(
        """
old:	alternative "nop; nop; nop", "cbz x0, 664f; b 664f; mov x2, #3"
behind:	ret
"""
    )
    new = _replacement(patches, at("old"))
    assert [patches.edges(new + by) for by in (0, 4, 8)] == [(at("behind"),)] * 3


def test_a_shorter_replacement_leads_behind_what_it_replaces(made: Made) -> None:
    patches, at = made(
        """
old:	nop
rest:	nop
	ret
	.subsection 1
new:	mov	x0, #1
	.previous
	.pushsection .altinstructions, "a"
	.word	old - ., new - .
	.hword	3
	.byte	8, 4
	.popsection
"""
    )
    assert patches.edges(at("new")) == (at("rest"),)
    assert patches.either(at("rest")) == ()


def test_several_alternatives_for_one_place_are_all_kept(made: Made) -> None:
    patches, at = made(
        """
old:	nop
	nop
	ret
	.subsection 1
one:	mov	x0, #1
	mov	x0, #2
two:	mov	x0, #3
	.previous
	.pushsection .altinstructions, "a"
	.word	old - ., one - .
	.hword	3
	.byte	8, 8
	.word	old + 4 - ., two - .
	.hword	4
	.byte	4, 4
	.popsection
"""
    )
    assert set(patches.either(at("old") + 4)) == {at("one") + 4, at("two")}
    assert patches.either(at("one") + 4) == (at("two"),), "the second may be written over the first"
    assert patches.either(at("two")) == (at("one") + 4,)
    assert patches.either(at("one")) == ()


def test_a_callback_may_write_anything(made: Made) -> None:
    patches, at = made('old:\tcalled "nop; nop", writer\n\tret\nwriter:\tret\n')
    old = at("old")
    assert [patches.unknown(old + by) for by in (-4, 0, 4, 8)] == [False, True, True, False]
    assert not patches.alike(old)
    (each,) = patches.alternatives
    assert (each.callback, each.capability) == (("writer",), 7)
    assert patches.either(old) == ()


def test_a_callback_of_before_6_1_is_one_by_its_length(made: Made) -> None:
    patches, at = made(
        """
old:	nop
	ret
writer:	ret
	.pushsection .altinstructions, "a"
	.word	old - ., writer - .
	.hword	59
	.byte	4, 0
	.popsection
"""
    )
    assert patches.unknown(at("old"))
    assert patches.alternatives[0].callback == ("writer",)


def test_such_a_callback_may_be_defined_elsewhere(tmp_path: Path) -> None:
    text = """
	.text
old:	nop
	ret
	.pushsection .altinstructions, "a"
	.word	old - ., writer - .
	.hword	59
	.byte	4, 0
	.popsection
"""
    (each,) = read_patches(open_elf(assembled(tmp_path, text))).alternatives
    assert each.callback == ("writer",)


def test_a_callback_that_writes_nops_is_an_edge(made: Made) -> None:
    patches, at = made("old:\tcalled \"b away\", alt_cb_patch_nops\n\tret\naway:\tret\n"
                       "alt_cb_patch_nops:\tret\n")  # fmt: skip
    old = at("old")
    assert not patches.unknown(old)
    assert patches.edges(old) == (old + 4,)


def test_a_callback_that_changes_constants_is_unknown_and_alike(made: Made) -> None:
    patches, at = made("old:\tcalled \"mov x0, #0\", __kvm_nvhe_kvm_get_kimage_voffset\n\tret\n"
                       "__kvm_nvhe_kvm_get_kimage_voffset:\tret\n")  # fmt: skip
    assert patches.unknown(at("old"))
    assert patches.alike(at("old"))


def test_a_modules_callback_is_named_by_its_undefined_symbol(tmp_path: Path) -> None:
    path = assembled(tmp_path, '\t.text\nold:\tcalled "b 9f", alt_cb_patch_nops\n9:\tret\n')
    patches = read_patches(open_elf(path))
    assert patches.alternatives[0].callback == ("alt_cb_patch_nops",)
    assert not patches.unknown(patches.alternatives[0].original)


def test_what_a_replacement_and_a_callback_may_both_write_is_unknown(made: Made) -> None:
    patches, at = made(
        """
old:	nop
	ret
writer:	ret
	.subsection 1
new:	mov	x0, #1
	.previous
	.pushsection .altinstructions, "a"
	.word	old - ., new - .
	.hword	3
	.byte	4, 4
	.word	old - ., writer - .
	.hword	1 << 15 | 4
	.byte	4, 0
	.popsection
"""
    )
    assert patches.unknown(at("old"))
    assert patches.unknown(at("new"))


def test_a_static_key_may_branch_or_go_on(made: Made) -> None:
    patches, at = made(
        'one:\tstatic_key nop, away\n\tnop\ntwo:\tstatic_key "b away", away\n\tret\naway:\tret\n'
    )
    for label in ("one", "two"):
        assert set(patches.edges(at(label))) == {at("away"), at(label) + 4}
    assert patches.jumps == ((at("one"), at("away")), (at("two"), at("away")))


def test_a_fault_goes_on_at_its_fixup(made: Made) -> None:
    patches, at = made('one:\tmay_fault "ldr x0, [x1]", away\n\tret\naway:\tret\n')
    assert patches.edges(at("one")) == (at("away"),)


OLD = """
	.pushsection {name}, "a"
	.align	3
	.long	one - ., away - .
	.long	two - ., away - .
	.long	three - ., away - .
	.popsection
"""


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("name", ["__ex_table", "__kvm_ex_table"])
def test_fixups_of_before_5_16_and_kvms_are_read(made: Made, name: str, count: int) -> None:
    table = OLD.format(name=name)
    for left_out in ("three", "two")[: 3 - count]:
        table = table.replace(f"\t.long\t{left_out} - ., away - .\n", "")
    patches, at = made(f"one:\tnop\ntwo:\tnop\nthree:\tnop\naway:\tret\n{table}")
    for label in ("one", "two", "three")[:count]:
        assert patches.edges(at(label)) == (at("away"),)


TABLES = """
one:	nop
	ret
two:	mov	x0, #2
	.data
	.balign	8
	.globl	__alt_instructions, __alt_instructions_end
	.globl	__start___jump_table, __stop___jump_table, __start___ex_table, __stop___ex_table
__alt_instructions:
	.word	one - ., two - .
	.hword	3
	.byte	4, 4
__alt_instructions_end:
	.balign	8
__start___jump_table:
	.long	one - ., two - .
	.quad	0
__stop___jump_table:
__start___ex_table:
	.long	two - ., one - .
	.short	0, 0
__stop___ex_table:
"""


def test_tables_between_two_symbols_are_found(made: Made) -> None:
    patches, at = made(TABLES)
    assert patches.either(at("one")) == (at("two"),)
    assert patches.jumps == ((at("one"), at("two")),)
    assert at("one") in patches.edges(at("two"))


def test_a_file_without_tables_has_no_patches(tmp_path: Path) -> None:
    patches = read_patches(open_elf(linked(tmp_path, assembled(tmp_path, "\t.text\n\tret\n"))))
    assert (patches.alternatives, patches.jumps) == ((), ())
    assert not patches.unknown(0)


def _changed(tmp_path: Path, section: str, at: int, shape: str, *values: int) -> Elf:
    path = linked(tmp_path, assembled(tmp_path, SAMPLE))
    table = open_elf(path).section(section)
    assert table is not None
    data = bytearray(path.read_bytes())
    start = data.index(table.data.tobytes())
    struct.pack_into(shape, data, start + at, *values)
    path.write_bytes(data)
    return open_elf(path)


@pytest.mark.parametrize(
    ("section", "at", "shape", "values", "said"),
    [
        (".altinstructions", 0, "<i", (1 << 30,), "isn't code"),
        (".altinstructions", 4, "<i", (0,), "isn't code"),
        (".altinstructions", 10, "<BB", (252, 252), "isn't code"),
        (".altinstructions", 10, "<BB", (6, 6), "6 bytes for 6"),
        (".altinstructions", 10, "<BB", (4, 8), "8 bytes for 4"),
        (".altinstructions", 16, "<i", (0,), "isn't code"),
        (".altinstructions", 23, "<B", (4,), "4 bytes for 4"),
        ("__jump_table", 0, "<i", (0,), "isn't code"),
        ("__jump_table", 4, "<i", (1 << 28,), "isn't code"),
        ("__ex_table", 0, "<i", (0,), "its entries aren't addresses of code"),
        ("__ex_table", 8, "<H", (16,), "its entries aren't addresses of code"),
    ],
)
def test_a_table_that_points_out_of_the_code_is_refused(
    tmp_path: Path, section: str, at: int, shape: str, values: tuple[int, ...], said: str
) -> None:
    with pytest.raises(InputError, match=f"{section}: .*{said}"):
        read_patches(_changed(tmp_path, section, at, shape, *values))


@pytest.mark.parametrize("section", [".altinstructions", "__jump_table"])
def test_a_place_between_two_instructions_is_refused(tmp_path: Path, section: str) -> None:
    table = _changed(tmp_path, section, 16, "").section(section)
    assert table is not None
    (offset,) = struct.unpack_from("<i", table.data)
    with pytest.raises(InputError, match="isn't code"):
        read_patches(_changed(tmp_path, section, 0, "<i", offset + 1))


@pytest.mark.parametrize("section", [".altinstructions", "__jump_table", "__kvm_ex_table"])
def test_a_table_that_isnt_whole_is_refused(tmp_path: Path, section: str) -> None:
    text = f'\t.text\n\tret\n\t.section {section}, "a"\n\t.byte 1\n'
    with pytest.raises(InputError, match=f"{section}: 1 bytes: not entries of"):
        read_patches(open_elf(linked(tmp_path, assembled(tmp_path, text))))


def test_too_many_alternatives_for_one_place_are_refused(tmp_path: Path) -> None:
    text = '\t.text\nold:\tnop\n\tret\n\t.pushsection .altinstructions, "a"\n'
    text += (
        "\t.rept 65\n\t.word old - ., old - .\n\t.hword 3\n\t.byte 4, 4\n\t.endr\n\t.popsection\n"
    )
    with pytest.raises(InputError, match="too many instructions to replace"):
        read_patches(open_elf(linked(tmp_path, assembled(tmp_path, f"{text}\t.popsection\n"))))


@given(
    st.lists(
        st.tuples(st.integers(0, 7), st.integers(1, 4), st.integers(0, 7)), max_size=6, unique=True
    )
)
def test_whatever_covers_a_place_stands_for_it(made_of: list[tuple[int, int, int]]) -> None:
    alternatives = [
        Alternative(4 * first, 4 * size, 0x1000 + 0x100 * number, 4 * size, capability)
        for number, (first, size, capability) in enumerate(made_of)
    ]
    patches = Patches(alternatives)
    for place in range(0, 64, 4):
        over = [e for e in alternatives if e.original <= place < e.original + e.size]
        assert set(patches.either(place)) == {e.replacement + place - e.original for e in over}
        assert set(patches.covering(place)) == set(over)
        for each in over:
            mine = each.replacement + place - each.original
            assert patches.replaces(mine) == place
            assert mine not in patches.either(mine)
            assert set(patches.either(mine)) <= set(patches.either(place))
