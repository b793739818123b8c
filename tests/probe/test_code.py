# SPDX-License-Identifier: Apache-2.0
"""Code against board: what changed though no path changes it, and what no board took."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from hilagent import abi, probe
from hilagent.audit.possible import Code, code_of
from hilagent.elf import open_elf
from hilagent.probe import by_x0
from hilagent.probe.code import Row, rows
from tests.elf.kernels import ISS, X0, kernel
from tests.probe import sim, x0sim
from tests.probe.sim import Behaviour, Shot

GET, SET, CALL = "HVC_GET_VECTORS", "HVC_SET_VECTORS", "HVC_CALL_FUNC"
PROFILE = abi.load("iss-6.12")
NOTHING: probe.Withheld = {}


def _code(folder: Path, source: str, profile: abi.Profile, *defines: str) -> Code:
    code = code_of(open_elf(kernel(folder, source, *defines)), profile, "hyp-stub")
    assert code is not None
    return code


def _rows(
    folder: Path,
    behave: Behaviour | None = None,
    *defines: str,
    withheld: probe.Withheld = NOTHING,
    odd: tuple[int, ...] = (),
) -> Mapping[str, Row]:
    judged = sim.judged(behave, profile=PROFILE, cpus=(0,), odd=odd)
    code = _code(folder, ISS, PROFILE, *defines)
    return {each.hcall: each for each in rows(PROFILE, code, judged, withheld)}


def _like_the_code(shot: Shot) -> None:
    """The simulated vectors write whatever their contract gives away; the code does not."""
    keeps = {"x18"} if shot.imm != 3 else set()
    if shot.imm == 0:
        keeps |= {"x17"}
    for register in keeps:
        shot.x[int(register[1:])] = shot.before.x[int(register[1:])]


def test_a_board_that_does_what_the_code_does_has_nothing_beyond(tmp_path: Path) -> None:
    found = _rows(tmp_path, _like_the_code)
    assert {name: row.beyond for name, row in found.items() if row.beyond} == {}
    assert found[GET].contract == ("x0", "x17", "x18")
    assert found[GET].code == found[GET].board == ("x0", "x17")
    assert found[SET].code == found[SET].board == ("x17", "VBAR_EL2")
    assert not found[GET].untaken
    assert not found[SET].untaken


def test_hcalls_that_never_come_home_have_no_row(tmp_path: Path) -> None:
    assert "HVC_SOFT_RESTART" not in _rows(tmp_path)


def _sys(name: str) -> Behaviour:
    def behave(shot: Shot) -> None:
        shot.sys[name] ^= 1

    return behave


def _change(what: str) -> Behaviour:
    def behave(shot: Shot) -> None:
        _like_the_code(shot)
        if shot.imm != 1:
            return
        if what[0] == "x":
            shot.x[int(what[1:])] ^= 1
        elif what[0] == "v":
            shot.v[int(what[1:])] ^= 1
        elif what[0] == "z":
            shot.z_changed = 1 << int(what[1:])
        elif what == "NZCV":
            shot.pstate ^= 1 << 31
        else:
            _sys(what)(shot)

    return behave


@pytest.mark.parametrize(
    "what", ["x5", "x18", "x30", "v9", "z9", "NZCV", "TPIDR_EL0", "PAR_EL1", "FPSR", "HCR_EL2"]
)
def test_what_no_path_changes_is_beyond_the_code(tmp_path: Path, what: str) -> None:
    """x18 as well: the contract gives it away, and this code doesn't touch it."""
    row = _rows(tmp_path, _change(what))[GET]
    assert row.beyond == {what: (1,)}
    assert what in (row.board or ())


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("x5", "mov x5, x17"),
        ("v9", "movi v9.2d, #0"),
        ("z9", "movi v9.2d, #0"),
        ("FPSR", "fadd d9, d9, d9"),
        ("NZCV", "msr spsr_el2, x1"),
        ("TPIDR_EL0", "msr tpidr_el0, x1"),
        ("PAR_EL1", "at s1e1r, x1"),
    ],
)
def test_what_a_path_changes_is_not_beyond_the_code(tmp_path: Path, what: str, text: str) -> None:
    row = _rows(tmp_path, _change(what), f"EVERY={text}")[GET]
    assert not row.beyond
    assert set(row.untaken or {}) <= {"v9"}  # of fadd the flags alone were seen


def test_a_register_without_a_name_may_be_any(tmp_path: Path) -> None:
    change = _change("TPIDR_EL0")
    row = _rows(tmp_path, change, "EVERY=msr s3_4_c15_c2_1, x1")[GET]
    assert not row.beyond


def test_what_the_recorder_changes_too_is_no_codes(tmp_path: Path) -> None:
    withheld = {(0, 5): frozenset({"x5"})}
    row = _rows(tmp_path, _change("x5"), withheld=withheld)[GET]
    assert not row.beyond
    assert "x5" not in (row.board or ())


