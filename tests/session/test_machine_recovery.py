# SPDX-License-Identifier: Apache-2.0
"""A person who switches is spared, a program is not; and a board that never comes is given up."""

from pathlib import Path

import pytest

from hilagent import errors
from hilagent.journal import Journal
from hilagent.session.linux import Boot
from hilagent.session.machine import TRIES, Machine
from tests.session.fakes import STUB, FakeBench

PATCHED = Boot("patched")


@pytest.fixture
def bench() -> FakeBench:
    return FakeBench()


@pytest.fixture
def machine(tmp_path: Path, bench: FakeBench) -> Machine:
    return Machine(bench, Journal(tmp_path))


def test_whoever_switches_by_hand_is_spared_where_the_payload_can_reset(
    machine: Machine, bench: FakeBench
) -> None:
    bench.is_by_hand = True
    machine.payload(STUB)
    bench.did.clear()
    machine.uboot()
    assert bench.did == ["reset", "uboot"]
    assert machine.boots == 2


def test_a_payload_that_can_not_reset_leaves_it_to_power(
    machine: Machine, bench: FakeBench
) -> None:
    bench.is_by_hand, bench.resets = True, False
    machine.payload(STUB)
    bench.did.clear()
    machine.uboot()
    assert bench.did == ["reset", "off", "on", "uboot"]


def test_a_reset_after_which_nobody_comes_is_followed_by_power(
    machine: Machine, bench: FakeBench
) -> None:
    bench.is_by_hand = True
    machine.payload(STUB)
    bench.did.clear()
    bench.fail["uboot"] = [errors.LabError("no prompt")]
    machine.uboot()
    assert bench.did == ["reset", "uboot", "off", "on", "uboot"]


def test_whatever_ran_last_is_asked_once_and_then_the_person(
    machine: Machine, bench: FakeBench
) -> None:
    bench.is_by_hand = True
    machine.payload(STUB)
    machine.taint("a CPU hangs")
    bench.did.clear()
    bench.fail["uboot"] = [errors.LabError("no prompt")]
    machine.payload(STUB)
    assert bench.did[:5] == ["reset", "uboot", "off", "on", "uboot"]


def test_a_kernel_is_asked_where_it_ran_last(machine: Machine, bench: FakeBench) -> None:
    bench.is_by_hand = True
    machine.payload(STUB)
    machine.linux(PATCHED)
    machine.taint("it panicked")
    bench.did.clear()
    machine.payload(STUB)
    assert bench.did[:2] == ["reset Linux", "uboot"]


def test_where_a_program_switches_nothing_but_power_is_believed(
    machine: Machine, bench: FakeBench
) -> None:
    machine.linux(PATCHED)
    machine.taint("it panicked")
    bench.did.clear()
    machine.payload(STUB)
    assert bench.did[:2] == ["off", "on"]


def test_a_board_that_never_came_is_given_up_with_advice(
    machine: Machine, bench: FakeBench
) -> None:
    bench.fail["uboot"] = [errors.LabError("no prompt", hint="look at the cable")] * TRIES
    bench.advice = "it is in quarantine"
    with pytest.raises(errors.LabError) as seen:
        machine.payload(STUB)
    assert seen.value.hint == "look at the cable; it is in quarantine"
    assert bench.did[-1] == "given up"


def test_a_board_that_came_to_its_prompt_is_not_given_up(
    machine: Machine, bench: FakeBench
) -> None:
    bench.fail["payload"] = [errors.LabError("no hello")] * TRIES
    with pytest.raises(errors.LabError, match="no hello"):
        machine.payload(STUB)
    assert "given up" not in bench.did
