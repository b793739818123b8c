# SPDX-License-Identifier: Apache-2.0
"""A serial adapter under a stable name that can be unplugged: a symlink to a new pty each time."""

from __future__ import annotations

import contextlib
import os
import tempfile
import termios
import threading
import tty
from pathlib import Path
from typing import Self

from hilagent.testing import Proxy
from hilagent.transport.base import FdStream


class Cable:
    """Plugged in from the beginning.

    Args:
        board: the path of a pty that the adapter carries to and fro; None: it is the test.

    Attributes:
        path: the stable name.
        far: the other end, where it is the test.
    """

    def __init__(self, board: str = "") -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.path = Path(self._folder.name) / "by-path"
        self._board = board
        self._proxy: Proxy | None = None
        self.far = self._near = -1
        self.plug()

    def plug(self) -> int:
        """Plug it in; return the other end."""
        self.far, self._near = os.openpty()
        tty.setraw(self._near)
        self.path.symlink_to(os.ttyname(self._near))
        if self._board:
            board = os.open(self._board, os.O_RDWR | os.O_NOCTTY)
            tty.setraw(board)
            termios.tcflush(board, termios.TCIFLUSH)  # what it said meanwhile, nobody heard
            self._proxy = Proxy(FdStream(self.far, "a cable"), FdStream(board, self._board))
            self.far = -1
        return self.far

    def unplug(self) -> None:
        """Unplug it: what is on its way is lost."""
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
        if self._proxy is not None:
            self._proxy.close()
            self._proxy = None
        self.let_go()

    def let_go(self) -> None:
        """Close what is open here of the adapter; its name stays."""
        for fd in (self.far, self._near):
            if fd >= 0:
                os.close(fd)
        self.far = self._near = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.unplug()
        self._folder.cleanup()


class Unplugged:
    """Unplugs a cable in a while, for a moment; both in seconds."""

    def __init__(self, cable: Cable, after_s: float, for_s: float) -> None:
        def go() -> None:
            wait = threading.Event().wait
            wait(after_s)
            cable.unplug()
            wait(for_s)
            cable.plug()

        self._thread = threading.Thread(target=go)
        self._thread.start()

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: object) -> None:
        self.join()

    def join(self) -> None:
        """Wait until it is plugged in again."""
        self._thread.join()
