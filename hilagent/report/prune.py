# SPDX-License-Identifier: Apache-2.0
"""Removes old runs: the oldest first, and never a board's last accusation.

Only folders with a journal directly in the folder of the runs are looked at, no link is
followed, and a run that has not ended is kept for a day: somebody may still be writing it.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hilagent import errors, journal
from hilagent.report.index import Index
from hilagent.result import Verdict

DAY_S = 86_400
_GONE = ".gone-"


@dataclass(frozen=True)
class Kept:
    """One run as pruning sees it; ``why`` it is never removed, empty if it may be."""

    folder: str
    size: int
    age_s: float
    why: str


def plan(
    runs: Path, keep_s: float | None, keep_bytes: int | None, now_s: float | None = None
) -> tuple[list[Kept], list[Kept]]:
    """Return which runs would be removed, and which must stay although they are too old.

    Args:
        keep_s: remove what is older, in seconds; None: age is no reason.
        keep_bytes: remove the oldest until all that is left fits; None: size is no reason.
        now_s: seconds since the epoch, by default now.
    """
    found = sorted(_found(runs, time.time() if now_s is None else now_s),
                   key=lambda each: -each.age_s)  # fmt: skip
    left = sum(each.size for each in found)
    gone, held = [], []
    for each in found:
        too_old = keep_s is not None and each.age_s > keep_s
        too_much = keep_bytes is not None and left > keep_bytes
        if not (too_old or too_much):
            continue
        if each.why:
            held.append(each)
        else:
            gone.append(each)
            left -= each.size
    return gone, held


def remove(runs: Path, gone: Sequence[Kept]) -> Iterator[Kept]:
    """Remove runs, and yield each that is gone.

    Each is renamed first, so that nobody sees half of one; what an earlier pruning that was
    interrupted had renamed goes, too.

    Raises:
        errors.LabError: one can't be removed.
    """
    for left in runs.glob(f"{_GONE}*"):
        _remove(left)
    for each in gone:
        hidden = runs / f"{_GONE}{each.folder}"
        try:
            (runs / each.folder).rename(hidden)
        except OSError as exc:
            raise errors.LabError(
                f"{runs / each.folder}: can't be removed: {exc.strerror}"
            ) from exc
        _remove(hidden)
        yield each


def _remove(path: Path) -> None:
    try:
        shutil.rmtree(path)
    except OSError as exc:
        raise errors.LabError(f"{path}: can't be removed: {exc.strerror}") from exc


def _found(runs: Path, now_s: float) -> list[Kept]:
    last = _last_accusations(runs)
    latest = runs / "latest"
    newest = os.readlink(latest) if latest.is_symlink() else ""
    found = []
    for path in sorted(runs.iterdir()):
        try:
            if path.is_symlink() or path.name.startswith("."):
                continue
            stat = (path / journal.NAME).stat(follow_symlinks=False)
        except OSError:
            continue
        why = ""
        if path.name in last:
            why = f"the last accusation of {last[path.name]}"
        elif path.name == newest:
            why = "the latest run"
        else:
            why = _open(path, now_s)
        found.append(Kept(path.name, _size(path), now_s - stat.st_mtime, why))
    return found


def _open(path: Path, now_s: float) -> str:
    """Return why a run, or one of those within it, may not be over."""
    for log in [path / journal.NAME, *path.glob(f"*/{journal.NAME}")]:
        try:
            young = now_s - log.stat(follow_symlinks=False).st_mtime < DAY_S
            if young and journal.read(log.parent).end is None:
                return "it may be going on"
        except OSError:
            continue
        except errors.InputError:
            return "this version can't read it, and it is young"
    return ""


def _last_accusations(runs: Path) -> dict[str, str]:
    """Return the folders that hold the last accusation of a board, and of which."""
    found = {}
    with Index(runs) as index:
        for board in index.boards():
            for entry in reversed(index.of(board)):
                if Verdict(entry.verdict).accuses:
                    found[entry.folder.partition("/")[0]] = board
                    break
    return found


def _size(path: Path) -> int:
    size = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                size += os.lstat(os.path.join(folder, name)).st_size
            except OSError:
                continue
    return size
