# SPDX-License-Identifier: Apache-2.0
"""Who holds a board: one flock for each physical thing that a run uses.

The files are in ``$HILAGENT_STATE``, else ``$XDG_RUNTIME_DIR/hilagent``, else
``hilagent-<uid>`` in the folder for temporary files. The kernel frees a lock
when its holder dies; the file then only tells who was the last.

An emulated board has no lock: each run starts a machine of its own.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hilagent import errors
from hilagent.board import Board
from hilagent.text import scrub_line


def state_dir() -> Path:
    """Return the folder of the locks, made if it wasn't there.

    Raises:
        errors.LabError: it can't be made, or belongs to somebody else.
    """
    if chosen := os.environ.get("HILAGENT_STATE"):
        path = Path(chosen)
    elif runtime := os.environ.get("XDG_RUNTIME_DIR"):
        path = Path(runtime) / "hilagent"
    else:
        path = Path(tempfile.gettempdir()) / f"hilagent-{os.getuid()}"
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as exc:
        raise errors.LabError(f"{path}: can't hold the locks: {exc.strerror}") from exc
    if not os.environ.get("HILAGENT_STATE") and path.stat().st_uid != os.getuid():
        hint = "set $HILAGENT_STATE to a folder of your own"
        raise errors.LabError(f"{path}: belongs to somebody else", hint=hint)
    return path


def things(board: Board) -> tuple[str, ...]:
    """Return the names of what ``board`` is physically reached by, sorted."""
    console = board.console
    if console.kind == "serial":
        return (os.path.realpath(str(console.path)),)
    if console.kind == "tcp":
        return (f"{console.host}:{console.port}",)
    return ()


@dataclass(frozen=True)
class Holder:
    """Who holds a board, by its lock's file.

    Attributes:
        run_dir: where its log grows; None for a command that keeps none.
        job: the address of its CI job, or empty.
    """

    user: str
    pid: int
    run_dir: Path | None
    job: str
    path: Path

    def __str__(self) -> str:
        run = f", {self.run_dir}" if self.run_dir else ""
        job = f", job {self.job}" if self.job else ""
        return scrub_line(f"{self.user} (pid {self.pid}{run}){job}", limit=400)

    def holds(self) -> bool:
        """Return whether it still does. Asks the kernel: to try the lock would be to take it."""
        held = set[str]()
        with suppress(OSError):
            for line in Path("/proc/locks").read_text().splitlines():
                words = line.split()  # proc_locks(5); a waiter's line has "->" before FLOCK
                if words[1] == "FLOCK" and words[4] == str(self.pid):
                    held.add(words[5].rpartition(":")[2])  # major:minor:inode
            return str(self.path.stat().st_ino) in held
        return False


def holder(names: Sequence[str]) -> Holder | None:
    """Return who holds one of ``names`` now, None for nobody (of this host, or container)."""
    for name in names:
        path = _path(name)
        with suppress(OSError):
            found = _read(path.read_bytes()[:4096], path)
            if found is not None and found.holds():
                return found
    return None


@contextlib.contextmanager
def hold(names: Sequence[str], *, board: str, run_dir: Path | None) -> Iterator[None]:
    """Hold the locks called ``names`` for the duration of the ``with`` block.

    Args:
        run_dir: where the console's log grows, for whoever wants to watch.

    Raises:
        errors.LabError: one is taken; the message names its holder.
    """
    with contextlib.ExitStack() as held:
        for name in sorted(names):
            held.enter_context(_hold_one(name, board, run_dir))
        yield


@contextlib.contextmanager
def _hold_one(name: str, board: str, run_dir: Path | None) -> Iterator[None]:
    path = _path(name)
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    except OSError as exc:
        raise errors.LabError(f"{path}: can't be opened: {exc.strerror}") from exc
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            found = _read(os.pread(fd, 4096, 0), path) or "somebody who left no name"
            hint = "wait for it to end, or end it"
            raise errors.LabError(f"{board}: {name} is in use by {found}", hint=hint) from exc
        os.ftruncate(fd, 0)
        os.pwrite(fd, json.dumps(_me(board, run_dir)).encode(), 0)
        yield
    finally:
        os.close(fd)


def _path(name: str) -> Path:
    return state_dir() / (re.sub(r"[^A-Za-z0-9._:-]+", "_", name).strip("_") + ".lock")


def _me(board: str, run_dir: Path | None) -> dict[str, object]:
    job = os.environ.get("CI_JOB_URL") or os.environ.get("BUILD_URL") or ""
    user = os.environ.get("USER") or str(os.getuid())
    run = str(run_dir.absolute()) if run_dir else ""
    return {"user": user, "pid": os.getpid(), "board": board, "run": run, "job": job}


def _read(raw: bytes, path: Path) -> Holder | None:
    try:
        who = json.loads(raw)
        run_dir = Path(who["run"]) if who["run"] else None
        return Holder(str(who["user"]), int(who["pid"]), run_dir, str(who.get("job") or ""), path)
    except (ValueError, KeyError, TypeError):
        return None
