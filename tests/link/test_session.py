# SPDX-License-Identifier: Apache-2.0
"""The session: repeats, late replies, boot and run ids. Time is a number here."""

import dataclasses
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilagent import errors
from hilagent.link import wire
from hilagent.link.frame import Decoder, Packet, encode
from hilagent.link.session import Reply, Session

RUN, BOOT = 0x1234, 0xB007


def sent(data: bytes) -> Packet:
    """The one packet that a session wrote."""
    packets = [item for item in Decoder().feed(data) if isinstance(item, Packet)]
    assert len(packets) == 1
    return packets[0]


def reply_to(request: Packet, body: bytes = b"", **changed: int) -> bytes:
    packet = dataclasses.replace(
        request,
        kind=wire.Kind.REPLY,
        boot_id=BOOT,
        body=body,
        **changed,  # type: ignore[arg-type]
    )
    return encode(packet)


def event(op: int, body: bytes = b"", run_id: int = RUN, boot_id: int = BOOT) -> bytes:
    return encode(Packet(wire.Kind.EVENT, op, 0, 0, boot_id, run_id, body))


NAK = encode(Packet(wire.Kind.NAK, 0, 0, 0, BOOT, RUN))


def greeted() -> Session:
    session = Session(RUN, armoured=False)
    hello = sent(session.request(wire.Op.HELLO, b"", 0.0))
    assert session.feed(reply_to(hello), 0.001) is not None
    return session


def test_a_request_is_answered_by_the_reply_to_it() -> None:
    session = greeted()
    request = sent(session.request(wire.Op.ECHO, b"hi", 1.0))
    assert (request.run_id, request.boot_id, request.body) == (RUN, BOOT, b"hi")
    assert session.feed(reply_to(request, b"hi"), 1.002) == Reply(wire.Status.OK, b"hi")


def test_a_late_reply_is_never_the_answer_to_a_later_request() -> None:
    session = greeted()
    first = sent(session.request(wire.Op.READ, b"1", 1.0))
    session.forget()
    second = sent(session.request(wire.Op.READ, b"2", 2.0))
    assert session.feed(reply_to(first, b"old"), 2.001) is None
    assert session.counters.late == 1
    assert session.feed(reply_to(second, b"new"), 2.002) == Reply(0, b"new")


def test_a_doubled_reply_is_dropped() -> None:
    session = greeted()
    request = sent(session.request(wire.Op.ECHO, b"", 1.0))
    reply = reply_to(request)
    assert session.feed(reply + reply, 1.001) is not None
    assert session.counters.late == 1


@pytest.mark.parametrize("field", ["run_id", "op", "seq"])
def test_a_reply_of_another_run_operation_or_request_is_dropped(field: str) -> None:
    session = greeted()
    request = sent(session.request(wire.Op.ECHO, b"", 1.0))
    assert session.feed(reply_to(request, **{field: getattr(request, field) ^ 1}), 1.001) is None
    assert session.counters.late + session.counters.foreign == 1


@pytest.mark.parametrize("kind", [wire.Kind.REPLY, wire.Kind.EVENT, wire.Kind.NAK])
def test_another_boot_id_in_any_packet_is_a_reset(kind: wire.Kind) -> None:
    session = greeted()
    session.request(wire.Op.ECHO, b"", 1.0)
    with pytest.raises(errors.BoardReset, match="0x0000b008 instead of 0x0000b007"):
        session.feed(encode(Packet(kind, wire.Event.BOOT, 1, 0, BOOT + 1, RUN)), 1.001)


def test_what_came_before_a_reset_is_not_lost() -> None:
    session = greeted()
    other = event(wire.Event.BOOT, b"", 0, BOOT + 1)
    with pytest.raises(errors.BoardReset):
        session.feed(b"last words" + event(wire.Event.HEARTBEAT, b"x") + other, 1.0)
    assert session.text == [b"last words"]
    assert [e.op for e in session.events] == [wire.Event.HEARTBEAT]


def test_a_repeat_is_the_same_bytes() -> None:
    session = greeted()
    first = session.request(wire.Op.ECHO, b"same", 1.0)
    assert session.due(1.0) == b""
    assert session.due(session.wake_s) == first


def test_a_nak_repeats_at_once_and_only_once() -> None:
    session = greeted()
    first = session.request(wire.Op.ECHO, b"", 1.0)
    session.feed(NAK + NAK + NAK, 1.005)
    assert session.due(1.005) == first
    assert session.due(1.005) == b""
    assert (session.counters.naks, session.counters.repeats) == (3, 1)


