# SPDX-License-Identifier: Apache-2.0
"""What stands in a board's memory for the payload: the bundle, and a batch of requests.

:mod:`hilagent.deploy.bundle` and :mod:`hilagent.payload.batch` say what it is for. Like
:mod:`hilagent.link.wire`, of which it is a part, this is the one definition for both sides.
"""

from __future__ import annotations

import enum

from .packed import struct_of

MAGIC_BUNDLE, VERSION_BUNDLE = int.from_bytes(b"HILBNDL\0", "little"), 1
BUNDLE_HEAD_BYTES = 512
"""The head and every entry stand within these first bytes."""
MAGIC_BATCH = int.from_bytes(b"HILB", "little")
MAGIC_RESULTS = int.from_bytes(b"HILR", "little")
VERSION_BATCH, BATCH_ALIGN = 1, 8

BUNDLE = struct_of(
    "bundle", "u64 magic", "u32 version", "u32 count", "u64 size", "u32 crc", "u32 x"
)
BUNDLE_ENTRY = struct_of(
    "bundle_entry", "u8 name[16]", "u64 offset", "u64 size", "u32 crc", "u32 x"
)


class BatchEnd(enum.IntEnum):
    """How a batch ended (``results.end``)."""

    DONE = 1  # every request was answered, or the last one left the payload
    FULL = 2  # the next reply found no room
    STUCK = 3  # a job made no progress for ``batch.hang_s``; its status is the last reply
    BROKEN = 4  # the next request is none


BATCH = struct_of(
    "batch", "u32 magic", "u32 version", "u32 run_id", "u32 count", "u32 size", "u32 room",
    "u32 hang_s", "u32 crc",
)  # fmt: skip
"""``count`` requests in ``size`` bytes follow, then ``room`` bytes for results. A request is
a packet's head and body, at the next multiple of BATCH_ALIGN; without its CRC, or the CRC of
them all would be the same for any. ``crc``: CRC-32 of this head, with ``crc`` zero, and the
requests."""

RESULTS = struct_of(
    "results", "u32 magic", "u32 run_id", "u32 boot_id", "u32 count", "u32 size", "u32 end",
    "u32 asked", "u32 crc",
)  # fmt: skip
"""``count`` replies in ``size`` bytes follow, packets as on the line, aligned likewise. ``asked``:
``batch.crc`` of what they answer. ``crc`` as in the batch. Written last: until then
there is no magic."""

NEXT = struct_of(
    "next", "u64 image", "u64 image_size", "u64 rootfs", "u64 rootfs_size", "u64 dtb",
    "u64 dtb_size", "u32 results", "u32 results_size", "u32 reserve", "u32 x",
)  # fmt: skip
"""Addresses for the bundle's ``kernel``, ``rootfs`` and ``dtb``, and how much is free there
(0: that member is not there). The results go into the tree, ``results`` bytes from its
start, where ``results_size`` bytes are kept for them. ``reserve``: likewise where its memory
reservations have room for one more: where a CPU is stuck, the payload reserves itself."""

UPLOAD_LC = UPLOAD_LP = UPLOAD_PB = 2
"""Of every LZMA stream of an upload; code of 4 bytes an instruction likes these."""
UPLOAD_WINDOW = 32
"""Blocks that may be on their way or wait their turn; a bit each in ``upload_status.have``."""
UPLOAD_BLOCK_MAX = 2048
UPLOAD_MOST_REGIONS = 4
UPLOAD_WORK_BYTES = 1 << 18
"""Bytes of memory that the loader works in."""


class Chunk(enum.IntEnum):
    """How the bytes of a chunk come (``upload_chunk.kind``)."""

    END = 1  # none: this was all
    STORED = 2
    LZMA = 3  # raw, with the parameters above; an end mark may follow


class Uploaded(enum.IntEnum):
    """How an upload stands (``upload_status.state``), and the result of the loader's call."""

    RUNNING = 1
    DONE = 2  # the chunk END came, and every chunk before it kept its CRC in memory
    SILENCE = 3  # nothing came for ``upload.silence_s``
    BAD_PLAN = 4
    BAD_CHUNK = 5  # its head is none, or it would stand outside of the plan's regions
    BAD_DATA = 6  # it is no LZMA of that size
    BAD_CRC = 7  # what stands in memory is not what its head says


UPLOAD = struct_of(
    "upload", "u64 workspace", "u64 uart_base", "u32 uart_kind", "u32 uart_shift",
    "u32 uart_width", "u32 uart_fixed", "u32 uart_big_endian", "u32 boot_id", "u32 run_id",
    "u32 block", "u32 silence_s", "u32 poll_us", "u32 regions", "u32 x",
    f"u64 start[{UPLOAD_MOST_REGIONS}]",
    f"u64 size[{UPLOAD_MOST_REGIONS}]",
)  # fmt: skip
"""What the loader is called with. ``block``: bytes in each block, a multiple of 8.
``poll_us``: how long the UART may be left alone, a part of what fills its FIFO.

The host then sends a stream of chunks, each with a head (``upload_chunk``), cut into
blocks of that size. A block goes as ``00 COBS(u32 number, u32 turn, bytes, u32 CRC-32 of
all that) 00``, where ``turn`` counts all blocks that were sent, again or not."""
UPLOAD_CHUNK = struct_of(
    "upload_chunk", "u64 addr", "u32 size", "u32 packed", "u32 crc", "u32 kind"
)
"""``size``: in memory; ``packed``: on the line, behind this head; ``crc``: of memory."""
UPLOAD_STATUS = struct_of(
    "upload_status", "u32 state", "u32 base", "u32 have", "u32 turn", "u32 lost", "u32 damaged",
    "u64 done",
)  # fmt: skip
"""Blocks below ``base`` were taken; bit i of ``have``: block ``base + i`` is here. ``turn``: the
newest that came. ``lost``: bytes that the UART or the ring lost; ``damaged``: frames that were
none. ``done``: bytes that stand in memory and kept their CRC."""
