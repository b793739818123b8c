# SPDX-License-Identifier: Apache-2.0
"""The payload's receiver: whole, byte by byte, at every cut, damaged and in noise."""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilagent.link import frame, wire
from tests.firmware.conftest import Host

PACKET, BAD = 1, 2


@dataclass(frozen=True)
class Got:
    at: int
    event: int
    armoured: bool
    packet: bytes


def feed(host: Host, *pieces: bytes) -> list[Got]:
    """Feed a fresh receiver; positions count over all pieces."""
    host("r")
    out, before = [], 0
    for piece in pieces:
        answer = host("f", piece)
        while answer:
            at, event, armoured, size = struct.unpack_from("<4I", answer)
            out.append(Got(before + at, event, bool(armoured), answer[16 : 16 + size]))
            answer = answer[16 + size :]
        before += len(piece)
    return out


def request(size: int, *, armoured: bool, seed: int = 1) -> frame.Packet:
    body = random.Random(seed).randbytes(size)
    return frame.Packet(wire.Kind.REQUEST, wire.Op.ECHO, 7, 0, 0, 9, body, armoured)


def good(got: list[Got]) -> list[bytes]:
    return [g.packet for g in got if g.event == PACKET]


@pytest.mark.parametrize("armoured", [False, True])
@pytest.mark.parametrize("size", [0, 1, 2, 3, 200, 253, 254, 255, 1023, 1024])
def test_a_packet_arrives_whole_and_byte_by_byte(host: Host, size: int, armoured: bool) -> None:
    packet = request(size, armoured=armoured)
    line = frame.encode(packet)
    whole = feed(host, line)
    assert good(whole) == [frame.pack(packet)]
    assert [g.event for g in whole] == [PACKET]
    assert whole == feed(host, *(bytes([b]) for b in line))


@pytest.mark.parametrize("armoured", [False, True])
def test_a_packet_arrives_at_every_cut(host: Host, armoured: bool) -> None:
    line = frame.encode(request(60, armoured=armoured))
    whole = feed(host, line)
    for cut in range(len(line)):
        assert feed(host, line[:cut], line[cut:]) == whole


@pytest.mark.parametrize("armoured", [False, True])
@pytest.mark.parametrize("size", [0, 40, 1024])
def test_what_the_payload_sends_the_host_reads(host: Host, size: int, armoured: bool) -> None:
    packet = replace(request(size, armoured=armoured), kind=wire.Kind.REPLY)
    plain = frame.pack(packet)[:-4]
    sent = host("s", bytes([armoured]) + plain)
    assert frame.Decoder().feed(sent + b"\n")[:1] in ([packet], [frame.ConsoleText(b"\r\n")])
    items = frame.merge_text(frame.Decoder().feed(sent))
    assert packet in items
    assert not [item for item in items if isinstance(item, frame.Damaged)]


@pytest.mark.parametrize("armoured", [False, True])
def test_every_flipped_bit_is_refused_and_the_next_packet_arrives(
    host: Host, armoured: bool
) -> None:
    packet = request(12, armoured=armoured)
    line, follower = frame.encode(packet), request(5, armoured=not armoured, seed=2)
    for at in range(3 if armoured else 1, len(line) - (2 if armoured else 1)):
        for bit in range(8):
            broken = bytearray(line)
            broken[at] ^= 1 << bit
            got = good(feed(host, bytes(broken), frame.encode(follower)))
            assert got in ([frame.pack(follower)], [])
            if got == []:  # a delimiter was made or lost: the one after it is heard
                assert got == []
                again = good(feed(host, bytes(broken), frame.encode(follower) * 2))
                assert again[-1:] == [frame.pack(follower)]


@pytest.mark.parametrize("armoured", [False, True])
def test_a_damaged_frame_is_worth_a_nak(host: Host, armoured: bool) -> None:
    line = bytearray(frame.encode(request(90, armoured=armoured)))
    line[40] = ord("A") if line[40] != ord("A") else ord("B")
    got = feed(host, bytes(line))
    assert [(g.event, g.armoured) for g in got] == [(BAD, armoured)]


@pytest.mark.parametrize("noise", [b"\0\0\0", b"\0abc\0", b":short\r\n", b"HIL: text\r\n", b"=> "])
def test_small_noise_is_not_worth_a_nak(host: Host, noise: bytes) -> None:
    assert feed(host, noise) == []


def test_text_with_colons_in_a_raw_frame_is_only_its_body(host: Host) -> None:
    body = b"\n:precondition/not+met/AAAAAAAAAAAAAAAA\nkey: value\r\n" * 8
    packet = replace(request(0, armoured=False), body=body)
    assert good(feed(host, frame.encode(packet))) == [frame.pack(packet)]


@pytest.mark.parametrize("armoured", [False, True])
def test_a_frame_that_is_too_long_is_refused_and_the_next_heard(host: Host, armoured: bool) -> None:
    packet = request(20, armoured=armoured)
    long = b"\r\n:" + b"A" * 5000 + b"\r\n" if armoured else b"\0" + b"\x01" * 5000 + b"\0"
    got = feed(host, long, frame.encode(packet))
    assert got[0].event == BAD
    assert good(got) == [frame.pack(packet)]


def test_a_length_that_disagrees_is_refused(host: Host) -> None:
    import zlib

    plain = bytearray(frame.pack(request(8, armoured=False))[:-4])
    plain[wire.HEAD.size - 10] += 1  # head.size
    plain += zlib.crc32(bytes(plain)).to_bytes(4, "little")
    assert good(feed(host, b"\0" + frame.cobs_encode(bytes(plain)) + b"\0")) == []


PIECE = st.one_of(
    st.binary(max_size=40),
    st.builds(
        lambda size, armoured, seed: frame.encode(request(size, armoured=armoured, seed=seed)),
        st.integers(0, 80), st.booleans(), st.integers(0, 99),
    ),
    st.sampled_from([b"\0", b":", b"\r\n", b"\r\n:AAAA", b"A" * 1500, b"\0" + b"z" * 1100]),
)  # fmt: skip


@given(pieces=st.lists(PIECE, max_size=12), seed=st.integers(0, 1 << 16))
def test_the_cutting_of_a_stream_changes_nothing(
    host: Host, pieces: list[bytes], seed: int
) -> None:
    stream = b"".join(pieces)
    cuts = sorted(random.Random(seed).randrange(len(stream) + 1) for _ in range(5))
    parts = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    whole = feed(host, stream)
    assert whole == feed(host, *parts)
    for got in whole:
        if got.event == PACKET:
            assert isinstance(frame.unpack(got.packet, armoured=got.armoured), frame.Packet | str)
            assert len(got.packet) <= frame.MAX_PACKET
