# SPDX-License-Identifier: Apache-2.0
"""Handlers of a few instructions, followed to every way out."""

from pathlib import Path

import pytest

from hilagent.audit.follow import LEAST_STEPS, MOST_STEPS, Budget, Way, follow
from hilagent.audit.patches import Alternative, Patches
from hilagent.audit.values import constant, symbol
from tests.audit.code import NOTHING_PATCHED, assembled


def ways(text: str, tmp_path: Path) -> list[Way]:
    elf = assembled(f".globl start\nstart:\n{text}", tmp_path)
    return follow(elf, NOTHING_PATCHED, 0, system={"ESR_EL2": constant(0x5A000002)}).ways


def only(text: str, tmp_path: Path) -> Way:
    (way,) = ways(text, tmp_path)
    return way


@pytest.mark.parametrize(
    ("text", "register", "value"),
    [
        ("mov x1, x2", 1, "x2"),
        ("mov w1, w2", 1, "low32(x2)"),
        ("mov x1, #0x1234", 1, "0x1234"),
        ("mov x1, #-1", 1, "0xffffffffffffffff"),
        ("mov w1, #-1", 1, "0xffffffff"),
        ("movz x1, #0xca11; movk x1, #0xbad, lsl #16", 1, "0xbadca11"),
        ("movk x1, #5", 1, "?0.1"),
        ("add x1, x2, #4", 1, "x2 + 0x4"),
        ("add x1, x2, #1, lsl #12", 1, "x2 + 0x1000"),
        ("sub x1, x2, x2", 1, "0x0"),
        ("add x1, x2, x3, lsl #3", 1, "x2 + 8*x3"),
        ("neg x1, x2", 1, "-1*x2"),
        ("mrs x1, vbar_el2", 1, "VBAR_EL2"),
        ("msr far_el2, x5; mrs x1, far_el2", 1, "x5"),
        ("mrs x1, esr_el2; ubfx x1, x1, #26, #6", 1, "0x16"),
        ("mrs x1, esr_el2; lsr x1, x1, #26", 1, "0x16"),
        ("mrs x1, esr_el2; and x1, x1, #0xffff", 1, "0x2"),
        ("and x1, x2, #0xff", 1, "?0.1"),
        ("orr x1, xzr, x2", 1, "x2"),
        ("eor x1, x2, x2", 1, "?0.1"),
        ("adr x1, . + 0x10", 1, "0x10"),
        ("ldr x1, =0x1122334455667788", 1, "0x1122334455667788"),
        ("str x3, [sp, #-16]!; ldr x1, [sp], #16", 1, "x3"),
        ("stp x3, x4, [sp, #-16]!; ldp x4, x3, [sp], #16", 3, "x4"),
        ("str x3, [sp, #-16]!; str xzr, [sp, #4]; ldr x1, [sp], #16", 1, "?8.1"),
        ("str x3, [x9]; ldr x1, [x9]", 1, "x3"),
        ("str x3, [x9]; str x4, [x10]; ldr x1, [x9]", 1, "?8.1"),
        ("str w3, [sp, #-16]!; ldr w1, [sp], #16", 1, "?4.1"),
        ("ldr x1, [x2]", 1, "?0.1"),
        ("cmp xzr, xzr; csel x1, x2, x3, eq", 1, "x2"),
        ("cmp xzr, xzr; csel x1, x2, x3, ne", 1, "x3"),
        ("csel x1, x2, x3, eq", 1, "?0.1"),
        ("rbit x1, x2", 1, "?0.1"),
        (".arch armv8.3-a+lse; ldadd x2, x1, [x9]", 1, "?0.1"),
        (".arch armv8.3-a+lse; swp x2, x1, [x9]", 1, "?0.1"),
        (".arch armv8.3-a+lse; cas x1, x2, [x9]", 1, "?0.1"),
        (".arch armv8.3-a+lse; ldraa x1, [x9]", 1, "?0.1"),
    ],
)
def test_one_instruction(text: str, register: int, value: str, tmp_path: Path) -> None:
    way = only(f"{text}; eret", tmp_path)
    assert (way.ending, str(way.x[register])) == ("eret", value)
    kept = [n for n in range(31) if way.x[n] != symbol(f"x{n}")]
    assert kept in ([register], sorted({register, 3, 4}))


def test_a_condition_that_is_known_has_one_way(tmp_path: Path) -> None:
    way = only(
        "mrs x1, esr_el2; and x1, x1, #0xffff; cmp x1, #2; b.eq 1f; brk #1; 1: eret", tmp_path
    )
    assert (way.ending, way.forks) == ("eret", ())


def test_one_that_is_not_known_has_two(tmp_path: Path) -> None:
    found = ways("cbz x5, 1f; mov x6, #1; 1: eret", tmp_path)
    assert sorted(str(way.x[6]) for way in found) == ["0x1", "x6"]
    assert {way.forks for way in found} == {(0,)}


