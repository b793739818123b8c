# SPDX-License-Identifier: Apache-2.0
"""Boards that must be left alone until somebody has looked at them, host-wide.

Two things put a board here: the proof that the lab's hardware lies (a switch that says
"off" and the board runs on, so that no run on it begins where it says that it begins), and
a run whose tries were all in vain, see :mod:`hilagent.session.recovery`. A kernel's crash
does not. `hilagent doctor` ends it where all is well. A mark is on the physical things that
the board is reached by: it holds for each file that describes the same port, outlet or
address, and for no other of the same name. An emulated board has none, and can't be marked.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import os
import secrets
import stat
from dataclasses import asdict, dataclass
from pathlib import Path

from hilagent import errors
from hilagent.board import Board
from hilagent.journal import Journal
from hilagent.place import address_of
from hilagent.session import shared
from hilagent.session.things import things
from hilagent.text import scrub_line

_MOST_BYTES = 1 << 16


@dataclass(frozen=True)
class Mark:
    """Why a board is left alone.

    Attributes:
        board: its name, in the file of whoever marked it.
        things: what it is reached by.
        saw: the evidence, in a sentence.
        run: the run directory in which that is.
        since: the time, UTC.
        user: who ran it.
    """

    board: str
    things: tuple[str, ...]
    saw: str
    run: str
    since: str
    user: str

    def __str__(self) -> str:
        return scrub_line(f"since {self.since}: {self.saw} (by {self.user}, {self.run})", limit=600)


def lied(board: Board, journal: Journal, saw: str) -> errors.PowerLied:
    """Mark ``board``; return the error to raise.

    Args:
        board: whose switch lied.
        journal: of the run that saw it; it is told.
        saw: what proves it.
    """
    hint = "check that the power switch really switches this board"
    try:
        if mark(board, saw, journal.run_dir):
            hint += f"; it is in quarantine until '{doctor(board)}' finds it well"
            journal.note(f"{board.name} is in quarantine now: {saw}", blame="infra")
    except errors.LabError as exc:
        hint += f"; it can't be put into quarantine: {exc.message}"
    return errors.PowerLied(saw, hint=hint)


def mark(board: Board, saw: str, run_dir: Path) -> bool:
    """Put ``board`` into quarantine; return False for one that can't be: it is emulated.

    Raises:
        errors.LabError: the mark can't be written.
    """
    names = things(board)
    if not names:
        return False
    since = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    user = os.environ.get("USER") or str(os.getuid())
    made = Mark(board.name, names, saw, str(run_dir.absolute()), since, user)
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()[:12]
    _replace(_folder() / f"{board.name}-{digest}.json", json.dumps(asdict(made)))
    return True


def found(board: Board) -> Mark | None:
    """Return why ``board`` must be left alone; None where nothing is known against it."""
    return next((made for made, _ in _marks(board)), None)


def refuse(board: Board) -> None:
    """Raise LabError where ``board`` is in quarantine; says what to do."""
    if (made := found(board)) is not None:
        hint = f"repair it, then: {doctor(board)}; or, unseen: {_release(board)}"
        raise errors.LabError(f"{board.name} is in quarantine {made}", hint=hint)


def doctor(board: Board) -> str:
    """Return the command that ends the quarantine of ``board`` where it is well."""
    return f"hilagent doctor {_named(board)}"


def _release(board: Board) -> str:
    return f"hilagent boards release {_named(board)}"


def _named(board: Board) -> str:
    place = board.place
    where = f" --place {place.name} --coordinator {address_of(place.coordinator)}" if place else ""
    return f"{board.name}{where}"


def lift(board: Board) -> list[Mark]:
    """End the quarantine of ``board``; return what was known against it.

    Raises:
        errors.LabError: a mark can't be removed.
    """
    lifted = []
    for made, path in _marks(board):
        try:
            path.unlink(missing_ok=True)
        except OSError as exc:
            raise errors.LabError(f"{path}: can't be removed: {exc.strerror}") from exc
        lifted.append(made)
    return lifted


def _marks(board: Board) -> list[tuple[Mark, Path]]:
    names = {*things(board)}
    if not names:
        return []
    read = [(_read(path), path) for path in sorted(_folder().glob("*.json"))]
    return [(made, path) for made, path in read if made is not None and names & {*made.things}]


def _read(path: Path) -> Mark | None:
    """Return the mark in a file; None for what isn't one: others may write there."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(fd, "rb") as file:
            said = json.loads(file.read(_MOST_BYTES))
        of = tuple(str(name) for name in said["things"])
        words = {name: str(said[name]) for name in ("board", "saw", "run", "since", "user")}
        return Mark(things=of, **words)
    return None


def _folder() -> Path:
    """Return the folder of the marks, which whoever may write beside it may write, too."""
    path = shared.kept() / "quarantine"
    try:
        path.mkdir()
        path.chmod(stat.S_IMODE(path.parent.stat().st_mode))
    except FileExistsError:
        pass
    except OSError as exc:
        raise errors.LabError(f"{path}: can't be made: {exc.strerror}") from exc
    return path


def _replace(path: Path, text: str) -> None:
    new = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    try:
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, shared.MODE)
        with os.fdopen(fd, "w", encoding="utf-8") as out:
            os.fchmod(fd, shared.MODE)
            out.write(text)
            out.flush()
            os.fsync(fd)
        new.replace(path)
    except OSError as exc:
        with contextlib.suppress(OSError):
            new.unlink()
        raise errors.LabError(f"{path}: can't be written: {exc.strerror}") from exc
