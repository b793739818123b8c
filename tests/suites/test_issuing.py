# SPDX-License-Identifier: Apache-2.0
"""Hvcs go in batches, and one that stops the kernel still has an owner."""

from __future__ import annotations

from pathlib import Path

import pytest

from hilagent import errors
from hilagent.linux.request import Request
from hilagent.linux.wire import Effect
from hilagent.probe import asks
from hilagent.probe.asks import Ask
from hilagent.probe.judgement import State
from hilagent.session.linux import Boot
from hilagent.session.sweeps import ConfirmedHang
from hilagent.suites import alive, issuing
from tests.probe.livesim import SCS, Kernel, facts, profile_of
from tests.suites import fakes
from tests.suites.fakes import World

BOOT = Boot("patched", "nvhe")


def _world() -> World:
    return World(Kernel(profile_of(SCS), "kvm"))


def _asks(*cpus: int) -> tuple[Ask, ...]:
    return asks.plan(profile_of(SCS), "kvm", facts(*cpus)).asks


def test_asks_that_leave_the_kernel_as_it_was_go_together_and_others_alone(tmp_path: Path) -> None:
    world, todo = _world(), _asks(0)
    issued = issuing.issue(fakes.session(tmp_path, world), BOOT, lambda linux: todo)
    assert [done.ask for done in issued.done] == list(todo)
    restores = [ask for ask in todo if ask.restore]
    assert len(restores) == 4
    assert world.batches[-4:] == [1, 1, 1, 1]
    assert max(world.batches) == 4
    assert sum(world.batches) == len([ask for ask in todo if ask.kind == "hvc"])
    assert world.did == ["CPU 0 off", "CPU 0 on"] * 4


def test_what_follows_a_refusal_within_a_batch_is_still_asked(tmp_path: Path) -> None:
    world, todo = _world(), _asks(0, 1)

    def stops(request: Request) -> errors.HilagentError | None:
        refuses = (request.cpu, request.imm) == (0, 1)
        return errors.Unsupported("not here") if refuses else None

    world.stops = stops
    issued = issuing.issue(fakes.session(tmp_path, world), BOOT, lambda linux: todo)
    assert [(each.hcall, each.cpu, each.meant) for each in issued.left_out] == [
        ("HVC_GET_VECTORS", 0, False)
    ] * 2
    assert len(issued.done) == len(todo) - 2


@pytest.mark.parametrize("cpus", [(1,), (0, 1)])
def test_what_the_module_refuses_on_a_cpu_is_no_pass_of_that_hcall(
    tmp_path: Path, cpus: tuple[int, ...]
) -> None:
    world = _world()

    def stops(request: Request) -> errors.HilagentError | None:
        refuses = request.effect is Effect.RESTART and request.cpu in cpus
        return errors.Unsupported("a restart to nowhere") if refuses else None

    world.stops = stops
    judged = alive.seen(fakes.session(tmp_path, world), fakes.chosen(BOOT), BOOT).judgement
    assert judged is not None
    cell = judged.cell("HVC_SOFT_RESTART", "dispatch")
    assert cell.state is State.UNFINISHED
    assert cell.reason == "not asked on CPU 1: a restart to nowhere"
    assert judged.cell("HVC_RESET_VECTORS", "dispatch").state is State.HELD


def _hangs(world: World, error: type[errors.HilagentError], times: int = 9) -> list[Request]:
    asked: list[Request] = []

    def stops(request: Request) -> errors.HilagentError | None:
        if request.imm != 1 or len(asked) == times:
            return None
        asked.append(request)
        return error("CPU 0 did not come back")

    world.stops = stops
    return asked


def test_a_batch_that_says_where_it_stopped_is_believed(tmp_path: Path) -> None:
    world = _world()
    asked = _hangs(world, errors.TargetHang)
    session = fakes.session(tmp_path, world)
    with pytest.raises(ConfirmedHang, match=r"kvm: HVC_GET_VECTORS .hvc #0x1. on CPU 0"):
        issuing.issue(session, BOOT, lambda linux: _asks(0), "kvm")
    assert (len(asked), session.boots) == (2, 2)


def test_a_batch_that_is_lost_is_issued_one_by_one_and_accuses_by_that(tmp_path: Path) -> None:
    world = _world()
    asked = _hangs(world, errors.LinkError)
    session = fakes.session(tmp_path, world)
    with pytest.raises(ConfirmedHang, match=r"kvm: HVC_GET_VECTORS .hvc #0x1. on CPU 0"):
        issuing.issue(session, BOOT, lambda linux: _asks(0), "kvm")
    assert (len(asked), session.boots) == (3, 3)
    again = _world()
    _hangs(again, errors.LinkError, times=1)
    with pytest.raises(errors.LabError, match="stopped once, and not again"):
        issuing.issue(fakes.session(tmp_path / "2", again), BOOT, lambda linux: _asks(0), "kvm")


def test_nothing_is_asked_of_a_cpu_that_did_not_come_back(tmp_path: Path) -> None:
    world, todo = _world(), [*_asks(0), *_asks(0, 1)]
    world.hotplug = lambda cpu, on: errors.LabError("EBUSY") if on and cpu == 0 else None
    issued = issuing.issue(fakes.session(tmp_path, world), BOOT, lambda linux: todo)
    first = next(index for index, ask in enumerate(todo) if ask.restore)
    assert [done.ask for done in issued.done if done.ask.request.cpu == 0] == todo[: first + 1]
    assert {each.cpu for each in issued.left_out} == {0}
    assert not any(each.meant for each in issued.left_out)
