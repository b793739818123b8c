# SPDX-License-Identifier: Apache-2.0
"""A local serial port, opened by pyserial and read by ourselves.

::

    console: {kind: serial, path: /dev/serial/by-path/..., baud: 115200, replug_s: 10}

pyserial knows how to open a port exclusively and set any baud rate; its
``read`` is not used, because it selects and copies per call.

An adapter that is unplugged and comes back within ``replug_s`` is opened again, and the
stream goes on; what was on its way is lost. Meanwhile the descriptor is a timer's, and
nothing is taken.
"""

from __future__ import annotations

import contextlib
import os
import termios
import threading
import time
from dataclasses import dataclass

from hilagent.clock import Deadline
from hilagent.errors import LabError, LinkError
from hilagent.transport import replug
from hilagent.transport.base import FdStream

_CC = 6
"""Index of the control characters in what ``termios.tcgetattr`` returns."""


@dataclass
class _Away:
    """An adapter that was unplugged.

    Attributes:
        since_s: on the monotonic clock.
        lost: the error that told of it.
        until: when it is given up.
        found: what was seen at its path instead.
    """

    since_s: float
    lost: LinkError
    until: Deadline
    found: str = ""


class SerialStream(FdStream):
    """A serial port: an :class:`FdStream` that can send a break and may be plugged in again.

    Args:
        fd: the open tty.
        path: to open it by again.
        baud: of it.
        replug_s: how long to wait for it; 0: not at all.
    """

    def __init__(self, fd: int, path: str, baud: int = 115200, replug_s: float = 0.0) -> None:
        super().__init__(fd, path)
        self._baud, self._replug_s = baud, replug_s
        self._identity = replug.identity(fd, path) if replug_s else ()
        self._away: _Away | None = None
        self._swapping = threading.RLock()

    @property
    def away_since_s(self) -> float | None:
        """Since when, on the monotonic clock, it is unplugged; None: it is there."""
        return self._away.since_s if self._away else None

    def read(self) -> bytes:
        if self._away:
            self._look(self._away)
            return b""
        try:
            return super().read()
        except LinkError as lost:
            if not self._replug_s or self._fd < 0:
                raise
            until = Deadline.after(self._replug_s)
            self._swap(replug.ticks(), _Away(time.monotonic(), lost, until))
            return b""

    def write(self, data: bytes) -> int:
        with self._swapping:
            if self._away:
                return 0
            try:
                return super().write(data)
            except LinkError:
                if not self._replug_s or self._fd < 0:
                    raise
                return 0  # the next read finds out

    def send_break(self) -> None:
        """Send a break of a quarter to half a second (POSIX tcsendbreak); LinkError."""
        with self._swapping:
            if self._away:
                raise self._away.lost
            try:
                termios.tcsendbreak(self._fd, 0)
            except (OSError, ValueError, termios.error) as error:
                raise self._lost(_reason(error)) from error

    def _look(self, away: _Away) -> None:
        """Open it again if it is there; LinkError when its time is up."""
        if self._fd < 0:
            raise self._lost("")
        with contextlib.suppress(BlockingIOError):
            os.read(self._fd, 8)
        try:
            fd = _open(self._name, self._baud)
        except LabError as error:
            away.found = f"{error.message} ({error.hint})"
        else:
            if replug.identity(fd, self._name) == self._identity:
                os.set_blocking(fd, False)
                self._swap(fd, None)
                return
            away.found = "another adapter was plugged in there"
            os.close(fd)
        if away.until.expired():
            said = f"{away.lost.message}; it did not come back within {self._replug_s:g} s"
            raise LinkError(f"{said}: {away.found}", hint=away.lost.hint)

    def _swap(self, fd: int, away: _Away | None) -> None:
        with self._swapping:
            old, self._fd, self._away = self._fd, fd, away
        os.close(old)  # only now, so that the new one has another number


def connect(path: str, baud: int, replug_s: float = 0.0) -> SerialStream:
    """Open ``path`` for this process alone; raises LabError.

    Args:
        replug_s: see :class:`SerialStream`. A pty's own path is never opened again: its
            number goes to whoever asks next.
    """
    back_s = 0.0 if os.path.dirname(path) == "/dev/pts" else replug_s
    return SerialStream(_open(path, baud), path, baud, back_s)


def _open(path: str, baud: int) -> int:
    """Return a descriptor of the port, exclusive and set; LabError."""
    import serial

    try:
        port = serial.Serial(path, baud, exclusive=True, timeout=0)
    except (serial.SerialException, ValueError) as error:
        raise LabError(f"can't open {path}: {_reason(error)}", hint=_hint(error)) from error
    try:
        fd = os.dup(port.fileno())  # the flock belongs to the open file: it lives on in the copy
    finally:
        port.close()
    try:
        # With VMIN 0 a read of an idle tty returns 0, as an unplugged one does.
        settings = termios.tcgetattr(fd)
        settings[_CC][termios.VMIN] = 1
        termios.tcsetattr(fd, termios.TCSANOW, settings)
    except (OSError, termios.error) as error:
        os.close(fd)
        raise LabError(f"can't set {path}: {_reason(error)}") from error
    return fd


def _reason(error: Exception) -> str:
    number = getattr(error, "errno", None)
    return os.strerror(number) if number else str(error)


def _hint(error: Exception) -> str:
    if isinstance(error, PermissionError) or getattr(error, "errno", None) == 13:
        return "add this user to the group that owns the port (dialout on Debian)"
    if "lock" in str(error) or getattr(error, "errno", None) == 11:
        return "another program has the port open"
    return "is the adapter plugged in? use its name under /dev/serial/by-path"
