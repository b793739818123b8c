# SPDX-License-Identifier: Apache-2.0
"""Results of builds, kept by a fingerprint of everything that they depend on.

An entry is a folder that appears whole or not at all, so two processes may
build the same thing at once: the second finds the first one's entry, or throws
its own away. Nothing in an entry is ever changed.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hilagent.errors import LabError

ENV = "HILAGENT_CACHE"
_KEEP = 64
"""Entries of a kind that are kept, the newest; a build takes seconds, a forgotten cache grows."""


def root() -> Path:
    """Return the cache's folder: ``$HILAGENT_CACHE``, else ``hilagent`` in the user's cache."""
    own = os.environ.get(ENV)
    if own:
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hilagent"


def fingerprint(parts: Iterable[str | bytes | Path]) -> str:
    """Return a digest of texts, bytes and files (their names and contents), in this order."""
    digest = hashlib.sha256()
    for part in parts:
        name = part.name.encode() if isinstance(part, Path) else b""
        body = part.read_bytes() if isinstance(part, Path) else part
        raw = body.encode() if isinstance(body, str) else body
        digest.update(b"%d:%d:" % (len(name), len(raw)) + name + raw)
    return digest.hexdigest()[:32]


def entry(kind: str, key: str, make: Callable[[Path], None], *, keep: int = _KEEP) -> Path:
    """Return the folder of ``key``; ``make`` fills an empty one if it isn't there.

    Raises what ``make`` raises (nothing is kept then), and LabError if the
    cache can't be written.
    """
    final = root() / kind / key
    if final.is_dir():
        with suppress(OSError):
            os.utime(final)  # the oldest that was not used goes first
        return final
    home = folder(kind)
    try:
        work = Path(tempfile.mkdtemp(prefix=".new-", dir=home))
    except OSError as error:
        raise _unwritable(home, error) from error
    try:
        make(work)
        _publish(work, final)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _unwritable(home, error) from error
        raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    prune(home, keep)
    return final


def folder(*names: str) -> Path:
    """Return a folder of the cache that is changed in place, made if it isn't there.

    Whoever changes it holds :func:`locked`. Raises LabError if it can't be made.
    """
    path = root().joinpath(*names)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(path, error) from error
    return path


@contextmanager
def locked(path: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold ``path`` (a folder) against other threads and processes.

    Waits for its turn; ``waiting`` is called once if it has to. Tools that are run
    meanwhile (:mod:`hilagent.build.child`) hold it too, should this process be killed.
    """
    handle = os.open(path, os.O_RDONLY)
    os.set_inheritable(handle, True)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_UN)
        os.close(handle)


def _unwritable(home: Path, error: OSError) -> LabError:
    return LabError(
        f"can't write the build cache {home}: {error.strerror}",
        hint=f"free some space, or set {ENV} to a folder that can be written",
    )


def _publish(work: Path, final: Path) -> None:
    work.chmod(0o755)
    try:
        work.rename(final)
    except OSError:
        if not final.is_dir():  # not: another process was first
            raise


def prune(home: Path, keep: int) -> None:
    """Remove all but the ``keep`` entries of ``home`` that were made or used last."""
    entries = [p for p in home.iterdir() if not p.name.startswith(".new-")]
    entries.sort(key=lambda p: p.stat().st_mtime, reverse=True)
    for old in entries[keep:]:
        shutil.rmtree(old, ignore_errors=True)
