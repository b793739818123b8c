# SPDX-License-Identifier: Apache-2.0
"""The progress of many runs: one live table on a terminal, plain lines elsewhere. On stderr."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TextIO

from hilagent import journal
from hilagent.cli import progress
from hilagent.clock import SYSTEM
from hilagent.journal import Record
from hilagent.result import Verdict
from hilagent.text import scrub_line

_READ_BYTES = 1 << 16


class Followed:
    """One board's journal, as it grows.

    Attributes:
        state: of its process: queued, running, ending, or how it ended.
        planned, done, bad: how many tests.
        doing: the innermost step that is under way, or whom it waits for.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self._path = name, folder / journal.NAME
        self.state = "queued"
        self.planned = self.done = self.bad = 0
        self.began_s = self.ended_s = 0.0
        self._steps: dict[int, str] = {}
        self._waits = ""
        self._file: BinaryIO | None = None
        self._rest = b""

    @property
    def doing(self) -> str:
        """What it does now."""
        return self._waits or next(reversed(self._steps.values()), "")

    def records(self) -> Iterator[Record]:
        """Yield what its journal says since the last time, and learn from it."""
        if self._file is None:
            with contextlib.suppress(OSError):
                self._file = self._path.open("rb", buffering=0)
        while self._file is not None and (data := self._file.read(_READ_BYTES)):
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    record = json.loads(line)
                    self._learn(record)
                    yield record

    def _learn(self, record: Record) -> None:
        match record["kind"]:
            case "plan":
                self.planned = len(record["tests"])
            case "outcome":
                self.done += 1
                self.bad += Verdict(record["verdict"]) not in {Verdict.PASS, Verdict.UNSUPPORTED}
            case "step" if record["phase"] == "begin":
                self._steps[record["step"]] = record["what"]
                self._waits = ""
            case "step":
                self._steps.pop(record["step"], None)
            case "progress" if record["step"] in self._steps:
                self._steps[record["step"]] = f"{record['what']}: {record['share']:.0%}"
            case "note" if record.get("waits"):
                self._waits = record["text"]

    def close(self) -> None:
        """Close the journal."""
        if self._file is not None:
            self._file.close()
            self._file = None


class View(Protocol):
    """What shows them."""

    def say(self, text: str) -> None:
        """Say something about all of them."""

    def hear(self, board: Followed, record: Record) -> None:
        """Hear a record of one board's journal."""

    def refresh(self) -> None:
        """Show how far each is."""


@contextlib.contextmanager
def shown(boards: Sequence[Followed]) -> Iterator[View]:
    """Return what fits stderr, for the ``with`` block."""
    with progress.own_stderr() as out:
        if progress.is_terminal(out):
            with _live(out, boards) as live:
                yield live
        else:
            yield Lines(out)


class Lines:
    """Plain lines, each with its board's name."""

    def __init__(self, out: TextIO) -> None:
        self._out, self._began_s = out, SYSTEM.now_s()
        self._plain: dict[str, progress.Plain] = {}

    def say(self, text: str) -> None:
        """Write it."""
        with contextlib.suppress(OSError, ValueError):
            print(f"{self._now_s():7.1f} s  {scrub_line(text, limit=300)}", file=self._out)

    def hear(self, board: Followed, record: Record) -> None:
        """Write what deserves a line, with the time of all."""
        plain = self._plain.setdefault(board.name, progress.Plain(self._out, board.name))
        plain({**record, "t": self._now_s()})

    def refresh(self) -> None:
        """Nothing moves."""

    def _now_s(self) -> float:
        return SYSTEM.now_s() - self._began_s


@contextlib.contextmanager
def _live(out: TextIO, boards: Sequence[Followed]) -> Iterator[View]:
    from rich.console import Console
    from rich.live import Live

    console = Console(file=out, force_terminal=True, highlight=False)
    live = Live(
        console=console, auto_refresh=False, transient=True, redirect_stdout=False,
        redirect_stderr=False, vertical_overflow="ellipsis",
    )  # fmt: skip
    with contextlib.suppress(OSError), live:
        yield Table(live, boards)


class Table:
    """A row for each board; what went wrong scrolls by above it."""

    def __init__(self, live: Any, boards: Sequence[Followed]) -> None:
        self._live, self._boards = live, boards
        self._told: dict[str, tuple[str, str]] = {}

    def say(self, text: str) -> None:
        """Write it above the table."""
        with contextlib.suppress(OSError):  # a terminal that hung up; its signal ends the run
            self._live.console.print(scrub_line(text, limit=300), markup=False)

    def hear(self, board: Followed, record: Record) -> None:
        """Write what went wrong above the table; one cause that fails many tests once."""
        if record["kind"] != "outcome":
            return
        before = self._told.get(board.name)
        self._told[board.name] = (record["verdict"], record["message"])
        if self._told[board.name] != before and (text := progress.line_of(record)):
            self.say(f"{board.name}: {text}")

    def refresh(self) -> None:
        """Draw the table."""
        from rich.table import Table as RichTable
        from rich.text import Text

        table = RichTable(box=None, pad_edge=False, expand=True)
        for title in ("board", "is", "tests", "bad", "time"):
            table.add_column(title, no_wrap=True, justify="left" if title != "time" else "right")
        table.add_column("does", no_wrap=True, overflow="ellipsis", ratio=1)
        for board in self._boards:
            tests = f"{board.done}/{board.planned}" if board.planned else ""
            until_s = board.ended_s or SYSTEM.now_s()
            time = f"{until_s - board.began_s:.0f} s" if board.began_s else ""
            cells = (board.name, board.state, tests, str(board.bad or ""), time, board.doing)
            table.add_row(*(Text(scrub_line(cell, limit=200)) for cell in cells))
        with contextlib.suppress(OSError):
            self._live.update(table, refresh=True)
