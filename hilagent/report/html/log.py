# SPDX-License-Identifier: Apache-2.0
"""The console's log for the page: what was said around each result, and when.

Of a log that is longer than a browser likes, the beginning, the end and what surrounds
crashes and bad results is shown. Nothing is read whole: a board may have said gigabytes.
"""

from __future__ import annotations

import mmap
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hilagent.console.tape import RECORD, RX
from hilagent.console.watch import CrashWatch, Incident, Kind
from hilagent.link.frame import ConsoleText, Decoder, Packet
from hilagent.text import scrub

WHOLE_BYTES = 1 << 20
"""A log of at most this size is shown whole."""
_HEAD, _TAIL, _BEFORE, _AFTER = 64 << 10, 192 << 10, 24 << 10, 8 << 10
_MOST_PLACES = 16
_MOST_INCIDENTS = 10_000
_MOST_LINE = 2000
_STEP = 1 << 20
_PIECE_BYTES, _PIECE_NS = 512, 50_000_000


@dataclass(frozen=True)
class Row:
    """One line of the log.

    Attributes:
        at: its position in ``console.raw``, in bytes.
        t: seconds since the run began; None where that isn't known.
        kind: ``text``, ``crash``, ``packets`` (of the payload's protocol) or ``cut``.
    """

    at: int
    t: float | None
    kind: str
    text: str


class Index:
    """``console.idx``: when which byte was received.

    Args:
        path: of the file; one that is missing knows nothing.
    """

    def __init__(self, path: Path) -> None:
        self._data: mmap.mmap | bytes = b""
        try:
            with path.open("rb") as file:
                self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError):  # there is none, or it is empty
            pass
        self._count = len(self._data) // RECORD.size

    def _received(self, number: int) -> tuple[int, int, int, int] | None:
        """Return (number, time, offset, size) of the first record of what was received."""
        for each in range(number, self._count):
            time_ns, offset, direction, size = RECORD.unpack_from(self._data, each * RECORD.size)
            if direction == RX:
                return each, time_ns, offset, size
        return None

    def _first(self, behind: int, field: int) -> int:
        """Return the first record whose end (field 2) or time (field 1) is behind a value."""
        low, high = 0, self._count
        while low < high:
            middle = (low + high) // 2
            found = self._received(middle)
            value = None if found is None else found[field] + (found[3] if field == 2 else 0)
            if value is None or value > behind:
                high = middle
            else:
                low = middle + 1
        return low

    def received_by(self, time_ns: int) -> int | None:
        """Return how many bytes had been received at a time; None where nothing is known."""
        if not self._count:
            return None
        after = self._received(self._first(time_ns, 1))
        if after is not None:
            return after[2]
        return self._end()

    def _end(self) -> int | None:
        for number in range(self._count - 1, -1, -1):
            found = RECORD.unpack_from(self._data, number * RECORD.size)
            if found[2] == RX:
                return int(found[1] + found[3])
        return None

    def pieces(self, start: int, end: int) -> Iterator[tuple[int, int, int | None]]:
        """Yield (start, end, time) of what was received together, from one position to another."""
        number = self._first(start, 2)
        at, piece_ns = start, None
        begun = start
        while at < end and (found := self._received(number)) is not None:
            number, time_ns, offset, size = found[0] + 1, *found[1:]
            if piece_ns is not None and (
                at - begun >= _PIECE_BYTES or time_ns - piece_ns > _PIECE_NS
            ):
                yield begun, at, piece_ns
                begun, piece_ns = at, None
            piece_ns = time_ns if piece_ns is None else piece_ns
            at = min(end, offset + size)
        if at > begun:
            yield begun, at, piece_ns
        if at < end:
            yield at, end, None


def incidents(path: Path) -> list[Incident]:
    """Return what died, stood still or was complained of, the first of each kind of it first."""
    watch = CrashWatch()
    found: list[Incident] = []
    with path.open("rb") as file:
        while chunk := file.read(_STEP):
            watch.feed(chunk)
            found += watch.incidents()[: _MOST_INCIDENTS - len(found)]
    watch.end()
    found += watch.incidents()[: _MOST_INCIDENTS - len(found)]
    return sorted(found, key=lambda each: not each.fatal)


