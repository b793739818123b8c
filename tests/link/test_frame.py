# SPDX-License-Identifier: Apache-2.0
"""Frames: never crashes, never accepts what it did not check, same answer in pieces."""

import dataclasses
import time
import zlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hilagent.link import frame, wire
from hilagent.link.frame import ConsoleText, Damaged, Decoder, Packet, encode, merge_text

PACKETS = st.builds(
    Packet,
    kind=st.sampled_from([int(kind) for kind in wire.Kind]),
    op=st.integers(0, 31),
    seq=st.integers(0, 0xFFFF),
    status=st.integers(0, 0xFFFF),
    boot_id=st.integers(0, 0xFFFFFFFF),
    run_id=st.integers(0, 0xFFFFFFFF),
    body=st.binary(max_size=400) | st.binary(min_size=600, max_size=wire.MAX_BODY),
    armoured=st.booleans(),
)
TEXT = st.sampled_from(
    [b"=> ", b"\r\n[    0.1] printk: x\r\n", b"a:b:UVE", b":UVE\r\n", b"xE\n", b"::"]
)
NOISE = st.binary(max_size=40) | st.sampled_from(
    [b"\0", b"\0\0\0", b"\0\x05QE", b":U", b"\r\n:Ug=="]
)
CUT = st.builds(lambda packet, cut: encode(packet)[:-cut], PACKETS, st.integers(1, 30))
STREAMS = st.lists(PACKETS.map(encode) | CUT | TEXT | NOISE, max_size=8).map(b"".join)


def whole(stream: bytes) -> list[frame.Item]:
    return merge_text(Decoder().feed(stream))


def packets_of(stream: bytes) -> list[Packet]:
    return [item for item in whole(stream) if isinstance(item, Packet)]


@given(st.lists(PACKETS, max_size=6))
def test_every_packet_comes_back(sent: list[Packet]) -> None:
    items = whole(b"".join(map(encode, sent)))
    assert [item for item in items if isinstance(item, Packet)] == sent
    assert b"".join(i.data for i in items if isinstance(i, ConsoleText)).strip(b"\r\n") == b""


@given(PACKETS, PACKETS)
def test_text_between_packets_is_kept_in_order(first: Packet, last: Packet) -> None:
    items = whole(b"boot\n" + encode(first) + b"[ 1.0] printk\n" + encode(last) + b"=> ")
    kinds = [
        item for item in items if not (isinstance(item, ConsoleText) and not item.data.strip())
    ]
    assert [type(item) for item in kinds] == [ConsoleText, Packet, ConsoleText, Packet, ConsoleText]
    texts = [item.data.strip() for item in kinds if isinstance(item, ConsoleText)]
    assert texts == [b"boot", b"[ 1.0] printk", b"=>"]
    assert [item for item in kinds if isinstance(item, Packet)] == [first, last]


@given(STREAMS, st.lists(st.integers(0, 3000), max_size=12))
def test_the_answer_does_not_depend_on_the_cuts(stream: bytes, cuts: list[int]) -> None:
    decoder, items, at = Decoder(), [], 0
    for cut in [*sorted(cuts), len(stream)]:
        items += decoder.feed(stream[at:cut])
        at = max(at, cut)
    assert merge_text(items) == whole(stream)


@given(STREAMS)
@example(b"\0" + b"\x05QA" + b"x" * 2000)
@example(b":U" + b"A" * 3000 + b"==")
@example(b":U" + b"A" * (frame._MAX_BASE64 + 1) + b"==\n")
@example(b":U" + b"A" * frame._MAX_BASE64 + b"==\n")
def test_byte_by_byte_is_the_same_as_whole(stream: bytes) -> None:
    decoder, items = Decoder(), []
    for at in range(len(stream)):
        items += decoder.feed(stream[at : at + 1])
        assert len(decoder.held) < 2 * frame.MAX_PACKET  # bounded memory
    assert merge_text(items) == whole(stream)


@given(STREAMS | st.binary(max_size=3000))
def test_never_accepts_what_it_did_not_check(stream: bytes) -> None:
    for packet in packets_of(stream):
        plain = frame.pack(packet)
        assert zlib.crc32(plain[:-4]) == int.from_bytes(plain[-4:], "little")
        coded = encode(packet).strip(b"\0\r\n")
        assert coded in stream


@given(PACKETS, st.data())
def test_one_changed_byte_is_never_accepted(packet: Packet, data: st.DataObject) -> None:
    line = bytearray(encode(packet))
    at = data.draw(st.integers(0, len(line) - 1))
    line[at] ^= data.draw(st.integers(1, 255))
    got = packets_of(bytes(line))
    assert got in ([], [packet])  # [packet]: only the delimiter was hit


@given(PACKETS, st.data())
def test_one_lost_or_doubled_byte_is_never_accepted(packet: Packet, data: st.DataObject) -> None:
    line = encode(packet)
    at = data.draw(st.integers(0, len(line) - 1))
    for bad in (line[:at] + line[at + 1 :], line[:at] + line[at : at + 1] + line[at:]):
        assert packets_of(bad) in ([], [packet])