def test_a_path_that_was_not_taken_is_named(tmp_path: Path) -> None:
    row = _rows(tmp_path, _like_the_code, "EVERY=cbz x5, 7f; mov x6, x17; 7:")[GET]
    assert set(row.untaken or {}) == {"x6"}
    assert "where the CPU goes that way at elx_sync+0x1c" in (row.untaken or {})["x6"]


def test_a_number_that_nobody_thought_of_is_followed_before_anybody_is_accused(
    tmp_path: Path,
) -> None:
    """Where the code goes from 0x4100 to 0x41ff, x6 is written; no compare tells of 0x4123."""
    goes = "EVERY=lsr x16, x17, #8; cmp x16, #0x41; b.ne 7f; mov x6, x16; 7:"

    def behave(shot: Shot) -> None:
        _like_the_code(shot)
        shot.x[16] = shot.imm >> 8
        if shot.imm == 0x4123:
            shot.x[6] ^= 1

    row = _rows(tmp_path, behave, goes, odd=(0x4123, 0x4124))["unknown"]
    assert "x6" not in (row.code or ())
    assert "x6" in (row.board or ())
    assert not row.beyond
    alone = _rows(tmp_path, _six_at(0x5123), goes, odd=(0x5123, 0x5124))["unknown"]
    assert alone.beyond == {"x6": (0x5123,)}


def _six_at(number: int) -> Behaviour:
    def behave(shot: Shot) -> None:
        _like_the_code(shot)
        if shot.imm == number:
            shot.x[6] ^= 1

    return behave


@pytest.mark.parametrize(
    "guard",
    [
        "mov w9, w0; tbz w9, #31, 7f",
        "lsr x9, x0, #32; cbz x9, 7f",
        "mov x9, #0x10000; cmp x0, x9; b.lo 7f",
    ],
)
def test_what_code_does_of_other_values_of_x0_alone_is_known(tmp_path: Path, guard: str) -> None:
    profile = abi.load("x0-mainline@6.12")

    def behave(shot: Shot, imm: int) -> None:
        for register in range(1, 19):
            shot.x[register] = shot.before.x[register]
        if shot.before.x[0] >= 0x10000:
            shot.x[20] ^= 1

    judged = x0sim.judged(profile, by_x0.plan(profile, "hyp-stub", (0,)), behave)
    code = _code(tmp_path, X0, profile, f"EVERY={guard}; mov x20, x9; 7: mov x9, x1")
    unknown = next(row for row in rows(profile, code, judged, {}) if row.hcall == "unknown")
    assert "x20" in (unknown.code or ())
    assert not unknown.beyond


@pytest.mark.parametrize(
    ("what", "by"), [("SCTLR_EL2", "sctlr_el1"), ("SCTLR_EL1", "s3_5_c1_c0_0")]
)
def test_a_register_has_another_name_with_e2h(tmp_path: Path, what: str, by: str) -> None:
    row = _rows(tmp_path, _change(what), f"EVERY=msr {by}, x1")[GET]
    assert not row.beyond


def test_compiled_code_that_is_called_proves_nothing(tmp_path: Path) -> None:
    calls = "EVERY=mov x16, x30; bl compiled; mov x30, x16"
    row = _rows(tmp_path, _change("TPIDR_EL0"), calls, "COMPILED")[GET]
    assert row.code is None
    assert "compiled is called at elx_sync+" in row.reason


def test_code_that_can_not_be_followed_proves_nothing(tmp_path: Path) -> None:
    row = _rows(tmp_path, _change("x5"), "EVERY=.inst 0x2518e3e0")[GET]
    assert row.code is None
    assert not row.beyond
    assert row.reason


def test_what_was_not_measured_is_said(tmp_path: Path) -> None:
    code = _code(tmp_path, ISS, PROFILE)
    judged = probe.judge(PROFILE, "hyp-stub", [], sim.lab(), wanted=[])
    for row in rows(PROFILE, code, judged, {}):
        assert row.board is None
        assert row.reason.startswith("not measured: ")


def test_where_x0_names_the_hcall_other_kinds_of_hvc_are_followed_by_any_immediate(
    tmp_path: Path,
) -> None:
    profile = abi.load("x0-mainline@6.12")

    def behave(shot: Shot, imm: int) -> None:
        for register in range(1, 19):  # x0-mainline gives away x1 to x18
            shot.x[register] = shot.before.x[register]
        if imm & 8:
            shot.x[10] ^= 1

    plan = by_x0.plan(profile, "hyp-stub", (0,))
    judged = x0sim.judged(profile, plan, behave, odd=(8,))
    looks = "EVERY=mrs x9, esr_el2; tbz x9, #3, 7f; mov x10, x1; 7: mov x9, x1"
    for defines, beyond in (((looks,), False), ((), True)):
        code = _code(tmp_path, X0, profile, *defines)
        found = {each.hcall: each for each in rows(profile, code, judged, {})}
        assert ("x10" in (found["unknown"].beyond or {})) is beyond
