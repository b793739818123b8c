# SPDX-License-Identifier: Apache-2.0
"""CPUs: started, asleep where that saves the host, or failing by name."""

import pytest

from hilagent import errors
from hilagent.link import wire
from hilagent.link.frame import Packet
from hilagent.payload import SweepRequest
from hilagent.testing import Faults, Traits
from hilagent.testing.laboratory import catch_of, front_of
from tests.payload.bench import bench


def test_the_boot_cpu_is_known_without_starting_any() -> None:
    payload = bench().connect()
    (only,) = payload.cpus()
    assert (only.cpu, only.front, only.catch, only.catch_count) == (0, front_of(0), catch_of(0), 8)
    assert only.entry["CurrentEL"] == 8
    assert only.ids["MIDR_EL1"] == 0x411FD070


def test_all_cpus_start() -> None:
    payload = bench().connect()
    assert [cpu.cpu for cpu in payload.start_cpus()] == [0, 1, 2, 3]
    assert payload.mrs("MIDR_EL1", cpu=2) == 0x411FD070


def test_a_cpu_that_does_not_start_is_named() -> None:
    with pytest.raises(errors.LabError, match="CPU 2 does not start: FAILED"):
        bench(Traits(bad_cpus=frozenset({2}))).connect().start_cpus()


def test_the_link_moves() -> None:
    b = bench()
    payload = b.connect()
    payload.start_cpus()
    payload.move_link(3)
    assert payload.link_cpu == b.twin.jobs.link_cpu == 3
    assert payload.echo(b"from 3") == b"from 3"


def test_on_an_emulated_board_a_cpu_without_work_sleeps() -> None:
    b = bench()
    payload = b.connect(emulated=True, alive=lambda: True)
    payload.start_cpus()
    awake = [cpu for cpu, state in b.twin._cpus.items() if state == wire.CpuState.READY]
    assert awake == [0]
    passes = payload.sweep([SweepRequest(cpu=cpu, count=0x100) for cpu in range(4)])
    assert [swept.cpu for swept in passes] == [0, 1, 2, 3]
    awake = [cpu for cpu, state in b.twin._cpus.items() if state == wire.CpuState.READY]
    assert len(awake) <= 2
    assert payload.mrs("MIDR_EL1", cpu=3) == payload.mrs("MIDR_EL1", cpu=2) == 0x411FD070


def test_no_more_cpus_sweep_at_once_than_asked_for() -> None:
    b = bench(Traits(sweep_s=1.0))
    payload = b.connect(parallel=1)
    payload.start_cpus()
    most, start = [0], b.twin.jobs.start

    def counted(*args: object) -> int:
        number = start(*args)  # type: ignore[arg-type]
        most[0] = max(most[0], len(b.twin.jobs.running))
        return number

    b.twin.jobs.start = counted  # type: ignore[assignment]
    payload.sweep([SweepRequest(cpu=cpu, count=0x100) for cpu in range(4)])
    assert most == [1]


def test_a_link_that_moves_only_at_the_second_try_has_moved() -> None:
    b = bench()
    do, tries = b.twin._of_cpu, [0]

    def late(op: int, cpu: int) -> tuple[int, bytes]:
        tries[0] += op == wire.Op.LINK_MOVE
        return (wire.Status.FAILED, b"") if tries[0] == 1 else do(op, cpu)

    b.twin._of_cpu = late  # type: ignore[method-assign]
    payload = b.connect()
    payload.start_cpus()
    payload.move_link(1)
    assert (payload.link_cpu, tries) == (1, [2])


@pytest.mark.parametrize("parts", [True, False])
def test_facts_come_in_parts_where_the_line_would_not_carry_them_whole(parts: bool) -> None:
    bad = Faults.spread(0.01, armed=False)
    b = bench(to_board=bad, to_host=bad, seed=5)
    payload = b.connect()
    do = b.twin._do

    def older(request: Packet) -> tuple[int, bytes]:
        too_long = request.op == wire.Op.CPU_INFO and len(request.body) > 4
        return (wire.Status.BAD_ARG, b"") if too_long and not parts else do(request)

    b.twin._do = older  # type: ignore[method-assign]
    b.line.arm()
    assert [cpu.front for cpu in payload.start_cpus()] == [front_of(cpu) for cpu in range(4)]
    assert payload.bytes_rx < 20_000 or not parts


@pytest.mark.parametrize("parts", [True, False])
def test_a_state_alone_costs_four_bytes_where_the_payload_gives_parts(parts: bool) -> None:
    b = bench(Traits(elsewhere=frozenset({3})))
    payload = b.connect()
    do = b.twin._do

    def older(request: Packet) -> tuple[int, bytes]:
        too_long = request.op == wire.Op.CPU_INFO and len(request.body) > 4
        return (wire.Status.BAD_ARG, b"") if too_long and not parts else do(request)

    b.twin._do = older  # type: ignore[method-assign]
    before = payload.bytes_rx
    assert payload.cpu_states() == {
        0: wire.CpuState.READY, 1: wire.CpuState.OFF, 2: wire.CpuState.OFF,
        3: wire.CpuState.ELSEWHERE,
    }  # fmt: skip
    whole = 4 * wire.CPU_INFO.size
    assert (payload.bytes_rx - before < whole // 4) is parts


def test_a_board_that_can_not_switch_cpus_off_leaves_them_on() -> None:
    b = bench()
    do = b.twin._of_cpu

    def refusing(op: int, cpu: int) -> tuple[int, bytes]:
        return (wire.Status.REFUSED, b"") if op == wire.Op.CPU_STOP else do(op, cpu)

    b.twin._of_cpu = refusing  # type: ignore[method-assign]
    payload = b.connect(emulated=True, alive=lambda: True)
    assert len(payload.start_cpus()) == 4
    assert b.twin.executed.count(wire.Op.CPU_STOP) == 1
