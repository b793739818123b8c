# SPDX-License-Identifier: Apache-2.0
"""What an hcall can change by its code: every path of it, and where."""

from __future__ import annotations

from pathlib import Path

import pytest

from hilagent import abi
from hilagent.audit.possible import Code, Possible, code_of
from hilagent.elf import open_elf
from tests.elf.kernels import ISS, X0, kernel

GET, SET = "HVC_GET_VECTORS", "HVC_SET_VECTORS"
WIDE = "EVERY=and x17, x17, #0xff"


def _code(folder: Path, source: str, *defines: str) -> Code:
    name = "iss-6.12" if source is ISS else "x0-mainline@6.12"
    found = code_of(open_elf(kernel(folder, source, *defines)), abi.load(name), "hyp-stub")
    assert found is not None
    return found


def _possible(folder: Path, hcall: str, *defines: str, source: str = ISS) -> Possible:
    code = _code(folder, source, *defines)
    return code.possible(code.profile.named(hcall, "hyp-stub"))


@pytest.mark.parametrize(
    ("hcall", "writes"),
    [
        (GET, {"x0", "x17"}),
        (SET, {"x17", "VBAR_EL2"}),
        ("HVC_CALL_FUNC", {"x0", "x1", "x2", "x17", "x18"}),
        ("unknown", {"x0", "x17"}),
    ],
)
def test_each_hcall_can_change_what_its_path_writes(
    tmp_path: Path, hcall: str, writes: set[str]
) -> None:
    possible = _possible(tmp_path, hcall)
    assert set(possible.writes) == set(possible.where) == writes
    assert not possible.unproven


@pytest.mark.parametrize(
    ("text", "more"),
    [
        ("EVERY=mov x16, x17", {"x16"}),
        ("EVERY=movi v7.2d, #0", {"v7", "FPSR"}),
        ("EVERY=at s1e1r, x0", {"PAR_EL1"}),
        ("EVERY=msr tpidr_el0, x17", {"TPIDR_EL0"}),
        ("EVERY=mrs x16, spsr_el2; msr elr_el2, x16; msr spsr_el2, x1", {"x16", "PSTATE"}),
        ("EVERY=cbz x5, 7f; mov x6, x17; 7:", {"x6"}),
    ],
)
def test_whatever_else_it_writes_is_known(tmp_path: Path, text: str, more: set[str]) -> None:
    code = _code(tmp_path, ISS, text)
    contract = code.profile.named("unknown", "hyp-stub")
    assert set(code.possible(contract).writes) - {"x0", "x17"} == more


def test_a_fork_on_the_way_is_named(tmp_path: Path) -> None:
    possible = _possible(tmp_path, "unknown", "EVERY=cbz x5, 7f; mov x6, x17; 7:")
    assert possible.where["x6"].startswith("elx_sync+0x20, where the CPU goes that way at ")
    assert "elx_sync+0x1c" in possible.where["x6"]
    assert "where" not in possible.where["x17"]


def test_a_number_that_is_taken_for_another_can_change_what_that_one_can(tmp_path: Path) -> None:
    code = _code(tmp_path, ISS, WIDE, "UNKNOWN=cmp x17, #0x77; b.ne 8f; mov x9, x17; 8:")
    unknown = code.profile.named("unknown", "hyp-stub")
    assert "VBAR_EL2" in code.possible(unknown).writes  # 0x102 differs from 2 in a bit
    assert "x9" in code.possible(unknown).writes  # the code compares with it
    assert "x9" in code.at(unknown, 0x4077).writes
    assert "x9" not in code.at(unknown, 0x4078).writes


def test_code_that_looks_at_the_immediate_too_is_followed_by_any(tmp_path: Path) -> None:
    looks = "EVERY=mrs x9, esr_el2; tbz x9, #3, 7f; mov x10, x9; 7: mov x9, x1"
    code = _code(tmp_path, X0, looks)
    reset = code.profile.named("HVC_RESET_VECTORS", "hyp-stub")
    assert "x10" not in code.possible(reset).writes
    assert "x10" in code.at(reset, 2).writes


def test_x0_that_still_holds_its_number_was_not_written(tmp_path: Path) -> None:
    possible = _possible(tmp_path, "unknown", "EVERY=b 8f", "UNKNOWN=eret; 8: eret", source=X0)
    assert set(possible.writes) == set()


def test_where_the_code_is_given_up_nothing_is_proved(tmp_path: Path) -> None:
    possible = _possible(tmp_path, GET, "EVERY=.inst 0x2518e3e0")
    assert possible.unproven


def test_an_elf_without_vectors_has_no_code(tmp_path: Path) -> None:
    from tests.audit.code import assembled

    assert code_of(assembled("nop", tmp_path), abi.load("iss-6.12"), "hyp-stub") is None
