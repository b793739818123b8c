# SPDX-License-Identifier: Apache-2.0
"""Where x0 names the hcall: what is asked, and how its numbers stand for immediates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from hilagent import abi, probe
from hilagent.link.wire import Seen
from hilagent.payload import SweepRequest
from hilagent.probe import by_x0, said
from hilagent.probe.by_x0 import IMMEDIATES, LISTED, OTHERS, Numbered
from hilagent.result import Finding, SweepPass
from tests.probe import sim, x0sim
from tests.probe.sim import Shot

PROFILE = abi.load("x0-mainline@6.12")
SERVER, CPUS = "hyp-stub", (0, 1)
MASK = (1 << 64) - 1
PLAN = by_x0.plan(PROFILE, SERVER, CPUS, skip=(9,))
FINALISE = PROFILE.numbers["HVC_FINALISE_EL2"]


def issued(request: SweepRequest) -> Iterator[tuple[int | None, int]]:
    """Yield x0 (None: a catch table's address) and the immediate of each hvc."""
    for at in range(request.count):
        if request.swept == "x0":
            yield (request.x0_first + at * request.x0_step) & MASK, request.first
        elif request.first + at not in request.skip:
            yield request.fixed.get(0), request.first + at


def of(kind: str, cpu: int = 0) -> list[Numbered]:
    return [each for each in PLAN if each.kind == kind and each.request.cpu == cpu]


def test_what_can_not_be_run_is_never_issued() -> None:
    for each in (*PLAN, *by_x0.closer(PROFILE, SERVER, skip=(9,))):
        values = {x0 for x0, _ in issued(each.request)}
        assert not values & {FINALISE, 9}, each


def test_no_alias_of_what_can_not_be_run_is_issued() -> None:
    for bits in (0xFF, 0xFFFF_FFFF):
        for each in by_x0.plan(PROFILE, SERVER, CPUS, aliases=((FINALISE, bits),)):
            values = {x0 for x0, _ in issued(each.request) if x0 is not None}
            assert not [x0 for x0 in values if x0 & bits == FINALISE], each


def test_every_number_that_can_run_is_issued_on_every_cpu() -> None:
    for cpu in CPUS:
        values = {x0 for each in of("number", cpu) for x0, _ in issued(each.request)}
        assert values == {0, 1, 2}


def test_every_small_number_is_issued_on_the_first_cpu() -> None:
    values = {x0 for each in of("listed") for x0, _ in issued(each.request)}
    assert values == set(range(LISTED)) - {0, 1, 2, FINALISE, 9}
    fewer = {x0 for each in of("listed", 1) for x0, _ in issued(each.request)}
    assert len(fewer) < len(values)


def test_every_immediate_is_issued_with_an_x0_that_names_nothing() -> None:
    seen = {imm for each in of("immediates") for x0, imm in issued(each.request) if x0 is None}
    assert seen == set(range(0x10000))


def test_samples_reach_all_64_bits_and_no_hcall() -> None:
    values = {x0 for each in of("sample") for x0, _ in issued(each.request) if x0 is not None}
    union = 0
    for value in values:
        union |= value
    assert union == MASK
    assert not values & set(range(LISTED))
    assert {number + (1 << 32) for number in (0, 1, 2)} <= values


def test_what_an_hcall_needs_is_there_for_it_alone() -> None:
    """A landing is due at the soft restart, where none must be taken for a call."""
    for each in of("number"):
        assert each.request.land_imms == (0,)
    restart = PROFILE.numbers["HVC_SOFT_RESTART"]
    for each in of("at"):
        assert bool(each.request.land_imms) == (each.number == restart)


@pytest.mark.parametrize("kind", ["number", "listed", "immediates", "sample", "at"])
def test_what_is_asked_for_covers_what_is_counted(kind: str) -> None:
    for each in of(kind):
        asked = by_x0.as_asked(each)
        assert asked.first == each.number
        assert asked.count == (each.request.count if each.counted else 1)


def test_a_finding_is_told_in_values_of_x0_and_immediates() -> None:
    spans = ((4, 7), (OTHERS, OTHERS + 1), (IMMEDIATES + 0x10, IMMEDIATES + 0x1F))
    told = by_x0.told(Finding("clobber", "unknown", "x19", "kept", "0x0", immediates=spans))
    assert told.x0 == ((4, 7),)
    assert "#0x10-0x1f with an x0 that names nothing" in told.evidence
    assert "other values of x0" in told.evidence
    alone = Finding("clobber", "unknown", "x19", "kept", "0x0", immediates=spans[2:])
    assert by_x0.told(alone).immediates == ((0x10, 0x1F),)


SMALL = by_x0.plan(PROFILE, SERVER, (0,))


def test_vectors_that_keep_their_contract_are_clean_and_the_immediate_does_nothing() -> None:
    assert x0sim.judged(PROFILE, by_x0.plan(PROFILE, SERVER, CPUS)).clean
    assert _immediate(None).startswith("nothing: returns, x0 = 0xbadca11")


def _told(judged: probe.Judgement) -> list[Finding]:
    return [by_x0.told(each) for each in judged.findings]


def test_a_number_that_does_nothing_is_accused_by_its_value() -> None:
    def ignores(shot: Shot, imm: int) -> None:
        if shot.imm == 0 and imm == 0:
            shot.seen, shot.catch = Seen.RETURNED, 0xFF

    (finding, *_) = _told(x0sim.judged(PROFILE, SMALL, ignores))
    assert (finding.rule, finding.hcall, finding.x0) == ("dispatch", "HVC_SET_VECTORS", ((0, 0),))
    assert finding.immediates == ((0, 0),)


def test_an_answer_that_stood_in_x0_already_counts_as_given_there_alone() -> None:
    def answers(shot: Shot, _: int) -> None:
        if shot.imm == 2:
            shot.x[0] = 2

    findings = _told(x0sim.judged(PROFILE, SMALL, answers))
    assert {(each.rule, each.hcall, each.what) for each in findings} == {
        ("result", "HVC_RESET_VECTORS", "x0")
    }


def test_vectors_that_look_at_half_of_x0_are_accused_where_it_was() -> None:
    def half(shot: Shot, _: int) -> None:
        if shot.imm >> 32 and shot.imm & 0xFFFF_FFFF == 2:
            shot.x[0] = 0

    (finding, *_) = _told(x0sim.judged(PROFILE, SMALL, half))
    assert (finding.rule, finding.hcall) == ("result", "unknown")
    assert "where x0 was 0x100000002" in finding.found


def test_an_immediate_that_matters_is_accused_and_told() -> None:
    def looks(shot: Shot, imm: int) -> None:
        if imm == 5:
            shot.x[0] = 0x77

    judged = x0sim.judged(PROFILE, SMALL, looks, odd=(5,))
    by_hcall = {each.hcall: each for each in _told(judged)}
    assert by_hcall["unknown"].immediates == ((5, 5),)
    assert "where the hvc was #0x5" in by_hcall["HVC_RESET_VECTORS"].found
    said = _immediate(looks)
    assert "#0x5: returns, x0 = 0x77" in said
    assert "at x0 = 0x2 it changes what is done" in said


def _immediate(behave: x0sim.Behaviour | None) -> str:
    pairs = [
        (each, by_x0.as_passes(PROFILE, SERVER, each, x0sim.sweep(PROFILE, each, behave, (5,))))
        for each in SMALL
    ]
    return said.immediate(PROFILE, SERVER, pairs, sim.lab())


@pytest.mark.parametrize("kind", ["number", "listed", "immediates", "sample", "at"])
@pytest.mark.parametrize("how", ["lost", "crc", "cut"])
def test_what_was_not_seen_is_no_pass(kind: str, how: str) -> None:
    chosen = next(each for each in SMALL if each.kind == kind)

    def spoiled(each: Numbered, swept: SweepPass) -> SweepPass | None:
        if each is not chosen:
            return swept
        if how == "lost":
            return None
        if how == "crc":
            return replace(swept, crc_ok=False)
        return replace(swept, left_out=1, runs=_shorter(swept.runs))

    judged = x0sim.judged(PROFILE, SMALL, change=spoiled)
    assert not judged.findings
    if how == "lost" and kind in ("number", "at"):  # each sees the numbers of the other
        return
    assert not judged.clean


def _shorter(runs: Sequence[tuple[int, int, int]]) -> tuple[tuple[int, int, int], ...]:
    first, count, index = runs[-1]
    last = [(first, count - 1, index)] if count > 1 else []
    return (*runs[:-1], *last)
