# SPDX-License-Identifier: Apache-2.0
"""Hand-made programs, each with what becomes of x17 behind its ``hvc``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from hilagent.audit.live import (
    LEAST_STEPS,
    MOST_IN_ALL,
    MOST_STEPS,
    Live,
    after,
    shadow_call_stack,
)
from hilagent.audit.patches import read_patches
from hilagent.audit.pointers import sums
from hilagent.audit.program import Program
from hilagent.elf import open_elf
from tests.audit.linked import compiled, made, program

HVC = 0xD400_0002
TAIL = "\tmov\tx17, #0\n1:\twfi\n\tb\t1b\n"
"""Ends every path: x17 is overwritten."""


def judged(elf_of: object, units: Mapping[str, str], register: int = 17) -> Live:
    assert isinstance(elf_of, Path)
    elf = program(elf_of, units)
    site = next(
        section.address + at
        for section in elf.code
        for at in range(0, section.size, 4)
        if elf.word(section.address + at) & 0xFFE0_001F == HVC
    )
    return after(Program(elf, read_patches(elf)), site, (register,))[register]


ALONE = {
    "a read": ("mov x0, x17", "live"),
    "a write": ("", "dead"),
    "a write of the low half": ("mov w17, #1; mov x0, x17", "dead"),
    "movk keeps the rest": ("movk x17, #1", "live"),
    "movz": ("movz x17, #1; mov x0, x17", "dead"),
    "a read and a write in one": ("add x17, x17, #1", "live"),
    "both branches write": ("cbz x0, 2f; mov x17, #1; b 3f; 2: mov x17, #2; 3: mov x0, x17",
                            "dead"),
    "one path only": ("cbz x0, 2f; mov x17, #1; 2: mov x0, x17", "live"),
    "b.eq": ("b.eq 2f; mov x17, #1; 2: mov x0, x17", "live"),
    "cbz reads": ("cbz x17, 2f; 2: nop", "live"),
    "cbnz reads the low half": ("cbnz w17, 2f; 2: nop", "live"),
    "tbz reads": ("tbz x17, #3, 2f; 2: nop", "live"),
    "tbnz branches": ("tbnz x0, #3, 2f; mov x17, #1; 2: mov x0, x17", "live"),
    "a loop that reads later": ("2: sub x0, x0, #1; cbnz x0, 2b; mov x1, x17", "live"),
    "a loop that writes": ("2: mov x17, #0; sub x0, x0, #1; cbnz x0, 2b; mov x1, x17", "dead"),
    "read behind an unconditional branch": ("b 2f; mov x0, x17; 2: nop", "dead"),
    "a store": ("str x17, [sp]", "live"),
    "an address": ("ldr x0, [x17]", "live"),
    "an index": ("ldr x0, [x1, x17]", "live"),
    "a load": ("ldr x17, [sp]; mov x0, x17", "dead"),
    "a load of the low half": ("ldrb w17, [sp]; mov x0, x17", "dead"),
    "the second of ldp": ("ldp x16, x17, [sp], #16; mov x0, x17", "dead"),
    "the base of ldp": ("ldp x0, x1, [x17], #16", "live"),
    "the second of stp": ("stp x16, x17, [sp, #-16]!", "live"),
    "csel reads": ("csel x0, x1, x17, eq", "live"),
    "csel writes": ("csel x17, x1, x2, eq; mov x0, x17", "dead"),
    "bfi keeps the rest": ("bfi x17, x0, #3, #4", "live"),
    "ubfx": ("ubfx x17, x0, #3, #4; mov x0, x17", "dead"),
    "mrs": ("mrs x17, currentel; mov x0, x17", "dead"),
    "msr": ("msr tpidr_el1, x17", "live"),
    "an atomic add reads": ("ldadd x17, x0, [x1]", "live"),
    "an atomic add isn't sure to write": ("ldadd x0, x17, [x1]", "live"),
    "the second register of casp": ("casp x16, x17, x2, x3, [x0]", "live"),
    "a failed exclusive store": ("stxr w17, x0, [x1]; mov x0, x17", "live"),
    "pacia1716": ("pacia1716", "live"),
    "an immediate of that number": ("add x0, x1, #(17 << 5 | 17)", "dead"),
    "an indirect branch": ("br x3", "may be live"),
    "by that register": ("br x17", "live"),
    "ret x17": ("ret x17", "live"),
    "an exception return": ("eret", "may be live"),
    "brk goes on": ("brk #1; mov x0, x17", "live"),
    "hlt doesn't": ("hlt #1; mov x0, x17", "dead"),
    "svc keeps it": ("svc #0; mov x0, x17", "live"),
    "another hvc doesn't read it": ("hvc #7", "dead"),
    "a replacement that reads": ('alternative "nop", "mov x0, x17"', "live"),
    "a replacement that writes": (
        'alternative "mov x17, #1", "mov x17, #2"; mov x0, x17', "dead"),
    "only the replacement writes": ('alternative "nop", "mov x17, #2"; mov x0, x17', "live"),
    "a callback may write anything": ("called nop, elsewhere", "may be live"),
    "a static key": ("static_key nop, 2f; mov x17, #1; 2: mov x0, x17", "live"),
    "a fixup": ('may_fault "ldr x17, [x0]", 2f; nop; b 3f; 2: mov x0, x17; 3: nop', "live"),
    "it runs into data": ("nop; .inst.n_is_data", "may be live"),
    "blr, and nobody's address is taken": ("blr x3", "dead"),
    "an unknown instruction": (".inst 0x74000000", "may be live"),
}  # fmt: skip


@pytest.mark.parametrize("case", ALONE)
def test_straight_code(tmp_path: Path, case: str) -> None:
    text, expected = ALONE[case]
    text = text.replace(".inst.n_is_data", ".quad 17")
    found = judged(tmp_path, {"a.c": f"key:\nstart:\thvc #1\n{text}\n{TAIL}elsewhere:\tret\n"})
    assert (found.state, found.at is None) == (expected, expected == "dead"), found


def _callee(text: str, behind: str = "mov x0, x17") -> dict[str, str]:
    return {"a.c": f"start:\thvc #1\n\tbl f\n\t{behind}\n{TAIL}f:\t{text}\n"}


STUB = ".globl stub\nstub:\thvc #1\n\tret\n"
LOCAL = "stub:\thvc #1\n\tret\n"
READ = "\tmov\tx0, x17\n"

CALLS: dict[str, tuple[dict[str, str], str]] = {
    "a callee that reads": (_callee("mov x0, x17; ret", "nop"), "may be live"),
    "a callee that writes": (_callee("mov x17, #0; ret"), "dead"),
    "one that leaves it alone": (_callee("mov x0, #0; ret"), "live"),
    "one that writes on one path": (_callee("cbz x0, 2f; mov x17, #0; 2: ret"), "live"),
    "one that never returns": (_callee("wfi; b f"), "dead"),
    "recursion": (_callee("cbz x0, 2f; bl f; 2: ret", "nop"), "dead"),
    "recursion, then a read": (_callee("cbz x0, 2f; bl f; mov x0, x17; 2: ret", "nop"),
                               "may be live"),
    "mutual recursion": (
        _callee("cbz x0, 2f; bl g; 2: ret\ng:\tcbz x0, 2f; bl f; mov x0, x17; 2: ret", "nop"),
        "may be live"),
    "mutual recursion that writes": (
        _callee("cbz x0, 2f; bl g; 2: mov x17, #0; ret\ng:\tbl f; mov x0, x17; ret"), "dead"),
    "a callee's tail call that reads": (_callee("b g\ng:\tmov x0, x17; ret", "nop"),
                                      "may be live"),
    "a callee's callee that reads": (
        _callee("mov x17, x17; bl g; ret\ng:\tmov x0, x17; ret", "nop"), "may be live"),
    "a call into the middle": (
        {"a.c": f"start:\thvc #1\n\tbl f + 4\n{TAIL}f:\tmov x17, #0\n\tmov x0, x17\n\tret\n"},
        "live"),
    "blr, and one that reads has its address taken": (
        {"a.c": f"start:\thvc #1\n\tblr x3\n{TAIL}f:\tmov x0, x17\n\tret\n.data\n.quad f\n"
                ".type f, %function\n"}, "may be live"),
    "a callee that may be written anew": (
        {"a.c": f"start:\thvc #1\n\tbl f\n{TAIL}f:\tcalled nop, g\n\tret\ng:\tret\n"},
        "may be live"),
    "what isn't marked as a function isn't called": (
        {"a.c": f"start:\thvc #1\n\tblr x3\n{TAIL}f:\tmov x0, x17\n\tret\n.data\n.quad f\n"},
        "dead"),
    "blr, and one that doesn't read has": (
        {"a.c": f"start:\thvc #1\n\tblr x3\n{TAIL}f:\tmov x17, #0\n\tret\n.data\n.quad f\n"
                ".type f, %function\n"}, "dead"),
    "blr in a callee": (
        {"a.c": f"start:\thvc #1\n\tbl g\n{TAIL}g:\tblr x3\n\tret\nf:\tmov x0, x17\n\tret\n"
                ".data\n.quad f\n.type f, %function\n"}, "may be live"),
    "a caller that reads": ({"a.c": LOCAL + f"c:\tbl stub\n{READ}{TAIL}"}, "live"),
    "a caller that writes": ({"a.c": LOCAL + f"c:\tbl stub\n{TAIL}"}, "dead"),
    "one of two callers reads": (
        {"a.c": LOCAL + f"c:\tbl stub\n{TAIL}d:\tbl stub\n{READ}{TAIL}"}, "live"),
    "a caller's caller": (
        {"a.c": LOCAL + f"c:\tbl stub\n\tret\nd:\tbl c\n{READ}{TAIL}"}, "live"),
    "a caller's tail call": (
        {"a.c": LOCAL + f"c:\tb stub\nd:\tbl c\n{READ}{TAIL}"}, "live"),
    "tail calls in a row": (
        {"a.c": LOCAL + f"c:\tb stub\nd:\tb c\ne:\tbl d\n{READ}{TAIL}"}, "live"),
    "the hcall falls into the next function": (
        {"a.S": f"s:\thvc #1\n\tnop\nnext:\tmov x0, x17\n{TAIL}"}, "live"),
    "callers of the function that falls into it": (
        {"a.S": f"s:\tmov x0, #1\nstub:\thvc #1\n\tret\nc:\tbl s\n{READ}{TAIL}"}, "live"),
    "a caller into the middle": (
        {"a.c": f"stub:\tnop\n\thvc #1\n\tret\nc:\tbl stub + 4\n{READ}{TAIL}"}, "live"),
    "a global function's caller in its own unit": (
        {"a.c": STUB + f"c:\tbl stub\n{READ}{TAIL}"}, "live"),
    "its caller in another C unit": (
        {"a.c": STUB, "b.c": f".globl c\nc:\tbl stub\n{READ}{TAIL}"}, "dead"),
    "its caller in assembler": (
        {"a.c": STUB, "b.S": f".globl c\nc:\tbl stub\n{READ}{TAIL}"}, "live"),
    "its caller in assembler that writes": (
        {"a.c": STUB, "b.S": f".globl c\nc:\tbl stub\n{TAIL}"}, "dead"),
    "a global function without callers": ({"a.c": STUB}, "dead"),
    "its address is taken": ({"a.c": STUB + ".data\n.quad stub\n"}, "dead"),
    "a local one's address is taken": (
        {"a.c": LOCAL + f"c:\tbl stub\n{TAIL}.data\n.quad stub\n"}, "may be live"),
    "by a short offset": (
        {"a.c": LOCAL + f"c:\tbl stub\n{TAIL}.data\n.word stub - .\n"}, "may be live"),
    "by adrp and add": (
        {"a.c": LOCAL + f"c:\tadrp x0, stub\n\tadd x0, x0, :lo12:stub\n\tbl stub\n{TAIL}"},
        "may be live"),
    "by adr": ({"a.c": LOCAL + f"c:\tadr x0, stub\n\tbl stub\n{TAIL}"}, "may be live"),
    "no caller is known": ({"a.c": LOCAL}, "may be live"),
    "read outranks what is open": (
        {"a.c": LOCAL + f"c:\tbl stub\n\tcbz x0, 2f\n\tbr x3\n2:{READ}{TAIL}"}, "live"),
    "a veneer": (
        {"a.c": f"start:\thvc #1\n\tbl v\n{READ}{TAIL}v:\tadrp x17, far\n\tbr x17\nfar:\tret\n"},
        "dead"),
    "a call that a C function ends with": (
        {"a.c": f"s:\thvc #1\n\tbl f\nnext:\tmov x0, x17\n{TAIL}f:\tret\n"}, "dead"),
    "the same in assembler": (
        {"a.S": f"s:\thvc #1\n\tbl f\nnext:\tmov x0, x17\n{TAIL}f:\tret\n"}, "live"),
}  # fmt: skip


@pytest.mark.parametrize("case", CALLS)
def test_calls_and_returns(tmp_path: Path, case: str) -> None:
    units, expected = CALLS[case]
    found = judged(tmp_path, units)
    assert found.state == expected, found


@pytest.mark.parametrize("case", [
    "a callee that reads", "recursion, then a read", "mutual recursion",
    "a callee's tail call that reads", "a callee's callee that reads",
])  # fmt: skip
def test_what_is_called_in_assembler_may_expect_something_anywhere(
    tmp_path: Path, case: str
) -> None:
    """Of compiled code no caller does: what it reads there is of a path that never runs."""
    units, _ = CALLS[case]
    (text,) = units.values()
    assert judged(tmp_path, {"a.S": text}).state == "live"


@pytest.mark.parametrize(("register", "expected"), [(0, "live"), (7, "live"), (8, "dead")])
def test_another_hcall_is_handed_its_arguments(
    tmp_path: Path, register: int, expected: str
) -> None:
    text = f"start:\thvc #1\n\tsmc #0\n\tmov x{register}, #0\n{TAIL}"
    assert judged(tmp_path, {"a.c": text}, register).state == expected


@pytest.mark.parametrize(("register", "expected"), [(0, "live"), (2, "dead"), (19, "live")])
def test_what_the_standard_says_of_a_return(tmp_path: Path, register: int, expected: str) -> None:
    caller = f".globl c\nc:\tbl stub\n\tmov x3, x{register}\n\tmov x19, #0\n{TAIL}"
    assert judged(tmp_path, {"a.c": STUB, "b.c": caller}, register).state == expected


def test_a_path_says_where_it_went(tmp_path: Path) -> None:
    found = judged(tmp_path, {"a.c": LOCAL + f"c:\tbl stub\n{READ}{TAIL}"})
    assert found.at == 0x1000C
    assert found.path[-1] == 0x1000C
    assert "x17 is read at c+0x4" in found.why


def test_x18_is_live_under_the_shadow_call_stack(tmp_path: Path) -> None:
    text = f"start:\thvc #1\n\tmov x18, #0\n{TAIL}f:\tstr x30, [x18], #8\n\tret\n"
    elf = program(tmp_path, {"a.c": text})
    place = shadow_call_stack(elf)
    assert place is not None
    assert elf.word(place) == 0xF800865E
    found = after(Program(elf, read_patches(elf)), 0x10000, (17, 18))
    assert (found[17].state, found[18].state, found[18].at) == ("dead", "live", place)


def test_without_it_there_is_none(tmp_path: Path) -> None:
    assert shadow_call_stack(program(tmp_path, {"a.c": "str x30, [x19], #8\n"})) is None


@pytest.mark.parametrize(("register", "expected"), [(17, "dead"), (9, "may be live")])
def test_a_call_out_of_a_module_may_go_through_a_veneer(
    tmp_path: Path, register: int, expected: str
) -> None:
    text = f"start:\thvc #1\n\tbl outside\n\tmov x9, #0\n{READ}{TAIL}"
    elf = open_elf(made(tmp_path, 0, "a.c", text))
    start = elf.symbols.named("start")
    assert start is not None
    code = Program(elf, read_patches(elf))
    found = after(code, start.address, (register,))[register]
    assert found.state == expected, found


def test_a_loop_comes_back_to_the_hcall_itself(tmp_path: Path) -> None:
    text = f"start:\thvc #1\n\tcbnz x8, start\n\tmov x7, #0\n{TAIL}"
    assert judged(tmp_path, {"a.c": text}, 7).state == "live"


def test_a_function_is_left_by_a_call_and_by_a_tail_call(tmp_path: Path) -> None:
    text = f"""stub:\thvc #1
	bl reads_not
	b reads_not
