# SPDX-License-Identifier: Apache-2.0
"""Memory, registers, calls, hvc, leaving."""

import random
import zlib

import pytest

from hilagent import errors
from hilagent.clock import Deadline
from hilagent.link import wire
from hilagent.payload import PayloadFault, Refused, ResetInJob, Silence
from hilagent.testing import Faults, Traits, behaviour
from hilagent.testing.laboratory import front_of, pattern
from hilagent.testing.twin import SCRATCH, SLOT
from tests.payload.bench import RUN, bench

DATA = random.Random(3).randbytes(9000)


def test_memory_comes_back_as_it_was_written() -> None:
    payload = bench().connect()
    payload.write(SCRATCH, DATA)
    assert payload.read(SCRATCH, len(DATA)) == DATA
    assert payload.crc(SCRATCH, len(DATA)) == zlib.crc32(DATA)


def test_single_accesses_have_their_width() -> None:
    payload = bench().connect()
    payload.write64(SCRATCH, 0x1122334455667788)
    assert payload.read32(SCRATCH + 4) == 0x11223344
    assert payload.read16(SCRATCH) == 0x7788
    payload.write32(SCRATCH, 7)
    payload.write16(SCRATCH + 2, 8)
    payload.write8(SCRATCH, 9)
    assert (payload.read8(SCRATCH), payload.read64(SCRATCH)) == (9, 0x1122334400080009)


@pytest.mark.parametrize(("addr", "size", "width"), [(SCRATCH, 4, 3), (SCRATCH + 2, 8, 4)])
def test_accesses_that_can_not_be_are_the_callers_mistake(addr: int, size: int, width: int) -> None:
    with pytest.raises(errors.UsageError, match="accesses of"):
        bench().connect().read(addr, size, width)


def test_a_bad_address_is_a_fault_with_its_registers_and_the_payload_lives() -> None:
    payload = bench().connect()
    with pytest.raises(PayloadFault, match=r"READ: exception at vector 0x200") as caught:
        payload.read64(0x10)
    assert (caught.value.far, caught.value.esr >> 26) == (0x10, 0x25)
    assert payload.echo(b"alive") == b"alive"


def test_a_long_write_that_does_not_stick_is_written_again_and_then_given_up() -> None:
    b = bench()
    payload = b.connect()
    write, broken = b.twin.memory.write, [2]

    def forgetful(addr: int, data: bytes) -> None:
        write(addr, data)
        if addr == SCRATCH and broken[0]:
            broken[0] -= 1
            write(addr, b"?")

    b.twin.memory.write = forgetful  # type: ignore[method-assign]
    with pytest.raises(errors.LinkError, match="do not keep their CRC"):
        payload.write(SCRATCH, DATA)
    broken[0] = 1
    payload.write(SCRATCH, DATA)
    assert payload.read(SCRATCH, 100) == DATA[:100]


def test_the_crc_of_more_than_one_request_covers_is_joined() -> None:
    b = bench()
    payload = b.connect()
    b.twin.memory._regions[0x8000_0000] = bytearray(random.Random(1).randbytes(700_001))
    whole = b.twin.memory.crc32(0x8000_0000, 700_001)
    assert payload.crc(0x8000_0000, 700_001) == whole
    assert b.twin.executed.count(wire.Op.CRC) == 3


def test_system_registers_by_name_and_by_encoding() -> None:
    payload = bench().connect()
    assert payload.mrs("MIDR_EL1") == 0x411FD070
    payload.msr("TPIDR_EL2", 0x1234)
    assert payload.mrs("tpidr_el2") == payload.mrs("S3_4_C13_C0_2") == 0x1234
    with pytest.raises(errors.UsageError, match="no system register 'FOO'"):
        payload.mrs("FOO")


def test_a_register_that_is_not_there_is_a_fault() -> None:
    with pytest.raises(PayloadFault, match=r"system register 0xe780: .* ESR 0x2000000"):
        bench().connect().mrs("S3_4_C15_C0_0")