def test_a_bit_that_is_known(tmp_path: Path) -> None:
    assert only("mov x1, #4; tbnz x1, #2, 1f; brk #1; 1: eret", tmp_path).ending == "eret"
    assert only("mov x1, #4; tbz x1, #2, 1f; eret; 1: brk #1", tmp_path).ending == "eret"


def test_a_loop_without_end(tmp_path: Path) -> None:
    assert only("b .", tmp_path).ending == "loop"
    assert only("1: nop; nop; b 1b", tmp_path).ending == "loop"


def test_a_loop_that_counts_is_followed_to_its_end(tmp_path: Path) -> None:
    way = only("mov x1, #20; 1: sub x1, x1, #1; cbnz x1, 1b; eret", tmp_path)
    assert (way.ending, way.x[1].known) == ("eret", 0)


def test_one_that_counts_too_far_is_given_up(tmp_path: Path) -> None:
    way = only(f"mov x1, #{MOST_STEPS}; 1: sub x1, x1, #1; cbnz x1, 1b; eret", tmp_path)
    assert way.ending == "given up"


def test_too_many_ways_are_given_up(tmp_path: Path) -> None:
    text = "".join(f"tbz x1, #{n}, 1f; add x2, x2, #{1 << n}; 1:\n" for n in range(12))
    text += "".join(f"tbz x3, #{n}, 1f; add x4, x4, #{1 << n}; 1:\n" for n in range(12))
    assert any(way.ending == "given up" for way in ways(f"{text}; eret", tmp_path))


def test_a_branch_to_what_the_caller_gave(tmp_path: Path) -> None:
    way = only("mov x17, x0; mov x0, x1; br x17", tmp_path)
    assert (way.ending, way.target, way.x[0]) == ("enters", symbol("x0"), symbol("x1"))


def test_a_function_of_the_caller_changes_nothing(tmp_path: Path) -> None:
    way = only("mov x18, x30; blr x0; mov x30, x18; eret", tmp_path)
    assert [call.target for call in way.called] == [symbol("x0")]
    assert way.x[30] == symbol("x30")
    assert way.x[5] == symbol("x5")


def test_a_function_of_the_kernel_may_change_what_the_standard_says(tmp_path: Path) -> None:
    compiled = '.file "kernel.c"; here: bl callee; eret; .globl callee; callee: ret'
    way = only(compiled, tmp_path)
    changed = [n for n in range(31) if way.x[n] != symbol(f"x{n}")]
    assert changed == [*range(19), 30]


def test_a_vector_register_and_the_instruction_that_wrote_it(tmp_path: Path) -> None:
    assert dict(only("nop; fmov d7, x0; eret", tmp_path).vectors) == {7: 4}


def test_an_instruction_that_traps(tmp_path: Path) -> None:
    assert only("nop; brk #3", tmp_path).ending == "fault"
    assert only(".inst 0xffffffff", tmp_path).ending == "given up"


@pytest.mark.parametrize("text", ["mov z1.d, #0", "cntb x1", "ptrue p1.b"])
def test_an_sve_instruction_is_given_up(text: str, tmp_path: Path) -> None:
    """capstone doesn't say what it writes, so nothing is claimed of what follows."""
    assert only(f".arch armv8-a+sve; {text}; eret", tmp_path).ending == "given up"


def test_a_pair_that_is_swapped(tmp_path: Path) -> None:
    way = only(".arch armv8.1-a; casp x4, x5, x6, x7, [x9]; eret", tmp_path)
    assert [n for n in range(31) if way.x[n] != symbol(f"x{n}")] == [4, 5]


def test_two_stack_pointers(tmp_path: Path) -> None:
    way = only("msr spsel, #0; mov sp, x5; msr spsel, #1; eret", tmp_path)
    assert (way.sp, way.system["SP_EL0"]) == (symbol("SP_EL2"), symbol("x5"))
    way = only("msr spsel, #0; msr spsel, #1; eret", tmp_path)
    assert (way.sp, way.system.get("SP_EL0")) == (symbol("SP_EL2"), None)
    way = only("mov sp, x4; msr spsel, #0; mov sp, x5; eret", tmp_path)
    assert (way.sp, way.system["SP_EL0"]) == (symbol("x4"), symbol("x5"))


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("smc #0", {*range(18)}),
        ("mov x16, x30; bl 7f; mov x30, x16; b 8f; 7: mov x20, #1; ret; 8:", {16, 20}),
        ("paciasp", {30}),
        ("paciasp; autiasp", set()),
        ("str x19, [x1]; str q0, [x1]; ldr x19, [x1]", {19}),
        ("str x19, [x1]; ldadd x2, x3, [x1]; ldr x19, [x1]", {3, 19}),
        ("str x19, [x1]; ldr x2, [x1]; ldr x19, [x1]", {2}),
        ("str x19, [x1]; dc zva, x1; ldr x19, [x1]", {19}),
        ("ldraa x20, [x1]", {20}),
    ],
)
def test_what_code_does_besides_moving(text: str, changed: set[int], tmp_path: Path) -> None:
    way = only(f".arch armv8.3-a; {text}; eret", tmp_path)
    assert {n for n in range(31) if way.x[n] != symbol(f"x{n}")} == changed


