# SPDX-License-Identifier: Apache-2.0
"""Telnet: the same at every cut, and what pyserial's own server makes of it."""

from __future__ import annotations

from typing import Any

import pytest
import serial.rfc2217
from hypothesis import given
from hypothesis import strategies as st

from hilagent.transport import telnet
from hilagent.transport.telnet import DO, DONT, IAC, SB, SE, WILL, WONT, Codec

PIECES = st.lists(st.integers(1, 7), max_size=60)
SPECIAL = st.sampled_from([b"\xff", b"\r", b"\n", b"\0", b"\xf0", b"\xff\xff", b"~", b"\x11"])
DATA = st.lists(st.one_of(st.binary(max_size=9), SPECIAL), max_size=30).map(b"".join)
VERBS = st.sampled_from([WILL, WONT, DO, DONT])
NEGOTIATION = st.tuples(VERBS, st.integers(0, 255)).map(lambda each: bytes((IAC, *each)))
NOISE = st.lists(
    st.one_of(DATA, NEGOTIATION, st.just(bytes((IAC, SB))), st.just(bytes((IAC, SE)))),
    max_size=20,
).map(b"".join)


def command(number: int, value: bytes) -> bytes:
    """Return a command of RFC 2217 as it is sent."""
    body = bytes((telnet.COM_PORT, number)) + value.replace(b"\xff", b"\xff\xff")
    return bytes((IAC, SB)) + body + bytes((IAC, SE))


def binary(codec: Codec) -> Codec:
    """Agree on the binary mode in both directions."""
    codec.hello()
    assert codec.feed(bytes((IAC, DO, telnet.BINARY, IAC, WILL, telnet.BINARY))) == b""
    assert codec.replies() == b""
    return codec


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    """Return ``data`` in pieces."""
    pieces, at = [], 0
    for size in sizes:
        pieces.append(data[at : at + size])
        at += size
    return [*pieces, data[at:]]


def told(codec: Codec, pieces: list[bytes]) -> tuple[Any, ...]:
    """Return everything that a codec makes of pieces."""
    data = b"".join(codec.feed(piece) for piece in pieces)
    replies = codec.replies()
    return data, replies, codec.ours, codec.theirs, codec.refused, codec.answers, codec.suspended


@given(NOISE, PIECES)
def test_any_bytes_mean_the_same_whole_and_in_pieces(stream: bytes, sizes: list[int]) -> None:
    whole = told(Codec(), [stream])
    assert told(Codec(), cut(stream, sizes)) == whole
    assert told(Codec(), [bytes([byte]) for byte in stream]) == whole


class _Oracle:
    """pyserial's server, of which only the filter is used."""

    def __init__(self) -> None:
        self.sent = bytearray()
        self.cts = self.dsr = self.ri = self.cd = False
        self.baudrate = 9600
        self.manager = serial.rfc2217.PortManager(self, self)  # type: ignore[arg-type]

    def write(self, data: bytes) -> None:
        """What the manager answers."""
        self.sent += data


@given(st.lists(DATA, max_size=5), st.integers(1, 0xFFFF_FFFF))
def test_what_we_send_is_read_by_another_implementation(texts: list[bytes], baud: int) -> None:
    codec, oracle = Codec(), _Oracle()
    through = list(oracle.manager.filter(codec.hello()))
    codec.feed(bytes(oracle.sent))
    through += oracle.manager.filter(codec.replies())
    assert telnet.BINARY in codec.ours & codec.theirs
    for text in texts:
        wire = codec.ask(telnet.SET_BAUDRATE, baud.to_bytes(4, "big")) + codec.encode(text)
        through += oracle.manager.filter(wire)
    assert b"".join(through) == b"".join(texts)
    assert oracle.baudrate == (baud if texts else 9600)