def test_a_call_returns_what_the_function_did() -> None:
    payload = bench(functions={0x4000: lambda *x: x[0] + x[7]}).connect()
    assert payload.call(0x4000, 40, 0, 0, 0, 0, 0, 0, 2).x0 == 42
    with pytest.raises(PayloadFault, match="call of 0x5000"):
        payload.call(0x5000)
    with pytest.raises(errors.UsageError):
        payload.call(0x4000, *range(9))


def test_a_call_that_takes_long_is_nobodys_hang() -> None:
    """A call has no progress to be watched: the caller says how long it may take."""
    b = bench(functions={0x4000: lambda *x: 1})
    payload = b.connect()
    payload.start_cpus()
    start = b.twin.jobs.start

    def slow(*args: object) -> int:
        number = start(*args)  # type: ignore[arg-type]
        b.twin.jobs._jobs[1].takes_s = 12.0
        return number

    b.twin.jobs.start = slow  # type: ignore[assignment]
    assert payload.call(0x4000, cpu=1, seconds=20).x0 == 1
    with pytest.raises(errors.LabError, match=r"call of 0x4000: not ended after 3\.\d s") as caught:
        payload.call(0x4000, cpu=1, seconds=3)
    assert not isinstance(caught.value, errors.TargetError)


def test_one_hvc_comes_back_with_both_register_files() -> None:
    b = bench()
    exchange = b.connect().hvc(behaviour.GET_VECTORS, x={3: 33}, seed=5)
    assert exchange.sig.x0 == exchange.after.x[0] == front_of(0)
    assert (exchange.before.x[3], exchange.before.x[4]) == (33, pattern(5, 0, 4))
    assert exchange.before.v[1] == pattern(5, 0, 66) | pattern(5, 0, 67) << 64
    assert exchange.before.sys["VBAR_EL2"] == front_of(0)
    changed = [r for r in range(31) if exchange.before.x[r] != exchange.after.x[r]]
    assert changed == [0, 17, 18]


def test_vectors_are_loaded_verified_and_used() -> None:
    b = bench()
    payload = b.connect()
    payload.vectors(wire.Target.SLOT, DATA, 0x800)
    assert b.twin.memory.read(SLOT, len(DATA)) == DATA
    assert wire.Op.SLOT_LOADED in b.twin.executed
    payload.vectors(wire.Target.RECORDER)
    assert payload.hvc(7).sig.seen == wire.Seen.RECORDED
    with pytest.raises(errors.UsageError, match="the slot has"):
        payload.vectors(wire.Target.SLOT, bytes(0x10001))


def test_vectors_that_the_payload_can_not_verify_are_refused() -> None:
    b = bench()
    payload = b.connect()
    b.twin.memory.write = lambda addr, data: None  # type: ignore[method-assign]
    with pytest.raises(Refused, match="VECTORS: FAILED") as caught:
        payload.vectors(wire.Target.SLOT, b"blob")
    assert caught.value.status == wire.Status.FAILED


def test_boot_leaves_the_payload_behind() -> None:
    b = bench()
    payload = b.connect()
    payload.boot(0x4800_0000, 1, 2, 3, el=1)
    assert b.twin.booted is not None
    assert [b.twin.booted[name] for name in ("addr", "x0", "x1", "x2", "el")] == [
        0x4800_0000, 1, 2, 3, 1,
    ]  # fmt: skip
    with pytest.raises(errors.StateError, match="booted another image"):
        payload.echo(b"")


@pytest.mark.parametrize("lost", [False, True])
def test_reset_is_done_whether_or_not_its_reply_arrives(lost: bool) -> None:
    b = bench()
    payload = b.connect()
    boot = b.twin.boot_id
    if lost:
        b.line.to_host.push = lambda data: None  # type: ignore[method-assign]
    payload.reset()
    assert b.twin.boot_id != boot
    with pytest.raises(errors.StateError, match="was reset"):
        payload.echo(b"")


def test_poweroff_ends_in_silence() -> None:
    b = bench()
    b.connect().poweroff()
    assert not b.twin.alive


def test_a_payload_that_falls_silent_is_silence() -> None:
    b = bench(Traits(silent_after=3))
    payload = b.connect()
    start_s = b.clock.now_s()
    payload.echo(b"")
    with pytest.raises(Silence, match="ECHO: nothing heard for 5 s"):
        payload.echo(b"")
    assert 5 <= b.clock.now_s() - start_s < 6


