# SPDX-License-Identifier: Apache-2.0
"""``hilagent onboard``: writes the file of a board that nobody has described yet."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

from hilagent import board as boards_room
from hilagent import errors, journal
from hilagent.bringup import onboard as rooms
from hilagent.cli.ending import say
from hilagent.clock import SYSTEM
from hilagent.result import EXIT_BUG, EXIT_OK
from hilagent.session import lock, signals
from hilagent.text import scrub

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_HOME = Path("~/.config/hilagent/boards")


def wanted_of(
    port: str, name: str, *, baud: int, power_on: str, power_off: str, emulated: bool, wait_s: float
) -> rooms.Wanted:
    """Return what the command line asked for.

    Raises:
        errors.UsageError: a name, port or command that can't be.
    """
    if not _NAME.fullmatch(name):
        raise errors.UsageError(f"'{name}' can't name a board: a-z, 0-9, '.', '_', '-'")
    if bool(power_on) != bool(power_off):
        raise errors.UsageError("a switch has both: --power-on and --power-off")
    try:
        on, off = (tuple(shlex.split(words)) for words in (power_on, power_off))
    except ValueError as exc:
        raise errors.UsageError(f"--power-on or --power-off: {exc}") from exc
    wiring = rooms.wiring_of(port, baud)
    return rooms.Wanted(name, wiring, on, off, emulated=emulated, wait_s=wait_s)


def onboard(wanted: rooms.Wanted, folder: Path | None, run_dir: Path | None) -> int:
    """Interrogate the board, and write its file into ``folder``.

    Raises:
        errors.UsageError: there is such a file already, or it can't be written.
        errors.LabError: nothing that could be understood came from the board.
    """
    folder = (folder or _HOME).expanduser()
    path = folder / f"{wanted.name}.yaml"
    if path.exists():
        raise errors.UsageError(f"{path} is there already", hint="choose another --name")
    wiring, began_s = wanted.wiring, SYSTEM.now_s()
    log = run_dir or journal.new_run_dir(wanted.name)
    log.mkdir(parents=True, exist_ok=True)
    serial = wiring.kind == "serial"
    thing = os.path.realpath(str(wiring.path)) if serial else f"{wiring.host}:{wiring.port}".lower()
    known = boards_room.names()

    def tell(text: str) -> None:
        say(scrub(f"{SYSTEM.now_s() - began_s:7.1f} s  {text}"))

    with signals.as_exceptions(), lock.hold((thing,), board=wanted.name, run_dir=log):
        text = rooms.onboard(wanted, known, log, tell)
    return _written(path, text, known)


def _written(path: Path, text: str, known: dict[str, Path]) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    except OSError as exc:
        raise errors.UsageError(f"{path}: can't be written: {exc.strerror}") from exc
    problems = boards_room.examine(path, known).problems
    say(*(problem.message for problem in problems))
    todo = [line.strip() for line in text.splitlines()[1:] if "TODO" in line]
    print(path)
    for line in todo:
        print(f"  {line}")
    print(f"next: hilagent doctor {path.stem} --boards {shlex.quote(str(path.parent))}")
    return EXIT_BUG if problems else EXIT_OK
