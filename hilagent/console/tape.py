# SPDX-License-Identifier: Apache-2.0
"""What a console has said and what was said to it: on disk all of it, in memory the tail.

The run directory gets three files, written as things happen and never rewritten:

* ``console.raw``: exactly the bytes received;
* ``console.tx``: exactly the bytes sent;
* ``console.idx``: one record per read, write and so on, see :class:`Record`.

Positions are absolute: the number of bytes received before. Not thread-safe;
the console that owns a tape serialises.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from hilagent.errors import HostError

KEEP_BYTES = 4 << 20
"""The least that is kept in memory; twice that is the most."""

RECORD = struct.Struct("<QQII")
RX, TX, GAP, OPENED, SEEN = range(5)


class Record(NamedTuple):
    """One record of ``console.idx``: 24 bytes, little-endian, u64 u64 u32 u32.

    Attributes:
        time_ns: the host's monotonic clock, after the read or the write.
        offset: into ``console.raw`` or ``console.tx``.
        direction: 0 received, 1 sent; 2: the line was away until now, and bytes may
            be missing at this offset of ``console.raw``; 3: the console was opened, and
            what is sent from now on begins at this offset of ``console.tx``; 4: who sends
            next has looked at what was received before this offset, and at no more.
        size_bytes: never 0 for what was received or sent, and else always.
    """

    time_ns: int
    offset: int
    direction: int
    size_bytes: int


def read_index(path: Path) -> Iterator[Record]:
    """Return the records of a ``console.idx``; a torn last one is left out."""
    data = path.read_bytes()
    whole = len(data) - len(data) % RECORD.size
    return (Record(*fields) for fields in RECORD.iter_unpack(data[:whole]))


class Tape:
    """One console's bytes.

    Args:
        folder: of the three files, or None: nothing is written, and what has
            left the memory is gone. Files of an earlier boot are continued, so
            that positions mean one thing throughout a run.
        keep_bytes: see :data:`KEEP_BYTES`.
        time_ns: of the opening, on the clock of what follows; None: now, by the host's.

    Raises LabError if the files can't be opened.

    Attributes:
        end: the position after the last byte received.
        broken: the first error of the disk. From then on nothing more is
            written, and receiving goes on.
    """

    def __init__(
        self, folder: Path | None, keep_bytes: int = KEEP_BYTES, time_ns: int | None = None
    ) -> None:
        self.broken: OSError | None = None
        self._keep_bytes = keep_bytes
        self._data = bytearray()
        names = ("console.raw", "console.tx", "console.idx")
        self._files = _open_all([folder / name for name in names]) if folder else []
        sizes = [os.fstat(fd).st_size for fd in self._files] or [0, 0]
        self.end = self._base = sizes[RX]
        self._sent = sizes[TX]
        self._seen = self.end
        opened_ns = time.monotonic_ns() if time_ns is None else time_ns
        for what, offset in ((OPENED, self._sent), (SEEN, self.end)):
            self._log(what, b"", opened_ns, offset)

    def received(self, chunk: bytes, time_ns: int) -> None:
        """Add bytes that were read."""
        self._log(RX, chunk, time_ns, self.end)
        self.end += len(chunk)
        self._data += chunk
        if len(self._data) > 2 * self._keep_bytes:
            surplus = len(self._data) - self._keep_bytes
            del self._data[:surplus]
            self._base += surplus

    def sent(self, chunk: bytes, time_ns: int) -> None:
        """Add bytes that were written."""
        self._log(TX, chunk, time_ns, self._sent)
        self._sent += len(chunk)

    def seen(self, position: int, time_ns: int) -> None:
        """Note up to where the next that is sent was said in knowledge of what had come."""
        if position != self._seen:
            self._seen = position
            self._log(SEEN, b"", time_ns, position)

    def gap(self, time_ns: int) -> None:
        """Note that bytes may be missing here."""
        self._log(GAP, b"", time_ns, self.end)

    def cut(self, start: int, size: int) -> tuple[int, bytes]:
        """Return up to ``size`` bytes from ``start`` on, with their true start.

        The true start is later where those bytes have left the memory and no
        file holds them.
        """
        if start >= self._base:
            offset = start - self._base
            return start, bytes(self._data[offset : offset + size])
        if self._files and not self.broken:
            size = min(size, self._base - start)
            return start, os.pread(self._files[RX], size, start)
        return self._base, bytes(self._data[:size])

    def close(self) -> None:
        """Close the files; what is in memory can still be read."""
        files, self._files = self._files, []
        for fd in files:
            os.close(fd)

    def _log(self, direction: int, chunk: bytes, time_ns: int, offset: int) -> None:
        if not self._files or self.broken:
            return
        try:
            if chunk:
                _write_all(self._files[direction], chunk)
            _write_all(self._files[2], RECORD.pack(time_ns, offset, direction, len(chunk)))
        except OSError as error:
            self.broken = error


def _open_all(paths: Sequence[Path]) -> list[int]:
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    opened: list[int] = []
    for path in paths:
        try:
            opened.append(os.open(path, flags, 0o644))
        except OSError as error:
            for fd in opened:
                os.close(fd)
            why = f"the console's log {path} can't be written: {error.strerror}"
            raise HostError(why) from error
    return opened


def _write_all(fd: int, data: bytes) -> None:
    written = os.write(fd, data)
    if written != len(data):  # a short write to a file is a disk that has just become full
        os.write(fd, data[written:])