def test_a_board_that_takes_no_bytes_is_silence_too() -> None:
    b = bench()
    payload = b.connect()

    def stuck(data: bytes, deadline: Deadline) -> None:
        b.clock.advance_to(deadline.at_s)
        raise errors.LinkStuck("the console took no more bytes within 5 s")

    b.line.write = stuck  # type: ignore[method-assign]
    start_s = b.clock.now_s()
    with pytest.raises(Silence, match="took no more bytes"):
        payload.echo(b"")
    assert b.clock.now_s() - start_s == 5


def test_no_bytes_taken_while_the_host_was_late_is_no_silence() -> None:
    b = bench()
    payload = b.connect(late_s=lambda since_s: 8.0)

    def stuck(data: bytes, deadline: Deadline) -> None:
        b.clock.advance_to(deadline.at_s)
        raise errors.LinkStuck("the console took no more bytes within 5 s")

    b.line.write = stuck  # type: ignore[method-assign]
    with pytest.raises(errors.HostOverloaded):
        payload.echo(b"")


def test_silence_while_the_host_was_late_is_no_silence() -> None:
    b = bench(Traits(silent_after=3))
    payload = b.connect(late_s=lambda since_s: 8.0)
    payload.echo(b"")
    with pytest.raises(errors.HostOverloaded):
        payload.echo(b"")


def test_a_stopped_emulator_that_goes_on_after_8_s_is_waited_for() -> None:
    """SIGSTOP of QEMU in the middle of a request: late, but not lost."""
    b = bench()
    stopped = [False]
    payload = b.connect(alive=lambda: not stopped[0])
    stopped[0], until_s, feed = True, b.clock.now_s() + 8, b.twin.feed
    inbox = bytearray()

    def stalled(data: bytes) -> bytes:
        inbox.extend(data)
        if b.clock.now_s() < until_s:
            return b""
        stopped[0] = False
        taken = bytes(inbox)
        inbox.clear()
        return feed(taken)

    b.twin.feed = stalled  # type: ignore[method-assign]
    assert payload.echo(b"back") == b"back"


def test_a_board_that_restarts_is_a_reset_and_the_handle_is_stale() -> None:
    b = bench()
    payload = b.connect()
    b.twin.start()
    with pytest.raises(errors.BoardReset):
        payload.echo(b"")
    with pytest.raises(errors.StateError, match="connect to the payload again"):
        payload.echo(b"")
    assert b.connect(run_id=RUN + 1).echo(b"new") == b"new"


def test_a_board_that_lies_about_its_boot_id_is_a_reset() -> None:
    payload = bench(Traits(other_boot_after=3)).connect()
    payload.echo(b"")
    with pytest.raises(errors.BoardReset):
        payload.echo(b"")


def test_a_reply_of_another_run_is_asked_for_again() -> None:
    payload = bench(Traits(wrong_run_after=3)).connect()
    assert all(payload.echo(bytes([n])) == bytes([n]) for n in range(5))
    assert payload.counters.foreign == 1


def test_a_reset_in_a_job_says_where() -> None:
    b = bench(Traits(reset_at=7))
    payload = b.connect()
    with pytest.raises(ResetInJob) as caught:
        payload.hvc(7)
    assert (caught.value.cpu, caught.value.place is not None) == (0, True)


def test_every_operation_is_done_once_however_often_it_is_sent() -> None:
    bad = Faults.spread(0.02, armed=False)
    b = bench(to_board=bad, to_host=bad, seed=11)
    payload = b.connect()
    b.line.arm()
    b.twin.executed.clear()
    for value in range(30):
        payload.write32(SCRATCH, value)
        assert payload.read32(SCRATCH) == value
    assert b.twin.executed == [wire.Op.WRITE, wire.Op.READ] * 30
    assert payload.counters.repeats > 10


def test_bytes_on_the_line_are_counted() -> None:
    b = bench()
    payload = b.connect()
    before = payload.bytes_tx
    payload.echo(bytes(100))
    assert payload.bytes_tx == b.line.sent
    assert 120 < payload.bytes_tx - before < 130
