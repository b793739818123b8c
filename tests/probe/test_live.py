# SPDX-License-Identifier: Apache-2.0
"""A running kernel is judged by the payload's rules, as far as EL1 can see them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from hilagent.abi import UNKNOWN
from hilagent.link.wire import Seen
from hilagent.linux.exchange import LiveSweep
from hilagent.linux.wire import Flag
from hilagent.probe import RULES, asks, live
from hilagent.probe.asks import Live
from hilagent.probe.judgement import Judgement, State
from tests.probe.livesim import IDMAP, SCS, SERVED, VBAR, X0, Kernel, facts, judged, profile_of
from tests.probe.sim import Shot

Breaks = Callable[[Shot], None]


@pytest.mark.parametrize(("name", "server"), SERVED)
def test_a_kernel_that_keeps_its_contract_is_clean(name: str, server: str) -> None:
    judgement, plan, _ = judged(name, server)
    assert judgement.findings == ()
    assert judgement.gaps == ()
    assert plan.asks
    open_cells = {c.state for c in judgement.cells.values()} - {State.HELD, State.NOT_APPLICABLE}
    assert not open_cells
    assert judgement.cell(UNKNOWN, "result").state is State.HELD
    assert judgement.cell(UNKNOWN, "clobber").state is State.HELD


def test_what_el1_can_not_see_is_not_held() -> None:
    judgement, _, _ = judged(SCS, "hyp-stub")
    for rule in ("stack", "el2-state"):
        cell = judgement.cell(UNKNOWN, rule)
        assert cell.state is State.NOT_APPLICABLE
        assert "not observable live" in cell.reason
    assert judgement.cell("HVC_SET_VECTORS", "dispatch").state is State.HELD
    under_kvm, _, _ = judged(SCS, "kvm")
    cell = under_kvm.cell("HVC_SET_VECTORS", "dispatch")
    assert "can't be told" in cell.reason
    told = [each for each in under_kvm.segments["EL1h"] if each.hcall == "HVC_SET_VECTORS"]
    assert told[0].effect.startswith("not observable live")


def _under_kvm(kernel: Kernel, known: Live) -> Judgement:
    plan = asks.plan(kernel.profile, "kvm", known)
    done = [kernel.do(ask) for ask in plan.asks]
    return live.judge_all(kernel.profile, plan, done)


def test_whether_kvm_sets_its_vectors_is_seen_where_its_first_ones_are_known() -> None:
    known = facts(idmap=IDMAP)
    good = _under_kvm(Kernel(profile_of(SCS), "kvm"), known)
    assert good.findings == ()
    assert good.cell("HVC_SET_VECTORS", "dispatch").state is State.HELD
    (found,) = _under_kvm(Kernel(profile_of(SCS), "kvm", deaf=True), known).findings
    assert (found.rule, found.hcall, found.what) == ("dispatch", "HVC_SET_VECTORS", "effect")
    assert "served by kvm" in found.evidence


@pytest.mark.parametrize("server", ["hyp-stub", "kvm"])
def test_a_number_in_x0_that_still_names_an_hcall_is_accused(server: str) -> None:
    """What selected before the series, left in beside the immediate: reset-vectors was 2."""

    def both(shot: Shot) -> None:
        if shot.imm == 0 and shot.before.x[0] == 2:
            shot.x[0] = 0

    judgement, _, _ = judged(SCS, server, both)
    assert {(each.rule, each.hcall, each.what) for each in judgement.findings} == {
        ("result", "HVC_CALL_HYP", "x0")
    }
    assert {each.found for each in judgement.findings} == {"x0 = 0x0 where x0 was 0x2"}


def test_an_answer_that_is_neither_says_nothing_of_set_vectors() -> None:
    odd = Kernel(profile_of(SCS), "kvm", _at(1, _x(0, 0)))
    judgement = _under_kvm(odd, facts(idmap=IDMAP))
    assert {each.hcall for each in judgement.findings} == {"HVC_GET_VECTORS"}
    assert judgement.cell("HVC_SET_VECTORS", "dispatch").state is State.NOT_APPLICABLE


def test_what_a_sweep_can_not_issue_is_issued_alone_and_judged() -> None:
    judgement, plan, _ = judged(SCS, "kvm")
    assert judgement.cell("HVC_RESET_VECTORS", "result").state is State.HELD
    assert judgement.cell("HVC_SOFT_RESTART", "callee-args").state is State.HELD
    swept = [ask for ask in plan.asks if ask.kind == "sweep" and ask.request.swept == "imm"]
    assert all(ask.request.skip == (2, 3, 4, 5) for ask in swept)


def _at(imm: int | None, breaks: Breaks, cpu: int | None = None) -> Breaks:
    def behave(shot: Shot) -> None:
        here = imm is None or shot.imm == imm
        if here and cpu in {None, shot.cpu}:
            breaks(shot)

    return behave


def _x(register: int, value: int = 19) -> Breaks:
    return lambda shot: shot.x.__setitem__(register, value)


def _x0_kept(shot: Shot) -> None:
    shot.x[0] = shot.before.x[0]


def _get_in_x1(shot: Shot) -> None:
    shot.x[0], shot.x[1] = shot.before.x[0], VBAR


def _set(**changes: int) -> Breaks:
    def breaks(shot: Shot) -> None:
        for name, value in changes.items():
            setattr(shot, name, value)

    return breaks


def _flip(bits: int) -> Breaks:
    return lambda shot: setattr(shot, "pstate", shot.pstate ^ bits)


def _sys(name: str) -> Breaks:
    return lambda shot: shot.sys.__setitem__(name, 1)


def _v7(shot: Shot) -> None:
    shot.v[7] ^= 1


def _swapped(shot: Shot) -> None:
    shot.args[0], shot.args[1] = shot.args[1], shot.args[0]


def _at_el1(shot: Shot) -> None:
    shot.landing = 1 | 1 << 8 | 0xF << 16


def _leaks_esr(shot: Shot) -> None:
    shot.x[9] = 0x5A000000 | shot.imm


IGNORED = _set(seen=Seen.RETURNED, catch=0xFF)
GET, SET, CALL, RESTART, RESET = (
    *("HVC_GET_VECTORS", "HVC_SET_VECTORS", "HVC_CALL_FUNC", "HVC_SOFT_RESTART"),
    "HVC_RESET_VECTORS",
)
MUTANTS: tuple[tuple[str, str, Breaks, str, str, str], ...] = (
    (SCS, "hyp-stub", _at(0x77, _x(0, 0)), "result", UNKNOWN, "x0"),
    (SCS, "kvm", _at(0x77, _x(0, 0)), "result", UNKNOWN, "x0"),
    (SCS, "hyp-stub", _at(1, _x0_kept), "result", GET, "x0"),
    (SCS, "hyp-stub", _at(1, _get_in_x1), "clobber", GET, "x1"),
    (SCS, "kvm", _at(1, _get_in_x1), "clobber", GET, "x1"),
    (SCS, "hyp-stub", _at(2, IGNORED), "dispatch", SET, "effect"),
    (SCS, "hyp-stub", _at(3, IGNORED), "dispatch", CALL, "effect"),
    (SCS, "hyp-stub", _at(4, IGNORED), "dispatch", RESTART, "effect"),
    (SCS, "kvm", _at(4, _swapped), "callee-args", RESTART, "x0"),
    (SCS, "kvm", _at(4, _at_el1), "callee-state", RESTART, "EL"),
    (SCS, "kvm", _at(5, _x(0, 5)), "result", RESET, "x0"),
    (SCS, "kvm", _at(None, _x(19)), "clobber", UNKNOWN, "x19"),
    (SCS, "hyp-stub", _at(1, _x(18)), "clobber", GET, "x18"),
    (SCS, "kvm", _at(1, _x(19), cpu=1), "clobber", GET, "x19"),
    (SCS, "hyp-stub", _at(1, _v7), "clobber", GET, "v7"),
    (SCS, "hyp-stub", _at(1, _sys("TPIDR_EL1")), "clobber", GET, "TPIDR_EL1"),
    (SCS, "hyp-stub", _at(1, _flip(1 << 7)), "pstate", GET, "DAIF"),
    (SCS, "hyp-stub", _at(1, _flip(1)), "return-el", GET, "SPSel"),
    (SCS, "hyp-stub", _at(0xFF, _leaks_esr), "leak", UNKNOWN, "x9"),
    (SCS, "hyp-stub", _at(1, _set(pc_off=4)), "return-pc", GET, "pc"),
    (SCS, "kvm", _at(1, _set(seen=Seen.EL1_FAULT)), "fault", GET, "EL1 exception"),
    (SCS, "pkvm", _at(2, _x(0, 0)), "result", UNKNOWN, "x0"),
    (X0, "hyp-stub", _at(0x55, _x(0, 0)), "result", UNKNOWN, "x0"),
    (X0, "hyp-stub", _at(None, _x(19)), "clobber", SET, "x19"),
    (X0, "kvm", _at(None, _x(20)), "clobber", UNKNOWN, "x20"),
)


@pytest.mark.parametrize(("name", "server", "breaks", "rule", "hcall", "what"), MUTANTS)
def test_a_broken_kernel_is_accused_by_the_rule_that_it_breaks(
    name: str, server: str, breaks: Breaks, rule: str, hcall: str, what: str
) -> None:
    profile = profile_of(name, server)
    plan = asks.plan(profile, server, facts())
    more = _single(profile, server) if hcall == UNKNOWN else ()
    kernel = Kernel(profile, server, breaks)
    planned = replace(plan, asks=(*plan.asks, *more))
    done = [kernel.do(ask) for ask in planned.asks]
    findings = live.judge_all(profile, planned, done).findings
    mine = [each for each in findings if (each.rule, each.hcall, each.what) == (rule, hcall, what)]
    assert mine, [(each.rule, each.hcall, each.what) for each in findings]
    assert mine[0].evidence.find(f"served by {server}") >= 0
    others = {each.hcall for each in findings}
    assert hcall in others


def _single(profile: object, server: str) -> tuple[asks.Ask, ...]:
    """The simulator computes few immediates of a sweep: ask for the broken ones alone."""
    base = next(
        ask
        for ask in asks.plan(profile, server, facts()).asks  # type: ignore[arg-type]
        if ask.hcall == UNKNOWN and ask.kind == "hvc"
    )
    out = []
    for imm in (0x77, 0x55, 0xFF):
        number = base.number if base.request.fixed else imm
        out.append(replace(base, request=replace(base.request, imm=imm), number=number))
    return tuple(out)


def test_a_breach_on_one_cpu_names_that_cpu() -> None:
    judgement, _, _ = judged(SCS, "kvm", _at(1, _x(19), cpu=1))
    (found,) = judgement.findings
    assert (found.cpus, found.immediates, found.origin) == ((1,), ((1, 1),), "EL1h")


def test_where_x0_names_the_hcall_the_finding_says_so() -> None:
    wrong = _at(0, lambda shot: _x(0, 5)(shot) if shot.before.x[0] == 2 else None)
    judgement, _, _ = judged(X0, "kvm", wrong)
    (found,) = [each for each in judgement.findings if each.hcall == RESET]
    assert found.immediates == ((0, 0),)
    assert found.evidence.startswith("x0 = 0x2; served by kvm")


def test_vectors_that_differ_on_one_cpu_are_accused_there() -> None:
    wrong = _at(1, _x(0, 0x4999_0000), cpu=2)
    judgement, _, _ = judged(SCS, "kvm", wrong, facts(0, 1, 2))
    (found,) = judgement.findings
    assert (found.rule, found.hcall, found.cpus) == ("result", GET, (2,))


def test_the_stubs_address_is_known_better_than_what_it_answers() -> None:
    wrong = _at(1, _x(0, 0x4999_0000))
    assert judged(SCS, "hyp-stub", wrong)[0].findings == ()
    (found,) = judged(SCS, "hyp-stub", wrong, stub=VBAR)[0].findings
    assert (found.rule, found.hcall) == ("result", GET)
    misplaced = judged(SCS, "hyp-stub", _at(1, _get_in_x1), stub=VBAR)[0].findings
    assert ("leak", "x1", "holds VBAR_EL2") in {(f.rule, f.what, f.found) for f in misplaced}


def test_vectors_are_learnt_from_plausible_answers_alone() -> None:
    profile = profile_of(SCS)
    for behave, told in (
        (None, {0: VBAR, 1: VBAR}),
        (_at(1, _x0_kept), {}),
        (_at(1, _x(0, 0xBADCA11)), {}),
        (_at(1, _x(0, VBAR + 4), cpu=1), {0: VBAR}),
    ):
        _, _, done = judged(SCS, "kvm", behave)
        assert live.vectors_of(profile, done) == told


def test_an_ask_without_an_answer_is_a_gap() -> None:
    profile = profile_of(SCS)
    plan = asks.plan(profile, "hyp-stub", facts())
    kernel = Kernel(profile, "hyp-stub")
    done = [kernel.do(ask) for ask in plan.asks if ask.hcall != CALL or ask.request.cpu == 0]
    judgement = live.judge_all(profile, plan, done)
    assert judgement.cell(CALL, "result").state is State.UNFINISHED
    assert judgement.cell(RESET, "result").state is State.HELD


def test_a_sweep_without_room_is_a_gap_and_nothing_else() -> None:
    profile = profile_of(SCS)
    plan = asks.plan(profile, "kvm", facts(0))
    kernel = Kernel(profile, "kvm")
    done = []
    for each in (kernel.do(ask) for ask in plan.asks):
        got = each.got
        if isinstance(got, LiveSweep):
            runs = got.swept.runs[:-1]
            lost = got.swept.runs[-1][1]
            got = replace(got, swept=replace(got.swept, runs=runs, left_out=lost))
        done.append(replace(each, got=got))
    judgement = live.judge_all(profile, plan, done)
    assert judgement.cell(UNKNOWN, "result").state is State.UNFINISHED
    assert "no room" in judgement.cell(UNKNOWN, "result").reason
    assert judgement.cell(GET, "result").state is State.HELD


def test_what_was_left_out_says_why() -> None:
    known = facts(switchable=frozenset(), vectors={})
    judgement, plan, _ = judged(SCS, "kvm", known=known)
    assert judgement.findings == ()
    cell = judgement.cell(RESET, "result")
    assert cell.state is State.NOT_APPLICABLE
    assert "KVM would stay off" in cell.reason
    assert {each.hcall for each in plan.left_out} == {SET, CALL, RESTART, RESET}


def test_what_the_module_changes_itself_accuses_nobody() -> None:
    profile = profile_of(SCS)
    changes = _sys("TPIDRRO_EL0")
    plan = asks.plan(profile, "kvm", facts())
    noisy = Kernel(profile, "kvm", changes)
    done = [noisy.do(ask) for ask in plan.asks]
    quiet = Kernel(profile, "kvm").hvc(asks.baseline((0,))[0])
    assert live.withheld([quiet]) == {}
    plain = [replace(request, flags=Flag.PLAIN) for request in asks.baseline((0, 1))]
    base = live.withheld([noisy.hvc(request) for request in plain])
    held = {key: names & {"TPIDRRO_EL0"} for key, names in base.items()}
    assert live.judge_all(profile, plan, done).findings
    assert live.judge_all(profile, plan, done, withheld=held).findings == ()


@pytest.mark.parametrize(
    ("entered", "rule"),
    [
        ({"CurrentEL": 4, "SCTLR_EL1": 0x30500800}, "entry-el"),
        ({"SCTLR_EL2": 0x30C50831}, "entry-mmu"),
        ({"SCTLR_EL2": 0x30C50834}, "entry-dcache"),
        ({"DAIF": 0x3C0 & ~0x80}, "entry-daif"),
        ({"SCTLR_EL2": 0x30C50830 | 1 << 25}, "entry-endian"),
        ({"SCTLR_EL2": 0x30C50830 | 1 << 19}, "entry-wxn"),
        ({"SPSel": 0}, "entry-spsel"),
    ],
)
@pytest.mark.parametrize("server", ["hyp-stub", "kvm"])
def test_a_restart_into_the_module_shows_the_state_of_entry(
    server: str, entered: dict[str, int], rule: str
) -> None:
    profile = profile_of(SCS)
    plan = asks.plan(profile, server, facts(1))
    kernel = Kernel(profile, server, entered=entered)
    done = [kernel.do(ask) for ask in plan.asks if ask.hcall == RESTART]
    found = live.landed_findings(done)
    assert {each.rule for each in found} == {rule}
    assert {each.cpus for each in found} == {(1,)}
    assert f"served by {server}" in found[0].evidence


def test_a_restart_that_enters_right_breaks_nothing() -> None:
    profile = profile_of(SCS)
    plan = asks.plan(profile, "kvm", facts())
    done = [Kernel(profile, "kvm").do(ask) for ask in plan.asks]
    assert live.landed_findings(done) == ()
    restarts = [each for each in done if each.ask.hcall == RESTART]
    rulings = live.landed(restarts[0].ask, restarts[0].got)  # type: ignore[arg-type]
    assert len(rulings) == 7
    lost = Kernel(profile, "kvm", IGNORED).do(restarts[0].ask)
    assert live.landed(lost.ask, lost.got) == ()  # type: ignore[arg-type]


def test_every_rule_that_el1_can_see_has_a_mutant() -> None:
    assert {rule for *_, rule, _, _ in MUTANTS} | set(live.NOT_LIVE) == set(RULES)
