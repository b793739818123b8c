# SPDX-License-Identifier: Apache-2.0
"""Results of builds, kept by a fingerprint of everything that they depend on.

An entry is a folder that appears whole or not at all. Who wants one that another
is building waits for it and looks again; should two build it nevertheless, the
second throws its own away. Nothing in an entry is ever changed.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hilagent import data
from hilagent.errors import LabError

ENV = "HILAGENT_CACHE"
_KEEP = 64
"""Entries of a kind that are kept, the newest; a build takes seconds, a forgotten cache grows."""
_NEW, _LOCK = ".new-", ".lock-"
_STALE_S = 86_400


def root() -> Path:
    """Return the cache's folder: ``$HILAGENT_CACHE``, else ``hilagent`` in the user's cache.

    Raises HostError for a user who has no home.
    """
    own = os.environ.get(ENV)
    if own:
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or data.home() / ".cache") / "hilagent"


def fingerprint(parts: Iterable[str | bytes | Path]) -> str:
    """Return a digest of texts, bytes and files (their names and contents), in this order."""
    digest = hashlib.sha256()
    for part in parts:
        name = part.name.encode() if isinstance(part, Path) else b""
        body = part.read_bytes() if isinstance(part, Path) else part
        raw = body.encode() if isinstance(body, str) else body
        digest.update(b"%d:%d:" % (len(name), len(raw)) + name + raw)
    return digest.hexdigest()[:32]


def entry(
    kind: str,
    key: str,
    make: Callable[[Path], None],
    *,
    keep: int = _KEEP,
    usable: Callable[[Path], bool] = Path.is_dir,
    mode: int = 0o755,
    waiting: Callable[[], None] = lambda: None,
) -> Path:
    """Return the folder of ``key``; ``make`` fills an empty one if it isn't there.

    Args:
        usable: says of an entry that is there whether it still is of use; else it is replaced.
        mode: of the entry's folder.
        waiting: is called once if somebody else is making it.

    Raises what ``make`` raises (nothing is kept then), and LabError if the
    cache can't be written.
    """
    final = root() / kind / key
    if final.is_dir() and usable(final):
        with suppress(OSError):
            os.utime(final)  # the oldest that was not used goes first
        return final
    home = folder(kind)
    lock = home / f"{_LOCK}{key}"
    try:
        handle = os.open(lock, os.O_RDONLY | os.O_CREAT, 0o600)
    except OSError as error:
        raise _unwritable(home, error) from error
    with _held(handle, waiting):
        try:
            if not (final.is_dir() and usable(final)):
                _fill(home, final, make, usable, mode)
                prune(home, keep)
        finally:
            lock.unlink(missing_ok=True)
    return final


def kept(kind: str, key: str) -> Path | None:
    """Return the folder of ``key`` if it is there."""
    final = root() / kind / key
    return final if final.is_dir() else None


def _fill(
    home: Path,
    final: Path,
    make: Callable[[Path], None],
    usable: Callable[[Path], bool],
    mode: int,
) -> None:
    try:
        work = Path(tempfile.mkdtemp(prefix=_NEW, dir=home))
    except OSError as error:
        raise _unwritable(home, error) from error
    try:
        make(work)
        work.chmod(mode)
        if final.is_dir() and not usable(final):
            shutil.rmtree(final.rename(tempfile.mkdtemp(prefix=_NEW, dir=home)))
        _publish(work, final)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _unwritable(home, error) from error
        raise
    finally:
        shutil.rmtree(work, ignore_errors=True)


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
    with _held(os.open(path, os.O_RDONLY), waiting):
        yield


@contextmanager
def _held(handle: int, waiting: Callable[[], None]) -> Iterator[None]:
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
    try:
        work.rename(final)
    except OSError:
        if not final.is_dir():  # not: another process was first
            raise


def prune(home: Path, keep: int) -> None:
    """Remove all but the ``keep`` entries of ``home`` that were made or used last.

    Also what killed builds have left: ctime tells, as what unpacks sets the other one back.
    """
    found: dict[Path, os.stat_result] = {}
    for path in home.iterdir():
        with suppress(FileNotFoundError):  # others come and go
            found[path] = path.stat()
    entries = [path for path in found if not path.name.startswith((_NEW, _LOCK))]
    entries.sort(key=lambda path: found[path].st_mtime, reverse=True)
    before = time.time() - _STALE_S
    left = [p for p in found if p.name.startswith(_NEW) and found[p].st_ctime < before]
    for old in [*entries[keep:], *left]:
        shutil.rmtree(old, ignore_errors=True)
