# SPDX-License-Identifier: Apache-2.0
"""A payload that nobody has a line to answers what one on a line does, trip by trip."""

from __future__ import annotations

import dataclasses
import itertools

import pytest

from hilagent import errors
from hilagent.link import wire
from hilagent.payload import Hang, NoEl2, Refused, SweepRequest
from hilagent.payload.alone import Alone, Restarted, Vanished
from hilagent.payload.answers import Answers
from hilagent.payload.batch import Batch
from hilagent.testing import Traits, behaviour
from tests.payload.bench import bench
from tests.payload.tripping import GOOD, Trips

BLOB = b"vectors!"
WANTED = [SweepRequest(cpu=cpu, pass_no=n, count=64, catch_mask=7)
          for cpu in (0, 1) for n in (0, 1)]  # fmt: skip


def alone(trips: Trips, cpus: int = 2) -> Alone:
    numbers = itertools.count(1)
    made = Alone(trips.go, run_id=lambda: next(numbers), cpus=cpus)
    made.begin()
    return made


def test_sweeps_and_hvcs_are_those_of_a_payload_on_a_line() -> None:
    trips = Trips()
    lone, line = alone(trips), bench(GOOD).connect()
    line.start_cpus()
    for payload in (lone, line):
        payload.vectors(wire.Target.SLOT, BLOB)
    wanted = [dataclasses.replace(each, vectors_crc=0) for each in line.sweep(WANTED)]
    found = [dataclasses.replace(each, vectors_crc=0) for each in lone.sweep(WANTED)]
    assert [dataclasses.replace(each, job=0) for each in found] == [
        dataclasses.replace(each, job=0) for each in wanted
    ]
    assert lone.hvc(1, cpu=1) == line.hvc(1, cpu=1)
    assert [each.cpu for each in lone.cpus()] == [0, 1]
    assert lone.start_cpus() == lone.cpus()


def test_each_question_is_a_trip_and_each_batch_a_run_of_its_own() -> None:
    trips = Trips()
    lone = alone(trips)
    lone.vectors(wire.Target.HYP_STUB)
    said: list[float] = []
    arrived: list[int] = []
    lone.sweep(WANTED, said.append, arrived=lambda index, swept: arrived.append(index))
    lone.hvc(1)
    assert [batch.jobs for batch in trips.batches] == [0, 4, 1]
    assert [batch.run_id for batch in trips.batches] == [1, 2, 3]
    assert (said, sorted(arrived)) == ([1.0], [0, 1, 2, 3])
    assert arrived[0] == 2, "CPU 0 comes last"


def test_what_finds_no_room_goes_on_the_next_trip() -> None:
    trips = Trips()
    lone = alone(trips)
    lone.vectors(wire.Target.HYP_STUB)
    many = [SweepRequest(cpu=1, first=n, count=1) for n in range(40)]
    passes = lone.sweep(many)
    assert [each.first for each in passes] == list(range(40))
    assert len(trips.batches) > 2
    assert sum(batch.jobs for batch in trips.batches) == 40


def test_results_that_overflow_all_the_same_are_the_labs() -> None:
    trips = Trips()
    lone = alone(trips)
    trips.room = 2000.0
    with pytest.raises(errors.LabError, match="FULL"):
        lone.sweep(WANTED)


def test_a_job_without_progress_is_placed_in_what_was_asked() -> None:
    trips = Trips(behaviour=behaviour.hangs_at(5))
    lone = alone(trips)
    lone.vectors(wire.Target.HYP_STUB)
    with pytest.raises(Hang, match="hvc #0x5 on CPU") as caught:
        lone.sweep([SweepRequest(cpu=0, count=8), SweepRequest(cpu=1, first=9, count=3),
                    SweepRequest(cpu=1, count=8)])  # fmt: skip
    assert (caught.value.cpu, caught.value.imm, caught.value.request) == (1, 5, 2)
    with pytest.raises(Vanished):
        lone.sweep([SweepRequest(cpu=0, count=8)])


def test_a_restart_is_no_hang() -> None:
    trips = Trips(traits=dataclasses.replace(GOOD, reset_at=3))
    lone = alone(trips)
    lone.vectors(wire.Target.HYP_STUB)
    with pytest.raises(Restarted):
        lone.sweep(WANTED)


@pytest.mark.parametrize("trouble", [Vanished("gone"), Restarted("from power")])
def test_an_empty_batch_that_does_not_come_back_accuses_nobody(trouble: Exception) -> None:
    def go(batch: Batch, vectors: bytes) -> Answers:
        raise trouble

    with pytest.raises(errors.LabError, match="an empty batch, and") as caught:
        Alone(go, run_id=lambda: 1, cpus=1).begin()
    assert not isinstance(caught.value, errors.BoardReset | errors.LinkError)


def test_a_payload_without_el2_is_a_precondition() -> None:
    with pytest.raises(NoEl2):
        alone(Trips(traits=dataclasses.replace(GOOD, entry_el=1)))


@pytest.mark.parametrize(
    "traits",
    [Traits(cpus=2, sweep_s=0.1, bad_cpus=frozenset({1})), Traits(cpus=1, sweep_s=0.1)],
    ids=["broken", "not there"],
)
def test_a_cpu_that_does_not_start_is_told_and_left_out(traits: Traits) -> None:
    trips = Trips(traits=traits)
    lone = alone(trips)
    with pytest.raises(errors.LabError, match="CPU 1 did not start"):
        lone.start_cpus()
    lone.vectors(wire.Target.HYP_STUB)
    assert len(lone.sweep([SweepRequest(count=4)])) == 1
    with pytest.raises(errors.UsageError, match="CPU 1 is not started"):
        lone.sweep([SweepRequest(cpu=1)])


def test_other_vectors_than_those_that_were_chosen_are_not_swept() -> None:
    trips = Trips()
    lone = Alone(lambda batch, _: trips.go(batch, b"others!!"), run_id=lambda: 7, cpus=1)
    lone.begin()
    lone.vectors(wire.Target.SLOT, BLOB)
    with pytest.raises(Refused, match="VECTORS"):
        lone.sweep([SweepRequest(count=4)])
    with pytest.raises(Refused, match="VECTORS"):
        lone.hvc(1)
    with pytest.raises(errors.UsageError, match="the slot has"):
        lone.vectors(wire.Target.SLOT, bytes(1 << 20))


def test_findings_of_two_places_are_not_compared() -> None:
    trips = Trips()
    lone = alone(trips)
    lone.vectors(wire.Target.HYP_STUB)
    lone.sweep(WANTED)
    lone._stood = (0x5000_0000, 0)
    with pytest.raises(errors.LabError, match="can't be compared"):
        lone.sweep(WANTED)


def test_what_needs_a_line_is_said_to_need_one() -> None:
    lone = alone(Trips())
    for name in ("read64", "mrs", "call", "echo"):
        with pytest.raises(errors.Unsupported, match=f"has no console: .*'{name}'"):
            getattr(lone, name)(1)
