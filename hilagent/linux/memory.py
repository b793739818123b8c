# SPDX-License-Identifier: Apache-2.0
"""What a running kernel says of the board's memory: /proc/iomem."""

from __future__ import annotations

import re

from hilagent.payload.places import Range, merged

IOMEM = "/proc/iomem"
_RAM = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) : System RAM$", re.MULTILINE)


def ram(iomem: bytes) -> list[Range]:
    """Return the memory that a kernel may use; none where it hides the addresses."""
    found = [(int(a, 16), int(b, 16)) for a, b in _RAM.findall(iomem.decode("utf-8", "replace"))]
    return merged([Range(start, end + 1 - start) for start, end in found if end])
