# SPDX-License-Identifier: Apache-2.0
"""Who holds a board: one flock for each physical thing that a run uses.

The kernel frees a lock when its holder dies. Who lets go of one empties its file: what
stands in a free one is by somebody who was killed, and may have left the board on.
Several are taken in one order, all or none: nobody waits with one of them in hand, so
that no two runs wait for each other. :mod:`hilagent.session.shared` says where they are.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from hilagent import errors
from hilagent.clock import Deadline
from hilagent.session import shared
from hilagent.session.things import things
from hilagent.text import scrub_line

__all__ = ["Holder", "Queue", "Taken", "Waiting", "hold", "holder", "killed", "things"]

LOOK_S = 1.0
"""Between two tries: flock(2) has no time-out, and a thread in it could not be ended."""
TELL_S = 60.0
"""Between two words to whoever waits, as long as the holder is the same."""
_NAME = 80
_HEAD = 4096


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


@dataclass(frozen=True)
class Queue:
    """For whoever would rather wait than be refused.

    Attributes:
        deadline: how long.
        tell: hears a sentence at once, when somebody else is the holder, and each minute.
        pause: waits for so many seconds; returns early at will.
    """

    deadline: Deadline
    tell: Callable[[str], object]
    pause: Callable[[float], object] = lambda seconds: Event().wait(seconds)


class Taken(errors.LabError):
    """A thing is in use; ``holder`` is by whom, as a person reads it."""

    def __init__(self, board: str, thing: str, holder: str) -> None:
        hint = "wait for it to end (--wait 30m), or end it"
        super().__init__(f"{board}: {thing} is in use by {holder}", hint=hint)
        self.thing, self.holder = thing, holder


def holder(names: Sequence[str]) -> Holder | None:
    """Return who holds one of ``names`` now, None for nobody (of this host, or container)."""
    return next((found for found in _written(names) if found.holds()), None)


def killed(names: Sequence[str]) -> Holder | None:
    """Return the run that was killed while it held one of ``names``, which may be on; or None."""
    left = (found for found in _written(names) if found.run_dir is not None)
    return next((found for found in left if not found.holds()), None)


def _written(names: Sequence[str]) -> Iterator[Holder]:
    """Yield who stands in the files of ``names``."""
    for name in names:
        path = _path(name)
        with suppress(OSError):
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            with os.fdopen(fd, "rb") as file:
                found = _read(file.read(_HEAD), path)
            if found is not None:
                yield found


@contextlib.contextmanager
def hold(
    names: Sequence[str], *, board: str, run_dir: Path | None, queue: Queue | None = None
) -> Iterator[list[Holder]]:
    """Hold the locks called ``names`` for the ``with`` block.

    Gives the runs that held one of them before and were killed.

    Args:
        run_dir: where the console's log grows, for whoever wants to watch.
        queue: for somebody who waits; None: one that is taken is refused at once.

    Raises:
        errors.LabError: one is taken; the message names its holder.
    """
    order = sorted({_path(name): name for name in names}.values())
    stack, killed = _all(order, board, run_dir, queue)
    with stack:
        yield killed


def _all(
    names: Sequence[str], board: str, run_dir: Path | None, queue: Queue | None
) -> tuple[contextlib.ExitStack, list[Holder]]:
    """Return what holds all of ``names``, once that can be, and who was killed with one."""
    waiting = Waiting(queue) if queue is not None else None
    while True:
        try:
            return _at_once(names, board, run_dir)
        except Taken as taken:
            if waiting is None:
                raise
            waiting.wait(taken)
            # It is tried before the others, which are left alone until it is free.
            names = [taken.thing, *(name for name in sorted(names) if name != taken.thing)]


class Waiting:
    """One command in a queue, until its time is up."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._told, self._told_left_s = "", 0.0

    def wait(self, taken: Taken) -> None:
        """Wait for a while, because of ``taken``; raises LabError at the deadline."""
        queue, budget_s = self._queue, self._queue.deadline.budget_s
        if queue.deadline.expired():
            message = f"{taken.message}, still after {_minutes(budget_s)}"
            raise errors.LabError(message, hint="wait for longer, or end it") from None
        left_s = queue.deadline.left_s()
        if taken.message != self._told or self._told_left_s - left_s >= TELL_S:
            waited = f" for {_minutes(budget_s - left_s)}" if self._told else ""
            queue.tell(f"{taken.message}; waiting{waited}, {_minutes(left_s)} left")
            self._told, self._told_left_s = taken.message, left_s
        queue.pause(min(LOOK_S, left_s))


def _at_once(
    names: Sequence[str], board: str, run_dir: Path | None
) -> tuple[contextlib.ExitStack, list[Holder]]:
    killed = dict[Path | None, Holder]()  # by run: it had a lock for each of its things
    with contextlib.ExitStack() as stack:
        for name in names:
            fd, before = _taken(name, board, run_dir)
            stack.callback(_let_go, fd)
            if before is not None and before.run_dir is not None:
                killed.setdefault(before.run_dir, before)
        return stack.pop_all(), [*killed.values()]


def _let_go(fd: int) -> None:
    with suppress(OSError):  # a full disk takes nothing from whoever comes next
        os.ftruncate(fd, 0)
    os.close(fd)


def _taken(name: str, board: str, run_dir: Path | None) -> tuple[int, Holder | None]:
    """Return the descriptor that holds the lock, and who was killed with it; raises Taken."""
    path = _path(name)
    while True:
        fd = shared.opened(path)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not _is(path, fd):  # its file was removed meanwhile: a lock that nobody sees
                os.close(fd)
                continue
            before = _read(os.pread(fd, _HEAD, 0), path)
            os.ftruncate(fd, 0)
            os.pwrite(fd, json.dumps(_me(board, run_dir)).encode(), 0)
        except BlockingIOError:
            found = _read(os.pread(fd, _HEAD, 0), path)
            os.close(fd)
            raise Taken(board, name, str(found or "somebody who left no name")) from None
        except OSError as exc:
            os.close(fd)
            raise errors.LabError(f"{path}: can't be locked: {exc.strerror}") from exc
        return fd, before


def _is(path: Path, fd: int) -> bool:
    """Return whether ``path`` still is the file that is open at ``fd``."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(fd))
    except FileNotFoundError:
        return False


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _path(name: str) -> Path:
    """Return the file of a thing: readable, of a legal length, and no other thing's."""
    readable = re.sub(r"[^A-Za-z0-9._:-]+", "_", name).strip("_")[:_NAME]
    if readable != name:
        readable += f"-{hashlib.sha256(name.encode()).hexdigest()[:12]}"
    return shared.locks() / f"{readable}.lock"


def _me(board: str, run_dir: Path | None) -> dict[str, object]:
    job = os.environ.get("CI_JOB_URL") or os.environ.get("BUILD_URL") or ""
    user = os.environ.get("USER") or str(os.getuid())
    run = str(run_dir.absolute()) if run_dir else ""
    return {"user": user, "pid": os.getpid(), "board": board, "run": run, "job": job}


def _read(raw: bytes, path: Path) -> Holder | None:
    try:
        who = json.loads(raw)
        if "\0" in who["run"]:
            return None
        run_dir = Path(who["run"]) if who["run"] else None
        return Holder(str(who["user"]), int(who["pid"]), run_dir, str(who.get("job") or ""), path)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
