# SPDX-License-Identifier: Apache-2.0
"""The memory of a scripted board: a few regions; everything else faults."""

from __future__ import annotations

import zlib


class BadAddress(Exception):
    """An access outside of every region; ``addr`` is the first bad address."""

    def __init__(self, addr: int) -> None:
        super().__init__(f"{addr:#x}")
        self.addr = addr


class Memory:
    """Regions of bytes::

    memory = Memory({0x4000_0000: 0x1_0000})
    memory.write(0x4000_0010, b"hello")
    """

    def __init__(self, regions: dict[int, int]) -> None:
        self._regions = {base: bytearray(size) for base, size in regions.items()}
        self.writes = 0

    def read(self, addr: int, size: int) -> bytes:
        """Return bytes; raises `BadAddress`."""
        region, at = self._find(addr, size)
        return bytes(region[at : at + size])

    def write(self, addr: int, data: bytes) -> None:
        """Write bytes; raises `BadAddress`. ``writes`` counts the calls."""
        region, at = self._find(addr, len(data))
        region[at : at + len(data)] = data
        self.writes += 1

    def crc32(self, addr: int, size: int) -> int:
        """Return the CRC-32 of a range; raises `BadAddress`."""
        region, at = self._find(addr, size)
        return zlib.crc32(memoryview(region)[at : at + size])

    def _find(self, addr: int, size: int) -> tuple[bytearray, int]:
        for base, region in self._regions.items():
            if base <= addr < base + len(region):
                if addr + size > base + len(region):
                    raise BadAddress(base + len(region))
                return region, addr - base
        raise BadAddress(addr)
