# SPDX-License-Identifier: Apache-2.0
"""The seam to the outside: a byte stream, and the one class that most kinds need.

A stream is non-blocking in both directions. Whoever wants to wait puts
``fileno()`` into a selector; nobody waits in here. The errors of the operating
system end at this seam: what a user of a stream sees is :class:`LinkError`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from hilagent.clock import Deadline
from hilagent.errors import LinkError

CHUNK_BYTES = 1 << 16
_FULL = 1024
"""A read this long may have left more behind (a tty hands out at most 4095 bytes)."""


class Stream(Protocol):
    """Bytes to and from a board."""

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when there are bytes.

        It may be another one after a read, and has another number then. The same one
        becomes writable when bytes are taken again, unless the stream :class:`Pauses`.
        """
        ...

    def read(self) -> bytes:
        """Return what has arrived, ``b""`` for nothing now; LinkError at the end."""
        ...

    def write(self, data: bytes) -> int:
        """Return how many bytes of ``data`` were taken, maybe none; LinkError at the end."""
        ...

    def close(self) -> None:
        """Give the line up; harmless a second time."""
        ...


@runtime_checkable
class Breaks(Protocol):
    """A stream that can hold its line low for longer than a character (RS-232's break)."""

    def send_break(self) -> None:
        """Send a break; LabError if the line doesn't take it."""
        ...


@runtime_checkable
class Pauses(Protocol):
    """A stream that may take nothing although its descriptor is writable."""

    @property
    def paused(self) -> bool:
        """Whether that is so now."""
        ...


@runtime_checkable
class Returns(Protocol):
    """A stream whose line may be unplugged, and come back with bytes missing."""

    @property
    def away_since_s(self) -> float | None:
        """Since when, on the monotonic clock, it is away; None: it is there."""
        ...


@runtime_checkable
class Answers(Protocol):
    """A stream that has its answer at once: whoever writes can read it before he waits.

    A recording: no time may pass in a replay that hadn't passed then.
    """

    def answers(self) -> None:
        """Do nothing; it is the mark of such a stream."""
        ...


@runtime_checkable
class Timed(Protocol):
    """A stream that lives in a time of its own, which passes while it is waited for.

    No thread reads it, and no clock of the host counts: whoever waits reads it himself.
    """

    def until(self, deadline: Deadline) -> None:
        """Let time pass: until there is something to read, or the deadline at the latest."""
        ...


class FdStream:
    """A stream over a descriptor that it owns: tty, pty or connected socket.

    Args:
        fd: made non-blocking, closed by :meth:`close`.
        name: for messages.
        why: asked at the end of the stream for a better reason than "closed".
    """

    def __init__(self, fd: int, name: str, why: Callable[[], str] = str) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._name = name
        self._why = why

    def fileno(self) -> int:
        return self._fd

    def read(self) -> bytes:
        chunk = self._read_once()
        if len(chunk) < _FULL:
            return chunk
        chunks, size = [chunk], len(chunk)
        while len(chunk) >= _FULL and size < CHUNK_BYTES:
            try:
                chunk = self._read_once()
            except LinkError:  # first hand out what came before the end
                break
            chunks.append(chunk)
            size += len(chunk)
        return b"".join(chunks)

    def write(self, data: bytes) -> int:
        try:
            return os.write(self._fd, data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise self._lost(error.strerror or str(error)) from error

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _read_once(self) -> bytes:
        try:
            chunk = os.read(self._fd, CHUNK_BYTES)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise self._lost(error.strerror or str(error)) from error
        if not chunk:  # readable but empty: an unplugged adapter, a closed peer
            raise self._lost("closed by the other side")
        return chunk

    def _lost(self, reason: str) -> LinkError:
        if self._fd < 0:
            return LinkError(f"the console {self._name} was closed by this program")
        why = self._why()
        return LinkError(
            f"the console {self._name} ended: {why or reason}",
            hint="" if why else "is the cable, the adapter or the console server still there?",
        )