def test_a_damaged_packet_is_said_to_be_damaged_and_its_neighbours_live() -> None:
    good = Packet(wire.Kind.REPLY, 2, seq=7, body=b"hello" * 9)
    for armoured in (False, True):
        one = dataclasses.replace(good, armoured=armoured)
        line = bytearray(encode(one))
        line[30] ^= 0x01
        items = whole(encode(one) + bytes(line) + encode(one))
        assert [i for i in items if isinstance(i, Packet)] == [one, one]
        assert any(isinstance(i, Damaged) for i in items)


def test_a_packet_survives_the_loss_of_its_opening_zero_after_another_packet() -> None:
    one = Packet(wire.Kind.REPLY, 2, seq=7, body=b"\0" * 20)
    assert packets_of(encode(one) + encode(one)[1:]) == [one, one]


def test_an_armoured_packet_after_a_raw_one_that_lost_its_end_is_seen_at_once() -> None:
    raw = Packet(wire.Kind.REPLY, 2, seq=7, body=b"x" * 50)
    armoured = dataclasses.replace(raw, armoured=True)
    items = whole(encode(raw)[:-9] + encode(armoured) + b"=> ")
    assert [type(item) for item in items] == [Damaged, Packet, ConsoleText]
    assert items[1:] == [armoured, ConsoleText(b"=> ")]


def test_flow_control_between_packets_is_no_damage() -> None:
    raw = Packet(wire.Kind.REPLY, 2)
    armoured = dataclasses.replace(raw, armoured=True)
    items = whole(b"\x11" + encode(armoured) + b"\x11" + encode(raw))
    assert [item for item in items if not isinstance(item, ConsoleText)] == [armoured, raw]


def test_both_encodings_are_taken_in_turn_on_one_line() -> None:
    raw = Packet(wire.Kind.EVENT, 2, body=bytes(range(256)))
    armoured = dataclasses.replace(raw, armoured=True)
    line = encode(raw) + encode(armoured) + encode(raw) + b"text" + encode(armoured)
    assert packets_of(line) == [raw, armoured, raw, armoured]


def test_text_is_not_held_back_and_a_prompt_shows_at_once() -> None:
    decoder = Decoder()
    decoder.feed(encode(Packet(wire.Kind.REPLY, 2)))
    assert decoder.feed(b"=> ") == [ConsoleText(b"=> ")]
    assert decoder.feed(b"Password:") == [ConsoleText(b"Password")]
    assert decoder.held == b":"
    assert decoder.feed(b" ") == [ConsoleText(b": ")]


def test_line_ends_of_the_armour_are_not_text() -> None:
    one = Packet(wire.Kind.REPLY, 2, armoured=True)
    items = whole(encode(one) * 3)
    assert items == [ConsoleText(b"\r\n"), one, one, one]


@pytest.mark.parametrize("field", ["crc", "size", "kind"])
def test_each_check_stands_for_itself(field: str) -> None:
    """A decoder that left out the CRC, the length or the kind would fail here."""
    plain = bytearray(frame.pack(Packet(wire.Kind.REPLY, 2, body=b"abcd")))
    if field == "crc":
        plain[20] ^= 1
    else:
        plain[{"size": 6, "kind": 0}[field]] ^= 0x04
        plain[-4:] = zlib.crc32(bytes(plain[:-4])).to_bytes(4, "little")
    result = frame.unpack(bytes(plain), armoured=False)
    assert result == {"crc": "CRC"}.get(field, "head")
    assert packets_of(b"\0" + frame.cobs_encode(bytes(plain)) + b"\0") == []


def test_a_decoder_without_crc_would_accept_a_flip(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mutation that the properties above exist for: they do see it."""
    line = bytearray(encode(Packet(wire.Kind.REPLY, 2, body=b"abcd")))
    line[18] ^= 0x01
    assert packets_of(bytes(line)) == []
    monkeypatch.setattr("hilagent.link.frame.zlib.crc32", lambda _: 0)
    forged = b"\0" + frame.cobs_encode(frame.pack(Packet(wire.Kind.REPLY, 2, body=b"abcd"))) + b"\0"
    changed = bytearray(forged)
    changed[18] ^= 0x01
    assert packets_of(bytes(changed)) != []


@given(st.binary(max_size=1500))
def test_cobs_has_no_zero_and_comes_back(plain: bytes) -> None:
    coded = frame.cobs_encode(plain)
    assert 0 not in coded
    assert frame.cobs_decode(coded) == plain
    assert len(coded) <= len(plain) + len(plain) // 254 + 1


@given(st.binary(max_size=600))
def test_cobs_decode_never_crashes(coded: bytes) -> None:
    frame.cobs_decode(coded)


def test_a_body_that_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="1025"):
        frame.pack(Packet(wire.Kind.REPLY, 2, body=bytes(1025)))


def test_bulk_is_fast() -> None:
    raw = encode(Packet(wire.Kind.REPLY, 2, body=bytes(range(256)) * 4))
    stream = raw * 1000 + b"console text of a board\n" * 40_000
    start = time.process_time()
    assert len(packets_of(stream)) == 1000
    assert time.process_time() - start < 1.0  # 2 MB; a loop per byte takes longer
