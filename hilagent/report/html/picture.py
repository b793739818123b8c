# SPDX-License-Identifier: Apache-2.0
"""65,536 immediates as a picture of 256 x 256 cells: a PNG (W3C REC-png-3) in a data URI."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Sequence

SIDE = 256


def uri(cells: bytes, palette: Sequence[tuple[int, int, int]]) -> str:
    """Return the picture.

    Args:
        cells: 65,536 indices into ``palette``, row by row.
        palette: red, green and blue, 0 to 255; at most 256.
    """
    lines = b"".join(b"\0" + cells[at : at + SIDE] for at in range(0, SIDE * SIDE, SIDE))
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        (
            _chunk(b"IHDR", struct.pack(">IIBBBBB", SIDE, SIDE, 8, 3, 0, 0, 0)),
            _chunk(b"PLTE", b"".join(bytes(colour) for colour in palette)),
            _chunk(b"IDAT", zlib.compress(lines, 9)),
            _chunk(b"IEND", b""),
        )
    )
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _chunk(kind: bytes, data: bytes) -> bytes:
    crc = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)