reads_not:
	ret
c:	bl stub
{READ}{TAIL}
"""
    assert judged(tmp_path, {"a.c": text}).state == "live"


DUMP = "".join(f"\tstp x{n}, x{n + 1}, [x19, #{8 * n}]\n" for n in range(0, 30, 2))


def test_a_dump_of_all_registers_in_c_relies_on_none(tmp_path: Path) -> None:
    found = judged(tmp_path, {"a.c": f"start:\thvc #1\n{DUMP}{TAIL}"})
    assert found.state == "dead"
    assert "dump at start+0x24" in found.why
    assert judged(tmp_path, {"a.S": f"start:\thvc #1\n{DUMP}{TAIL}"}).state == "live"


IPA_RA = """
static __attribute__((noinline)) void stub(void) { asm volatile("hvc #1" ::: "memory"); }
unsigned long caller(unsigned long *p)
{
	register unsigned long kept asm("x17") = p[0];
	asm volatile("" : "+r"(kept));
	stub();
	asm volatile("" : "+r"(kept));
	return kept + p[1];
}
"""


def test_gcc_keeps_a_value_across_a_call_inside_its_unit(tmp_path: Path) -> None:
    elf = compiled(tmp_path, IPA_RA)
    stub = elf.symbols.named("stub")
    assert stub is not None
    words = [elf.word(at) for at in range(stub.address, stub.address + 8, 4)]
    assert words == [0xD4000022, 0xD65F03C0]
    found = after(Program(elf, read_patches(elf)), stub.address, (16, 17))
    assert found[17].state == "live", found
    assert found[16].state == "dead", found


def test_it_gives_up_in_bounded_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hilagent.audit.live.MOST_STEPS", 10)
    found = judged(tmp_path, {"a.c": "start:\thvc #1\n" + "\tcbz x0, end\n" * 20 + f"end:{TAIL}"})
    assert found.state == "may be live"
    assert "too many paths" in found.why
    assert MOST_STEPS == 200_000


def test_all_searches_in_a_program_share_what_they_may_take(tmp_path: Path) -> None:
    branches = "\tcbz x0, .+8\n" * (LEAST_STEPS + 1)
    elf = program(tmp_path, {"a.c": f"f:\thvc #1\n{branches}{TAIL}"})
    code = Program(elf, read_patches(elf))
    site = elf.code[0].address
    assert after(code, site, (17,))[17].state == "dead"
    assert code.searched > LEAST_STEPS
    code.searched = MOST_IN_ALL
    found = after(code, site, (17,))[17]
    assert found.state == "may be live"
    assert f"too many paths: {LEAST_STEPS} steps" in found.why


def test_an_address_is_formed_of_what_one_register_held() -> None:
    pages, lows = {(0, 0x1000), (1, 0x2000), (2, 0x9000)}, {0: {0x10, 0x20}, 1: {0x20}, 3: {0x30}}
    wanted = {0x1000: {0x10, 0x30}, 0x2000: {0x10, 0x20}}
    assert set(sums(pages, lows, wanted)) == {0x1010, 0x2020}
