# SPDX-License-Identifier: Apache-2.0
"""One ``hilagent run`` of one board, as a child process.

Each has a session of its own, so that a Ctrl-C of the terminal reaches it through us,
once. It runs under ``setpriv --pdeathsig TERM``: when this process dies, by SIGKILL too,
it ends as it would by SIGTERM, and switches its board off. That signal comes when the
*thread* that started it ends; so a thread of ours starts it, and lives as long as it.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hilagent import errors
from hilagent.clock import SYSTEM, Clock

OUTPUT = "output.txt"
"""What a child says, in its folder."""


@dataclass(frozen=True)
class Ended:
    """How a child ended.

    Attributes:
        code: its exit code; -9: it was killed by signal 9.
        took_s: from its start.
        cpu_s: what it, and whatever it waited for, used of CPUs.
        rss_kib: the most memory that it, or one of those, had.
    """

    code: int
    took_s: float
    cpu_s: float
    rss_kib: int


class Child:
    """A running child, from construction on.

    Args:
        name: of its board.
        argv: behind ``hilagent``.
        folder: where its output goes.
        on_end: is called by another thread once :attr:`ended` is set.

    Raises:
        errors.LabError: it can't be started.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        folder: Path,
        on_end: Callable[[Child], object],
        clock: Clock = SYSTEM,
    ) -> None:
        self.name, self.folder = name, folder
        self.ended: Ended | None = None
        self.pid = 0
        self._argv, self._on_end, self._clock = argv, on_end, clock
        self._lock, self._started = threading.Lock(), threading.Event()
        self._error: OSError | None = None
        self.began_s = clock.now_s()
        threading.Thread(target=self._live, name=f"run {name}", daemon=True).start()
        self._started.wait()
        if self._error is not None:
            raise errors.LabError(f"can't run {name}: {self._error.strerror}")

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it still runs."""
        with self._lock:
            if self.ended is None:
                os.kill(self.pid, number)

    def _live(self) -> None:
        try:
            process = self._start()
            self.pid = process.pid
        except OSError as exc:
            self._error = exc
            return
        finally:
            self._started.set()
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        with self._lock:  # only now its number can become somebody else's
            _, status, used = os.wait4(self.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            self.ended = self._end(process.returncode, used)
        self._on_end(self)

    def _start(self) -> subprocess.Popen[bytes]:
        wrapper = shutil.which("setpriv")
        guarded = [wrapper, "--pdeathsig", "TERM", "--"] if wrapper else []
        own = str(Path(__file__).parents[2])  # the same code, whatever the folder
        path = os.pathsep.join([own, *filter(None, [os.environ.get("PYTHONPATH")])])
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / OUTPUT).open("ab") as out:
            return subprocess.Popen(
                [*guarded, sys.executable, "-P", "-m", "hilagent", *self._argv],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
                env={**os.environ, "PYTHONPATH": path},
            )  # fmt: skip

    def _end(self, code: int, used: resource.struct_rusage) -> Ended:
        took_s = round(self._clock.now_s() - self.began_s, 3)
        return Ended(code, took_s, round(used.ru_utime + used.ru_stime, 3), used.ru_maxrss)

    def last_words(self) -> str:
        """Return the last line of what it said."""
        lines: list[str] = []
        with suppress(OSError):
            lines = (self.folder / OUTPUT).read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""
