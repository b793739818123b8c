# SPDX-License-Identifier: Apache-2.0
"""Whether a serial adapter that came back is the one that went, and a clock to look by.

What Linux says of a USB adapter (vendor, product, serial number, interface) must be the
same, and the USB port too, unless the board's file names the adapter itself
(``/dev/serial/by-id``). A port that is no USB adapter is known by its path alone.
"""

from __future__ import annotations

import os
from pathlib import Path

SYSFS = Path("/sys/dev/char")
LOOK_S = 0.1
"""Between two looks whether it is back."""
_MONOTONIC, _NONBLOCK, _CLOEXEC = 1, os.O_NONBLOCK, os.O_CLOEXEC
_FIELDS = ("idVendor", "idProduct", "serial")


def identity(fd: int, path: str) -> tuple[str, ...]:
    """Return what must be the same of the adapter behind ``fd`` for it to be the same one.

    Args:
        fd: of the open tty.
        path: that it was opened by.
    """
    number = os.fstat(fd).st_rdev
    device = (SYSFS / f"{os.major(number)}:{os.minor(number)}" / "device").resolve()
    below = ""
    for folder in (device, *device.parents):
        if (folder / "idVendor").is_file():
            port = "" if "/by-id/" in path else str(folder)
            return (*(_said(folder / name) for name in _FIELDS), below.partition(":")[2], port)
        below = folder.name if ":" in folder.name else below
    return ()


def ticks() -> int:
    """Return a descriptor that becomes readable every :data:`LOOK_S` (timerfd_create(2))."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    fd = int(libc.timerfd_create(_MONOTONIC, _NONBLOCK | _CLOEXEC))
    spec = (ctypes.c_long * 4)(0, int(LOOK_S * 1e9), 0, int(LOOK_S * 1e9))
    if fd < 0 or libc.timerfd_settime(fd, 0, ctypes.byref(spec), None):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return fd


def _said(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