@pytest.mark.parametrize(
    "text",
    [
        "hvc #0", "svc #0", ".arch armv8.7-a+memtag+ls64; ldlar x20, [x1]", "irg x20, x1",
        "gmi x20, x1, x2", "subps x20, x1, x2", "ldg x20, [x1]", "fjcvtzs w20, d1",
        "sqrdmlah v5.4h, v1.4h, v2.4h", "sdot v5.4s, v1.16b, v2.16b", "smstart", "ld64b x0, [x1]",
        "smov x20, v1.h[0]",
    ],
)  # fmt: skip
def test_what_nobody_knows_the_writes_of_is_given_up(text: str, tmp_path: Path) -> None:
    arch = ".arch armv8.7-a+memtag+ls64+dotprod+sme"
    way = only(f"{arch}; {text}; eret", tmp_path)
    assert way.ending == "given up"


def test_every_register_of_a_list_is_written(tmp_path: Path) -> None:
    way = only("ld4r {v5.16b, v6.16b, v7.16b, v8.16b}, [x1]; eret", tmp_path)
    assert set(way.vectors) == {5, 6, 7, 8}


@pytest.mark.parametrize("text", ["msr nzcv, x1", "mrs x3, s3_3_c2_c4_0"])
def test_flags_that_are_written_otherwise_are_not_known(text: str, tmp_path: Path) -> None:
    elf = assembled(
        f"mov x2, #1; cmp x2, #1; {text}; b.ne 7f; eret; 7: mov x19, #1; eret", tmp_path
    )
    assert len(follow(elf, NOTHING_PATCHED, 0).ways) == 2


def test_ways_that_called_other_things_are_other_ways(tmp_path: Path) -> None:
    text = "mov x18, x30; cbz x5, 7f; blr x17; 7: mov x30, x18; eret"
    ways = follow(assembled(text, tmp_path), NOTHING_PATCHED, 0).ways
    assert sorted(len(way.called) for way in ways) == [0, 1]


@pytest.mark.parametrize(
    ("text", "daif"),
    [
        ("mrs x9, daif; msr daifset, #15; msr daif, x9", 0x3C0),
        ("msr daif, x1; msr daifset, #15", 0x3C0),
        ("msr daifclr, #2", 0x340),
    ],
)
def test_exceptions_are_masked_at_first(text: str, daif: int, tmp_path: Path) -> None:
    assert only(f"{text}; eret", tmp_path).system["DAIF"] == constant(daif)


def test_code_that_leaves_the_file(tmp_path: Path) -> None:
    assert only("nop", tmp_path).ending == "given up"


def test_entries_of_one_table_share_what_may_be_followed(tmp_path: Path) -> None:
    split = "tbz x1, #0, 1f; add x2, x2, #1; 1: tbz x3, #0, 2f; add x2, x2, #2; 2:\n"
    elf = assembled(f".globl start\nstart:\n{split * 8} eret", tmp_path)
    alone = follow(elf, NOTHING_PATCHED, 0)
    budget = Budget(2 * LEAST_STEPS)
    first, second = (follow(elf, NOTHING_PATCHED, 0, budget=budget) for _ in range(2))
    assert {way.ending for way in alone.ways} == {"eret"}
    assert {way.why for way in first.ways if way.ending == "given up"} == {
        "too many ways through it"
    }
    assert budget.steps == LEAST_STEPS, "the next one gets a little all the same"
    assert any(way.ending == "given up" for way in second.ways)


def test_where_paths_meet_the_one_without_a_boots_doing_is_kept(tmp_path: Path) -> None:
    """Whatever stands at 0, an instruction or the nop that replaces it, x19 is written."""
    elf = assembled("nop; mov x19, x17; eret; nop", tmp_path)
    patches = Patches([Alternative(0, 4, 12, 4, 1)], leaves={12: 4})
    assert patches.either(0) == (12,)
    (way,) = follow(elf, patches, 0).ways
    assert way.patched == ()
    elf = assembled("b 8; nop; eret; nop", tmp_path)
    other = Patches([Alternative(0, 4, 12, 4, 1)], leaves={12: 4})
    assert {way.patched for way in follow(elf, other, 0).ways} == {()}
