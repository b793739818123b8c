# SPDX-License-Identifier: Apache-2.0
"""What is issued on a running kernel is what a contract makes safe there, and in that order."""

from __future__ import annotations

import pytest

from hilagent.abi import UNKNOWN
from hilagent.linux.wire import Flag
from hilagent.probe import asks
from hilagent.probe.asks import SAMPLE, Ask, Live
from tests.probe.livesim import IDMAP, OLD, SCS, SERVED, SLOT, VBAR, X0, facts, profile_of

GET, SET, CALL, RESTART, RESET = (
    *("HVC_GET_VECTORS", "HVC_SET_VECTORS", "HVC_CALL_FUNC", "HVC_SOFT_RESTART"),
    "HVC_RESET_VECTORS",
)


def _asked(name: str, server: str, known: Live | None = None) -> asks.Plan:
    return asks.plan(profile_of(name, server), server, known or facts())


def test_by_the_hyp_stub_the_restart_comes_before_what_needs_its_address() -> None:
    order = [ask.hcall for ask in _asked(SCS, "hyp-stub", facts(0)).asks if ask.kind == "hvc"]
    assert order.index(RESTART) < order.index(SET) < order.index(CALL) < order.index(RESET)
    assert order[-1] == "HVC_FINALISE_EL2"
    assert all(order.count(hcall) == 2 for hcall in set(order))


def test_under_kvm_what_takes_it_off_a_cpu_comes_last_and_is_restored() -> None:
    plan = _asked(SCS, "kvm", facts(0))
    gone = [ask.hcall for ask in plan.asks if ask.restore]
    assert gone == [RESET, RESET, RESTART, RESTART]
    assert [ask.hcall for ask in plan.asks][-4:] == gone
    assert not any(ask.restore for ask in _asked(SCS, "hyp-stub").asks)


def test_where_kvm_can_not_be_restored_each_cpu_is_given_one_of_the_two_last_of_all() -> None:
    plan = _asked(SCS, "kvm", facts(0, 1, 2, switchable=frozenset(), expendable=True))
    last = [ask for ask in plan.asks if ask.last]
    assert [(ask.hcall, ask.request.cpu) for ask in last] == [
        (RESTART, 0),
        (RESET, 1),
        (RESTART, 2),
    ]
    assert plan.asks[-3:] == tuple(last)
    assert not any(ask.restore for ask in plan.asks)
    assert "one alone" in next(each.reason for each in plan.left_out if each.hcall == RESET)
    stub = _asked(SCS, "hyp-stub", facts(0, switchable=frozenset()))
    assert not any(ask.last for ask in stub.asks)
    assert not [each for each in stub.left_out if each.hcall in {RESET, RESTART}]


def test_kvms_vectors_are_set_to_what_they_are() -> None:
    own = [ask for ask in _asked(SCS, "kvm").asks if ask.hcall == SET]
    assert len(own) == 4
    assert all(ask.own and ask.request.fixed[0] == VBAR for ask in own)
    assert all(ask.request.flags & Flag.DANGEROUS for ask in own)
    assert not any(ask.own for ask in _asked(SCS, "hyp-stub").asks)


def test_kvms_vectors_are_set_to_its_first_ones_asked_for_and_set_back() -> None:
    plan = _asked(SCS, "kvm", facts(0, idmap=IDMAP))
    setting = [ask for ask in plan.asks if ask.hcall == SET]
    assert [ask.own for ask in setting] == [False, False]
    assert all(ask.request.fixed[0] == IDMAP for ask in setting)
    assert [(request.imm, request.fixed.get(0)) for request in setting[0].then] == [
        (1, None),
        (2, VBAR),
    ]
    assert not any(ask.then for ask in _asked(SCS, "hyp-stub", facts(idmap=IDMAP)).asks)
    assert not any(ask.then for ask in _asked(X0, "kvm", facts(idmap=IDMAP)).asks)


