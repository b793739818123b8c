# SPDX-License-Identifier: Apache-2.0
"""The payload's encodings agree with Python's, and accept nothing that they shouldn't."""

from __future__ import annotations

import base64
import binascii
import zlib

from hypothesis import given
from hypothesis import strategies as st

from hilagent.link import frame
from tests.firmware.conftest import Host

BODY = st.binary(max_size=1100) | st.lists(
    st.sampled_from([b"\0", b"\xff", b"a" * 253, b"b" * 254, b"c" * 255]), max_size=5
).map(b"".join)


def decode(host: Host, op: str, coded: bytes, room: int = 2000) -> bytes | None:
    answer = host(op, room.to_bytes(2, "little") + coded)
    size = int.from_bytes(answer[:4], "little", signed=True)
    return None if size < 0 else answer[4 : 4 + size]


@given(data=BODY)
def test_the_crc_is_zlibs_also_in_pieces(host: Host, data: bytes) -> None:
    assert int.from_bytes(host("c", data), "little") == zlib.crc32(data)


@given(data=BODY)
def test_cobs_comes_back_and_has_no_zero(host: Host, data: bytes) -> None:
    coded = host("e", data)
    assert 0 not in coded
    assert len(coded) <= len(data) + len(data) // 254 + 1
    assert decode(host, "d", coded) == data
    assert frame.cobs_decode(coded) == data
    assert decode(host, "d", frame.cobs_encode(data)) == data


@given(coded=st.binary(max_size=600))
def test_cobs_decodes_what_python_decodes(host: Host, coded: bytes) -> None:
    twin = frame.cobs_decode(coded) if coded and 0 not in coded else None
    assert decode(host, "d", coded) == twin


@given(data=st.binary(max_size=300), room=st.integers(0, 300))
def test_cobs_never_passes_its_room(host: Host, data: bytes, room: int) -> None:
    got = decode(host, "d", frame.cobs_encode(data), room)
    assert got == (data if room >= len(data) else None)


@given(data=BODY)
def test_base64_is_pythons(host: Host, data: bytes) -> None:
    coded = host("B", data)
    assert coded == base64.b64encode(data)
    assert decode(host, "b", coded) == data


@given(coded=st.text("ABCDwxyz0189+/=", max_size=24) | st.text(max_size=8), room=st.integers(0, 20))
def test_base64_takes_only_its_canonical_form(host: Host, coded: str, room: int) -> None:
    raw = coded.encode()
    try:
        twin: bytes | None = base64.b64decode(raw, validate=True)
    except (binascii.Error, ValueError):
        twin = None
    if twin is not None and (base64.b64encode(twin) != raw or len(twin) > room):
        twin = None
    assert decode(host, "b", raw, room) == twin


@given(
    block=st.binary(min_size=1, max_size=80),
    to=st.integers(0, 79),
    start=st.integers(0, 79),
    size=st.integers(0, 80),
)
def test_memory_moves_within_itself(
    host: Host, block: bytes, to: int, start: int, size: int
) -> None:
    to, start = to % len(block), start % len(block)
    size = min(size, len(block) - max(to, start))
    twin = bytearray(block)
    twin[to : to + size] = block[start : start + size]
    head = b"".join(n.to_bytes(2, "little") for n in (to, start, size))
    assert host("m", head + block) == bytes(twin)
