# SPDX-License-Identifier: Apache-2.0
"""A local serial port, opened by pyserial and read by ourselves.

::

    console: {kind: serial, path: /dev/serial/by-path/..., baud: 115200}

pyserial knows how to open a port exclusively and set any baud rate; its
``read`` is not used, because it selects and copies per call.
"""

from __future__ import annotations

import os
import termios

from hilagent.errors import LabError
from hilagent.transport.base import FdStream

_CC = 6
"""Index of the control characters in what ``termios.tcgetattr`` returns."""


class SerialStream(FdStream):
    """A serial port: an :class:`FdStream` that can send a break."""

    def send_break(self) -> None:
        """Send a break of a quarter to half a second (POSIX tcsendbreak); LinkError."""
        try:
            termios.tcsendbreak(self._fd, 0)
        except (OSError, ValueError, termios.error) as error:
            raise self._lost(_reason(error)) from error


def connect(path: str, baud: int) -> SerialStream:
    """Open ``path`` for this process alone; raises LabError."""
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
        return SerialStream(fd, path)
    except (OSError, termios.error) as error:
        os.close(fd)
        raise LabError(f"can't set {path}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    number = getattr(error, "errno", None)
    return os.strerror(number) if number else str(error)


def _hint(error: Exception) -> str:
    if isinstance(error, PermissionError) or getattr(error, "errno", None) == 13:
        return "add this user to the group that owns the port (dialout on Debian)"
    if "lock" in str(error) or getattr(error, "errno", None) == 11:
        return "another program has the port open"
    return "is the adapter plugged in? use its name under /dev/serial/by-path"
