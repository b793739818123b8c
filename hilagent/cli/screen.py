# SPDX-License-Identifier: Apache-2.0
"""What a person sees of a console: sieved, in colours where that is harmless, with times."""

from __future__ import annotations

import contextlib
import os
import re
import select
import sys
import threading
from types import TracebackType

from hilagent.clock import SYSTEM, Clock
from hilagent.console.sieve import Sieve

_PIECE = re.compile(r"\x1b\[[0-9;]*m|[\r\n]|[^\x1b\r\n]+")
_RESET = "\x1b[0m"


class Stamps:
    """Puts the time since it was made before each line, in seconds."""

    def __init__(self, clock: Clock = SYSTEM) -> None:
        self._clock, self._from_s = clock, clock.now_s()
        self._at_start = True

    def feed(self, text: str) -> str:
        """Return sieved ``text`` with a time before each line that begins in it."""
        out = []
        for piece in _PIECE.findall(text):
            if piece in "\r\n":
                self._at_start = True
            elif self._at_start and not piece.startswith("\x1b"):
                out.append(f"[{self._clock.now_s() - self._from_s:10.3f}] ")
                self._at_start = False
            out.append(piece)
        return "".join(out)


class Screen:
    """Writes to a descriptor what comes from a board. One thread at a time.

    Args:
        fd: a person's terminal, or whatever stdout is.
        stamps: for times, or None.
        utf8: whether it understands UTF-8.
    """

    def __init__(self, fd: int, *, stamps: Stamps | None = None, utf8: bool = True) -> None:
        self._fd, self._stamps = fd, stamps
        self._colours = os.isatty(fd) and not os.environ.get("NO_COLOR")
        self._sieve = Sieve(colours=self._colours, ascii_only=not utf8)
        self._lock = threading.Lock()
        self._column_0 = True

    def show(self, data: bytes) -> None:
        """Show what the board said; blocks as long as the terminal does."""
        with self._lock:
            text = self._sieve.feed(data)
            if text:
                self._column_0 = text[-1] in "\r\n"
                self._write(self._stamps.feed(text) if self._stamps is not None else text)

    def __enter__(self) -> Screen:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave the terminal in its own colours, at the beginning of a line."""
        if not os.isatty(self._fd) or not self._lock.acquire(blocking=False):
            return  # nobody's terminal, or one that takes nothing
        with contextlib.suppress(OSError):  # it may have hung up
            self._write((_RESET if self._colours else "") + ("" if self._column_0 else "\r\n"))
        self._lock.release()

    def _write(self, text: str) -> None:
        data = text.encode()
        while data:
            try:
                data = data[os.write(self._fd, data) :]
            except BlockingIOError:  # somebody else made this terminal non-blocking
                poller = select.poll()
                poller.register(self._fd, select.POLLOUT)
                poller.poll()


def screen(*, timestamps: bool) -> Screen:
    """Return the screen on stdout."""
    sys.stdout.flush()
    utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    stamps = Stamps() if timestamps else None
    return Screen(sys.stdout.fileno(), stamps=stamps, utf8=utf8)
