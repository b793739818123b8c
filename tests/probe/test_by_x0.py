# SPDX-License-Identifier: Apache-2.0
"""Where x0 names the hcall: what is asked, and how its numbers stand for immediates."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hilagent import abi
from hilagent.payload import SweepRequest
from hilagent.probe import by_x0
from hilagent.probe.by_x0 import IMMEDIATES, LISTED, OTHERS, Numbered
from hilagent.result import Finding

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