@pytest.mark.parametrize(("name", "server"), SERVED)
def test_finalise_is_never_issued_where_the_cpu_has_vhe(name: str, server: str) -> None:
    plan = _asked(name, server, facts(vhe=True))
    numbers = profile_of(name).numbers
    finalise = numbers.get("HVC_FINALISE_EL2")
    for ask in plan.asks:
        assert ask.hcall != "HVC_FINALISE_EL2"
        by_imm = profile_of(name).selector == "immediate"
        if ask.kind == "hvc":
            assert finalise is None or ask.number != finalise
        elif ask.request.swept == "x0":
            assert 3 not in _values_of_x0(ask)
        elif by_imm and finalise is not None:
            assert finalise in ask.request.skip


def test_a_refusing_module_is_asked_nothing() -> None:
    plan = _asked(SCS, "kvm", facts(refused="the kernel runs at EL2 itself (VHE)"))
    assert plan.asks == ()
    assert {each.reason for each in plan.left_out} == {"the kernel runs at EL2 itself (VHE)"}
    assert {each.hcall for each in plan.left_out} >= {GET, SET, RESTART, UNKNOWN}


def test_stub_numbers_without_effect_are_asked_with_the_flag_that_they_need() -> None:
    plan = _asked(X0, "kvm")
    flagged = {ask.hcall for ask in plan.asks if ask.request.flags & Flag.DANGEROUS}
    assert flagged == {SET, "HVC_FINALISE_EL2"}
    assert all(0 in ask.request.fixed for ask in plan.asks if ask.kind == "hvc")


def test_protected_kvm_must_refuse_the_numbers_that_it_knows() -> None:
    numbers = {ask.number for ask in _asked(X0, "pkvm").asks if ask.kind == "hvc"}
    assert {0, 1, 2, 3} <= numbers
    with_vhe = {ask.number for ask in _asked(X0, "pkvm", facts(vhe=True)).asks if ask.kind == "hvc"}
    assert 3 not in with_vhe


def test_only_chosen_cpus_are_swept_whole() -> None:
    plan = _asked(SCS, "kvm", facts(whole=frozenset({1})))
    by_imm = [ask.request for ask in plan.asks if ask.kind == "sweep" and ask.number is None]
    counts = {request.cpu: request.count for request in by_imm}
    assert counts == {0: SAMPLE, 1: 0x10000}
    by_x0 = [ask for ask in _asked(X0, "kvm").asks if ask.request.swept == "x0"]
    assert {ask.request.x0_first for ask in by_x0} == {4, asks.SPREAD}
    for ask in by_x0:
        values = _values_of_x0(ask)
        assert all(3 < value < 0x8000_0000 or value >> 32 for value in values)
        assert max(values) < (1 << 64) - 1
    by_imm = [ask.request for ask in _asked(X0, "kvm", facts(0, whole=frozenset({0}))).asks
              if ask.kind == "sweep" and ask.request.swept == "imm"]  # fmt: skip
    assert [request.count for request in by_imm] == [0x10000, SAMPLE]


def _values_of_x0(ask: Ask) -> list[int]:
    request = ask.request
    return [request.x0_first + n * request.x0_step for n in range(request.count)]


@pytest.mark.parametrize("server", ["hyp-stub", "kvm"])
def test_the_numbers_that_x0_had_are_asked_for_where_the_immediate_rules(server: str) -> None:
    asked = [ask for ask in _asked(SCS, server, facts(0)).asks if ask.request.swept == "x0"]
    assert {(ask.hcall, ask.number, ask.request.imm) for ask in asked} == {("HVC_CALL_HYP", 0, 0)}
    for pass_no in (0, 1):
        here = [ask for ask in asked if ask.request.pass_no == pass_no]
        assert sorted(value for ask in here for value in _values_of_x0(ask)) == list(range(64))
    # the proposal of 2015 takes a function's address there
    assert not [ask for ask in _asked(OLD, server).asks if ask.request.swept == "x0"]


def test_the_stubs_address_goes_with_every_request() -> None:
    assert {ask.request.stub_vectors for ask in _asked(SCS, "hyp-stub").asks} == {SLOT}


@pytest.mark.parametrize(("name", "server"), SERVED)
def test_every_request_can_be_packed(name: str, server: str) -> None:
    for ask in _asked(name, server, facts(whole=frozenset({0}))).asks:
        assert ask.request.packed()
