# SPDX-License-Identifier: Apache-2.0
"""Hello: who answers, on what terms, and whom a failure blames."""

import secrets

import pytest

from hilagent import errors
from hilagent.clock import Deadline
from hilagent.link import wire
from hilagent.link.frame import Packet, encode
from hilagent.payload import Silence, connect
from hilagent.payload.connect import EVERY_BYTE
from hilagent.testing import Faults, Traits, filters
from tests.payload.bench import RUN, bench


def test_a_payload_that_says_boot_is_greeted_at_once() -> None:
    b = bench()
    start_s = b.clock.now_s()
    payload = b.connect()
    assert b.clock.now_s() - start_s < 0.1
    assert payload.hello.boot_id == b.twin.boot_id
    assert payload.hello.build_id == bytes(range(20)).hex()
    assert (payload.hello.cpus, payload.hello.sve, payload.encoding) == (4, False, "raw")


def test_a_payload_that_was_greeted_before_is_provoked() -> None:
    b = bench()
    b.connect()
    again = b.connect(run_id=RUN + 1)
    assert again.echo(b"hi") == b"hi"
    assert again.run_id == RUN + 1


def test_connecting_again_costs_one_probe_on_a_good_line() -> None:
    b = bench()
    b.connect()
    b.twin.executed.clear()
    assert b.connect(run_id=RUN + 1).encoding == "raw"
    assert b.twin.executed == [wire.Op.HELLO, wire.Op.HELLO]


def test_the_same_run_may_connect_again() -> None:
    b = bench()
    b.connect()
    assert b.connect().echo(b"hi") == b"hi"


def test_a_payload_that_boots_late_is_waited_for() -> None:
    b = bench()
    b.twin._boot_s = b.clock.now_s() + 8
    assert b.connect(seconds=20).echo(b"hi") == b"hi"


def test_after_a_kexec_nothing_is_said_to_a_kernel_that_may_still_be_there() -> None:
    b = bench()
    b.twin._boot_s = b.clock.now_s() + 8
    b.line.to_host.push(b"kexec_core: Starting new kernel\r\n")
    sent: list[float] = []
    write = b.line.write

    def noted(data: bytes, deadline: Deadline) -> None:
        sent.append(b.clock.now_s())
        write(data, deadline)

    b.line.write = noted  # type: ignore[method-assign]
    start_s = b.clock.now_s()
    assert b.connect(seconds=20, unasked=True).echo(b"hi") == b"hi"
    assert min(sent) >= start_s + 8


def test_a_kexec_that_never_arrives_ends_in_silence_with_nothing_said() -> None:
    b = bench()
    b.twin.alive = False
    b.line.to_host.push(b"kexec: Can't kexec: CPUs are stuck in the kernel\r\n")
    start_s = b.clock.now_s()
    with pytest.raises(Silence, match=r"within 6 s; the console last said: kexec: Can't kexec"):
        b.connect(seconds=6, unasked=True)
    assert b.line.sent == 0
    assert b.clock.now_s() - start_s < 6.1


def test_a_kexec_on_a_late_host_is_waited_for_once_more() -> None:
    b = bench()
    b.twin._boot_s = b.clock.now_s() + 7
    assert b.connect(seconds=5, unasked=True, late_s=lambda since_s: 2.0).echo(b"x") == b"x"


def test_entry_at_el1_blames_the_boot_path() -> None:
    with pytest.raises(
        errors.PreconditionError, match=r"entered at EL1 and has no EL2: the boot path"
    ):
        bench(Traits(entry_el=1)).connect()


def test_e2h_that_does_not_clear_is_a_precondition() -> None:
    with pytest.raises(errors.PreconditionError, match=r"HCR_EL2\.E2H does not clear"):
        bench(Traits(e2h_stuck=True)).connect()


def test_another_protocol_version_is_a_precondition() -> None:
    with pytest.raises(errors.PreconditionError, match="speaks protocol 99"):
        bench(Traits(version=99)).connect()


def test_nobody_there_is_silence_and_says_what_the_console_said() -> None:
    b = bench()
    b.twin.alive = False
    b.line.to_host.push(b"=> \x1b[31mBad Linux ARM64 Image magic!\r\n")
    with pytest.raises(Silence, match=r"within 5 s; the console last said: => Bad Linux"):
        b.connect(seconds=5)
    assert b.said.startswith(b"=> ")


def test_silence_on_a_host_that_was_late_is_extended_once_then_overloaded() -> None:
    b = bench()
    b.twin.alive = False
    start_s = b.clock.now_s()
    with pytest.raises(errors.HostOverloaded, match=r"3\.0 s late"):
        b.connect(seconds=5, late_s=lambda since_s: 3.0)
    assert 10 <= b.clock.now_s() - start_s < 12


