# SPDX-License-Identifier: Apache-2.0
"""Results of builds, kept by a fingerprint of everything that they depend on.

An entry is a folder that appears whole or not at all, so two processes may
build the same thing at once: the second finds the first one's entry, or throws
its own away. Nothing in an entry is ever changed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
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


def entry(kind: str, key: str, make: Callable[[Path], None]) -> Path:
    """Return the folder of ``key``; ``make`` fills an empty one if it isn't there.

    Raises what ``make`` raises (nothing is kept then), and LabError if the
    cache can't be written.
    """
    home = root() / kind
    final = home / key
    if final.is_dir():
        return final
    try:
        home.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=".new-", dir=home))
    except OSError as error:
        raise LabError(
            f"can't write the build cache {home}: {error.strerror}",
            hint=f"free some space, or set {ENV} to a folder that can be written",
        ) from error
    try:
        make(work)
        _publish(work, final)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    _prune(home)
    return final


def _publish(work: Path, final: Path) -> None:
    work.chmod(0o755)
    try:
        work.rename(final)
    except OSError:
        if not final.is_dir():  # not: another process was first
            raise


def _prune(home: Path) -> None:
    entries = [p for p in home.iterdir() if not p.name.startswith(".new-")]
    entries.sort(key=lambda p: p.stat().st_mtime, reverse=True)
    for old in entries[_KEEP:]:
        shutil.rmtree(old, ignore_errors=True)