@given(st.lists(DATA, max_size=5), PIECES)
def test_what_another_implementation_sends_is_read(texts: list[bytes], sizes: list[int]) -> None:
    codec, oracle = binary(Codec()), _Oracle()
    oracle.sent.clear()
    for text in texts:
        oracle.manager.rfc2217_send_subnegotiation(b"\x65", b"\x00\xff\xff\x00")
        oracle.write(b"".join(oracle.manager.escape(text)))
    assert told(codec, cut(bytes(oracle.sent), sizes))[0] == b"".join(texts)
    assert codec.answers == ({telnet.SET_BAUDRATE: b"\x00\xff\xff\x00"} if texts else {})


@given(DATA, PIECES)
def test_without_the_binary_mode_a_nul_stands_behind_each_cr(text: bytes, sizes: list[int]) -> None:
    codec = Codec()
    wire = text.replace(b"\xff", b"\xff\xff").replace(b"\r", b"\r\0")
    assert codec.encode(text) == wire
    assert b"".join(codec.feed(piece) for piece in cut(wire, sizes)) == text
    assert binary(Codec()).encode(text) == text.replace(b"\xff", b"\xff\xff")


@given(st.lists(NEGOTIATION, max_size=40))
def test_no_negotiation_goes_on_for_ever(asked: list[bytes]) -> None:
    """Two of them answer each other until nobody has anything to say."""
    one, other = Codec(), Codec()
    one.feed(b"".join(asked) + other.hello())
    other.feed(one.hello())
    for _ in range(10):
        other.feed(one.replies())
        one.feed(other.replies())
    assert one.replies() == b""


@pytest.mark.parametrize(
    ("said", "reply"),
    [
        ((DO, telnet.COM_PORT), b""),  # it was asked for
        ((WILL, telnet.ECHO), bytes((IAC, DO, telnet.ECHO))),
        ((DO, telnet.ECHO), bytes((IAC, WONT, telnet.ECHO))),
        ((DO, 24), bytes((IAC, WONT, 24))),
        ((WILL, 38), bytes((IAC, DONT, 38))),
        ((WONT, 38), b""),
        ((DONT, 24), b""),
    ],
)
def test_it_agrees_to_what_it_wants_and_refuses_the_rest(
    said: tuple[int, int], reply: bytes
) -> None:
    codec = Codec()
    codec.hello()
    codec.feed(bytes((IAC, *said)))
    assert codec.replies() == reply
    assert codec.replies() == b""


def test_an_option_that_is_on_is_not_answered_again() -> None:
    codec = binary(Codec())
    codec.feed(bytes((IAC, DO, telnet.BINARY, IAC, WILL, telnet.BINARY)))
    assert codec.replies() == b""


def test_a_server_may_take_an_option_back() -> None:
    codec = binary(Codec())
    codec.feed(bytes((IAC, DONT, telnet.BINARY)))
    assert codec.replies() == bytes((IAC, WONT, telnet.BINARY))
    assert codec.encode(b"\r") == b"\r\0"
    codec.feed(bytes((IAC, DO, telnet.BINARY)))
    assert codec.replies() == bytes((IAC, WONT, telnet.BINARY))


def test_flow_control_and_answers_are_told_and_line_states_are_not() -> None:
    codec = Codec()
    assert codec.feed(b"a" + command(telnet.SUSPEND, b"") + b"b") == b"ab"
    assert codec.suspended
    codec.feed(command(telnet.RESUME, b"") + command(106, b"\x10") + command(107, b"\xff"))
    assert not codec.suspended
    assert codec.answers == {6: b"\x10", 7: b"\xff"}
    codec.ask(6, b"")
    assert codec.answers == {7: b"\xff"}


def test_an_endless_answer_costs_no_memory() -> None:
    codec = Codec()
    assert codec.feed(bytes((IAC, SB, telnet.COM_PORT, 101)) + bytes(100_000)) == b""
    codec.feed(bytes((IAC, SE)))
    assert len(codec.answers[1]) < 100
