# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilagent import abi, errors, probe
from hilagent.link.wire import Origin, Seen
from hilagent.payload import SweepRequest
from hilagent.probe import names
from hilagent.result import SweepPass
from tests.probe import sim


def test_vectors_are_swept_whole_twice_on_every_cpu_from_each_origin_served() -> None:
    requests = probe.requests(abi.load("iss-6.12"), "hyp-stub", "vectors", (0, 2))
    keys = [(r.cpu, r.origin, r.pass_no) for r in requests]
    assert len(keys) == len(set(keys)) == 8
    assert {(r.first, r.count, r.catch_mask) for r in requests} == {(0, 0x10000, 0xF)}
    assert {r.skip for r in requests} == {(5, 6)}
    assert {r.land_imms for r in requests} == {(4,)}
    for request in requests:
        request.packed()
    assert len({r.origin for r in probe.requests(abi.load("iss-2015"), "kvm")}) == 1
    assert probe.requests(abi.load("iss-2015"), "kvm")[0].stack_imms == (0,)


def test_the_recorder_is_swept_from_every_origin() -> None:
    requests = probe.requests(abi.load("iss-2015"), "hyp-stub", "recorder", (0, 1))
    whole = {(r.cpu, r.origin) for r in requests if r.count == 0x10000}
    assert whole == {(cpu, origin) for cpu in (0, 1) for origin in Origin}
    assert {r.catch_mask for r in requests} == {0}


def test_a_baseline_is_short_and_has_both_passes() -> None:
    requests = probe.baseline(abi.load("iss-2015"), "hyp-stub", (0, 1))
    assert [(r.cpu, r.pass_no) for r in requests] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert all(r.count < 1000 for r in requests)


def test_what_can_not_be_swept_is_the_callers_mistake() -> None:
    with pytest.raises(errors.UsageError, match="by x0"):
        probe.requests(abi.load("x0-mainline"), "hyp-stub")
    with pytest.raises(errors.UsageError, match="no server 'vhe'"):
        probe.requests(abi.load("iss-2015"), "vhe")
    with pytest.raises(errors.UsageError, match="9 hcalls can't be swept"):
        probe.requests(abi.load("iss-2015"), "kvm", skip=range(10, 19))


@pytest.mark.parametrize("count", [3, 9])
def test_a_lab_profile_with_too_many_exceptions_is_refused_by_name(
    tmp_path: Path, count: int
) -> None:
    lines = ["schema: 1", "profile: lab", "extends: iss-2015", "about: a lab's", "hcalls:"]
    for number in range(10, 10 + count):
        lines += [f"  VENDOR_{number}:", f"    number: {number}", "    servers: [kvm]"]
        lines += ["    needs_stack: true"]
    path = tmp_path / "lab.yaml"
    path.write_text("\n".join(lines))
    profile = abi.load(str(path))
    if count + 1 > 8:
        with pytest.raises(errors.UsageError, match="10 hcalls need a stack"):
            probe.requests(profile, "kvm")
    else:
        assert len(probe.requests(profile, "kvm")[0].stack_imms) == count + 1


def test_the_direct_pass_issues_each_hcall_once_and_knows_the_way_home() -> None:
    profile = abi.load("iss-2015")
    plan = probe.direct.plan(profile, "hyp-stub", (0,))
    assert [(d.hcall, d.request.first, d.home_imm) for d in plan] == [
        ("HVC_GET_VECTORS", 1, 2),
        ("HVC_SET_VECTORS", 2, 2),
        ("HVC_CALL_FUNC", 3, 2),
        ("unknown", 4, 2),
    ]
    done = []
    for each in plan:
        _, exchange = sim.shoot(profile, "hyp-stub", each.request, each.request.first, None)
        done.append((each, exchange))
    table = sim.facts(0).front
    assert probe.direct.judge_all(profile, "hyp-stub", done, sim.lab(), table=table).clean
    silent = [
        (each, replace(exchange, sig=replace(exchange.sig, seen=Seen.RETURNED, catch=0xFF)))
        for each, exchange in done
    ]
    blind = probe.direct.judge_all(profile, "hyp-stub", silent, sim.lab(), table=table)
    assert blind.clean
    assert "direct" in blind.cell("HVC_SET_VECTORS", "dispatch").reason
    assert blind.cell("HVC_CALL_FUNC", "result").state is probe.State.HELD
    other = probe.direct.judge_all(profile, "hyp-stub", done, sim.lab(), table=0x1000)
    assert [(f.rule, f.hcall) for f in other.findings] == [("result", "HVC_GET_VECTORS")]


SPANS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)).map(lambda p: (min(p), max(p))))