def test_damage_repeats_at_once() -> None:
    session = greeted()
    request = session.request(wire.Op.ECHO, b"abc", 1.0)
    broken = bytearray(reply_to(sent(request), b"abc"))
    broken[21] ^= 4
    assert session.feed(bytes(broken), 1.005) is None
    assert session.due(1.005) == request


def test_waits_double_and_shrink_again_when_the_line_answers() -> None:
    session = greeted()
    now, waits = 10.0, []
    request = sent(session.request(wire.Op.ECHO, b"", now))
    for _ in range(5):
        waits.append(session.wake_s - now)
        now = session.wake_s
        session.due(now)
    assert all(later > 1.5 * sooner for sooner, later in itertools.pairwise(waits))
    session.feed(reply_to(request), now)
    request = sent(session.request(wire.Op.ECHO, b"", now))
    session.feed(reply_to(request), now + 0.001)
    session.request(wire.Op.ECHO, b"", now)
    assert session.wake_s - now < 0.05


def test_an_event_of_another_run_is_dropped_but_a_boot_is_not() -> None:
    session = greeted()
    session.feed(event(wire.Event.HEARTBEAT, run_id=RUN + 1) + event(wire.Event.LOG, run_id=0), 1.0)
    assert [e.op for e in session.events] == [wire.Event.LOG]
    assert session.counters.foreign == 1


def test_events_are_bounded() -> None:
    session = greeted()
    session.feed(event(wire.Event.HEARTBEAT) * 1000, 1.0)
    assert len(session.events) == 256


def test_a_raw_request_that_never_arrives_is_repeated_armoured_and_that_is_learned() -> None:
    """Some byte pattern that the hello did not hold is eaten by the line."""
    session = greeted()
    now = 1.0
    for _ in range(8):
        assert not session.armoured  # a few of them may be noise
        out = session.request(wire.Op.WRITE, b"x", now)
        while not sent(out).armoured:
            now = session.wake_s
            out = session.due(now)
        assert session.failures == 4
        now += 0.001
        assert session.feed(reply_to(sent(out)), now) is not None
    assert session.armoured


def test_without_the_fallback_a_raw_request_is_only_repeated_raw() -> None:
    session = greeted()
    session.fallback = False
    out, now = session.request(wire.Op.ECHO, b"x", 1.0), 1.0
    for _ in range(20):
        assert not sent(out).armoured
        now = session.wake_s
        out = session.due(now)


def test_sequence_numbers_skip_zero_when_they_wrap() -> None:
    session = Session(RUN, first_seq=0xFFFE)
    seqs = [sent(session.request(wire.Op.ECHO, b"", 0.0)).seq for _ in range(3)]
    assert seqs == [0xFFFF, 1, 2]


def test_a_slow_line_is_not_filled_with_repeats() -> None:
    """9600 baud with 400 ms each way: few repeats, once the line has been measured."""
    session = Session(RUN, armoured=False, baud=9600)
    now, asked = 0.0, 150
    for _ in range(asked):
        out = session.request(wire.Op.READ, bytes(16), now, reply_size=500)
        request, replies, answered = sent(out), [now + 0.8 + 620 / 960], False
        while not answered:
            if session.wake_s < replies[0]:
                now = session.wake_s
                if session.due(now):
                    replies.append(max(replies[-1], now + 0.8) + 560 / 960)
            else:
                now = replies[0]
                answered = session.feed(reply_to(request, bytes(500)), now) is not None
        for at in replies[1:]:
            now = max(now, at)
            session.feed(reply_to(request, bytes(500)), now)
    assert session.counters.repeats < asked * 0.2


@given(st.binary(max_size=300), st.integers(1, 40))
def test_no_bytes_whatever_make_a_reply(noise: bytes, step: int) -> None:
    session = greeted()
    session.request(wire.Op.ECHO, b"", 1.0)
    for at in range(0, len(noise), step):
        assert session.feed(noise[at : at + step], 1.0) is None


@given(st.data())
def test_any_order_of_lost_doubled_and_late_replies_gives_the_right_answers(
    data: st.DataObject,
) -> None:
    session = greeted()
    late: list[bytes] = []
    now = 1.0
    for number in range(8):
        body = bytes([number])
        request = sent(session.request(wire.Op.ECHO, body, now))
        for _ in range(data.draw(st.integers(0, 3))):
            if late:
                old = late.pop(data.draw(st.integers(0, len(late) - 1)))
                assert session.feed(old, now) is None
        reply = reply_to(request, body)
        if data.draw(st.booleans()):
            late.append(reply)
            if data.draw(st.booleans()):
                session.forget()
                continue
        now += 0.001
        assert session.feed(reply, now) == Reply(0, body)
