# SPDX-License-Identifier: Apache-2.0
"""An index of the kept runs, so that a question over thousands of them is answered at once.

It is a cache: an SQLite file beside the runs that is made anew from their journals when it
is missing, damaged or of another version, and brought up to date for every run whose
journal has another size or time than when it was read. Where it can't be written, or
another process is at it, this one makes its own in memory.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sqlite3
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from hilagent import errors, journal
from hilagent.report.results import verdict
from hilagent.result import RENDERINGS, Verdict

T = TypeVar("T")
NAME = ".history.sqlite"
VERSION = 1
_TABLES = """
CREATE TABLE runs (
    folder TEXT PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    board TEXT NOT NULL, utc TEXT NOT NULL, subject TEXT NOT NULL, verdict TEXT NOT NULL,
    ended INTEGER NOT NULL, parent INTEGER NOT NULL, plan INTEGER NOT NULL, letters TEXT NOT NULL,
    crc INTEGER NOT NULL
);
CREATE INDEX by_board ON runs (board, utc);
CREATE TABLE plans (id INTEGER PRIMARY KEY, tests TEXT NOT NULL UNIQUE);
"""


@dataclass(frozen=True)
class Entry:
    """One run.

    Attributes:
        folder: relative to the folder of the runs.
        subject: which vectors were under test.
        ended: whether it ended by itself.
        tests: their names; runs of the same plan share one list.
        letters: a verdict for each, as in ``result.RENDERINGS``.
    """

    folder: str
    board: str
    utc: str
    subject: str
    verdict: Verdict
    ended: bool
    tests: Sequence[str]
    letters: str


class Index:
    """The index of the runs in a folder, up to date; use it in a ``with`` block."""

    def __init__(self, runs: Path) -> None:
        self._runs = runs
        self._lock = _locked(runs)
        self._db = _opened(self._path)
        self._sure(self._update)

    def __enter__(self) -> Index:
        return self

    def __exit__(self, *exc: object) -> None:
        self._db.close()
        if self._lock is not None:
            os.close(self._lock)

    @property
    def _path(self) -> Path | None:
        """Where it is kept; None while another process has it."""
        return self._runs / NAME if self._lock is not None else None

    def boards(self) -> list[str]:
        """Return the names of all boards that have runs."""
        return self._sure(self._boards)

    def of(self, board: str, last: int = 0) -> list[Entry]:
        """Return the runs of a board, the oldest first.

        Args:
            last: only so many of the newest; 0: all.
        """
        return self._sure(lambda: self._of(_text(board), last))

    def _sure(self, ask: Callable[[], T]) -> T:
        """Return what is asked of the index; one that turns out to be no good is made anew.

        If that doesn't go well, either (a full disk, say), it is made in memory.
        """
        for again in (self._path, None):
            try:
                return ask()
            except (sqlite3.DatabaseError, ValueError, KeyError):
                self._db.close()
                self._db = _fresh(again)
                with contextlib.suppress(sqlite3.DatabaseError):
                    self._update()
        return ask()

    def _boards(self) -> list[str]:
        found = self._db.execute(
            "SELECT DISTINCT board FROM runs WHERE NOT parent AND board != '' ORDER BY board"
        )
        return [name for (name,) in found]

    def _of(self, board: str, last: int) -> list[Entry]:
        found = self._db.execute(
            "SELECT folder, board, utc, subject, verdict, ended, tests, letters, crc FROM runs "
            "JOIN plans ON plans.id = plan WHERE board = ? AND NOT parent "
            "ORDER BY utc DESC, folder DESC LIMIT ?",
            (board, last or -1),
        ).fetchall()
        plans: dict[str, list[str]] = {}
        return [_entry(row, plans) for row in reversed(found)]

    def _update(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            known = {
                folder: (size, mtime_ns, bool(parent))
                for folder, size, mtime_ns, parent in self._db.execute(
                    "SELECT folder, size, mtime_ns, parent FROM runs"
                )
            }
            seen = set()
            for folder, size, mtime_ns in self._found(known):
                seen.add(folder)
                if known.get(folder, ())[:2] != (size, mtime_ns):
                    self._read(folder, size, mtime_ns)
            gone = [(folder,) for folder in known.keys() - seen]
            self._db.executemany("DELETE FROM runs WHERE folder = ?", gone)
            self._db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            raise

    def _found(self, known: dict[str, tuple[int, int, bool]]) -> Iterator[tuple[str, int, int]]:
        """Yield every run, and after one of many boards those within it.

        A soak's rounds are no runs of their own: most of those that passed are not kept.
        """
        for name in _folders(self._runs):
            stat = _stat(self._runs / name / journal.NAME)
            if stat is None:
                continue
            yield name, *stat
            before = known.get(name)
            if before is not None and before[:2] == stat and not before[2]:
                continue
            if self._is_parent(name):
                for child in _folders(self._runs / name):
                    inner = _stat(self._runs / name / child / journal.NAME)
                    if inner is not None:
                        yield f"{name}/{child}", *inner

    def _is_parent(self, folder: str) -> bool:
        row = self._db.execute("SELECT parent FROM runs WHERE folder = ?", (folder,)).fetchone()
        return bool(row and row[0])

    def _read(self, folder: str, size: int, mtime_ns: int) -> None:
        try:
            run = journal.read(self._runs / folder)
        except errors.InputError:
            run = journal.Run(self._runs / folder)
        found = run.all_outcomes()
        tests = json.dumps([outcome.test for outcome in found])
        self._db.execute("INSERT OR IGNORE INTO plans (tests) VALUES (?)", (tests,))
        (plan,) = self._db.execute("SELECT id FROM plans WHERE tests = ?", (tests,)).fetchone()
        letters = "".join(RENDERINGS[outcome.verdict].letter for outcome in found)
        board = "" if "replay_of" in run.facts else str(run.facts.get("board", ""))
        said = (_text(board), _text(str(run.facts.get("utc", ""))), _text(_subject(run)),
                verdict(run).value)  # fmt: skip
        ended = int(run.end is not None)
        crc = _crc(folder, *said, str(ended), tests, letters)
        self._db.execute(
            "INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (folder, size, mtime_ns, *said, ended, "boards" in run.facts, plan, letters, crc),
        )


def _subject(run: journal.Run) -> str:
    """Return what was under test: vectors, and what else makes one run not like another."""
    facts = run.facts
    vectors = ", ".join(map(str, facts.get("vectors", [])))
    options = [f"{name}={value}" for name, value in dict(facts.get("options", {})).items()]
    return ", ".join(filter(None, [vectors, str(facts.get("abi", "")), *options]))


def _crc(*fields: str) -> int:
    return zlib.crc32("\0".join(fields).encode())


def _entry(row: tuple[Any, ...], plans: dict[str, list[str]]) -> Entry:
    folder, board, utc, subject, found, ended, tests, letters, crc = row
    names = plans.get(tests)
    if names is None:
        names = plans[tests] = json.loads(tests)
    if crc != _crc(folder, board, utc, subject, found, str(ended), tests, letters):
        raise ValueError(f"{folder}: damaged")
    return Entry(folder, board, utc, subject, Verdict(found), bool(ended), names, letters)


def _text(value: str) -> str:
    """Return what SQLite can keep: a journal may hold half of a character."""
    return value.encode("utf-8", "backslashreplace").decode()


def _folders(path: Path) -> list[str]:
    """Return the folders in a folder; a link, such as ``latest``, is none."""
    try:
        with os.scandir(path) as found:
            names = [each.name for each in found if each.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    return sorted(name for name in names if _text(name) == name)


def _stat(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat(follow_symlinks=False)
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def _locked(runs: Path) -> int | None:
    """Return the lock of the index; None where another process has it, or none can be made."""
    try:
        lock = os.open(runs / f"{NAME}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    return lock


def _opened(path: Path | None) -> sqlite3.Connection:
    if path is None:
        return _fresh(None)
    try:
        db = sqlite3.connect(path, isolation_level=None)
        try:
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version == VERSION:
                db.execute("SELECT folder, letters FROM runs LIMIT 1").fetchone()
                db.execute("SELECT tests FROM plans LIMIT 1").fetchone()
                return db
        except (sqlite3.DatabaseError, ValueError):
            pass
        db.close()
    except sqlite3.Error:
        pass
    return _fresh(path)


def _fresh(path: Path | None) -> sqlite3.Connection:
    """Return an empty index in place of what is there; in memory where none can be kept."""
    if path is not None:
        try:
            for each in (path, path.with_name(f"{path.name}-journal")):
                each.unlink(missing_ok=True)
            db = sqlite3.connect(path, isolation_level=None)
            db.executescript(_TABLES)
            db.execute(f"PRAGMA user_version = {VERSION}")
        except (sqlite3.Error, OSError):
            pass
        else:
            return db
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.executescript(_TABLES)
    return db
