# SPDX-License-Identifier: Apache-2.0
"""A person at a terminal: runs a command on a pty, types, and waits for what is to be seen."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import termios
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hilagent.clock import Deadline

PATH = os.pathsep.join(str(Path(part).absolute()) for part in sys.path)
SOON_S = 30.0


def hilagent(*argv: str) -> list[str]:
    """Return the command line of ours."""
    return [sys.executable, "-m", "hilagent", *argv]


def environment(folder: Path, **more: str) -> Mapping[str, str]:
    """Return an environment in which everything that is left behind is in ``folder``."""
    own = {"HILAGENT_RUNS": str(folder / "runs"), "HILAGENT_STATE": str(folder / "state")}
    own |= {"PYTHONPATH": PATH, "PYTHONUTF8": "1"}
    return {**{k: v for k, v in os.environ.items() if k != "NO_COLOR"}, **own, **more}


class Person:
    """Use with ``with``; the command is killed at the end if it still runs.

    Attributes:
        seen: everything that came to the terminal.
    """

    def __init__(self, folder: Path, *argv: str) -> None:
        self._far, self._near = os.openpty()
        self.before = self.settings()
        self.seen = b""
        self._from = 0
        self.process = subprocess.Popen(
            hilagent(*argv), cwd=folder, env=environment(folder), start_new_session=True,
            stdin=self._near, stdout=self._near, stderr=self._near,
        )  # fmt: skip

    def __enter__(self) -> Person:
        return self

    def __exit__(self, *exc: object) -> None:
        self.process.kill()
        self.process.wait()
        self.hangs_up()

    def hangs_up(self) -> None:
        """Close the terminal."""
        for fd in (self._far, self._near):
            if fd >= 0:
                os.close(fd)
        self._far = self._near = -1

    def settings(self) -> list[Any]:
        """Return the terminal's."""
        return termios.tcgetattr(self._near)

    def types(self, data: bytes) -> None:
        """Press keys."""
        os.write(self._far, data)

    def sees(self, what: bytes, seconds: float = SOON_S) -> None:
        """Wait until ``what`` is to be seen, behind what was waited for before."""
        deadline = Deadline.after(seconds)
        while what not in self.seen[self._from :]:
            left_s = deadline.left_s()  # what moves says something all the time
            assert left_s > 0, f"{what!r} not in {self.seen[-4000:]!r}"
            assert self._read(left_s), f"{what!r} not in {self.seen!r}"
        self._from = self.seen.index(what, self._from) + len(what)

    def ends(self, seconds: float = SOON_S) -> int:
        """Wait until the command ends; return its exit code."""
        with os.fdopen(os.pidfd_open(self.process.pid)) as ended:
            deadline = Deadline.after(seconds)
            fds = [ended.fileno(), self._far]
            while not select.select(fds[:1], [], [], 0)[0]:
                ready = select.select(fds, [], [], deadline.left_s())[0]
                assert ready, f"it doesn't end: {self.seen!r}"
                self._read(0)
        while self._read(0):
            pass
        return self.process.wait()

    def _read(self, seconds: float) -> bool:
        if not select.select([self._far], [], [], seconds)[0]:
            return False
        self.seen += os.read(self._far, 65536)
        return True


class Port:
    """A serial port whose far end is in the hands of the test.

    Attributes:
        path: of the port.
        heard: everything that was sent to the board.
    """

    def __init__(self) -> None:
        self._far, self._near = os.openpty()
        mode = termios.tcgetattr(self._near)
        mode[3] &= ~(termios.ECHO | termios.ICANON)
        termios.tcsetattr(self._near, termios.TCSANOW, mode)
        self.path = os.ttyname(self._near)
        self.heard = b""

    def __enter__(self) -> Port:
        return self

    def __exit__(self, *exc: object) -> None:
        self.unplug()

    def says(self, data: bytes) -> None:
        """Let the board say something."""
        os.write(self._far, data)

    def hears(self, what: bytes, seconds: float = SOON_S) -> None:
        """Wait until the board has been sent ``what``."""
        deadline = Deadline.after(seconds)
        while what not in self.heard:
            ready = select.select([self._far], [], [], deadline.left_s())[0]
            assert ready, f"{what!r} not in {self.heard!r}"
            self.heard += os.read(self._far, 65536)

    def unplug(self) -> None:
        """Pull the adapter out."""
        for fd in (self._far, self._near):
            if fd >= 0:
                os.close(fd)
        self._far = self._near = -1
