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


@contextlib.contextmanager
def hold(names: Sequence[str], *, board: str, run_dir: Path) -> Iterator[None]:
    """Hold the locks called ``names`` for the duration of the ``with`` block.

    Raises:
        errors.LabError: one is taken; the message names its holder.
    """
    with contextlib.ExitStack() as held:
        for name in sorted(names):
            held.enter_context(_hold_one(name, board, run_dir))
        yield


@contextlib.contextmanager
def _hold_one(name: str, board: str, run_dir: Path) -> Iterator[None]:
    path = state_dir() / (re.sub(r"[^A-Za-z0-9._:-]+", "_", name).strip("_") + ".lock")
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    except OSError as exc:
        raise errors.LabError(f"{path}: can't be opened: {exc.strerror}") from exc
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            holder = _holder(os.pread(fd, 4096, 0))
            hint = "wait for it to end, or end it"
            raise errors.LabError(f"{board}: {name} is in use by {holder}", hint=hint) from exc
        os.ftruncate(fd, 0)
        os.pwrite(fd, json.dumps(_me(board, run_dir)).encode(), 0)
        yield
    finally:
        os.close(fd)


def _me(board: str, run_dir: Path) -> dict[str, object]:
    job = os.environ.get("CI_JOB_URL") or os.environ.get("BUILD_URL") or ""
    user = os.environ.get("USER") or str(os.getuid())
    return {"user": user, "pid": os.getpid(), "board": board, "run": str(run_dir), "job": job}


def _holder(raw: bytes) -> str:
    try:
        who = json.loads(raw)
        text = f"{who['user']} (pid {who['pid']}, {who['run']})"
        return scrub_line(text + (f", job {who['job']}" if who.get("job") else ""), limit=400)
    except (ValueError, KeyError, TypeError):
        return "somebody who left no name"
