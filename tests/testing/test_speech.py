# SPDX-License-Identifier: Apache-2.0
"""Bad speech, drifting lines and damaged recordings do what they say."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hilagent import errors
from hilagent.clock import Deadline
from hilagent.link import wire
from hilagent.link.frame import Packet
from hilagent.testing import ManualClock, filters, speech
from hilagent.testing.faults import Fault, Faults, Injector
from hilagent.testing.replayed import ReplayedStream
from hilagent.transport.recorded import Boot, RecordedStream

ONE = Packet(wire.Kind.REPLY, wire.Op.ECHO, 7, 0, 0x1234, 1, b"0123456789")
TWO = Packet(wire.Kind.REPLY, wire.Op.READ, 8, 0, 0x1234, 1, b"abcdefghij")
EVENT = Packet(wire.Kind.EVENT, wire.Event.HEARTBEAT, 0, 0, 0x1234, 1, b"")


def test_each_way_of_speaking_changes_something_and_keeps_nothing_for_the_next_board() -> None:
    def said(make: Callable[[], speech.Speech]) -> list[Packet]:
        say = make()
        return [packet for each in (ONE, TWO, EVENT) for packet in say(each)]

    for name, make in speech.ALL.items():
        assert said(make) != [ONE, TWO, EVENT], name
        assert said(make) == said(make), name


def test_stale_late_and_older_are_in_the_order_that_they_say() -> None:
    stale, late = speech.stale(), speech.late()
    assert [*stale(ONE), *stale(TWO)] == [ONE, TWO, ONE]
    assert [*late(ONE), *late(TWO)] == [TWO, ONE]
    (older,) = speech.to_an_older_question(TWO)
    assert older.seq == ONE.seq
    (longest,) = speech.longer(Packet(wire.Kind.REPLY, 1, body=bytes(wire.MAX_BODY)))
    assert len(longest.body) == wire.MAX_BODY


def test_a_drifted_line_garbles_its_share_and_is_the_same_for_a_seed() -> None:
    data = bytes(range(256)) * 16
    one, same, other = (filters.drifted(seed)()(data) for seed in (1, 1, 2))
    assert one == same != other
    assert filters.drifted(1, share=0.0)()(data) == data
    kept = sum(a == b for a, b in zip(data, filters.drifted(3, share=0.1)()(data), strict=False))
    assert kept < len(data)


def replayed(faults: Faults) -> tuple[ReplayedStream, ManualClock]:
    clock = ManualClock()
    boot = Boot(0, b"asknext", [(0, b"prompt"), (3, b"answer"), (7, b"bye")])
    line = Injector(faults, clock=clock)
    return ReplayedStream(RecordedStream(boot), line, clock), clock


def test_a_replayed_message_is_answered_once_more_and_nothing_else_is() -> None:
    stream, _ = replayed(Faults(at={8: Fault.DROP}))
    assert stream.read() == b"prompt"
    assert stream.write(b"ask") == 3
    assert stream.read() == b"anwer"
    assert stream.write(b"ask") == 3
    assert (stream.read(), stream.again) == (b"answer", 1)
    assert stream.write(b"next") == 4
    assert stream.read() == b"bye"
    with pytest.raises(errors.LabError, match="this replay is not the recorded run"):
        stream.write(b"ask")


def test_a_replayed_line_stalls_and_is_cut() -> None:
    stream, clock = replayed(Faults(at={6: Fault.STALL}, stall_s=7))
    assert stream.read() == b"prompt"
    stream.write(b"ask")
    stream.until(Deadline.after(5, clock))
    assert (stream.read(), clock.now_s()) == (b"", 1005)
    stream.until(Deadline.after(5, clock))
    assert (stream.read(), clock.now_s()) == (b"answer", 1007)
    stream, _ = replayed(Faults(at={9: Fault.CUT}))
    stream.read()
    stream.write(b"ask")
    assert stream.read() == b"ans"
    with pytest.raises(errors.LinkError, match="unplugged"):
        stream.read()
    with pytest.raises(errors.LinkError, match="unplugged"):
        stream.write(b"next")
