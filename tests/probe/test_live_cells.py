# SPDX-License-Identifier: Apache-2.0
"""Live, a cell holds for every CPU and hcall that was meant, and says where it doesn't look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from hilagent.abi import UNKNOWN
from hilagent.probe import asks, live
from hilagent.probe.asks import LeftOut, Live, Plan
from hilagent.probe.judgement import Judgement, State
from tests.probe.livesim import SCS, VBAR, Kernel, facts, judged, profile_of
from tests.probe.sim import Behaviour, Shot

GET, SET, RESTART, RESET = (
    *("HVC_GET_VECTORS", "HVC_SET_VECTORS", "HVC_SOFT_RESTART"), "HVC_RESET_VECTORS",
)  # fmt: skip
HOST = VBAR - 0x4000_0000 + (3 << 32)
"""KVM's vectors where they are in memory; VBAR_EL2 has another base, and its low bits."""


def _issued(server: str, known: Live, left_out: Sequence[LeftOut] = ()) -> Judgement:
    """Judge a plan of which what is in ``left_out`` was never answered."""
    profile = profile_of(SCS)
    plan = asks.plan(profile, server, known)
    kernel = Kernel(profile, server)
    gone = {(each.hcall, each.cpu) for each in left_out}
    done = [kernel.do(ask) for ask in plan.asks if (ask.hcall, ask.request.cpu) not in gone]
    whole = Plan(server, plan.asks, (*plan.left_out, *left_out))
    return live.judge_all(profile, whole, done)


@pytest.mark.parametrize("cpus", [(1,), (0, 1)])
def test_what_the_module_refused_is_open_and_says_so(cpus: tuple[int, ...]) -> None:
    refused = [LeftOut(RESTART, cpu, "a restart to nowhere", meant=False) for cpu in cpus]
    judgement = _issued("hyp-stub", facts(0, 1), refused)
    cell = judgement.cell(RESTART, "dispatch")
    assert cell.state is State.UNFINISHED
    assert cell.reason == "not asked on CPU 1: a restart to nowhere"
    assert judgement.cell(GET, "result").state is State.HELD
    assert judgement.cell(RESTART, "stack").state is not State.HELD


def test_what_never_is_asked_on_a_cpu_is_told_by_the_cell_that_holds() -> None:
    judgement = _issued("kvm", facts(0, 1, switchable=frozenset(), expendable=True))
    for hcall, cpu in ((RESET, 0), (RESTART, 1)):
        cell = judgement.cell(hcall, "dispatch")
        assert cell.state is State.HELD
        assert f"not applicable on CPU {cpu}: one alone of restart and reset" in cell.reason


def test_vectors_that_nobody_knows_leave_set_vectors_open() -> None:
    judgement = _issued("kvm", facts(0, 1, vectors={0: VBAR}))
    cell = judgement.cell(SET, "result")
    assert cell.state is State.UNFINISHED
    assert "not asked on CPU 1: which vectors are KVM's own is not known" in cell.reason
    everywhere = _issued("kvm", facts(0, 1, vectors={}))
    assert everywhere.cell(SET, "result").state is State.UNFINISHED
    assert everywhere.cell(SET, "callee-args").state is State.NOT_APPLICABLE


def test_what_of_the_vector_registers_is_not_seen_is_told() -> None:
    judgement, _, _ = judged(SCS, "hyp-stub")
    for rule in ("clobber", "leak"):
        cell = judgement.cell(UNKNOWN, rule)
        assert cell.state is State.HELD
        assert "not observable live: upper Z, P, FFR" in cell.reason
    assert judgement.cell(UNKNOWN, "result").reason == ""


def _answers(values: dict[int, int]) -> Behaviour:
    def behave(shot: Shot) -> None:
        if shot.imm == 1:
            shot.x[0] = values.get(shot.cpu, VBAR)

    return behave


def _got(values: dict[int, int], known: Live) -> tuple[Judgement, dict[int, int]]:
    profile = profile_of(SCS)
    kernel = Kernel(profile, "kvm", _answers(values))
    plan = asks.plan(profile, "kvm", known)
    done = [kernel.do(ask) for ask in plan.asks]
    return live.judge_all(profile, plan, done, host=HOST), live.agreed(profile, done, HOST)


def test_vectors_that_lie_elsewhere_than_kvms_accuse_get_vectors_and_are_not_set() -> None:
    wrong = VBAR + 0x1000
    for values, cpus, safe in (
        ({}, None, {0: VBAR, 1: VBAR}),
        ({0: wrong}, (0,), {1: VBAR}),
        ({0: wrong, 1: wrong}, (0, 1), {}),
        ({1: VBAR + (1 << 21)}, (0, 1), {}),  # as likely as the other: nobody knows
    ):
        judgement, vectors = _got(values, facts(0, 1))
        assert vectors == safe
        found = {(each.rule, each.hcall, each.cpus) for each in judgement.findings}
        assert found == ({("result", GET, cpus)} if cpus else set())
    plan = asks.plan(profile_of(SCS), "kvm", replace(facts(0, 1), vectors={1: VBAR}))
    assert {ask.request.cpu for ask in plan.asks if ask.hcall == SET} == {1}
