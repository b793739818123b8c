# SPDX-License-Identifier: Apache-2.0
"""The whole client on lines that lose, flip and double: the right answer or an error."""

import random

import pytest

from hilagent import errors
from hilagent.payload import Hang, Silence, SweepRequest
from hilagent.result import SweepPass
from hilagent.testing import Fault, Faults, Traits, behaviour
from hilagent.testing.twin import SCRATCH
from tests.payload.bench import bench

QUICK = Traits(sweep_s=0.4)
WORK = [
    SweepRequest(cpu=cpu, pass_no=n, count=0x400, catch_mask=1) for cpu in (0, 1) for n in (0, 1)
]


def observed(passes: list[SweepPass]) -> list[tuple[object, ...]]:
    return [(p.cpu, p.pass_no, p.sigs, p.runs, p.crc_ok) for p in passes]


@pytest.fixture(scope="module")
def truth() -> list[tuple[object, ...]]:
    payload = bench(QUICK).connect()
    payload.start_cpus()
    return observed(payload.sweep(WORK))


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("rate", [0.001, 0.01])
def test_sweeps_are_right_on_a_line_that_loses(
    rate: float, seed: int, truth: list[tuple[object, ...]]
) -> None:
    bad = Faults.spread(rate, armed=False)
    b = bench(QUICK, to_board=bad, to_host=bad, seed=seed)
    payload = b.connect()
    b.line.arm()
    payload.start_cpus()
    assert observed(payload.sweep(WORK)) == truth
    assert b.line.to_host.done


@pytest.mark.parametrize("seed", range(4))
def test_armour_survives_losses_too(seed: int, truth: list[tuple[object, ...]]) -> None:
    bad = Faults.spread(0.003)
    payload = bench(QUICK, to_board=bad, to_host=bad, seed=seed).connect(armoured=True)
    payload.start_cpus()
    assert observed(payload.sweep(WORK)) == truth


@pytest.mark.parametrize("seed", range(6))
def test_bulk_data_is_right_on_a_bad_line_and_does_not_take_for_ever(seed: int) -> None:
    bad = Faults.spread(0.01, armed=False)
    b = bench(to_board=bad, to_host=bad, seed=seed)
    payload = b.connect()
    b.line.arm()
    data = random.Random(seed).randbytes(6000)
    start_s = b.clock.now_s()
    payload.write(SCRATCH, data)
    assert payload.read(SCRATCH, len(data)) == data
    assert b.clock.now_s() - start_s < 20


@pytest.mark.parametrize("kind", [Fault.DROP, Fault.FLIP, Fault.DOUBLE, Fault.GARBAGE, Fault.STALL])
def test_one_fault_at_every_offset_of_an_exchange_changes_nothing(kind: Fault) -> None:
    for offset in range(60):
        b = bench(
            to_board=Faults(at={offset: kind}, armed=False),
            to_host=Faults(at={offset + 7: kind}, armed=False),
            seed=offset,
        )
        payload = b.connect()
        b.line.arm()
        payload.write64(SCRATCH, offset)
        assert payload.read64(SCRATCH) == offset


def test_a_cut_at_any_offset_is_a_lost_link_and_nothing_else() -> None:
    for offset in range(0, 400, 7):
        b = bench(to_host=Faults(at={offset: Fault.CUT}, armed=False))
        payload = b.connect()
        b.line.arm()
        with pytest.raises(errors.LinkError):
            payload.sweep([SweepRequest(count=0x40), SweepRequest(count=0x40, pass_no=1)])


@pytest.mark.parametrize("seed", range(6))
def test_a_hang_on_a_bad_line_is_still_the_right_hang(seed: int) -> None:
    bad = Faults.spread(0.005, armed=False)
    b = bench(QUICK, behaviour.hangs_at(0x123), to_board=bad, to_host=bad, seed=seed)
    payload = b.connect()
    payload.start_cpus()
    b.line.arm()
    with pytest.raises(Hang) as caught:
        payload.sweep(WORK[2:])
    assert (caught.value.cpu, caught.value.imm) == (1, 0x123)


def test_a_line_that_carries_nothing_any_more_is_silence() -> None:
    b = bench(to_host=Faults(drop=1.0, armed=False))
    payload = b.connect()
    b.line.arm()
    with pytest.raises(Silence):
        payload.echo(b"")


def test_a_line_too_bad_for_any_packet_is_a_lost_link_in_bounded_time() -> None:
    bad = Faults.spread(0.3, armed=False)
    b = bench(to_board=bad, to_host=bad)
    payload = b.connect()
    payload._channel.stubborn_s = 8.0
    b.line.arm()
    start_s = b.clock.now_s()
    with pytest.raises(errors.LinkError, match="no reply in 8 s"):
        payload.write(SCRATCH, bytes(2000))
    assert b.clock.now_s() - start_s < 20


def test_a_slow_line_is_slow_and_not_broken() -> None:
    b = bench(QUICK, to_board=Faults(delay_s=0.4), to_host=Faults(delay_s=0.4))
    payload = b.connect(baud=9600)
    payload.start_cpus()
    data = random.Random(1).randbytes(20_000)
    payload.write(SCRATCH, data)
    assert payload.read(SCRATCH, len(data)) == data
    counters = payload.counters
    assert counters.repeats < 0.2 * counters.replies + 5
    assert payload.sweep(WORK)[0].crc_ok


def test_text_in_the_middle_of_packets_costs_only_repeats() -> None:
    b = bench(QUICK)
    payload = b.connect()
    push, count = b.line.to_host.push, [0]

    def with_printk(data: bytes) -> None:
        count[0] += bool(data)
        if data and count[0] % 3 == 0:
            middle = len(data) // 2
            data = data[:middle] + b"\r\n[    4.2] usb 1-1: new device\r\n" + data[middle:]
        push(data)

    b.line.to_host.push = with_printk  # type: ignore[method-assign]
    for number in range(60):
        assert payload.echo(number.to_bytes(4, "big")) == number.to_bytes(4, "big")
    assert payload.counters.repeats > 5