@given(SPANS, SPANS)
def test_ranges_behave_as_sets(some: list[names.Span], others: list[names.Span]) -> None:
    def members(spans: object) -> set[int]:
        return {n for first, last in spans for n in range(first, last + 1)}  # type: ignore[attr-defined]

    assert members(names.merge_spans(some)) == members(some)
    left = names.without(some, others)
    assert members(left) == members(some) - members(others)
    assert list(left) == sorted(left)


def test_ranges_are_shown_with_what_is_left_out() -> None:
    assert names.show_spans([(1, 1), (4, 0xFFFF)]) == "0x1, 0x4-0xffff"
    assert names.show_spans([(n, n) for n in range(8)], limit=2) == "0x0, 0x1 and 6 more ranges"


def test_pstate_bits_are_named() -> None:
    assert names.pstate_changes(0x80000080) == {"NZCV": "N flipped", "DAIF": "I flipped"}
    assert names.pstate_changes(1 << 12 | 1 << 40) == {
        "SSBS": "flipped",
        "PSTATE": "bits 0x10000000000 flipped",
    }
    assert names.mode(9) == "EL2h"
    assert names.mode(0x13) == "mode 0x13"
    assert names.vector(4) == "synchronous from EL2h (+0x200)"


def test_a_narrow_sweep_sees_what_addresses_hide() -> None:
    profile = abi.load("iss-2015")
    wanted = probe.narrow(profile, "hyp-stub")
    assert {(r.catch_mask, r.count) for r in wanted} == {(1, 256)}

    def clears_the_upper_half(shot: sim.Shot) -> None:
        shot.x[2] &= 0xFFFFFFFF

    hidden, all_wanted = sim.observe(clears_the_upper_half, profile=profile, cpus=(0,))
    assert probe.judge(profile, "hyp-stub", hidden, sim.lab(), wanted=all_wanted).clean
    passes = [sim.sweep(profile, "hyp-stub", r, clears_the_upper_half) for r in wanted]
    seen = probe.judge(profile, "hyp-stub", passes, sim.lab(), wanted=wanted)
    assert {f.what for f in seen.findings if f.rule == "clobber"} == {"x2"}


def test_a_request_is_a_plain_value() -> None:
    request = probe.requests(abi.load("iss-2015"), "kvm")[0]
    assert replace(request, first=4, count=2).first == 4


def test_sweeps_over_x0_leave_out_what_takes_an_address() -> None:
    profile = abi.load("iss-2015")
    requests = probe.by_value(profile, "hyp-stub")
    assert {each.first for each in requests} == {profile.numbers["HVC_GET_VECTORS"], 4, 0xFFFF}
    assert {each.swept for each in requests} == {"x0"}
    for request in requests:
        request.packed()


def test_a_sweep_over_x0_leaves_out_what_can_not_be_issued() -> None:
    for request in probe.by_value(abi.load("iss-2015"), "hyp-stub", skip=(0, 3)):
        values = {request.x0_first + at * request.x0_step for at in range(request.count)}
        assert not values & {0, 3}
    whole = [r.count for r in probe.by_value(abi.load("iss-2015"), "hyp-stub")]
    assert set(whole) == {256, 255}


def _over_x0(request: SweepRequest, *, crc_ok: bool = True, left_out: int = 0) -> SweepPass:
    """A sweep over x0 that did one thing for the first half and another for the rest."""
    iss = abi.load("iss-2015")
    plain = sim.sweep(iss, "hyp-stub", replace(request, count=1, swept="imm"))
    odd = replace(plain.sigs[0], x0=7, gpr_changed=1)
    return replace(
        plain, first=0, count=256, swept="x0", sigs=(plain.sigs[0], odd),
        runs=((0, 128, 0), (128, 128, 1)), crc_ok=crc_ok, left_out=left_out,
    )  # fmt: skip


def test_a_sweep_over_x0_is_judged_at_its_immediate_signature_by_signature() -> None:
    iss = abi.load("iss-2015")
    request = next(each for each in probe.by_value(iss, "hyp-stub") if each.first == 4)
    passes = probe.as_passes(_over_x0(request), request)
    assert [each.runs for each in passes] == [((4, 1, 0),), ((4, 1, 1),)]
    judged = probe.judge(iss, "hyp-stub", passes, sim.lab(), wanted=[probe.as_asked(request)])
    assert [each.what for each in judged.cell("unknown", "result").findings] == ["x0"]


def test_a_sweep_over_x0_that_lost_some_is_a_gap() -> None:
    iss = abi.load("iss-2015")
    request = next(each for each in probe.by_value(iss, "hyp-stub") if each.first == 4)
    for lost in (_over_x0(request, crc_ok=False), _over_x0(request, left_out=3)):
        passes = probe.as_passes(replace(lost, sigs=lost.sigs[:1] * 2), request)
        judged = probe.judge(iss, "hyp-stub", passes, sim.lab(), wanted=[probe.as_asked(request)])
        assert judged.gaps
        assert judged.cell("unknown", "result").state is not probe.State.HELD
