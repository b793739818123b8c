# SPDX-License-Identifier: Apache-2.0
"""A child process with a thread of its own that starts it, hears it and buries it."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Sequence

from hilagent.errors import LabError
from hilagent.text import scrub_line

_TAIL_BYTES = 4096
_BURIAL_S = 2.0


class Supervised:
    """A running child, from construction on.

    Args:
        argv: what to run.
        fds: descriptors that it inherits.
    """

    def __init__(self, argv: Sequence[str], fds: Sequence[int]) -> None:
        self._argv = argv
        self._fds = fds
        self._tail = b""
        self._started = threading.Event()
        self._child: subprocess.Popen[bytes] | None = None
        self._error: OSError | None = None
        self._ended_by_us = False
        self._thread = threading.Thread(target=self._live, name=f"run {argv[0]}", daemon=True)
        self._thread.start()
        self._started.wait()
        if self._error is not None:
            raise LabError(f"can't run {argv[0]}: {self._error.strerror}")

    @property
    def pid(self) -> int:
        """The child's process id."""
        assert self._child is not None
        return self._child.pid

    def running(self) -> bool:
        """Return whether the child still runs."""
        return self._child is not None and self._child.poll() is None

    def end(self, patience_s: float) -> None:
        """End the child: asked first, killed after ``patience_s``."""
        child = self._child
        if child is None:
            return
        self._ended_by_us = child.poll() is None
        child.terminate()
        try:
            child.wait(patience_s)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        self._thread.join(_BURIAL_S)

    def epitaph(self, name: str) -> str:
        """Return how the child ended, with the last it said on stderr; ``""`` if it runs."""
        child = self._child
        self._thread.join(_BURIAL_S)
        code = child.poll() if child is not None else None
        if code is None:
            return ""
        if self._ended_by_us:
            return f"{name} was ended"
        how = f"was killed by signal {-code}" if code < 0 else f"ended with {code}"
        said = scrub_line(self._tail.decode("utf-8", "backslashreplace"), limit=600)
        return f"{name} {how} by itself" + (f": {said}" if said else "")

    def _live(self) -> None:
        try:
            self._child = subprocess.Popen(
                self._argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=self._fds,
                start_new_session=True,  # a Ctrl-C at the terminal is ours to handle
            )
        except OSError as error:
            self._error = error
            return
        finally:
            self._started.set()
        with self._child as child:
            assert child.stderr is not None
            while chunk := child.stderr.read1(_TAIL_BYTES):  # type: ignore[attr-defined]
                self._tail = (self._tail + chunk)[-_TAIL_BYTES:]
