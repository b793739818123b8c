# SPDX-License-Identifier: Apache-2.0
"""What goes wrong before anything under test has run, and after everything has."""

from __future__ import annotations

from pathlib import Path

import pytest

from hilagent import errors
from hilagent.journal import Journal
from hilagent.session.early import before_the_test
from hilagent.session.machine import TRIES, Machine, State
from tests.session.fakes import STUB, FakeBench


@pytest.fixture
def bench() -> FakeBench:
    return FakeBench()


@pytest.fixture
def machine(tmp_path: Path, bench: FakeBench) -> Machine:
    return Machine(bench, Journal(tmp_path))


@pytest.mark.parametrize("died", [errors.TargetCrash("a panic"), errors.TargetHang("silence")])
def test_what_dies_before_the_test_is_the_labs(died: errors.TargetError) -> None:
    with (
        pytest.raises(errors.LabError, match="before anything under test was started: "),
        before_the_test(),
    ):
        raise died


def test_a_missing_precondition_stays_one() -> None:
    with pytest.raises(errors.PreconditionError), before_the_test():
        raise errors.PreconditionError("no EL2")


@pytest.mark.parametrize("step", ["uboot", "payload"])
def test_what_dies_before_anything_is_tested_accuses_nobody_and_is_tried_again(
    machine: Machine, bench: FakeBench, step: str
) -> None:
    """A kernel that U-Boot started by itself panics; no vectors have run yet."""
    bench.fail[step] = [errors.TargetCrash("the kernel crashed: a panic")]
    machine.payload(STUB)
    assert machine.state is State.PAYLOAD
    assert bench.did.count("on") == 2
    machine.taint("something else")
    bench.fail[step] = [errors.TargetCrash(f"the kernel crashed: {n}") for n in range(TRIES)]
    with pytest.raises(errors.LabError, match="before anything under test was started: the k"):
        machine.payload(STUB)


def test_a_full_disk_keeps_no_board_on(
    machine: Machine, bench: FakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.payload(STUB)

    def full(*_: object, **__: object) -> None:
        raise errors.LabError("journal.jsonl: can't be written: No space left on device")

    monkeypatch.setattr(Journal, "write", full)
    machine.off()
    assert bench.did[-1] == "off"
    assert machine.state is State.OFF