def placed(rows: Sequence[Row]) -> list[tuple[int, Incident]]:
    """Return the incidents in these rows, each with the number of the row that it begins on."""
    watch = CrashWatch()
    starts = [0]
    for row in rows:
        if row.kind == "cut":
            watch.cut()
        line = row.text.encode() + b"\n"
        watch.feed(line)
        starts.append(starts[-1] + len(line))
    watch.end()
    return [(bisect_right(starts, each.start) - 1, each) for each in watch.incidents()]


def windows(size: int, places: Iterable[int]) -> list[tuple[int, int]]:
    """Return which parts of a log of ``size`` bytes are shown, in order and apart.

    Args:
        places: positions that must be among them, the most important first.
    """
    if size <= WHOLE_BYTES:
        return [(0, size)] if size else []
    wanted = [(0, _HEAD), (size - _TAIL, size)]
    for place in list(dict.fromkeys(places))[:_MOST_PLACES]:
        wanted.append((max(0, place - _BEFORE), min(size, place + _AFTER)))
    out: list[tuple[int, int]] = []
    for start, end in sorted(wanted):
        if out and start <= out[-1][1]:
            out[-1] = (out[-1][0], max(end, out[-1][1]))
        else:
            out.append((start, end))
    return out


def rows(
    path: Path, index: Index, parts: Sequence[tuple[int, int]], began_ns: int
) -> Iterator[Row]:
    """Yield the lines of the parts that are shown, and a row for each that is not.

    Args:
        path: ``console.raw``.
        began_ns: when the run began, by the clock of ``index``; 0 unknown.
    """
    shown = 0
    with path.open("rb") as file:
        for start, end in parts:
            if start > shown:
                yield _cut(shown, start)
            lines = _Lines()
            for first, last, time_ns in index.pieces(start, end):
                file.seek(first)
                t = (time_ns - began_ns) / 1e9 if time_ns is not None and began_ns else None
                yield from lines.take(first, t, file.read(last - first))
            yield from lines.end()
            shown = end
        size = file.seek(0, 2)
    if size > shown:
        yield _cut(shown, size)


def _cut(start: int, end: int) -> Row:
    return Row(start, None, "cut", f"{end - start:,} bytes left out: {start} to {end}")


class _Lines:
    """Makes lines of what was received, and counts the packets between them."""

    def __init__(self) -> None:
        self._decoder = Decoder()
        self._watch = CrashWatch()
        self._line = b""
        self._at: tuple[int, float | None] = (0, None)
        self._packets = 0
        self._packets_at: tuple[int, float | None] = (0, None)

    def take(self, at: int, t: float | None, data: bytes) -> Iterator[Row]:
        """Yield what these bytes complete."""
        for item in self._decoder.feed(data):
            if isinstance(item, Packet):
                if not self._packets:
                    self._packets_at = (at, t)
                self._packets += 1
            elif item.data:
                kept = item.data if isinstance(item, ConsoleText) else item.data + b"\n"
                yield from self._text(at, t, kept)

    def end(self) -> Iterator[Row]:
        """Yield what no line end followed."""
        rest, self._line = self._line + self._decoder.held, b""
        if rest.strip(b"\0\r"):
            yield from self._said()
            yield self._row(rest)
        yield from self._said()

    def _text(self, at: int, t: float | None, data: bytes) -> Iterator[Row]:
        if self._packets and data.strip():
            yield from self._said()
        for part in data.splitlines(keepends=True):
            if not self._line:
                self._at = (at, t)
            self._line += part[: max(0, _MOST_LINE + 2 - len(self._line))]
            if part.endswith((b"\n", b"\r")):
                line, self._line = self._line.rstrip(b"\r\n"), b""
                if line:
                    yield self._row(line)

    def _row(self, line: bytes) -> Row:
        at, t = self._at
        found = (each.kind for each in self._watch.feed(line + b"\n"))
        died = any(kind not in (Kind.RESET, Kind.REPORT) for kind in found)
        return Row(at, t, "crash" if died else "text", scrub(line, limit=_MOST_LINE))

    def _said(self) -> Iterator[Row]:
        count, self._packets = self._packets, 0
        if count:
            at, t = self._packets_at
            yield Row(at, t, "packets", f"{count} packet{'s' if count > 1 else ''} of the payload")
