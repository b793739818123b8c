# SPDX-License-Identifier: Apache-2.0
"""Runs a tool that takes its time, and is heard line by line."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hilagent.errors import LabError
from hilagent.text import scrub

_TAIL_LINES = 12
_KEEP_LINES = 20_000


@dataclass(frozen=True)
class Done:
    """How it ended, and the last lines that it said."""

    status: int
    lines: Sequence[str]


def run(
    argv: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    see: Callable[[str], None] = lambda line: None,
    stall_s: float = 300,
) -> Done:
    """Run argv in a session of its own; ``see`` is given each line as it comes.

    ``env`` is all of the environment that it gets (default: ours). Whatever
    ends the wait (also an exception) ends the tool and its children.
    Raises LabError if the program isn't there, or says nothing for ``stall_s``.
    """
    child = _start(argv, cwd, os.environ if env is None else env)
    watch = _Watch(child, stall_s)
    lines: deque[str] = deque(maxlen=_KEEP_LINES)
    try:
        assert child.stdout is not None
        for raw in child.stdout:
            watch.heard()
            lines.append(raw.rstrip("\n"))
            see(lines[-1])
        child.wait()
    finally:
        watch.stop()
        _end(child)
    if watch.fired:
        raise LabError(f"{argv[0]} said nothing for {stall_s:.0f} s, and was ended")
    return Done(child.returncode, lines)


def output(argv: Sequence[str], **how: object) -> str:
    """As :func:`run`; raise LabError with its last lines if it fails, else return them all."""
    done = run(argv, **how)  # type: ignore[arg-type]
    if done.status:
        tail = [scrub(line) for line in list(done.lines)[-_TAIL_LINES:]]
        raise LabError("\n".join([f"{argv[0]} failed (exit {done.status}):", *tail]))
    return "\n".join(done.lines)


def _start(argv: Sequence[str], cwd: Path | None, env: Mapping[str, str]) -> subprocess.Popen[str]:
    try:
        return subprocess.Popen(
            argv, cwd=cwd, env={**env, "LC_ALL": "C"}, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            start_new_session=True, close_fds=False,  # locks are inherited, and nothing else
        )  # fmt: skip
    except FileNotFoundError as error:
        raise LabError(f"{argv[0]}: not found on the PATH") from error


def _end(child: subprocess.Popen[str]) -> None:
    """End what still runs: make removes the file that it was making, and so must be asked."""
    if child.stdout is not None:
        child.stdout.close()
    for sig in (signal.SIGTERM, signal.SIGKILL):
        if child.poll() is not None:
            return
        with suppress(ProcessLookupError):
            os.killpg(child.pid, sig)
        with suppress(subprocess.TimeoutExpired):
            child.wait(10)


class _Watch:
    """Kills a child that has been silent for too long."""

    def __init__(self, child: subprocess.Popen[str], stall_s: float) -> None:
        self._child, self._stall_s = child, stall_s
        self.fired = False
        self._timer = self._set()

    def heard(self) -> None:
        self._timer.cancel()
        self._timer = self._set()

    def stop(self) -> None:
        self._timer.cancel()

    def _set(self) -> threading.Timer:
        timer = threading.Timer(self._stall_s, self._fire)
        timer.daemon = True
        timer.start()
        return timer

    def _fire(self) -> None:
        self.fired = True
        with suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGKILL)
