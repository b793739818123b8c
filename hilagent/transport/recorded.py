# SPDX-License-Identifier: Apache-2.0
"""The console of a run that was recorded, replayed strictly: for ``hilagent run recorded:RUN``.

A run directory is a recording: ``console.raw``, ``console.tx`` and ``console.idx`` hold
what was said, both ways, and in which order. What is written must be exactly what was
written then; what the board said is handed out once everything is written that it had
heard before it. Time plays no part: what the program did after a silence it does after
one again, because nothing comes before it.
"""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from hilagent.errors import InputError, LabError, LinkError
from hilagent.text import scrub_line

RX, TX, OPENED, SEEN = 0, 1, 3, 4
"""Directions of ``console.idx``, see :mod:`hilagent.console.tape`; a test compares them."""
_RECORD = struct.Struct("<8xQII")
_SHOWN = 24


@dataclass
class Boot:
    """What was said from one opening of the console to the next.

    Attributes:
        at: where ``heard`` begins in ``console.tx``.
        heard: everything that the board was sent.
        said: by the board: after how many bytes of ``heard``, and what.
    """

    at: int
    heard: bytes = b""
    said: list[tuple[int, bytes]] = field(default_factory=list)


def boots(folder: Path) -> list[Boot]:
    """Return the boots of a run; raises InputError where there are none."""
    try:
        index, raw, tx = (
            (folder / f"console.{name}").read_bytes() for name in ("idx", "raw", "tx")
        )
    except OSError as error:
        said = f"no recording: {error.strerror}"
        raise InputError(folder, said, hint="name the directory of a run") from error
    found: list[Boot] = []
    told = end = 0
    for offset, direction, size in _RECORD.iter_unpack(index[: len(index) // 24 * 24]):
        if direction == RX:
            end = offset + size
        elif direction == OPENED:
            _say(found, raw[told:end])
            told = end
            found.append(Boot(offset))
        elif direction == SEEN:
            _say(found, raw[told:offset])
            told = max(told, offset)
        elif direction == TX and found:
            found[-1].heard += tx[offset : offset + size]
    _say(found, raw[told:end])
    if not found:
        raise InputError(folder, "no recording: its console was never opened")
    return found


def _say(found: Sequence[Boot], data: bytes) -> None:
    if data and found:
        found[-1].said.append((len(found[-1].heard), data))


class RecordedStream:
    """One boot of a recording as a stream.

    Attributes:
        differs: the error, once something else was written than then.
    """

    def __init__(self, boot: Boot) -> None:
        self._boot, self._next, self._sent = boot, 0, 0
        self.differs: LabError | None = None
        self._lock = threading.RLock()
        self._fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._tell()

    def fileno(self) -> int:
        return self._fd

    def answers(self) -> None:
        """Say that what comes next is there as soon as something was written."""

    def read(self) -> bytes:
        with self._lock:
            self._check()
            out = bytearray()
            while self._due():
                out += self._boot.said[self._next][1]
                self._next += 1
            self._tell()
            return bytes(out)

    def expects(self, data: bytes) -> bool:
        """Return whether ``data`` is what was written next then."""
        return self._boot.heard[self._sent : self._sent + len(data)] == data

    def write(self, data: bytes) -> int:
        with self._lock:
            self._check()
            expected = self._boot.heard[self._sent : self._sent + len(data)]
            pairs = enumerate(zip(data, expected, strict=False))
            same = next((at for at, (one, other) in pairs if one != other), len(expected))
            self._sent += same
            if same < len(data):
                self.differs = self._difference(expected[same:], data[same:])
                self._tell()
                raise self.differs
            self._tell()
            return len(data)

    def close(self) -> None:
        with self._lock:
            fd, self._fd = self._fd, -1
            if fd >= 0:
                os.close(fd)

    def _due(self) -> bool:
        said = self._boot.said
        return self._next < len(said) and said[self._next][0] <= self._sent

    def _check(self) -> None:
        if self._fd < 0:
            raise LinkError("the console of the recording was closed by this program")
        if self.differs is not None:
            raise self.differs

    def _tell(self) -> None:
        """Make the descriptor readable where there is something to read, and not elsewhere."""
        os.eventfd_write(self._fd, 1)
        if not self._due() and self.differs is None:
            os.eventfd_read(self._fd)

    def _difference(self, expected: bytes, found: bytes) -> LabError:
        what = f"{expected[:_SHOWN]!r}" if expected else "nothing more in this boot"
        return LabError(
            f"this replay is not the recorded run: at byte {self._boot.at + self._sent} of its "
            f"console.tx expected {scrub_line(what)}, found {scrub_line(repr(found[:_SHOWN]))}",
            hint="replay it with the hilagent, the suites and the options that recorded it",
        )


@runtime_checkable
class Source(Protocol):
    """A power back-end that plays a recording."""

    def next_boot(self) -> RecordedStream:
        """Return the console as it was opened the next time; LabError after the last."""
        ...
