# SPDX-License-Identifier: Apache-2.0
"""How often a board's tests passed, with what certainty, and since when they don't.

What could not be judged is counted apart: it says nothing about what was under test. A pass
rate has Wilson's 95 % interval (E. B. Wilson, JASA 22, 1927), which is right for few runs.
"""

from __future__ import annotations

import fnmatch
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hilagent.report.index import Entry
from hilagent.report.results import scrubbed
from hilagent.report.summary import WIDTH, wrap
from hilagent.result import RENDERINGS, Verdict
from hilagent.text import scrub_line

SCHEMA, SCHEMA_VERSION = "hilagent-history", 1
MOST = 25
_Z = 1.959964  # of a normal distribution, 95 %
_LINE = 60
_LAB = {RENDERINGS[each].letter for each in Verdict} - {
    RENDERINGS[each].letter for each in Verdict
    if each.accuses or each in {Verdict.PASS, Verdict.UNSUPPORTED}
}  # fmt: skip
_JUDGED = str.maketrans(
    {RENDERINGS[each].letter: "F" if each.accuses else "" for each in Verdict} | {".": "."}
)


@dataclass(frozen=True)
class Series:
    """What became of one test, or of the whole runs, over time.

    Attributes:
        name: of the test; empty for the runs.
        subject: what was under test.
        letters: a verdict each, the oldest first, as in ``result.RENDERINGS``.
        folders: of the runs that they are of.
    """

    name: str
    subject: str
    letters: str
    folders: Sequence[str]

    @cached_property
    def judged(self) -> str:
        """``.`` for each pass and ``F`` for each accusation, the oldest first."""
        return self.letters.translate(_JUDGED)

    @property
    def lab(self) -> int:
        """How often it could not be judged: the lab, a precondition, a run cut short."""
        return sum(self.letters.count(letter) for letter in _LAB)

    @property
    def passes(self) -> int:
        """How often it passed."""
        return self.judged.count(".")

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of its pass rate, 0 to 1."""
        return wilson(self.passes, len(self.judged))

    @property
    def changes(self) -> int:
        """How often it turned from passing to failing or back."""
        return self.judged.count(".F") + self.judged.count("F.")

    @property
    def state(self) -> str:
        """``passes``, ``fails`` (always), ``broke``, ``mended``, ``flaky`` or ``unjudged``."""
        if not self.judged:
            return "unjudged"
        passed = self.judged[-1] == "."
        if not self.changes:
            return "passes" if passed else "fails"
        if self.changes == 1:
            return "mended" if passed else "broke"
        return "flaky"

    @property
    def since(self) -> str:
        """The run with which its last state began; empty where it was never judged."""
        if not self.judged:
            return ""
        first = self.judged.rfind("F" if self.judged[-1] == "." else ".") + 1
        judged = (n for n, letter in enumerate(self.letters) if letter.translate(_JUDGED))
        return self.folders[next(itertools.islice(judged, first, None))]


def wilson(passes: int, count: int) -> tuple[float, float]:
    """Return the 95 % interval of a rate; all of it, where nothing was judged."""
    if not count:
        return 0.0, 1.0
    rate, z2 = passes / count, _Z * _Z
    middle = (rate + z2 / (2 * count)) / (1 + z2 / count)
    half = _Z / (1 + z2 / count) * math.sqrt(rate * (1 - rate) / count + z2 / (4 * count * count))
    return max(0.0, middle - half), min(1.0, middle + half)


def series(entries: Sequence[Entry], pattern: str = "") -> list[Series]:
    """Return a series for each test and subject, in the order in which they appeared.

    Args:
        pattern: as of a shell, or a part of a name; only tests with such names.
    """
    groups: dict[tuple[int, str], list[int]] = {}
    for number, entry in enumerate(entries):
        groups.setdefault((id(entry.tests), entry.subject), []).append(number)
    found: dict[tuple[str, str], list[tuple[Sequence[int], Sequence[str]]]] = {}
    for (_, subject), numbers in groups.items():
        columns = zip(*(entries[number].letters for number in numbers), strict=True)
        for test, column in zip(entries[numbers[0]].tests, columns, strict=True):
            if not pattern or fnmatch.fnmatchcase(test, pattern) or pattern in test:
                found.setdefault((test, subject), []).append((numbers, column))
    return [_series(*key, parts, entries) for key, parts in found.items()]


def _series(
    name: str, subject: str, parts: Sequence[tuple[Sequence[int], Sequence[str]]],
    entries: Sequence[Entry],
) -> Series:  # fmt: skip
    """Put what runs of different plans say of a test into the order of time."""
    numbers, letters = parts[0]
    if len(parts) > 1:
        both = sorted(pair for part in parts for pair in zip(*part, strict=True))
        numbers, letters = [number for number, _ in both], [letter for _, letter in both]
    return Series(name, subject, "".join(letters), _Folders(numbers, entries))


class _Folders(Sequence[str]):
    """The folders of some of the runs; nearly none of them is ever asked for."""

    def __init__(self, numbers: Sequence[int], entries: Sequence[Entry]) -> None:
        self._numbers, self._entries = numbers, entries

    def __getitem__(self, number: Any) -> Any:
        return self._entries[self._numbers[number]].folder

    def __len__(self) -> int:
        return len(self._numbers)


def whole(entries: Sequence[Entry]) -> Series:
    """Return the series of the runs themselves."""
    letters = "".join(RENDERINGS[entry.verdict].letter for entry in entries)
    return Series("", "", letters, _Folders(range(len(entries)), entries))


def text(board: str, entries: Sequence[Entry], pattern: str = "") -> str:
    """Return what a person reads, in at most 80 columns."""
    runs, found = whole(entries), series(entries, pattern)
    count = _count(len(entries), "run")
    lines = [wrap(f"{scrub_line(board, limit=80)}: {count}, {_rate(runs)}", "")]
    if runs.lab:
        lines.append(f"  {runs.lab} could not be judged (the lab, or cut short): not counted")
    letters = "".join(RENDERINGS[entry.verdict].letter for entry in entries)[-_LINE:]
    if letters:
        lines += ["", f"  {letters}", wrap(_legend(letters), "  ")]
    shown = [each for each in found if each.state not in {"passes", "unjudged"} or pattern]
    shown.sort(key=lambda each: ("broke", "fails", "flaky", "mended").index(each.state)
               if each.state in {"broke", "fails", "flaky", "mended"} else 9)  # fmt: skip
    for each in shown[:MOST]:
        lines += ["", *_told(each)]
    if len(shown) > MOST:
        lines += ["", f"and {len(shown) - MOST} more, see --json"]
    steady = sum(each.state == "passes" for each in found)
    if steady and not pattern:
        lines += ["", f"{_count(steady, 'test')} passed whenever it could be judged"]
    return "\n".join(lines) + "\n"


def _told(each: Series) -> Iterator[str]:
    subject = f" on {scrub_line(each.subject, limit=60)}" if each.subject else ""
    yield wrap(f"{scrub_line(each.name)}{subject}", "")
    yield f"  {_state(each)}"[:WIDTH]
    lab = f"; {each.lab} not judged" if each.lab else ""
    yield f"  {_rate(each)}{lab}"[:WIDTH]


def _state(each: Series) -> str:
    since = scrub_line(each.since, limit=50)
    return {
        "broke": f"FAILS since {since}",
        "fails": "FAILS whenever it could be judged",
        "mended": f"passes since {since}",
        "flaky": f"FLAKY: turned {each.changes} times, last with {since}",
    }.get(each.state, each.state)


def _rate(each: Series) -> str:
    if not each.judged:
        return "never judged"
    low, high = each.interval
    count = len(each.judged)
    percent = 100 * each.passes / count
    said = f"{100 * low:.0f} to {100 * high:.0f} % with 95 % confidence"
    return f"passed {each.passes} of {count}, {percent:.0f} % ({said})"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _legend(letters: str) -> str:
    names = {RENDERINGS[each].letter: each.value for each in Verdict}
    return "oldest first; " + ", ".join(
        f"{letter} {names[letter]}" for letter in dict.fromkeys(letters)
    )


def as_json(board: str, entries: Sequence[Entry], pattern: str = "") -> dict[str, Any]:
    """Return it as one JSON object."""
    runs = whole(entries)
    out = {
        "schema": SCHEMA,
        "version": SCHEMA_VERSION,
        "board": board,
        "runs": [
            {"folder": each.folder, "utc": each.utc, "subject": each.subject,
             "verdict": each.verdict.value, "finished": each.ended}
            for each in entries
        ],
        "whole": _as_json(runs),
        "tests": [_as_json(each) for each in series(entries, pattern)],
    }  # fmt: skip
    return scrubbed(out)


def _as_json(each: Series) -> dict[str, Any]:
    low, high = each.interval
    return {
        "test": each.name, "subject": each.subject, "judged": len(each.judged),
        "passes": each.passes, "low": round(low, 4), "high": round(high, 4), "lab": each.lab,
        "changes": each.changes, "state": each.state, "since": each.since,
    }  # fmt: skip
