# SPDX-License-Identifier: Apache-2.0
"""Sweeps: side by side, by every CPU, verified; hangs, silence and resets named."""

import dataclasses
import zlib
from collections.abc import Callable, Sequence

import pytest

from hilagent import errors
from hilagent.clock import Deadline
from hilagent.link import wire
from hilagent.link.frame import Packet
from hilagent.payload import Hang, PayloadFault, ResetInJob, Silence, SweepRequest
from hilagent.payload.trouble import Place
from hilagent.result import Sig, SweepPass
from hilagent.testing import Issued, Traits, behaviour
from tests.payload.bench import bench

ALL = [
    SweepRequest(cpu=cpu, pass_no=n, count=0x4000, catch_mask=1) for cpu in range(4) for n in (0, 1)
]
SMALL = [dataclasses.replace(r, count=0x200) for r in ALL]
CLOBBERED = 1 << 17 | 1 << 18


def at(field: str) -> int:
    """Offset of a field of the sweep's result."""
    return wire._constants()[f"SWEEP_RESULT_{field.upper()}"]


def test_all_cpus_are_swept_side_by_side_and_the_passes_come_in_order() -> None:
    b = bench(Traits(sweep_s=4.0))
    payload = b.connect()
    payload.start_cpus()
    start_s, before = b.clock.now_s(), payload.bytes_rx + payload.bytes_tx
    passes = payload.sweep(ALL)
    assert [(p.cpu, p.pass_no) for p in passes] == [(r.cpu, r.pass_no) for r in ALL]
    assert b.clock.now_s() - start_s < 4.2  # 2 s for CPUs 1 to 3, then 2 s for CPU 0
    assert payload.link_cpu != 0
    assert (payload.bytes_rx + payload.bytes_tx - before) / 4 < 16 * 1024  # a CPU, both passes


def test_a_pass_says_which_immediate_did_what() -> None:
    payload = bench(Traits(cpus=1)).connect()
    (swept,) = payload.sweep([SweepRequest(pass_no=1, catch_mask=1)])
    assert swept.runs == ((0, 1, 0), (1, 1, 1), (2, 1, 2), (3, 1, 3), (4, 65532, 0))
    assert [sig.seen for sig in swept.sigs] == [
        wire.Seen.RETURNED, wire.Seen.RETURNED, wire.Seen.VECTORS_SET, wire.Seen.CALLED,
    ]  # fmt: skip
    assert (swept.sigs[0].gpr_changed, swept.sigs[2].catch, swept.sigs[3].first) == (
        CLOBBERED,
        4,
        3,
    )
    assert (swept.count, swept.left_out, swept.crc_ok, swept.swept) == (65536, 0, True, "imm")
    assert swept.ticks > 0


def test_one_cpu_sweeps_on_the_link_and_reports_between_blocks() -> None:
    payload = bench(Traits(cpus=1)).connect()
    shares: list[float] = []
    payload.sweep([SweepRequest(block=8192)], shares.append)
    assert len(shares) >= 8
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


@pytest.mark.parametrize("body", [bytes(8), wire.JOB_STATUS.pack(job=77)], ids=["short", "other"])
def test_answers_that_say_nothing_of_the_job_end_it(body: bytes) -> None:
    b = bench(Traits(cpus=2, sweep_s=60.0))
    payload = b.connect()
    payload.start_cpus()

    def evasive(packet: Packet) -> Sequence[Packet]:
        if packet.kind != wire.Kind.REPLY:
            return ()
        status = packet.op == wire.Op.JOB_STATUS
        return (dataclasses.replace(packet, body=body) if status else packet,)

    b.twin.speech = evasive
    with pytest.raises(errors.LinkError, match="nothing is said of what runs"):
        payload.sweep(ALL[:1])


def test_a_report_that_comes_byte_by_byte_is_not_taken_for_no_report() -> None:
    """Each byte provoked a request: a CPU that owns the link and works got hundreds, and
    a line that nobody reads takes no more than fits."""
    b = bench(Traits(cpus=1, sweep_s=0.5))
    payload = b.connect()
    read, said = b.line.read, bytearray()

    def bytewise(deadline: Deadline) -> bytes:
        said.extend(b"" if said else read(deadline))
        return bytes([said.pop(0)]) if said else b""

    b.line.read = bytewise  # type: ignore[method-assign]
    payload.sweep([SweepRequest(block=1024)], max_frames=0)
    assert b.twin.executed.count(wire.Op.JOB_STATUS) == 0


