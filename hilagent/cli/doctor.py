# SPDX-License-Identifier: Apache-2.0
"""``hilagent doctor``: a line for each layer as it is looked at, and what to do at the end."""

from __future__ import annotations

import json
import os
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hilagent.bringup import doctor as rooms
from hilagent.bringup.base import Mark, Row, broken
from hilagent.cli import using
from hilagent.clock import SYSTEM
from hilagent.result import EXIT_LAB, EXIT_OK
from hilagent.session import signals
from hilagent.session.settings import Request, look_up

WIDTH = 80
_MARKS = {
    Mark.OK: ("ok", "\x1b[32m"),
    Mark.BAD: ("BROKEN", "\x1b[31;1m"),
    Mark.ABSENT: ("-", ""),
    Mark.UNREACHED: ("?", "\x1b[33m"),
}
_RESET = "\x1b[0m"
_INDENT = 22


def doctor(request: Request, run_dir: Path | None, *, as_json: bool) -> int:
    """Look at every layer of the board of ``request``; print what is seen.

    Raises:
        errors.UsageError: there is no such board, or nothing to look at it by.
        errors.LabError: it is in use, or couldn't be switched off at the end.
    """
    settings, began_s = look_up(request), SYSTEM.now_s()
    live = sys.stdout.isatty() and not as_json
    colour = live and not os.environ.get("NO_COLOR")
    with (
        signals.as_exceptions(),
        using.journal(settings.board, run_dir, "doctor") as journal,
        rooms.admitted(settings, journal) as patient,
    ):

        def begin(name: str) -> None:
            if live:
                print(f"{'...':<6}  {name}", end="", flush=True)

        def show(row: Row) -> None:
            seen = row.seen
            journal.observation("layer", layer=row.name, mark=seen.mark.value, text=seen.text,
                                hint=seen.hint)  # fmt: skip
            if not as_json:
                print("\r" * live + "\n".join(lines(row, colour=colour)), flush=True)

        rows = rooms.doctor(patient, begin, show)
    took_s = SYSTEM.now_s() - began_s
    name, folder = settings.board.name, journal.run_dir
    if as_json:
        print(json.dumps(_data(name, rows, folder, took_s), indent=1))
    else:
        print("\n".join(verdict(name, rows, folder, took_s)))
    return EXIT_OK if rooms.well(rows) else EXIT_LAB


def lines(row: Row, *, colour: bool) -> list[str]:
    """Return what a person reads of one layer."""
    word, code = _MARKS[row.seen.mark]
    mark = f"{code}{word:<6}{_RESET}" if colour and code else f"{word:<6}"
    first, *more = textwrap.wrap(row.seen.text, WIDTH - _INDENT, break_long_words=True) or [""]
    return [f"{mark}  {row.name:<12}  {first}", *(" " * _INDENT + each for each in more)]


def verdict(name: str, rows: Sequence[Row], folder: Path, took_s: float) -> list[str]:
    """Return the end: the first layer that is broken, and what to do."""
    first = broken(rows)
    if first is not None:
        at_fault = sum(row.seen.mark is Mark.BAD for row in rows)
        more = f", and {at_fault - 1} more" if at_fault > 1 else ""
        head = [f"BROKEN  {name}, at {first.name}{more}", *_wrapped(first.seen.hint)]
    elif rooms.well(rows):
        skipped = sum(row.seen.mark is Mark.ABSENT for row in rows)
        also = f", {skipped} not applicable" if skipped else ""
        head = [f"WELL  {name}: {len(rows) - skipped} layers{also}, {took_s:.1f} s"]
    else:
        head = [f"UNFINISHED  {name}: the payload wasn't reached"]
    return ["", *head, f"  log: {folder}"]


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent="  ", subsequent_indent="  ", break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip


def _data(name: str, rows: Sequence[Row], folder: Path, took_s: float) -> dict[str, Any]:
    first = broken(rows)
    return {
        "board": name,
        "well": rooms.well(rows),
        "broken": first.name if first else None,
        "layers": [
            {"name": row.name, "mark": row.seen.mark.value, "seen": row.seen.text,
             "hint": row.seen.hint}
            for row in rows
        ],
        "took_s": round(took_s, 1),
        "run_dir": str(folder),
    }  # fmt: skip
