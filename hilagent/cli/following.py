# SPDX-License-Identifier: Apache-2.0
"""``hilagent console --watch``: looks over the shoulder of whoever holds a board.

Only files are read: the lock's, which names the run directory, and the log in it. The
board's port is left alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from threading import Event
from typing import BinaryIO

from hilagent import board as boards_room
from hilagent import errors
from hilagent.cli.ending import say
from hilagent.cli.screen import Screen, screen
from hilagent.result import EXIT_OK
from hilagent.session import lock, signals
from hilagent.session.lock import Holder

BEFORE_BYTES = 4096
"""How much of what was said before is shown, from the beginning of a line on."""
LOOK_S = 0.1
"""Between two looks at a file of another process, which tells nobody that it grows."""
_READ_BYTES = 1 << 16


def watch(
    name: str,
    folders: Sequence[Path],
    place: boards_room.Place | None = None,
    *,
    timestamps: bool = False,
) -> int:
    """Show the log of whoever holds the board until they give it back.

    Raises:
        errors.LabError: nobody holds it, or they keep no log.
        errors.UsageError: nobody can know who holds it.
    """
    board = boards_room.load(name, dirs=folders, place=place)
    things = lock.things(board)
    if place is not None and not place.name:
        raise errors.UsageError("which place is it? --watch needs its name (--place)")
    if not things:
        hint = "follow the console.raw of a run in its run directory"
        message = f"{name} is emulated: each run has one of its own, and none can be named"
        raise errors.UsageError(message, hint=hint)
    holder = lock.holder(things)
    if holder is None:
        hint = f"hilagent console {name} opens its console"
        raise errors.LabError(f"nobody holds {name}: there is nothing to watch", hint=hint)
    if holder.run_dir is None:
        raise errors.LabError(f"{name} is in use by {holder}, which keeps no log")
    say(f"{name} is in use by {holder}; Ctrl-C ends the watching, and only that")
    with signals.as_exceptions(), screen(timestamps=timestamps) as shown:
        _follow(holder, holder.run_dir / "console.raw", shown)
    say(f"{name} was given back")
    return EXIT_OK


def _follow(holder: Holder, path: Path, shown: Screen) -> None:
    nothing = Event()
    log: BinaryIO | None = None
    try:
        while True:
            held = holder.holds()  # asked first: what was said until then will be seen
            log = log or _opened(path)
            data = log.read(_READ_BYTES) if log is not None else b""
            if data:
                shown.show(data)
            elif held:
                nothing.wait(LOOK_S)
            else:
                return
    finally:
        if log is not None:
            log.close()


def _opened(path: Path) -> BinaryIO | None:
    """Return the log from where it is worth showing; None as long as there is none."""
    try:
        log = path.open("rb", buffering=0)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise errors.LabError(f"{path}: can't be read: {exc.strerror}") from exc
    end = log.seek(0, 2)
    log.seek(max(0, end - BEFORE_BYTES))
    if end > BEFORE_BYTES:
        rest = log.read(end - log.tell())
        log.seek(end - len(rest) + rest.find(b"\n") + 1)
    return log