def test_each_pass_is_handed_out_as_soon_as_it_is_here() -> None:
    payload = bench().connect()
    payload.start_cpus()
    arrived: dict[int, SweepPass] = {}
    payload.sweep(SMALL, arrived=arrived.__setitem__)
    assert sorted(arrived) == list(range(8))
    assert all(swept.cpu == SMALL[index].cpu for index, swept in arrived.items())


def test_values_of_x0_can_be_swept_instead_of_immediates() -> None:
    def x0_abi(issued: Issued) -> Sig | None:
        assert issued.imm == 0
        return behaviour.returned(gpr_changed=1)

    payload = bench(vectors=x0_abi).connect()
    (swept,) = payload.sweep([SweepRequest(swept="x0", first=0, count=16, x0_first=0x100)])
    assert (swept.first, swept.count, swept.swept) == (0, 16, "x0")
    assert swept.runs == ((0, 16, 0),)


def test_immediates_that_are_left_out_are_never_issued() -> None:
    def never_two(issued: Issued) -> Sig | None:
        assert issued.imm != 2
        return behaviour.hyp_stub(issued)

    payload = bench(vectors=never_two).connect()
    (swept,) = payload.sweep([SweepRequest(count=8, skip=(2,))])
    assert swept.sigs[swept.runs[2][2]].seen == wire.Seen.NOT_ISSUED


def test_every_immediate_with_a_signature_of_its_own_is_accounted_for() -> None:
    all_differ: Callable[[Issued], Sig | None] = lambda issued: behaviour.returned(x0=issued.imm)  # noqa: E731
    payload = bench(vectors=all_differ).connect()
    (swept,) = payload.sweep([SweepRequest(count=100)])
    assert len(swept.sigs) == wire.MAX_SIGS
    assert swept.sigs[-1].flags >> 31 == 1
    assert swept.runs[-1] == (31, 69, 31)


def test_runs_that_did_not_fit_are_counted_and_the_crc_is_not_claimed() -> None:
    alternating: Callable[[Issued], Sig | None] = lambda i: behaviour.returned(x0=i.imm & 1)  # noqa: E731
    payload = bench(vectors=alternating).connect()
    (swept,) = payload.sweep([SweepRequest(count=wire.MAX_RUNS + 10)])
    assert (len(swept.runs), swept.left_out, swept.crc_ok) == (wire.MAX_RUNS, 10, False)


def test_evidence_is_fetched_for_what_is_wanted_and_no_more() -> None:
    payload = bench().connect()
    many: Callable[[Sig], bool] = lambda sig: sig.seen != wire.Seen.RETURNED  # noqa: E731
    (swept,) = payload.sweep([SweepRequest(count=64, catch_mask=1)], want=many)
    assert sorted(swept.frames) == [2, 3]
    call = swept.frames[3]
    assert (call.before.imm, call.sig) == (3, swept.sigs[3])
    assert call.after.x[:3] == call.before.x[1:4]
    (one,) = payload.sweep([SweepRequest(count=64, catch_mask=1)], want=many, max_frames=1)
    assert sorted(one.frames) == [2]


def test_evidence_of_a_pass_that_was_overwritten_is_refused() -> None:
    payload = bench().connect()
    (first,) = payload.sweep([SweepRequest(count=64)])
    assert payload.frames(first, 0).before.imm == 0
    with pytest.raises(errors.UsageError, match="no frames for signature 9"):
        payload.frames(first, 9)
    payload.mrs("MIDR_EL1")
    with pytest.raises(errors.StateError, match="has run another job"):
        payload.frames(first, 0)
    payload.sweep([SweepRequest(count=64)])
    with pytest.raises(errors.StateError, match="has swept again"):
        payload.frames(first, 0)


