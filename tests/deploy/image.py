# SPDX-License-Identifier: Apache-2.0
"""A small arm64 Image that prints one line on a PL011 at 0x9000000 and stops."""

from __future__ import annotations

import random
import struct

HELLO = b"\r\nHELLO FROM THE IMAGE\r\n"
_CODE = (
    0x100000E1,  # adr  x1, the text
    0xD2A12002,  # movz x2, #0x900, lsl #16
    0x38401420,  # 1: ldrb w0, [x1], #1
    0x34000060,  # cbz  w0, 2f
    0x39000040,  # strb w0, [x2]
    0x17FFFFFD,  # b    1b
    0x14000000,  # 2: b .
)
_BRANCH_OVER_HEADER = 0x14000010
_ANYWHERE_4K = 0xA


def image(size: int = 32768) -> bytes:
    """Return an Image of ``size`` bytes, filled up with what doesn't compress."""
    fields = (_BRANCH_OVER_HEADER, 0, 0, size, _ANYWHERE_4K, 0, 0, 0, b"ARM\x64", 0)
    head = struct.pack("<IIQQQQQQ4sI", *fields)
    body = head + struct.pack("<7I", *_CODE) + HELLO + b"\0"
    return body + random.Random(1).randbytes(size - len(body))
