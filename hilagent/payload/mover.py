# SPDX-License-Identifier: Apache-2.0
"""Bulk work in the board's memory, by code that is loaded into the payload's scratch."""

from __future__ import annotations

import zlib
from collections.abc import Callable

from hilagent import errors
from hilagent.build import compile as compiling
from hilagent.build import sources

from .client import Payload

_PIECE = 4 << 20  # a call of this takes a fraction of a second, even with all caches off
_CRC32_SHIFT = 16  # ID_AA64ISAR0_EL1.CRC32

Progress = Callable[[int], None]
"""Called with the bytes done since the last call."""


class Mover:
    """Copies and checks memory on the target; loads its code as it is made.

    Whatever the scratch memory held is gone. Only for a payload at EL2.
    """

    def __init__(self, payload: Payload) -> None:
        blob = compiling.compile_blob(sources.firmware_dir() / "uploaded" / "mover.S")
        hello = payload.hello
        assert len(blob.data) <= hello.scratch_size
        payload.write(hello.scratch, blob.data)
        payload.code_loaded(hello.scratch, len(blob.data))
        self._payload, self._base, self._symbols = payload, hello.scratch, blob.symbols
        facts = {cpu.cpu: cpu for cpu in payload.cpus()}[payload.link_cpu]
        self._has_crc32 = bool(facts.ids["ID_AA64ISAR0_EL1"] >> _CRC32_SHIFT & 15)

    def copy(self, to: int, start: int, size: int, progress: Progress = lambda done: None) -> None:
        """Copy ``size`` bytes, rounded up to a multiple of 64, to a page that is ours.

        The two must not overlap; ``start`` is 64-byte aligned.
        """
        if to % 4096 or start % 64 or (to < start + size and start < to + size):
            raise errors.UsageError(f"can't copy {size:#x} bytes from {start:#x} to {to:#x}")
        for at in range(0, size, _PIECE):
            count = min(_PIECE, size - at)
            self._call("copy", to + at, start + at, count + -count % 64)
            progress(count)

    def clean(self, start: int, size: int) -> None:
        """Write back and drop what any cache holds of this memory."""
        for at in range(0, size, 4 * _PIECE):
            self._call("clean", start + at, min(4 * _PIECE, size - at))

    def crc(self, start: int, size: int) -> int:
        """Return the CRC-32 of memory, 8-byte aligned; by the CPU's instruction if it has one."""
        if not self._has_crc32:
            return self._payload.crc(start, size)
        crc = zlib.crc32(b"")
        for at in range(0, size, _PIECE):
            crc = self._call("crc", crc, start + at, min(_PIECE, size - at))
        return crc

    def code(self, start: int, size: int) -> None:
        """Say to the instruction caches of all CPUs that there is code now."""
        for at in range(0, size, 4 * _PIECE):
            self._payload.code_loaded(start + at, min(4 * _PIECE, size - at))

    def _call(self, name: str, *args: int) -> int:
        return self._payload.call(
            self._base + self._symbols[name], *args, el=2, cpu=self._payload.link_cpu
        ).x0

    def into_slot(self, start: int, size: int) -> None:
        """Copy vectors from memory into the slot: for `Payload.vectors` with ``there``."""
        hello = self._payload.hello
        if size > hello.slot_size:
            raise errors.UsageError(f"{size} bytes; the slot has {hello.slot_size}")
        self.copy(hello.slot, start, size)
        self.code(hello.slot, size)