@pytest.mark.parametrize("cpu", [0, 1, 3])
def test_a_hang_names_cpu_immediate_origin_and_request(cpu: int) -> None:
    def hangs(issued: Issued) -> Sig | None:
        return None if (issued.cpu, issued.imm) == (cpu, 0x1234) else behaviour.hyp_stub(issued)

    b = bench(Traits(sweep_s=1.6), hangs)
    payload = b.connect()
    payload.start_cpus()
    start_s = b.clock.now_s()
    with pytest.raises(Hang, match=rf"at hvc #0x1234 on CPU {cpu}, after 4660") as caught:
        payload.sweep(ALL)
    hang = caught.value
    assert (hang.cpu, hang.imm, hang.immediate, hang.done) == (cpu, 0x1234, 0x1234, 0x1234)
    assert (hang.origin, ALL[hang.request].cpu) == (wire.Origin.EL1H, cpu)
    assert b.clock.now_s() - start_s < 9


def test_a_hang_needs_five_reports_and_a_host_that_was_on_time() -> None:
    b = bench(Traits(heartbeat_s=0.2), behaviour.hangs_at(5))
    late = [2.0, 0.0]
    payload = b.connect(late_s=lambda since_s: late.pop(0) if late else 0.0)
    payload.start_cpus()
    start_s = b.clock.now_s()
    with pytest.raises(Hang):
        payload.sweep(SMALL[2:3])
    assert b.clock.now_s() - start_s > 10  # extended once, since the host was late


def test_a_hang_on_a_host_that_is_always_late_is_no_verdict() -> None:
    b = bench(vectors=behaviour.hangs_at(5))
    payload = b.connect(late_s=lambda since_s: 1.5)
    payload.start_cpus()
    with pytest.raises(errors.HostOverloaded, match="again after the wait was extended"):
        payload.sweep(SMALL[2:3])


def test_an_emulator_stopped_for_8_s_is_never_a_hang() -> None:
    """Its clock goes on while it is stopped; reports are what counts, not ticks."""
    b = bench(Traits(sweep_s=12.0))
    stop_s = b.clock.now_s() + 2.0

    def stopped() -> bool:
        return stop_s < b.clock.now_s() < stop_s + 8

    payload = b.connect(alive=lambda: not stopped())
    payload.start_cpus()
    tick, feed = b.twin.tick, b.twin.feed
    jobs_clock = b.twin.jobs.clock

    class Lagging:
        """The work stands still while the emulator is stopped."""

        def now_s(self) -> float:
            now_s = jobs_clock.now_s()
            return now_s if now_s < stop_s else stop_s if now_s < stop_s + 8 else now_s - 8

    b.twin.jobs.clock = Lagging()
    b.twin.tick = lambda: b"" if stopped() else tick()  # type: ignore[method-assign]
    b.twin.feed = lambda data: b"" if stopped() else feed(data)  # type: ignore[method-assign]
    b.twin.next_s = lambda: b.clock.now_s() + 0.1  # type: ignore[method-assign]
    assert len(payload.sweep(ALL[2:4], max_frames=0)) == 2


def test_a_slow_board_that_goes_on_is_never_a_hang() -> None:
    payload = bench(Traits(sweep_s=1200.0)).connect()
    payload.start_cpus()
    assert payload.sweep(ALL[2:3])[0].count == 0x4000


def test_a_hang_of_the_only_cpu_is_silence_with_its_last_heartbeat() -> None:
    payload = bench(Traits(cpus=1), behaviour.hangs_at(0x2345)).connect()
    with pytest.raises(Silence) as caught:
        payload.sweep([SweepRequest(block=0x100)])
    place = Place(cpu=0, origin=wire.Origin.EL1H, imm=0x2300, done=0x2300, request=0)
    assert caught.value.place == place
    assert caught.value.last is not None
    assert caught.value.last.at == 0x2300
    assert not isinstance(caught.value, errors.TargetError)


def test_a_hang_before_the_first_heartbeat_says_that_nothing_was_reported() -> None:
    payload = bench(Traits(cpus=1), behaviour.hangs_at(0)).connect()
    with pytest.raises(Silence) as caught:
        payload.sweep([SweepRequest()])
    assert caught.value.place is not None
    assert not caught.value.place.reported


def test_a_reset_in_mid_sweep_says_where() -> None:
    payload = bench(Traits(reset_at=0x3000, sweep_s=16)).connect()
    payload.start_cpus()
    with pytest.raises(ResetInJob, match="the board restarted") as caught:
        payload.sweep(ALL[2:3])
    assert isinstance(caught.value, errors.BoardReset)
    assert (caught.value.cpu, caught.value.request) == (1, 0)
    assert 0x1000 < caught.value.imm <= 0x3000