def test_a_late_host_gets_its_payload_in_the_extended_wait() -> None:
    b = bench()
    b.twin._boot_s = b.clock.now_s() + 7
    b.twin.feed = lambda data: b"" if b.clock.now_s() < 1007 else type(b.twin).feed(b.twin, data)  # type: ignore[method-assign]
    assert b.connect(seconds=5, late_s=lambda since_s: 2.0).echo(b"x") == b"x"


@pytest.mark.parametrize("alive", [False, None])
def test_an_emulator_that_does_not_answer_is_not_the_payloads_silence(alive: bool | None) -> None:
    b = bench()
    b.twin.alive = False
    with pytest.raises(errors.HostOverloaded, match="emulator did not answer"):
        b.connect(seconds=5, alive=lambda: alive, emulated=True)


def test_a_real_board_that_cannot_tell_whether_it_is_alive_is_silent() -> None:
    b = bench()
    b.twin.alive = False
    with pytest.raises(Silence):
        b.connect(seconds=5)


def test_the_end_of_the_stream_is_a_lost_link() -> None:
    b = bench()
    b.line.ended = True
    with pytest.raises(errors.LinkError, match="ended"):
        b.connect()


def test_a_payload_that_works_for_another_run_says_so() -> None:
    b = bench(Traits(sweep_s=60))
    payload = b.connect()
    payload._jobs.start(
        wire.JOB.pack(cpu=0, kind=wire.Job.SWEEP, origin=5, count=0x10000), cpu=0, what="a sweep"
    )
    b.twin.jobs.link_cpu = 1
    with pytest.raises(errors.LabError, match="works for another run"):
        b.connect(run_id=RUN + 1)


def test_a_stale_boot_event_before_the_real_one_does_no_harm() -> None:
    b = bench()
    old = wire.HELLO.pack(version=1, boot_id=0xDEAD, entry_el=2, cpus=1)
    b.line.to_host.push(encode(Packet(wire.Kind.EVENT, wire.Event.BOOT, 0, 0, 0xDEAD, 0, old)))
    assert b.connect().hello.boot_id == b.twin.boot_id


def test_the_raw_probe_holds_all_bytes_and_leaves_no_port_stopped() -> None:
    assert set(EVERY_BYTE) == set(range(256))
    assert EVERY_BYTE.rindex(b"\x11") > EVERY_BYTE.rindex(b"\x13")
    assert b"~." not in EVERY_BYTE
    assert len(EVERY_BYTE) + wire.HELLO.size <= wire.MAX_BODY


@pytest.mark.parametrize("way", ["to_board", "to_host", "both"])
@pytest.mark.parametrize("name", [*filters.ALL])
def test_every_console_that_is_not_8_bit_clean_gets_armour_and_works(name: str, way: str) -> None:
    bad = Faults(filter=filters.ALL[name])
    b = bench(
        to_board=bad if way != "to_host" else Faults(),
        to_host=bad if way != "to_board" else Faults(),
    )
    payload = b.connect()
    assert payload.encoding == "armoured"
    data = bytes(range(256)) * 5
    payload.write(payload.hello.scratch, data)
    assert payload.read(payload.hello.scratch, len(data)) == data


@pytest.mark.parametrize("first_seq", range(4000, 4200))
def test_a_port_that_the_probe_itself_stopped_is_released_on_a_slow_line_too(
    monkeypatch: pytest.MonkeyPatch, first_seq: int
) -> None:
    """Where a head or CRC holds an XOFF, nothing is heard any more; at 9600 baud 1 connection
    in 60 was given up for that, before the probe had used its tries."""
    monkeypatch.setattr(secrets, "randbelow", lambda below: first_seq)
    bad = Faults(filter=filters.xoff_latches)
    payload = bench(to_board=bad, to_host=bad).connect(baud=9600)
    assert payload.encoding == "armoured"
    assert payload.echo(bytes(range(256))) == bytes(range(256))


def test_armour_can_be_asked_for() -> None:
    b = bench()
    assert b.connect(armoured=True).encoding == "armoured"
    assert b.twin.executed == [wire.Op.HELLO]


@pytest.mark.parametrize("rate", [0.001, 0.01])
@pytest.mark.parametrize("seed", range(5))
def test_a_line_that_only_loses_bytes_now_and_then_stays_raw(seed: int, rate: float) -> None:
    rare = Faults.spread(rate)
    assert bench(to_board=rare, to_host=rare, seed=seed).connect().encoding == "raw"


def test_console_text_before_and_between_is_passed_on_in_order() -> None:
    b = bench()
    b.line.to_host.push(b"U-Boot\r\nStarting kernel ...\r\n")
    payload = b.connect()
    b.line.to_host.push(b"[    1.0] printk\r\n")
    payload.echo(b"")
    assert bytes(b.said).split() == b"U-Boot Starting kernel ... [ 1.0] printk".split()


def test_without_a_deadline_left_it_still_ends() -> None:
    b = bench()
    b.twin.alive = False
    with pytest.raises(Silence):
        connect(b.line, run_id=1, deadline=Deadline.after(0, b.clock))
