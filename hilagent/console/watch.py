# SPDX-License-Identifier: Apache-2.0
"""The crash watch: what a console says when something on the board has died.

The reader feeds it every chunk. It works line by line and only on lines that
hold a sign, or follow one, so that it costs next to nothing, and gives the same
answer for a stream in one piece and byte by byte. A sign is told as soon as its
line is complete (:class:`Crash`); the whole block that it belongs to, with a
title of its own, once it is over (:class:`~hilagent.console.incident.Incident`).
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass

from hilagent.errors import BoardReset, LabError, TargetCrash, WorldError
from hilagent.text import scrub_line

from .incident import Grouping, Incident, Spoken
from .signs import Kind, Sign, next_sign, sign

__all__ = ["MAX_LINE", "Crash", "CrashWatch", "Incident", "Kind", "incidents"]

MAX_LINE = 512
_TITLE = 120
_PAST_LINES = 12


@dataclass(frozen=True)
class Crash:
    """One sign.

    Attributes:
        kind: who died.
        title: its line from the sign on, scrubbed: without timestamps or what else is before.
        start, end: absolute positions of that line on the console.
        type: what sort of death: ``oops``, ``panic``, ``BUG``, ``sanitizer``, ``SError``,
            ``hyp panic``, ``RCU stall``, ``lockup``, ``hung task``, ``WARNING``, ``lockdep``,
            ``banner``, or whose exception it was.
    """

    kind: Kind
    title: str
    start: int
    end: int
    type: str = ""

    @property
    def fatal(self) -> bool:
        """Whether nothing that was waited for can come after it."""
        return self.kind.fatal

    def error(self) -> WorldError:
        """Return the error that it stands for."""
        if self.kind is Kind.RESET:
            return BoardReset(f"the board restarted by itself: {self.title}")
        if self.kind is Kind.FIRMWARE:
            return LabError(f"the board's firmware crashed: {self.title}")
        return TargetCrash(f"the kernel crashed: {self.title}")


_BANNER_FOLLOWS = re.compile(rb"(?:DRAM|CPU|SoC|Model|Board) *: |Trying to boot from ")
_BANNER_LINES = 6


class CrashWatch:
    """Turns chunks into crashes. A pure state machine; not thread-safe.

    Args:
        position: of the first chunk.
    """

    def __init__(self, position: int = 0) -> None:
        self._line = b""  # the beginning of the line that is not yet complete
        self._at = position  # where it starts
        self._next = position  # where the next chunk starts
        self._past: deque[Spoken] = deque(maxlen=_PAST_LINES)  # the lines before it
        self._banner: Crash | None = None
        self._banner_lines = 0
        self._grouping = Grouping()

    def feed(self, chunk: bytes) -> list[Crash]:
        """Return what ``chunk`` completes."""
        at, self._next = self._next, self._next + len(chunk)
        last = chunk.rfind(b"\n") + 1
        if not last:
            self._line = (self._line + chunk)[:MAX_LINE]
            return []
        if self._line:
            first = chunk.index(b"\n") + 1
            found = self._judge((self._line + chunk[: first - 1])[:MAX_LINE], self._at, at + first)
        else:
            first, found = 0, []
        found += self._lines(chunk[:last], first, at)
        self._line, self._at = chunk[last:][:MAX_LINE], at + last
        return found

    def end(self) -> list[Crash]:
        """Return what the last line holds if nothing follows it; the incident is over, too."""
        found = self._judge(self._line, self._at, self._next) if self._line else []
        self._line, self._at = b"", self._next
        self._grouping.close()
        return found

    def cut(self) -> None:
        """Forget the line that is not yet complete: what comes next may not belong to it."""
        self._line, self._at, self._banner = b"", self._next, None
        self._past.clear()
        self._grouping.close()

    def incidents(self) -> list[Incident]:
        """Return the incidents that are over and were not yet returned."""
        return self._grouping.take()

    def _lines(self, text: bytes, start: int, at: int) -> list[Crash]:
        """Return what is in these complete lines, of which the first begins at ``start``.

        Args:
            at: the absolute position of ``text``.
        """
        found: list[Crash] = []
        while start < len(text):
            if self._banner is None and not self._grouping.open:
                place = next_sign(text, start)
                line = text.rfind(b"\n", start, place) + 1 if place >= 0 else len(text)
                self._pass(text[start:line], at + start)
                start = max(start, line)
            if start < len(text):
                end = text.index(b"\n", start) + 1
                found += self._judge(text[start : end - 1][:MAX_LINE], at + start, at + end)
                start = end
        return found

    def _pass(self, lines: bytes, at: int) -> None:
        """Remember the last of these lines: what begins after them may have begun here."""
        kept = lines.rsplit(b"\n", _PAST_LINES + 1)[:-1]
        if len(kept) > _PAST_LINES:  # the first is all the rest
            del kept[0]
        start = at + len(lines) - sum(len(each) + 1 for each in kept)
        for each in kept:
            self._past.append(Spoken(each[:MAX_LINE], start, start + len(each) + 1))
            start += len(each) + 1

    def _judge(self, text: bytes, start: int, end: int) -> list[Crash]:
        line = Spoken(text, start, end)
        found = []
        if self._banner is not None:
            self._banner_lines -= 1
            if _BANNER_FOLLOWS.match(line.text):
                found.append(self._banner)
            if found or not self._banner_lines:
                self._banner = None
        seen = sign(line.text)
        if seen is not None:
            crash = _crash(line, seen)
            if seen.kind is Kind.RESET:  # `version` prints that line too: what follows decides
                self._banner, self._banner_lines = crash, _BANNER_LINES
            else:
                found.append(crash)
        self._grouping.line(line, seen, self._past)
        self._past.append(line)
        return found


def _crash(line: Spoken, seen: Sign) -> Crash:
    title = scrub_line(line.text[seen.at :].strip(), limit=_TITLE)
    return Crash(seen.kind, title, line.start, line.end, seen.type)


def incidents(text: bytes, position: int = 0) -> list[Incident]:
    """Return the incidents in ``text``, whose first byte is at ``position``."""
    watch = CrashWatch(position)
    watch.feed(text)
    watch.end()
    return watch.incidents()
