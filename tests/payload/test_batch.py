# SPDX-License-Identifier: Apache-2.0
"""Replies that were left in memory: those of this batch count, whole, and no others."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import pytest

from hilagent import errors
from hilagent.link import frame, memory, wire
from hilagent.payload import Hang, PayloadFault, Refused, SweepRequest
from hilagent.payload.batch import Batch

RUN, BOOT = 0x1234, 0xB007
BODIES = (bytes(wire.HELLO.size), b"four", b"")


@dataclass
class Left:
    """What a payload leaves; each field is what it says."""

    run: int = RUN
    boot: int = BOOT
    end: int = memory.BatchEnd.DONE
    status: int = wire.Status.OK
    bodies: tuple[bytes, ...] = BODIES
    ops: tuple[int, ...] = (wire.Op.HELLO, wire.Op.ECHO, wire.Op.POWEROFF)
    count: int = -1
    packet_boot: int = BOOT
    first_seq: int = 1

    def behind(self, packed: bytes) -> bytes:
        """Return the batch with these results."""
        asked = memory.BATCH.unpack(packed)
        size = asked["size"]
        assert isinstance(size, int)
        replies = b"".join(
            raw + bytes(-len(raw) % memory.BATCH_ALIGN)
            for raw in (
                frame.pack(frame.Packet(wire.Kind.REPLY, op, number, self.status,
                                        self.packet_boot, self.run, body))
                for number, (op, body) in enumerate(zip(self.ops, self.bodies, strict=False),
                                                    self.first_seq)
            )
        )  # fmt: skip
        fields = {
            "magic": memory.MAGIC_RESULTS, "run_id": self.run, "boot_id": self.boot,
            "count": len(self.bodies) if self.count < 0 else self.count, "size": len(replies),
            "end": int(self.end), "asked": asked["crc"],
        }  # fmt: skip
        crc = zlib.crc32(memory.RESULTS.pack(**fields) + replies)
        results = memory.RESULTS.pack(**fields, crc=crc) + replies
        at = memory.BATCH.size + size
        return packed[:at] + results.ljust(len(packed) - at, b"\0")


def batch(run_id: int = RUN) -> Batch:
    made = Batch(run_id)
    made.ask(wire.Op.ECHO, b"four", reply=64)
    made.leave(wire.Op.POWEROFF)
    return made


def test_whole_results_of_this_batch_are_read() -> None:
    answers = batch().read(Left().behind(batch().pack()))
    assert (answers.boot_id, answers.end) == (BOOT, memory.BatchEnd.DONE)
    assert [answers.body(index) for index in range(3)] == list(BODIES)
    assert answers.stuck() is None


@pytest.mark.parametrize(
    ("left", "said"),
    [
        (Left(run=RUN + 1), "earlier boot"),
        (Left(packet_boot=BOOT + 1), "answers another request"),
        (Left(first_seq=2), "answers another request"),
        (Left(ops=(wire.Op.HELLO, wire.Op.READ, wire.Op.POWEROFF)), "answers another request"),
        (Left(bodies=BODIES[:2]), "2 replies to 3"),
        (Left(count=2), "3 replies to 3"),
        (Left(end=9), "unknown end"),
        (Left(bodies=(*BODIES, b""), ops=(1, 2, 15, 2)), "reply 3 of the batch is broken"),
    ],
)
def test_results_that_answer_something_else_are_refused(left: Left, said: str) -> None:
    with pytest.raises(errors.LabError, match=said):
        batch().read(left.behind(batch().pack()))


def test_nothing_of_a_payload_that_was_reset_in_the_middle_counts() -> None:
    with pytest.raises(errors.LabError, match="did not come to the end"):
        batch().read(batch().pack())


def test_every_torn_word_is_seen() -> None:
    packed = batch().pack()
    good = Left().behind(packed)
    first = memory.BATCH.size + _size(packed)
    used = memory.RESULTS.size + _number(memory.RESULTS.unpack(good[first:])["size"])
    for at in range(0, first + used, 4):
        torn = good[:at] + bytes(byte ^ 0x55 for byte in good[at : at + 4]) + good[at + 4 :]
        with pytest.raises(errors.LabError):
            batch().read(torn)


def test_results_cut_short_are_refused() -> None:
    packed = batch().pack()
    good = Left().behind(packed)
    first = memory.BATCH.size + _size(packed)
    used = memory.RESULTS.size + _number(memory.RESULTS.unpack(good[first:])["size"])
    for size in range(0, first + used, 8):
        with pytest.raises(errors.LabError):
            batch().read(good[:size])


def test_results_of_other_requests_in_the_same_run_are_refused() -> None:
    other = Batch(RUN)
    other.ask(wire.Op.ECHO, b"five", reply=64)
    other.leave(wire.Op.POWEROFF)
    with pytest.raises(errors.LabError, match="not the one that was sent"):
        batch().read(Left().behind(other.pack()))
    sent, crossed = batch().pack(), Left().behind(other.pack())
    at = memory.BATCH.size + _size(sent)
    with pytest.raises(errors.LabError, match="earlier boot"):
        batch().read(sent[:at] + crossed[at:])


def test_an_error_status_is_raised_where_its_reply_is_used() -> None:
    fault = wire.FAULT.pack(esr=0x96000010)
    left = Left(status=wire.Status.FAULT, bodies=(fault, fault, b""))
    answers = batch().read(left.behind(batch().pack()))
    with pytest.raises(PayloadFault):
        answers.body(1)
    with pytest.raises(Refused):
        answers.body(2)


def test_a_batch_that_ended_early_answers_no_more_than_it_did() -> None:
    left = Left(end=memory.BatchEnd.BROKEN, bodies=BODIES[:2])
    answers = batch().read(left.behind(batch().pack()))
    assert answers.body(1) == b"four"
    with pytest.raises(errors.LabError, match=r"BROKEN.* after 2 of 3"):
        answers.body(2)


def test_a_job_that_is_stuck_has_a_place_and_accuses_nobody() -> None:
    made = Batch(RUN)
    made.start_cpus([0])
    made.sweep([SweepRequest()])
    status = wire.JOB_STATUS.pack(job=1, state=wire.JobState.RUNNING, at=7, done=6)
    left = Left(
        end=memory.BatchEnd.STUCK,
        bodies=(bytes(wire.HELLO.size), bytes(wire.CPU_INFO.size), bytes(4), status),
        ops=(wire.Op.HELLO, wire.Op.CPU_INFO, wire.Op.JOB_START, wire.Op.JOB_STATUS),
    )
    answers = made.read(left.behind(made.pack()))
    place = answers.stuck()
    assert place is not None
    assert (place.cpu, place.imm, place.done, place.request) == (0, 7, 6, 0)
    with pytest.raises(errors.LabError) as raised:
        answers.passes()
    assert not isinstance(raised.value, Hang)
    with pytest.raises(errors.LabError, match="CPU 0 did not start"):
        answers.cpus()


def test_what_can_t_be_asked_is_said_before_anything_is_sent() -> None:
    with pytest.raises(errors.UsageError, match="after the payload has been left"):
        batch().ask(wire.Op.ECHO)
    with pytest.raises(errors.UsageError, match="not started"):
        Batch(RUN).sweep([SweepRequest(cpu=3)])


def _size(packed: bytes) -> int:
    return _number(memory.BATCH.unpack(packed)["size"])


def _number(value: int | tuple[int, ...]) -> int:
    assert isinstance(value, int)
    return value
