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
