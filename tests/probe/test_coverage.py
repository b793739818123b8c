# SPDX-License-Identifier: Apache-2.0
"""Nothing that was not observed may pass."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilagent import abi, errors, probe
from hilagent.link.wire import Seen
from hilagent.probe import State, coverage
from hilagent.result import SweepPass
from tests.probe import sim

ISS = abi.load("iss-2015")
PASSES, WANTED = sim.observe(profile=ISS)


def _judge(passes: list[SweepPass], vectors_crc: int | None = None) -> probe.Judgement:
    lab = sim.lab((0, 1))
    return probe.judge(ISS, "hyp-stub", passes, lab, wanted=WANTED, vectors_crc=vectors_crc)


def test_a_whole_observation_has_no_gap() -> None:
    assert coverage.check(PASSES, WANTED) == ()
    assert _judge(PASSES).clean


@given(st.integers(0, len(PASSES) - 1))
def test_a_missing_pass_or_cpu_is_never_a_pass(index: int) -> None:
    judgement = _judge(PASSES[:index] + PASSES[index + 1 :])
    assert not judgement.clean
    assert judgement.findings == ()
    assert judgement.cell("unknown", "clobber").state is State.UNFINISHED
    assert "never swept" in judgement.cell("unknown", "clobber").reason


@given(st.data())
def test_a_missing_run_is_never_a_pass(data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(PASSES) - 1))
    swept = PASSES[index]
    run = data.draw(st.integers(0, len(swept.runs) - 1))
    broken = replace(swept, runs=swept.runs[:run] + swept.runs[run + 1 :])
    judgement = _judge([*PASSES[:index], broken, *PASSES[index + 1 :]])
    assert not judgement.clean
    assert judgement.findings == ()


def test_immediates_that_were_left_out_are_named() -> None:
    short = replace(PASSES[0], runs=PASSES[0].runs[:-1], left_out=PASSES[0].runs[-1][1])
    judgement = _judge([short, *PASSES[1:]])
    cell = judgement.cell("unknown", "result")
    assert cell.state is State.UNFINISHED
    assert "0x1235-0xffff" in cell.reason
    assert judgement.cell("HVC_GET_VECTORS", "result").state is State.HELD


def test_a_later_pass_may_cover_what_one_had_no_room_for() -> None:
    last = PASSES[0].runs[-1]
    short = replace(PASSES[0], runs=PASSES[0].runs[:-1], left_out=last[1])
    rest = replace(PASSES[0], first=last[0], count=last[1], runs=(last,))
    judgement = _judge([short, rest, *PASSES[1:]])
    assert [gap.reason for gap in judgement.gaps] == ["the result had no room for it"]
    assert _judge([rest, short, *PASSES[1:]]).clean


def test_a_wrong_crc_counts_for_nothing() -> None:
    judgement = _judge([replace(PASSES[0], crc_ok=False), *PASSES[1:]])
    assert "CRC" in judgement.cell("HVC_GET_VECTORS", "dispatch").reason


def test_other_vectors_than_the_meant_ones_count_for_nothing() -> None:
    assert _judge(PASSES, vectors_crc=0).clean
    judgement = _judge(PASSES, vectors_crc=7)
    assert judgement.cell("HVC_GET_VECTORS", "dispatch").state is State.UNFINISHED
    assert "other vectors" in judgement.gaps[0].reason


def test_what_was_not_issued_is_a_gap_where_nobody_asked_to_skip_it() -> None:
    skipping = probe.requests(ISS, "hyp-stub", "vectors", (0, 1), skip=[0x4321])
    passes = [sim.sweep(ISS, "hyp-stub", request) for request in skipping]
    gaps = coverage.check(passes, WANTED)
    assert {gap.spans for gap in gaps} == {((0x4321, 0x4321),)}
    assert coverage.check(passes, skipping) == ()


def test_an_interrupt_accuses_nobody_and_passes_nothing() -> None:
    def interrupted(shot: sim.Shot) -> None:
        if shot.imm == 1:
            shot.fault(0, seen=Seen.EL1_FAULT, vector=5)

    judgement = sim.judged(interrupted, profile=ISS)
    assert judgement.findings == ()
    assert "interrupt" in judgement.cell("HVC_GET_VECTORS", "result").reason
    assert judgement.cell("unknown", "result").state is State.HELD


def test_a_full_signature_table_is_deviant() -> None:
    bucket = replace(PASSES[0].sigs[-1], flags=1 << 31)
    full = replace(PASSES[0], sigs=(*PASSES[0].sigs[:-1], bucket))
    judgement = _judge([full, *PASSES[1:]])
    assert any(f.what == "signature" for f in judgement.findings)
    beyond = replace(PASSES[0], runs=((0, 0x10000, 255),))
    judgement = _judge([beyond, *PASSES[1:]])
    hcalls = {f.hcall for f in judgement.findings if f.what == "signature"}
    assert hcalls == {*ISS.numbers, "unknown"} - {"HVC_CALL_HYP"}


def test_one_misrouted_immediate_leaves_the_rest_of_its_rules_void() -> None:
    def misrouted(shot: sim.Shot) -> None:
        if shot.imm == 0xBEEF:
            shot.seen = Seen.VECTORS_SET
            shot.hit(0)

    judgement = sim.judged(misrouted, profile=ISS, odd=[0xBEEF])
    cell = judgement.cell("unknown", "clobber")
    assert cell.state is State.VOID
    assert "0xbeef" in cell.reason
    segments = judgement.segments["EL1h"]
    assert [(s.first, s.effect, s.ok) for s in segments if s.hcall == "unknown"] == [
        (0, "returns, x0 unchanged", True),
        (4, "returns, x0 unchanged", True),
        (0xBEEF, "sets VBAR_EL2 from x0", False),
        (0xBEF0, "returns, x0 unchanged", True),
    ]


def test_the_dispatch_map_covers_every_immediate_once() -> None:
    segments = _judge(PASSES).segments["EL1h"]
    assert [s.first for s in segments] == [0, 1, 2, 3, 4]
    assert segments[-1].last == 0xFFFF
    assert [s.effect for s in segments[1:4]] == [
        "returns, x0 = VBAR_EL2",
        "sets VBAR_EL2 from x0",
        "calls x0",
    ]


def test_what_the_recorder_shows_too_is_withheld() -> None:
    def pan(shot: sim.Shot) -> None:
        shot.pstate ^= 1 << 22

    passes, wanted = sim.observe(pan, profile=ISS)
    withheld = {(cpu, 5): frozenset({"PAN"}) for cpu in (0, 1)}
    judgement = probe.judge(
        ISS, "hyp-stub", passes, sim.lab((0, 1)), wanted=wanted, withheld=withheld
    )
    assert judgement.findings == ()
    assert judgement.cell("unknown", "pstate").state is State.VOID


def test_facts_of_a_cpu_that_are_not_there_are_our_own_fault() -> None:
    with pytest.raises(errors.AgentBug, match="CPU 1"):
        probe.judge(ISS, "hyp-stub", PASSES, sim.lab((0,)), wanted=WANTED)


def test_a_clean_pass_needs_the_register_files_of_its_calls_alone() -> None:
    want = probe.wanted_frames(ISS, "hyp-stub", sim.lab((0, 1)))
    for swept in PASSES:
        assert [sig.first for sig in swept.sigs if want(sig)] == [3]
    passes, _ = sim.observe(lambda shot: shot.x.__setitem__(19, 1), profile=ISS)
    assert all(want(sig) for sig in passes[0].sigs)
