# SPDX-License-Identifier: Apache-2.0
"""The bundle: one for the same members, and no other bytes pass for one."""

from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilagent import errors
from hilagent.deploy import bundle

MEMBERS = {"kernel": b"K" * 5000, "rootfs": b"R" * 4096, "cmdline": b"console=ttyAMA0", "jobs": b""}
GOOD = bundle.pack(MEMBERS)
ANY = st.dictionaries(st.sampled_from(bundle.MEMBERS), st.binary(max_size=9000))


def resealed(head: bytes) -> bytes:
    """Return a head with its CRC made right, as by somebody who means it."""
    plain = head[:24] + bytes(4) + head[28:]
    return plain[:24] + struct.pack("<I", zlib.crc32(plain)) + plain[28:]


@given(ANY)
def test_what_is_packed_is_unpacked(members: dict[str, bytes]) -> None:
    packed = bundle.pack(members)
    assert bundle.unpack(packed) == members
    index = bundle.parse_index(packed[: bundle.HEAD_BYTES], len(packed))
    for entry in index.entries.values():
        assert entry.offset % bundle.ALIGN == 0
        assert packed[entry.offset :][: entry.size] == members[entry.name]


def test_the_order_of_the_members_is_not_the_callers() -> None:
    assert bundle.pack(dict(reversed(MEMBERS.items()))) == GOOD


def test_a_name_that_is_no_member_is_the_callers_mistake() -> None:
    with pytest.raises(errors.UsageError, match="no member of a bundle: initramfs"):
        bundle.pack({"initramfs": b""})


@given(st.binary(max_size=2000), st.integers(0, 1 << 40))
def test_no_bytes_crash_it(data: bytes, size: int) -> None:
    with pytest.raises(errors.LabError, match="no bundle of this program"):
        bundle.parse_index(data, size)


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_every_changed_byte_is_seen(at: int, change: int) -> None:
    broken = bytearray(GOOD)
    broken[at] ^= change
    with pytest.raises(errors.LabError):
        bundle.unpack(bytes(broken))


@given(st.integers(0, len(GOOD) - 1))
def test_every_cut_is_seen(size: int) -> None:
    with pytest.raises(errors.LabError):
        bundle.unpack(GOOD[:size])


@given(st.integers(0, 511), st.binary(min_size=1, max_size=16))
def test_a_head_that_keeps_its_crc_is_not_believed_either(at: int, change: bytes) -> None:
    head = bytearray(GOOD[: bundle.HEAD_BYTES])
    head[at : at + len(change)] = change
    lying = resealed(bytes(head[: bundle.HEAD_BYTES]))
    try:
        index = bundle.parse_index(lying, len(GOOD))
    except errors.LabError:
        return
    ends = [entry.offset + entry.size for entry in index.entries.values()]
    assert max(ends, default=bundle.HEAD_BYTES) == len(GOOD)


@pytest.mark.parametrize(
    ("at", "value", "said"),
    [
        (0, b"\x1f\x8b\x08\0\0\0\0\0", "it begins with 1f8b08"),
        (8, b"\2\0\0\0", "version 2, this host reads 1"),
        (12, b"\x09\0\0\0", "9 members"),
        (16, b"\0\0\0\0\0\0\0\1", "bytes and says"),
        (24, b"\0\0\0\0", "does not keep its CRC"),
        (32, b"kernal", "a member without a known name: 'kernal'"),
    ],
)
def test_it_says_what_is_wrong(at: int, value: bytes, said: str) -> None:
    head = GOOD[:at] + value + GOOD[at + len(value) : bundle.HEAD_BYTES]
    with pytest.raises(errors.LabError, match=said):
        bundle.parse_index(head, len(GOOD))


def test_a_member_out_of_its_place_is_said() -> None:
    at = 32 + 16  # the offset in the first entry
    head = GOOD[:at] + struct.pack("<Q", 8192) + GOOD[at + 8 : bundle.HEAD_BYTES]
    with pytest.raises(errors.LabError, match="kernel stands at 0x2000"):
        bundle.parse_index(resealed(head), len(GOOD))


def test_a_broken_member_is_named() -> None:
    at = bundle.parse_index(GOOD, len(GOOD)).entries["rootfs"].offset
    with pytest.raises(errors.LabError, match="rootfs does not keep its CRC"):
        bundle.unpack(GOOD[:at] + b"x" + GOOD[at + 1 :])


def test_it_has_a_fixed_layout() -> None:
    """A payload or a person with a dump reads it by this."""
    head = struct.unpack_from("<8sIIQII", GOOD)
    assert head[:4] == (b"HILBNDL\0", 1, 4, len(GOOD))
    name, offset, size, crc, _ = struct.unpack_from("<16sQQII", GOOD, 32)
    assert (name.rstrip(b"\0"), offset, size) == (b"kernel", 4096, 5000)
    assert crc == zlib.crc32(MEMBERS["kernel"])