def test_without_job_done_events_the_host_asks() -> None:
    payload = bench(Traits(done_events=False, heartbeat_s=100.0)).connect()
    payload.start_cpus()
    assert len(payload.sweep(SMALL)) == 8
    assert payload.mrs("MIDR_EL1", cpu=3) == 0x411FD070


def test_a_job_that_an_exception_ended_is_a_fault() -> None:
    b = bench()
    payload = b.connect()
    start = b.twin.jobs.start

    def faulted(*args: object) -> int:
        number = start(*args)  # type: ignore[arg-type]
        job = b.twin.jobs._jobs[0]
        job.fine, job.result = False, wire.CALL_RESULT.pack(faulted=1, vector=4, far=0x77)
        return number

    b.twin.jobs.start = faulted  # type: ignore[assignment]
    with pytest.raises(PayloadFault, match=r"sweep from EL1H, pass 0: exception .* FAR 0x77"):
        payload.sweep([SweepRequest(count=8)])


def test_a_death_of_the_payload_is_a_crash_with_its_registers() -> None:
    b = bench()
    payload = b.connect()
    frame = wire.FRAME.pack(esr=0x9600_0045, far=0xBAD, pc=0x4020_0000)
    b.line.to_host.push(b.twin._event(wire.Event.DYING, frame[:512]))
    with pytest.raises(errors.TargetCrash, match=r"ESR 0x96000045, FAR 0xbad, PC 0x40200000"):
        payload.echo(b"")


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("magic", 0, "magic"),
        ("first", 1, "asked for"),
        ("done", 1, "runs cover"),
        ("sigs", 99, "sigs"),
        ("job", 99, "asked for"),
        ("seed", 99, "asked for"),
    ],
)
def test_a_result_that_is_not_the_one_that_was_asked_for_is_refused(
    field: str, value: int, why: str
) -> None:
    offset = at(field)
    b = bench()
    payload = b.connect()
    end = b.twin.jobs.ends

    def spoilt() -> list[bytes]:
        job = b.twin.jobs._jobs.get(0)
        if job:
            job.result = job.result[:offset] + bytes([value]) + job.result[offset + 1 :]
        return end()

    b.twin.jobs.ends = spoilt  # type: ignore[method-assign]
    with pytest.raises(errors.LinkError, match=why):
        payload.sweep([SweepRequest(count=0x40, catch_mask=1)])


def test_runs_that_do_not_give_the_crc_are_marked() -> None:
    b = bench()
    payload = b.connect()
    end = b.twin.jobs.ends

    def spoilt() -> list[bytes]:
        job = b.twin.jobs._jobs.get(0)
        if job:
            crc = zlib.crc32(b"other").to_bytes(4, "little")
            job.result = job.result[: at("crc")] + crc + job.result[at("crc") + 4 :]
        return end()

    b.twin.jobs.ends = spoilt  # type: ignore[method-assign]
    (swept,) = payload.sweep([SweepRequest(count=0x40)])
    assert not swept.crc_ok


@pytest.mark.parametrize(
    "request_",
    [
        SweepRequest(first=1),
        SweepRequest(count=0),
        SweepRequest(swept="y"),
        SweepRequest(fixed={31: 0}),
        SweepRequest(stack_imms=tuple(range(9))),
        SweepRequest(land_imms=(1, 2, 3, 4)),
        SweepRequest(cpu=7),
    ],
)
def test_what_can_not_be_asked_is_said_before_anything_runs(request_: SweepRequest) -> None:
    b = bench()
    payload = b.connect()
    with pytest.raises(errors.UsageError):
        payload.sweep([SweepRequest(count=8), request_])
    assert wire.Op.JOB_START not in b.twin.executed


def test_a_job_is_sent_without_its_trailing_zeros() -> None:
    b = bench()
    payload = b.connect()
    before = payload.bytes_tx
    payload._jobs.start(SweepRequest().packed(), cpu=0, what="a sweep")
    assert payload.bytes_tx - before < 100 < wire.JOB.size


def test_a_payload_can_go_on_after_a_sweep_that_was_refused() -> None:
    payload = bench().connect()
    with pytest.raises(errors.UsageError):
        payload.sweep([SweepRequest(cpu=2)])
    assert len(payload.sweep([SweepRequest(count=8)])) == 1
