# SPDX-License-Identifier: Apache-2.0
"""A payload that speaks the protocol badly, in packets whose CRCs are right.

Each is a function of a packet that returns what is said instead of it; where it has to
remember something a factory makes one::

    board.twin.speech = speech.repeated
    board.twin.speech = speech.late()
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from hilagent.link import wire
from hilagent.link.frame import Packet

Speech = Callable[[Packet], Sequence[Packet]]


def plain(packet: Packet) -> Sequence[Packet]:
    """As it should be."""
    return (packet,)


def repeated(packet: Packet) -> Sequence[Packet]:
    """Everything is said twice."""
    return (packet, packet)


def stale() -> Speech:
    """After each packet the one before it comes once more."""
    last: list[Packet] = []

    def say(packet: Packet) -> Sequence[Packet]:
        before, last[:] = last[:], [packet]
        return (packet, *before)

    return say


def late() -> Speech:
    """A packet is kept back until the next one, and comes after that."""
    kept: list[Packet] = []

    def say(packet: Packet) -> Sequence[Packet]:
        if not kept:
            kept.append(packet)
            return ()
        return (packet, kept.pop())

    return say


def of_another_boot(packet: Packet) -> Sequence[Packet]:
    """Replies carry the id of a boot that isn't this one."""
    return (replace(packet, boot_id=packet.boot_id ^ 0x5A5A_5A5A),)


def of_another_run(packet: Packet) -> Sequence[Packet]:
    """Everything is for another host."""
    return (replace(packet, run_id=packet.run_id ^ 1),)


def to_another_question(packet: Packet) -> Sequence[Packet]:
    """Replies carry the next operation's number."""
    return (replace(packet, op=packet.op % 18 + 1) if _is_reply(packet) else packet,)


def to_an_older_question(packet: Packet) -> Sequence[Packet]:
    """Replies carry the number of the request before."""
    seq = (packet.seq - 1) & 0xFFFF
    return (replace(packet, seq=seq) if _is_reply(packet) else packet,)


def shorter(packet: Packet) -> Sequence[Packet]:
    """Replies lose their last eight bytes."""
    return (replace(packet, body=packet.body[:-8]) if _is_reply(packet) else packet,)


def longer(packet: Packet) -> Sequence[Packet]:
    """Replies have eight bytes too many, where there is room."""
    room = wire.MAX_BODY - len(packet.body)
    more = b"\xa5" * min(8, room)
    return (replace(packet, body=packet.body + more) if _is_reply(packet) else packet,)


def refusing(packet: Packet) -> Sequence[Packet]:
    """Everything is refused."""
    refused = replace(packet, status=wire.Status.REFUSED, body=b"")
    return (refused if _is_reply(packet) else packet,)


def without_events(packet: Packet) -> Sequence[Packet]:
    """Only what is asked is said."""
    return () if packet.kind == wire.Kind.EVENT else (packet,)


def _is_reply(packet: Packet) -> bool:
    return packet.kind == wire.Kind.REPLY


ALL: Mapping[str, Callable[[], Speech]] = {
    "repeated": lambda: repeated,
    "stale": stale,
    "late": late,
    "of another boot": lambda: of_another_boot,
    "of another run": lambda: of_another_run,
    "to another question": lambda: to_another_question,
    "to an older question": lambda: to_an_older_question,
    "shorter": lambda: shorter,
    "longer": lambda: longer,
    "refusing": lambda: refusing,
    "without events": lambda: without_events,
}
"""Each by its name, as a factory: one that remembers is new for each board."""
