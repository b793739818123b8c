# SPDX-License-Identifier: Apache-2.0
"""Every rule has vectors that hold it and vectors that break it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hilagent import abi, probe
from hilagent.abi import Profile
from hilagent.link.wire import Seen
from hilagent.probe import State
from tests.probe import sim
from tests.probe.sim import Shot

GET, SET, CALL = "HVC_GET_VECTORS", "HVC_SET_VECTORS", "HVC_CALL_FUNC"
Breaks = Callable[[Shot], None]


def _only(imm: int) -> Callable[[Breaks], Breaks]:
    def wrap(breaks: Breaks) -> Breaks:
        return lambda shot: breaks(shot) if shot.imm == imm else None

    return wrap


def _x(register: int, value: int = 19) -> Breaks:
    def breaks(shot: Shot) -> None:
        shot.x[register] = value

    return breaks


def _v(register: int, value: int = 0) -> Breaks:
    def breaks(shot: Shot) -> None:
        shot.v[register] = value

    return breaks


def _sys(name: str, value: int = 0) -> Breaks:
    def breaks(shot: Shot) -> None:
        shot.sys[name] = value

    return breaks


def _set(**changes: int) -> Breaks:
    def breaks(shot: Shot) -> None:
        for name, value in changes.items():
            setattr(shot, name, value)

    return breaks


def _flip(bits: int) -> Breaks:
    def breaks(shot: Shot) -> None:
        shot.pstate ^= bits

    return breaks


def _flag(bit: int) -> Breaks:
    def breaks(shot: Shot) -> None:
        shot.flags |= bit

    return breaks


def _get_as_set(shot: Shot) -> None:
    shot.seen = Seen.VECTORS_SET
    shot.hit(0)


def _answer_vectors(shot: Shot) -> None:
    shot.x[0] = sim.facts(shot.cpu).front


def _swap_arguments(shot: Shot) -> None:
    shot.args[0], shot.args[1] = shot.args[1], shot.args[0]


def _lands_at_el1(shot: Shot) -> None:
    shot.seen, shot.landing = Seen.LANDED, 1 | 1 << 8


def _landing_unmasked(shot: Shot) -> None:
    shot.landing &= ~(1 << 17)


def _wrong_x1(shot: Shot) -> None:
    shot.x[1] = 0x1234


def _bad_sp(shot: Shot) -> None:
    shot.fault(0x96000040, far=sim.BAD_SP - 16)


def _undefined(shot: Shot) -> None:
    shot.fault(0x02000000)


CASES: tuple[tuple[str, int, Breaks, str, str, str], ...] = (
    ("get does set", 1, _get_as_set, "dispatch", GET, "effect"),
    ("set is ignored", 2, _set(seen=Seen.RETURNED), "dispatch", SET, "effect"),
    ("set takes x1", 2, lambda shot: shot.hit(1), "dispatch", SET, "effect"),
    ("unknown answers vectors", 0xBEEF, _answer_vectors, "dispatch", "unknown", "effect"),
    ("unknown sets vectors", 0xBEEF, _get_as_set, "dispatch", "unknown", "effect"),
    ("call is ignored", 3, _set(seen=Seen.RETURNED), "dispatch", CALL, "effect"),
    ("call never returns", 3, _set(seen=Seen.LANDED), "dispatch", CALL, "effect"),
    ("unknown returns 0", 0xBEEF, _x(0, 0), "result", "unknown", "x0"),
    ("get leaves x0", 1, lambda s: s.x.__setitem__(0, s.before.x[0]), "result", GET, "x0"),
    ("set returns 0", 2, _x(0, 0), "result", SET, "x0"),
    ("call loses x1", 3, _wrong_x1, "result", CALL, "x1"),
    ("call swaps arguments", 3, _swap_arguments, "callee-args", CALL, "x0"),
    ("call at EL1", 3, _lands_at_el1, "callee-state", CALL, "EL"),
    ("call with interrupts on", 3, _landing_unmasked, "callee-state", CALL, "DAIF"),
    ("returns too far", 1, _set(pc_off=4), "return-pc", GET, "pc"),
    ("returns to the hvc", 0xBEEF, _set(pc_off=-4), "return-pc", "unknown", "pc"),
    ("returns at EL2", 1, _flip(5 ^ 9), "return-el", GET, "EL"),
    ("returns at EL1t", 1, _flip(1), "return-el", GET, "SPSel"),
    ("faults at EL2", 1, _undefined, "fault", GET, "EL2 exception"),
    ("faults at EL1", 1, _set(seen=Seen.EL1_FAULT, esr=0x02000000), "fault", GET, "EL1 exception"),
    ("is lost", 1, _set(seen=Seen.LOST, vector=0), "fault", GET, "lost"),
    ("leaves an SError", 1, _flag(0x10), "fault", GET, "SError"),
    ("clobbers x16", 1, _x(16), "clobber", GET, "x16"),
    ("clobbers x30", 0xBEEF, _x(30, 0), "clobber", "unknown", "x30"),
    ("clobbers v7", 2, _v(7), "clobber", SET, "v7"),
    ("clobbers z3", 2, _set(z_changed=8), "clobber", SET, "z3"),
    ("clobbers FFR", 2, _set(z_changed=1 << 31), "clobber", SET, "z31, P or FFR"),
    ("clobbers SP_EL0", 1, _sys("SP_EL0"), "clobber", GET, "SP_EL0"),
    ("clobbers TPIDR_EL0", 1, _sys("TPIDR_EL0"), "clobber", GET, "TPIDR_EL0"),
    ("clobbers NZCV", 1, _flip(1 << 31), "pstate", GET, "NZCV"),
    ("unmasks interrupts", 1, _flip(1 << 7), "pstate", GET, "DAIF"),
    ("sets PAN", 1, _flip(1 << 22), "pstate", GET, "PAN"),
    ("sets an unknown bit", 1, _flip(1 << 19), "pstate", GET, "PSTATE"),
    ("leaks ESR", 0xBEEF, _x(1, 0x5A00BEEF), "leak", "unknown", "x1"),
    ("leaks VBAR", 0xBEEF, lambda s: _x(9, sim.facts(s.cpu).front)(s), "leak", "unknown", "x9"),
    ("leaks the return address", 1, lambda s: _x(3, s.before.pc + 4)(s), "leak", GET, "x3"),
    ("leaks SPSR", 1, lambda s: _x(3, s.before.pstate)(s), "leak", GET, "x3"),
    ("leaks an address of the table", 3, _x(9, sim.SLOT[0] + 0x95C), "leak", CALL, "x9"),
    ("loses lr in its call", 3, _x(30, sim.SLOT[0] + 0x95C), "clobber", CALL, "x30"),
    ("leaks in half a vector", 1, _v(2, 0x30C50830 << 64), "leak", GET, "v2"),
    ("leaks SP_EL2", 1, _x(3, sim.BAD_SP), "leak", GET, "x3"),
    ("clears MDCR_EL2.TDE", 1, _sys("MDCR_EL2", 6), "el2-state", GET, "MDCR_EL2"),
    ("moves VBAR_EL2", 1, _sys("VBAR_EL2", 0x1000), "el2-state", GET, "VBAR_EL2"),
    ("uses a bad stack", 1, _bad_sp, "stack", GET, "SP_EL2"),
    ("writes the page", 1, _flag(1), "stack", GET, "SP_EL2"),
    ("moves SP_EL2", 1, _flag(2), "stack", GET, "SP_EL2"),
)  # fmt: skip


@pytest.fixture(scope="module")
def iss() -> Profile:
    return abi.load("iss-2015")


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case[0]))
def test_broken_vectors_are_accused_of_the_rule_the_hcall_and_the_register(
    case: tuple[str, int, Breaks, str, str, str], iss: Profile
) -> None:
    _, imm, breaks, rule, hcall, what = case
    judgement = sim.judged(_only(imm)(breaks), profile=iss, odd=[imm])
    cell = judgement.cell(hcall, rule)
    assert cell.state is State.BROKEN
    found = [finding for finding in cell.findings if finding.what == what]
    assert len(found) == 1
    assert found[0].immediates == ((imm, imm),)
    assert found[0].cpus == (0, 1)
    assert found[0].origin == "EL1h"
    others = {finding.hcall for finding in judgement.findings} - {hcall}
    assert not others
    assert not judgement.clean


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case[0]))
def test_a_rule_broken_on_one_cpu_or_in_one_pass_alone_is_seen(
    case: tuple[str, int, Breaks, str, str, str], iss: Profile
) -> None:
    _, imm, breaks, rule, hcall, _ = case
    second = sim.judged(
        lambda shot: breaks(shot) if shot.cpu == 1 and shot.imm == imm else None,
        profile=iss,
        odd=[imm],
    )
    assert second.cell(hcall, rule).findings[0].cpus == (1,)
    later = sim.judged(
        lambda shot: breaks(shot) if shot.pass_no == 1 and shot.imm == imm else None,
        profile=iss,
        cpus=(0,),
        odd=[imm],
    )
    assert later.cell(hcall, rule).state is State.BROKEN


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case[0]))
def test_no_breach_needs_the_register_files_to_be_seen(
    case: tuple[str, int, Breaks, str, str, str], iss: Profile
) -> None:
    _, imm, breaks, rule, hcall, what = case
    judgement = sim.judged(_only(imm)(breaks), profile=iss, odd=[imm], evidence=False)
    if what == "x1" and rule == "result":
        assert judgement.cell(hcall, rule).state is State.UNFINISHED
    else:
        instead = "clobber" if rule == "leak" else rule
        assert judgement.cell(hcall, instead).state is State.BROKEN
    assert not judgement.clean


@pytest.mark.parametrize(
    ("name", "server"),
    [
        (name, server)
        for name in ("iss-2015", "iss-6.12", "iss-6.12-scs")
        for server in abi.load(name).servers
    ],
)
def test_vectors_that_keep_their_contract_are_never_accused(name: str, server: str) -> None:
    judgement = sim.judged(profile=abi.load(name), server=server)
    assert judgement.findings == ()
    assert judgement.clean
    states = {cell.state for cell in judgement.cells.values()}
    assert states == {State.HELD, State.NOT_APPLICABLE}
    assert set(judgement.cells) == set(probe.rules(abi.load(name), server))


def test_a_rule_that_says_nothing_about_an_hcall_says_why(iss: Profile) -> None:
    judgement = sim.judged(profile=iss, server="kvm")
    assert judgement.cell("HVC_CALL_HYP", "stack").state is State.NOT_APPLICABLE
    assert "stack" in judgement.cell("HVC_CALL_HYP", "stack").reason
    assert judgement.cell(GET, "callee-args").reason == "it calls nothing"


def test_a_restart_is_judged_by_its_landing() -> None:
    profile = abi.load("iss-6.12")

    def keeps_x1(shot: Shot) -> None:
        if shot.imm == 4:
            shot.args[1] = 1

    judgement = sim.judged(keeps_x1, profile=profile)
    cell = judgement.cell("HVC_SOFT_RESTART", "callee-args")
    assert {(f.what, f.origin) for f in cell.findings} == {("x1", "EL1h"), ("x1", "EL2h")}
    assert judgement.cell("HVC_SOFT_RESTART", "return-pc").state is State.NOT_APPLICABLE
    assert judgement.cell("HVC_FINALISE_EL2", "clobber").reason.startswith("not swept")


def test_a_restart_that_returns_is_a_misroute() -> None:
    def returns(shot: Shot) -> None:
        if shot.imm == 4:
            shot.seen, shot.catch = Seen.RETURNED, 0xFF

    cell = sim.judged(returns, profile=abi.load("iss-6.12")).cell("HVC_SOFT_RESTART", "dispatch")
    assert cell.findings[0].found == "returns, x0 unchanged"


def test_hcalls_from_el2h_are_judged_where_they_are_served() -> None:
    def only_el2(shot: Shot) -> None:
        if shot.origin == 9 and shot.imm == 1:
            shot.x[20] = 1

    cell = sim.judged(only_el2, profile=abi.load("iss-6.12")).cell(GET, "clobber")
    assert [finding.origin for finding in cell.findings] == ["EL2h"]


def test_a_kernel_with_the_shadow_call_stack_may_not_lose_x18() -> None:
    def takes_x18(shot: Shot) -> None:
        if shot.imm != 0:  # SMCCC's: keeps x18 in every profile
            shot.x[18] = shot.imm | 1 << 40

    judgement = sim.judged(takes_x18, profile=abi.load("iss-6.12-scs"))
    assert judgement.cell(GET, "clobber").findings[0].what == "x18"
    assert sim.judged(takes_x18, profile=abi.load("iss-6.12")).clean


def test_whoever_writes_a_vector_register_is_accused_of_it_once(iss: Profile) -> None:
    def writes_v7(shot: Shot) -> None:
        shot.v[7], shot.z_changed = 0, 1 << 7

    judgement = sim.judged(writes_v7, profile=iss)
    assert {f.what for f in judgement.findings} == {"v7"}


def test_values_in_registers_that_the_contract_gives_away_are_no_leak(iss: Profile) -> None:
    judgement = sim.judged(_x(17, 0x5A001234), profile=iss)
    assert judgement.clean
    assert {(note.hcall, note.what) for note in judgement.notes} >= {(GET, "x17"), (GET, "x18")}
    assert judgement.changes[GET]["x17"] == "allowed"


def test_a_callers_own_value_in_another_register_is_a_clobber_and_no_leak(iss: Profile) -> None:
    def copies(shot: Shot) -> None:
        if shot.imm == 1:
            shot.x[5] = shot.before.x[0]

    judgement = sim.judged(copies, profile=iss)
    assert judgement.cell(GET, "clobber").state is State.BROKEN
    assert judgement.cell(GET, "leak").state is State.HELD
    assert judgement.changes[GET]["x5"] == "breach"


def test_a_call_that_keeps_more_than_it_must_is_not_accused(iss: Profile) -> None:
    def keeps(shot: Shot) -> None:
        if shot.imm == 3:
            shot.x[1], shot.x[2] = shot.before.x[1], shot.before.x[2]

    assert sim.judged(keeps, profile=iss, odd=[3]).cell(CALL, "result").state is State.HELD


def test_a_restart_that_leaves_el2_changed_is_accused() -> None:
    profile = abi.load("iss-6.12")

    def cached(shot: Shot) -> None:
        if shot.imm == 4:
            shot.sys["SCTLR_EL2"] ^= 4

    found = sim.judged(cached, profile=profile, odd=[4]).cell("HVC_SOFT_RESTART", "el2-state")
    assert {each.what for each in found.findings} == {"SCTLR_EL2"}
