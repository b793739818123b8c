# SPDX-License-Identifier: Apache-2.0
"""Nobody is accused of a hang or a crash before it was seen twice from fresh boots."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from hilagent import errors
from hilagent.payload import Dying, Hang, ResetInJob, Silence, SweepRequest
from hilagent.payload.alone import Restarted, Vanished
from hilagent.payload.trouble import Place
from hilagent.result import SweepPass
from hilagent.session.narrowing import BLOCK, narrowed
from hilagent.session.session import Session
from hilagent.session.subject import RECORDER
from hilagent.session.sweeps import ConfirmedCrash, ConfirmedHang, Hung, exchange, sweep
from tests.session.fakes import STUB, FakeBench, session

HVC = 0x4321


class _Cpu:
    cpu, midr = 0, 0x411FD070


class _Hello:
    cpus = 1


class ScriptedPayload:
    """Its sweeps do, one a boot, what ``plan`` says: an error, a callable, or None for success."""

    plan: list[Any] = []  # noqa: RUF012  (set anew by each test)
    asked: list[tuple[SweepRequest, ...]] = []  # noqa: RUF012

    def __init__(self, boot: int) -> None:
        self.boot, self.hello = boot, _Hello()

    def start_cpus(self) -> None: ...

    def cpus(self) -> tuple[_Cpu, ...]:
        return (_Cpu(),)

    def sweep(self, requests: Sequence[SweepRequest], **_: Any) -> list[SweepPass]:
        self.asked.append(tuple(requests))
        step = self.plan.pop(0) if self.plan else None
        if callable(step):
            step = step(tuple(requests))
        if step is not None:
            raise step
        return [_passed(request) for request in requests]

    def hvc(self, imm: int) -> str:
        step = self.plan.pop(0) if self.plan else None
        if step is not None:
            raise step
        return f"exchange of {imm}"


def _passed(request: SweepRequest) -> SweepPass:
    return SweepPass(
        cpu=request.cpu, origin=request.origin, pass_no=request.pass_no, first=request.first,
        count=request.count, seed=0, sigs=(), runs=(), left_out=0, ticks=0,
    )  # fmt: skip


@pytest.fixture
def bench() -> FakeBench:
    bench = FakeBench()
    bench.payload_class = ScriptedPayload
    ScriptedPayload.plan, ScriptedPayload.asked = [], []
    return bench


@pytest.fixture
def held(tmp_path: Path, bench: FakeBench) -> Session:
    return session(tmp_path, bench)


def make(cpus: Any, hung: Sequence[Hung]) -> list[SweepRequest]:
    skip = tuple(each.immediate for each in hung)
    return [SweepRequest(pass_no=0, skip=skip), SweepRequest(pass_no=1, skip=skip)]


def place(imm: int = HVC, *, request: int = 0, reported: bool = True) -> Place:
    return Place(cpu=0, origin=5, imm=imm - 1, done=imm, request=request, reported=reported)


def hang(imm: int = HVC) -> Hang:
    return Hang("no progress", place(imm + 1))


def silence(imm: int, **options: Any) -> Silence:
    exc = Silence("nothing was heard")
    exc.place = place(imm, **options)
    return exc


def test_a_clean_sweep_is_run_once(held: Session, bench: FakeBench) -> None:
    done = sweep(held, STUB, make)
    assert len(done.passes) == 2
    assert bench.boot == 1


def test_a_hang_seen_twice_is_named_left_out_and_the_rest_is_measured(
    held: Session, bench: FakeBench
) -> None:
    ScriptedPayload.plan = [hang(), hang()]
    done = sweep(held, STUB, make)
    assert [(h.cpu, h.immediate) for h in done.hung] == [(0, HVC)]
    assert all(request.skip == (HVC,) for request in done.requests)
    assert len(done.passes) == 2
    assert bench.boot == 3


def test_a_hang_seen_once_accuses_nobody(held: Session) -> None:
    ScriptedPayload.plan = [hang()]
    with pytest.raises(errors.LabError, match="hung once, and not again") as seen:
        sweep(held, STUB, make)
    assert not isinstance(seen.value, errors.TargetError)


def test_every_repetition_starts_from_a_fresh_boot(held: Session, bench: FakeBench) -> None:
    ScriptedPayload.plan = [hang(), hang()]
    sweep(held, STUB, make)
    assert bench.did.count("off") == 2


def test_until_hang_stops_at_the_first(held: Session, bench: FakeBench) -> None:
    ScriptedPayload.plan = [hang(), hang()]
    done = sweep(held, STUB, make, until_hang=True)
    assert not done.passes
    assert done.hung
    assert bench.boot == 2


def test_vectors_of_which_everything_hangs_are_not_tried_for_ever(held: Session) -> None:
    ScriptedPayload.plan = [hang(n // 2) for n in range(100)]
    done = sweep(held, STUB, make)
    assert [h.immediate for h in done.hung] == [0, 1, 2]
    assert not done.passes


def test_a_board_with_one_cpu_that_falls_silent_twice_names_the_hvc(
    held: Session, bench: FakeBench
) -> None:
    block_at = HVC // BLOCK * BLOCK
    ScriptedPayload.plan = [
        silence(block_at, request=1),
        lambda requests: silence(HVC - block_at, request=2),
    ]
    done = sweep(held, STUB, make)
    again = ScriptedPayload.asked[1]
    assert [(r.first, r.count, r.block) for r in again[1:]] == [
        (0, block_at, 0),
        (block_at, BLOCK, 1),
        (block_at + BLOCK, 0x10000 - block_at - BLOCK, 0),
    ]
    assert [h.immediate for h in done.hung] == [HVC]
    assert bench.boot == 3


def test_silence_that_does_not_come_again_is_just_measured_again(held: Session) -> None:
    ScriptedPayload.plan = [silence(0)]
    assert sweep(held, STUB, make).hung == ()


def test_silence_at_another_place_accuses_nobody(held: Session) -> None:
    ScriptedPayload.plan = [silence(0), silence(0x9000)]
    with pytest.raises(errors.LabError, match="silent twice, first after hvc #0x0"):
        sweep(held, STUB, make)


def test_silence_without_a_heartbeat_accuses_nobody(held: Session) -> None:
    ScriptedPayload.plan = [silence(0), silence(5, reported=False)]
    with pytest.raises(errors.LabError, match="nobody knows where"):
        sweep(held, STUB, make)


def test_a_link_that_is_lost_for_good_is_the_labs(held: Session) -> None:
    ScriptedPayload.plan = [errors.LinkError("cut"), errors.LinkError("cut")]
    with pytest.raises(errors.LinkError, match="cut"):
        sweep(held, STUB, make)


def test_a_link_that_is_lost_once_is_tried_again(held: Session) -> None:
    ScriptedPayload.plan = [errors.LinkError("cut")]
    assert len(sweep(held, STUB, make).passes) == 2


def test_a_board_that_resets_twice_in_the_same_sequence_crashed(held: Session) -> None:
    ScriptedPayload.plan = [ResetInJob("reset", place()), ResetInJob("reset", place())]
    with pytest.raises(ConfirmedCrash, match="twice from fresh boots"):
        sweep(held, STUB, make)


def test_a_board_that_resets_once_is_measured_again(held: Session) -> None:
    ScriptedPayload.plan = [ResetInJob("reset", place())]
    assert len(sweep(held, STUB, make).passes) == 2


def test_a_crash_is_never_withdrawn(held: Session) -> None:
    ScriptedPayload.plan = [Dying("abort", fields={})]
    with pytest.raises(errors.TargetCrash, match="abort"):
        sweep(held, STUB, make)


def test_a_crash_under_the_payloads_own_vectors_is_ours(held: Session) -> None:
    ScriptedPayload.plan = [Dying("abort", fields={}), Dying("abort", fields={})]
    with pytest.raises(errors.AgentBug, match="under its own vectors"):
        sweep(held, RECORDER, make)


def test_a_hang_and_then_something_else_accuses_nobody(held: Session) -> None:
    ScriptedPayload.plan = [hang(), silence(0)]
    with pytest.raises(errors.LabError, match="hung once, and not again"):
        sweep(held, STUB, make)


def test_a_lab_that_fails_again_and_again_after_a_hang_is_told(held: Session) -> None:
    ScriptedPayload.plan = [hang(), errors.LinkError("noise"), errors.LinkError("more noise")] * 9
    with pytest.raises(errors.LinkError, match="more noise"):
        sweep(held, STUB, make)


def test_three_different_failures_accuse_nobody(held: Session) -> None:
    ScriptedPayload.plan = [silence(0), hang(), ResetInJob("reset", place())]
    with pytest.raises(errors.LabError, match="failed twice, differently"):
        sweep(held, STUB, make)


@pytest.mark.parametrize(
    "plan",
    [
        [silence(0), hang(), hang()],
        [hang(), silence(0), hang()],
        [ResetInJob("reset", place()), hang(), hang()],
        [hang(), errors.LinkError("noise"), hang()],
    ],
)
def test_a_hang_is_told_from_the_labs_fault_before_it(
    held: Session, plan: list[errors.WorldError]
) -> None:
    ScriptedPayload.plan = list(plan)
    (hung,) = sweep(held, STUB, make, until_hang=True).hung
    assert hung.immediate == HVC


@pytest.mark.parametrize("trouble", [errors.LinkError("QEMU was killed"), silence(0), hang()])
def test_a_board_that_lost_its_power_is_not_accused_and_it_is_said(
    held: Session, bench: FakeBench, trouble: errors.WorldError
) -> None:
    ScriptedPayload.plan = [trouble, trouble]
    bench.has_power = False
    with pytest.raises(errors.LabError, match=trouble.message):
        sweep(held, STUB, make)
    assert bench.boot == 1


def test_narrowing_keeps_every_immediate_once() -> None:
    requests = tuple(make((), ()))
    for imm, reported in ((0, True), (HVC, True), (0xFFFF, True), (0x5000, False)):
        out = narrowed(requests, silence(imm, request=0, reported=reported))
        spans = [(r.first, r.first + r.count) for r in out if r.pass_no == 0]
        assert spans[0][0] == 0
        assert spans[-1][1] == 0x10000
        assert all(a[1] == b[0] for a, b in itertools.pairwise(spans))
        assert [r for r in out if r.pass_no == 1] == [requests[1]]


def by_x0(cpus: Any, hung: Sequence[Hung]) -> list[SweepRequest]:
    whole = SweepRequest(first=0, count=0x3000, swept="x0", x0_first=0x40, x0_step=3)
    return [] if hung else [whole]


def test_a_hang_in_a_sweep_over_x0_is_named_by_its_value(held: Session) -> None:
    ScriptedPayload.plan = [hang(2), hang(2)]
    done = sweep(held, STUB, by_x0)
    assert [(each.immediate, each.x0) for each in done.hung] == [(0, 0x46)]
    assert str(done.hung[0]) == "hvc #0x0 with x0 = 0x46"


def test_a_silence_in_a_sweep_over_x0_is_narrowed_to_its_value(held: Session) -> None:
    at = BLOCK + 7

    def again(requests: tuple[SweepRequest, ...]) -> Silence:
        assert [(each.x0_first, each.count, each.block) for each in requests] == [
            (0x40, BLOCK, 0), (0x40 + 3 * BLOCK, BLOCK, 1), (0x40 + 6 * BLOCK, BLOCK, 0),
        ]  # fmt: skip
        return silence(at - BLOCK, request=1)

    ScriptedPayload.plan = [silence(BLOCK), again]
    done = sweep(held, STUB, by_x0)
    assert [each.x0 for each in done.hung] == [0x40 + 3 * at]


def test_a_single_hvc_that_never_comes_home_twice_hangs(held: Session) -> None:
    ScriptedPayload.plan = [hang(), silence(0)]
    with pytest.raises(ConfirmedHang, match="does not come home, twice"):
        exchange(held, STUB, lambda payload: payload.hvc(2), "hvc #2")


def test_a_single_hvc_that_was_silent_once_is_tried_again(held: Session) -> None:
    ScriptedPayload.plan = [silence(0)]
    found: Any = exchange(held, STUB, lambda payload: payload.hvc(2), "hvc #2")
    assert found == "exchange of 2"


def test_a_board_that_vanishes_once_accuses_nobody(held: Session, bench: FakeBench) -> None:
    ScriptedPayload.plan = [Vanished("nobody came")]
    assert len(sweep(held, STUB, make).passes) == 2
    ScriptedPayload.plan = [Vanished("nobody came")]
    found: Any = exchange(held, STUB, lambda payload: payload.hvc(2), "hvc #2")
    assert found == "exchange of 2"


def _lone(held: Session, single: bool) -> None:
    if single:
        exchange(held, STUB, lambda payload: payload.hvc(2), "hvc #2")
    else:
        sweep(held, STUB, make)


@pytest.mark.parametrize("single", [True, False])
def test_a_board_that_vanishes_twice_hangs_if_an_empty_batch_still_comes_back(
    held: Session, bench: FakeBench, single: bool
) -> None:
    ScriptedPayload.plan = [Vanished("nobody came"), Vanished("nobody came")]
    with pytest.raises(ConfirmedHang, match="twice from fresh boots: nobody came"):
        _lone(held, single)
    assert bench.boot == 3


@pytest.mark.parametrize("single", [True, False])
def test_a_board_that_vanishes_for_good_may_have_lost_its_network(
    held: Session, bench: FakeBench, single: bool
) -> None:
    ScriptedPayload.plan = [Vanished("nobody came"), Vanished("nobody came")]
    bench.fail["payload"] = [None, None, *[errors.LabError("an empty batch is lost")] * 3]
    with pytest.raises(errors.LabError, match="an empty batch is lost") as caught:
        _lone(held, single)
    assert not isinstance(caught.value, errors.TargetError)


def test_a_board_that_restarts_twice_in_a_batch_crashes(held: Session) -> None:
    ScriptedPayload.plan = [Restarted("from power"), Restarted("from power")]
    with pytest.raises(ConfirmedCrash, match="twice from fresh boots: from power"):
        sweep(held, STUB, make)


def test_what_was_observed_is_measured_once_a_run_and_once_more_if_it_accuses(
    held: Session, bench: FakeBench
) -> None:
    calls: list[int] = []

    def measure() -> int:
        held.payload(STUB)
        calls.append(held.measurement)
        return bench.boot

    assert [held.observe("key", measure) for _ in range(3)] == [1, 1, 1]
    with held.again():
        assert [held.observe("key", measure) for _ in range(3)] == [2, 2, 2]
    with held.again():
        assert held.observe("other", measure) == 2
    assert calls == [1, 2, 2]


def test_an_observation_that_failed_fails_every_test_that_judges_it(held: Session) -> None:
    calls: list[int] = []

    def measure() -> None:
        calls.append(1)
        raise errors.LinkError("cut")

    for _ in range(3):
        with pytest.raises(errors.LinkError):
            held.observe("key", measure)
    assert calls == [1]


def test_hung_is_plain_data() -> None:
    assert Hung(0, 5, 1, "x") == Hung(0, 5, 1, "x")
