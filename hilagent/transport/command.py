# SPDX-License-Identifier: Apache-2.0
"""A console that is the terminal of some program.

::

    console:
      kind: command
      argv: [ipmitool, -I, lanplus, -H, bmc7, -U, lab, -f, /etc/lab/bmc7, sol, activate]

Also ``[telnet, -8E, lab7, "2001"]``, ``[conmux, rock]``, ``[ssh, lab7, cu, ...]``. The
program gets a raw terminal of its own as standard input and output, because several of
them (ipmitool) want one, and a session of its own, so that a Ctrl-C here isn't theirs.
What it says on standard error is kept for the message at its end.
"""

from __future__ import annotations

import contextlib
import os
import select
import shlex
import shutil
import signal
import subprocess
import tty
from collections.abc import Sequence

from hilagent.errors import LabError
from hilagent.text import scrub_line
from hilagent.transport.base import FdStream

_TAIL_BYTES, _SHOWN = 4096, 400
_LAST_S = 0.5
"""Between the end of its terminal and the end of a program."""
_BY_ITSELF_S, _ASKED_S = 1.0, 2.0
"""For a program to end when its terminal is gone, and when it was sent SIGTERM."""


class CommandStream(FdStream):
    """The terminal of a running child, which ends with it."""

    def __init__(self, fd: int, child: subprocess.Popen[bytes], argv: Sequence[str]) -> None:
        super().__init__(fd, scrub_line(shlex.join(argv), limit=80), self._epitaph)
        assert child.stderr is not None
        self._child, self._errors = child, child.stderr
        self._program = os.path.basename(argv[0])
        self._pidfd = os.pidfd_open(child.pid)
        self._tail = b""
        os.set_blocking(self._errors.fileno(), False)

    def read(self) -> bytes:
        self._hear_errors()
        return super().read()

    def close(self) -> None:
        """Take its terminal away; who doesn't end by that is told to, and then killed."""
        super().close()
        if self._pidfd < 0:
            return
        if not self._ended(_BY_ITSELF_S):
            self._signal(signal.SIGTERM)
            self._ended(_ASKED_S)
        self._bury()
        pidfd, self._pidfd = self._pidfd, -1
        os.close(pidfd)
        self._errors.close()

    def _ended(self, within_s: float) -> bool:
        return bool(select.select([self._pidfd], [], [], within_s)[0])

    def _bury(self) -> None:
        """Kill what is left of its group, while the child still has the number, and reap it."""
        if self._child.returncode is None:
            self._signal(signal.SIGKILL)
            self._child.wait()

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, number)

    def _hear_errors(self) -> None:
        with contextlib.suppress(BlockingIOError, ValueError):  # ValueError: it is closed
            while chunk := os.read(self._errors.fileno(), _TAIL_BYTES):
                self._tail = (self._tail + chunk)[-_TAIL_BYTES:]

    def _epitaph(self) -> str:
        """Return how the program ended, with the last that it said; ``""`` if it runs."""
        if not self._ended(_LAST_S):
            return ""
        self._bury()
        self._hear_errors()
        code = self._child.returncode
        how = f"signal {-code}" if code < 0 else f"exit {code}"
        said = scrub_line(self._tail[-_SHOWN:], limit=_SHOWN)
        return f"{self._program}: {how}" + (f": {said}" if said else "")


def connect(argv: Sequence[str]) -> CommandStream:
    """Start a program on a terminal; raises LabError if there is none of that name."""
    program = shutil.which(argv[0])
    if program is None:
        raise LabError(f"no program {argv[0]!r} for the console", hint="install it on this host")
    master, terminal = os.openpty()
    try:
        tty.setraw(terminal)
        child = subprocess.Popen(
            [program, *argv[1:]],
            stdin=terminal,
            stdout=terminal,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        os.close(master)
        raise LabError(f"can't run {argv[0]} for the console: {error.strerror}") from error
    finally:
        os.close(terminal)
    return CommandStream(master, child, argv)
