# SPDX-License-Identifier: Apache-2.0
"""Progress while a run works: live on a terminal, plain lines elsewhere. On stderr.

It listens to the journal. It writes to a copy of stderr's descriptor, which
pytest's capture doesn't touch.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any, Protocol, TextIO

from hilagent.journal import Record
from hilagent.power import manual
from hilagent.result import Verdict
from hilagent.text import scrub_line

SLOW_S = 2.0
"""A step that took less needs no line of its own in a log."""
EVERY_S = 5.0
"""Between two lines that only say how far a step is."""


class Listener(Protocol):
    """What hears the journal."""

    def begin(self, title: str) -> None:
        """Say what is going to run."""

    def __call__(self, record: Record) -> None:
        """Hear one record."""


@contextlib.contextmanager
def shown() -> Iterator[Listener]:
    """Return the progress display that fits stderr, for the ``with`` block."""
    with own_stderr() as out:
        if is_terminal(out):
            with _live(out) as live:
                yield live
        else:
            yield Plain(out)


def is_terminal(out: TextIO) -> bool:
    """Return whether ``out`` can show what moves."""
    return out.isatty() and os.environ.get("TERM") != "dumb"


@contextlib.contextmanager
def own_stderr() -> Iterator[TextIO]:
    """Return a stderr of its own, for the ``with`` block."""
    try:
        fd = os.dup(sys.stderr.fileno())
    except (OSError, ValueError):  # no stderr, or one that is no file (in tests)
        yield sys.stderr
        return
    out = os.fdopen(fd, "w", buffering=1, errors="replace")
    try:
        yield out
    finally:
        with contextlib.suppress(OSError):  # a terminal that hung up takes no last words
            out.close()


class Plain:
    """One line a slow step, one line a test that didn't pass.

    Args:
        who: stands before each line, where there are several.
    """

    def __init__(self, out: TextIO, who: str = "") -> None:
        self._out, self._who = out, who and f"{who}: "
        self._quiet_until_s = 0.0
        self._told: tuple[str, str] = ("", "")

    def begin(self, title: str) -> None:
        """Say what is going to run."""
        self._line(0.0, title)

    def __call__(self, record: Record) -> None:
        """Write what deserves a line."""
        if record["kind"] == "progress":
            if record["t"] < self._quiet_until_s:
                return
            self._quiet_until_s = record["t"] + EVERY_S
        if record["kind"] == "outcome":  # one cause that fails many tests is told once
            before, self._told = self._told, (record["verdict"], record["message"])
            if self._told == before:
                return
        if text := line_of(record):
            self._line(record["t"], text)

    def _line(self, at_s: float, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            print(f"{at_s:7.1f} s  {self._who}{text}", file=self._out)


def line_of(record: Record) -> str:
    """Return what a log says of ``record``; empty for what it doesn't mention."""
    match record["kind"]:
        case "step" if record["phase"] == "end":
            slow = record["took_s"] >= SLOW_S and "error" not in record
            return f"{scrub_line(record['what'])} ({record['took_s']:.1f} s)" if slow else ""
        case "plan":
            return f"{len(record['tests'])} tests"
        case "progress":
            return f"{scrub_line(record['what'])}: {record['share']:.0%}"
        case "note":
            return scrub_line(record["text"], limit=300 if record.get("waits") else 160)
        case "outcome" if record["verdict"] not in {"pass", "unsupported"}:
            word = Verdict(record["verdict"]).name
            return f"{word}  {scrub_line(record['test'])}: {scrub_line(record['message'])}"
    return ""


@contextlib.contextmanager
def _live(out: TextIO) -> Iterator[Listener]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(file=out, force_terminal=True, highlight=False)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True, redirect_stdout=False,
                  redirect_stderr=False) as bars:  # fmt: skip
        manual.DRAWN.append(lambda: _stopped(bars))
        try:
            yield Live(bars)
        finally:
            manual.DRAWN.pop()


@contextlib.contextmanager
def _stopped(bars: Any) -> Iterator[None]:
    """Draw nothing for a while: somebody is asked."""
    bars.stop()
    try:
        yield
    finally:
        bars.start()


class Live:
    """A bar for the tests and one for each step that is under way."""

    def __init__(self, bars: Any) -> None:
        self._bars = bars
        self._tests: Any = None
        self._steps: dict[int, Any] = {}

    def begin(self, title: str) -> None:
        """Say what is going to run."""
        self._bars.console.print(scrub_line(title), markup=False)

    def __call__(self, record: Record) -> None:
        """Move the bars."""
        match record["kind"]:
            case "plan":
                self._tests = self._bars.add_task("tests", total=len(record["tests"]))
            case "step" if record["phase"] == "begin":
                what = scrub_line(record["what"], limit=40)
                self._steps[record["step"]] = self._bars.add_task(what, total=1.0)
            case "step":
                self._bars.remove_task(self._steps.pop(record["step"]))
            case "progress" if record["step"] in self._steps:
                self._bars.update(self._steps[record["step"]], completed=record["share"])
            case "outcome" if self._tests is not None:
                self._bars.advance(self._tests)
        told = record["kind"] == "outcome" or record.get("waits")
        if told and (text := line_of(record)):
            self._bars.console.print(text, markup=False)
