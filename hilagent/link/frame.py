# SPDX-License-Identifier: Apache-2.0
"""Packets and console text on one line: both encodings, told apart as they come.

The decoder accepts raw and armoured packets at all times. What is no packet is
console text, kept in order. A packet is accepted only when its CRC, its kind
and its length agree; whatever looked like one and failed is `Damaged`.

The items of a stream do not depend on how it was cut into pieces, except that
console text may come in more pieces (`merge_text` joins them).
"""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

from . import wire

_CRC_SIZE = 4
MAX_PACKET = wire.HEAD.size + wire.MAX_BODY + _CRC_SIZE
MIN_PACKET = wire.HEAD.size + _CRC_SIZE
_MAX_COBS = MAX_PACKET + MAX_PACKET // 254 + 1
_MAX_BASE64 = -(-MAX_PACKET // 3) * 4
_KINDS = frozenset(int(kind) for kind in wire.Kind)
_OPS_END = 0x20  # no op is this high; text is
_LEADS = b"".join(sorted({base64.b64encode(bytes([kind, 0, 0]))[:1] for kind in _KINDS}))
_ARMOUR = re.compile(rb":(?:[%s][A-Za-z0-9+/]{0,%d}={0,2})?" % (_LEADS, _MAX_BASE64))
_WHOLE_ARMOUR = re.compile(rb":[%s][A-Za-z0-9+/]{25,%d}={0,2}" % (_LEADS, _MAX_BASE64))
_WORTH_NAMING = 16  # a broken armoured line shorter than this is text
_BINARY = re.compile(rb"[\x01-\x06\x0e-\x10\x12\x14-\x1a\x1c-\x1f\x7f-\xff]")  # not XON, XOFF


@dataclass(frozen=True)
class Packet:
    """One packet whose CRC, kind and length were right."""

    kind: int
    op: int
    seq: int = 0
    status: int = 0
    boot_id: int = 0
    run_id: int = 0
    body: bytes = b""
    armoured: bool = False


@dataclass(frozen=True)
class ConsoleText:
    """Bytes that the board printed between packets."""

    data: bytes


@dataclass(frozen=True)
class Damaged:
    """Something that began as a packet and was none. ``data`` may be empty where
    the bytes had gone out as text before the damage was seen."""

    data: bytes
    why: str


Item = Packet | ConsoleText | Damaged


def encode(packet: Packet) -> bytes:
    """Return the packet as it goes over the line, in its own encoding."""
    plain = pack(packet)
    if packet.armoured:
        return b"\r\n:" + base64.b64encode(plain) + b"\r\n"
    return b"\0" + cobs_encode(plain) + b"\0"


def pack(packet: Packet) -> bytes:
    """Return head, body and CRC. Raises ValueError for a body that is too long."""
    if len(packet.body) > wire.MAX_BODY:
        raise ValueError(f"a body of {len(packet.body)} bytes; at most {wire.MAX_BODY}")
    head = wire.HEAD.pack(
        kind=packet.kind,
        op=packet.op,
        seq=packet.seq,
        status=packet.status,
        size=len(packet.body),
        boot_id=packet.boot_id,
        run_id=packet.run_id,
    )
    plain = head + packet.body
    return plain + zlib.crc32(plain).to_bytes(_CRC_SIZE, "little")


def unpack(plain: bytes, *, armoured: bool) -> Packet | str:
    """Return the packet, or why it is none."""
    if not MIN_PACKET <= len(plain) <= MAX_PACKET:
        return f"length {len(plain)}"
    if zlib.crc32(plain[:-_CRC_SIZE]) != int.from_bytes(plain[-_CRC_SIZE:], "little"):
        return "CRC"
    head = wire.HEAD.unpack(plain)
    body = plain[wire.HEAD.size : -_CRC_SIZE]
    if head.pop("size") != len(body) or head["kind"] not in _KINDS:
        return "head"
    return Packet(body=body, armoured=armoured, **head)  # type: ignore[arg-type]


def cobs_encode(plain: bytes) -> bytes:
    """Return ``plain`` without zero bytes (consistent overhead byte stuffing)."""
    out = bytearray()
    for run in plain.split(b"\0"):
        while len(run) >= 254:
            out.append(255)
            out += run[:254]
            run = run[254:]
        out.append(len(run) + 1)
        out += run
    return bytes(out)


def cobs_decode(coded: bytes) -> bytes | None:
    """Return what `cobs_encode` was given, or None where ``coded`` is not well formed."""
    out = bytearray()
    at, end = 0, len(coded)
    while at < end:
        code = coded[at]
        if code == 0 or at + code > end:
            return None
        out += coded[at + 1 : at + code]
        at += code
        if code < 255 and at < end:
            out.append(0)
    return bytes(out)


def merge_text(items: Iterable[Item]) -> list[Item]:
    """Return the items with neighbouring console text joined."""
    out: list[Item] = []
    for item in items:
        if isinstance(item, ConsoleText) and out and isinstance(out[-1], ConsoleText):
            out[-1] = ConsoleText(out[-1].data + item.data)
        else:
            out.append(item)
    return out


class Decoder:
    """Incremental decoder of one direction of a line; memory bounded by one packet.

    After a zero byte it collects a possible raw packet, until the first three
    bytes or the length say that it is text. In text it holds back only what may
    still become an armoured packet: a ``:`` and the base64 after it.
    """

    def __init__(self) -> None:
        self._held = b""
        self._in_raw = False
        self._after_armour = False  # its line end belongs to it, not to the text
        self._binary = False  # bytes that no console prints went out as text

    @property
    def held(self) -> bytes:
        """What may still become a packet: shown by a caller that gives up waiting."""
        return self._held

    def feed(self, data: bytes) -> list[Item]:
        """Return what ``data`` completes, in order."""
        out: list[Item] = []
        rest = self._held + data
        self._held = b""
        while rest:
            step = self._raw if self._in_raw else self._text
            rest = step(rest, out)
        return out

    def _raw(self, data: bytes, out: list[Item]) -> bytes:
        """Take what stands after a zero byte; return what is left to look at."""
        end = data.find(b"\0", 0, _MAX_COBS + 1)
        segment = data[:end] if end >= 0 else data[: _MAX_COBS + 1]
        if not _may_be_packet(segment):
            self._in_raw = False
            return self._text(data, out)
        armour = _armour_within(segment)
        if armour:
            return self._lost_end(data, armour, out)
        if end >= 0:
            if segment:
                out.extend(_decode_raw(segment))
            return data[end + 1 :]
        if len(segment) > _MAX_COBS:
            self._in_raw = False
            out.append(Damaged(segment, "length"))
            return data[len(segment) :]
        self._held = data
        return b""

    def _lost_end(self, data: bytes, armour: tuple[int, int, Packet], out: list[Item]) -> bytes:
        """A raw packet lost its end, and an armoured one came after it."""
        start, end, packet = armour
        out += [Damaged(data[:start], "no end"), packet] if start else [packet]
        self._in_raw, self._after_armour = False, True
        return data[end:]

    def _text(self, data: bytes, out: list[Item]) -> bytes:
        zero = data.find(b"\0")
        text = data if zero < 0 else data[:zero]
        start = 0
        for match in _ARMOUR.finditer(text):
            if match.end() == len(text) and zero < 0 and not match[0].endswith(b"=="):
                self._emit(text[start : match.start()], out)
                self._held = match[0]
                return b""
            item = _decode_armoured(match[0])
            if item is not None:
                self._emit(text[start : match.start()], out)
                out.append(item)
                start = match.end()
                self._after_armour = True
        self._emit(text[start:], out)
        if zero < 0:
            return b""
        if self._binary:
            out.append(Damaged(b"", "bytes that are no text before a zero byte"))
        self._in_raw, self._binary, self._after_armour = True, False, False
        return data[zero + 1 :]

    def _emit(self, text: bytes, out: list[Item]) -> None:
        if self._after_armour:
            text = text.lstrip(b"\r\n")
            self._after_armour = not text
        if text:
            out.append(ConsoleText(text))
            self._binary = self._binary or _BINARY.search(text) is not None


def _may_be_packet(segment: bytes) -> bool:
    """Whether the first three bytes (COBS code, kind, op) could open a packet."""
    if segment[:1] and segment[0] < 2:
        return False
    if segment[1:2] and segment[1] not in _KINDS:
        return False
    return not segment[2:3] or segment[0] == 2 or segment[2] < _OPS_END


def _armour_within(segment: bytes, *, ended: bool = False) -> tuple[int, int, Packet] | None:
    """Return place and packet of the first armoured packet that is whole; one that
    stands at the very end may go on, unless the segment has ``ended``."""
    for match in _WHOLE_ARMOUR.finditer(segment):
        if match.end() < len(segment) or ended or match[0].endswith(b"=="):
            packet = _decode_armoured(match[0])
            if isinstance(packet, Packet):
                return match.start(), match.end(), packet
    return None


def _decode_raw(segment: bytes) -> list[Item]:
    """Return what a segment between two zero bytes is."""
    plain = cobs_decode(segment)
    result = "COBS" if plain is None else unpack(plain, armoured=False)
    if isinstance(result, Packet):
        return [result]
    armour = _armour_within(segment, ended=True)
    if armour is None:
        return [Damaged(segment, result)]
    return [Damaged(segment[: armour[0]], "no end"), armour[2]]


def _decode_armoured(candidate: bytes) -> Packet | Damaged | None:
    """Return the packet; None for text that only looked like the start of one."""
    try:
        plain = base64.b64decode(candidate[1:], validate=True)
    except ValueError:
        result: Packet | str = "base64"
    else:
        result = unpack(plain, armoured=True)
    if isinstance(result, Packet):
        return result
    return Damaged(candidate, result) if len(candidate) > _WORTH_NAMING else None
