# SPDX-License-Identifier: Apache-2.0
"""Patterns of bounded length, matched against a stream that is still growing.

A pattern's greatest width is known before it is used, so a new piece of the
stream is searched together with that many bytes before it, and never more: the
time is linear in what the board says. What looks beyond its own width (``$``,
``\\b``, look-around) means another thing in the middle of a stream than at its
present end, and is refused with the unbounded ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from re import _constants, _parser  # type: ignore[attr-defined]  # no public way to a width
from typing import Any

from hilagent.errors import AgentBug

MAX_WIDTH = 4096
PIECE_BYTES = 1 << 18
Pattern = bytes | re.Pattern[bytes]
_REFUSED = {_constants.AT, _constants.ASSERT, _constants.ASSERT_NOT}


@dataclass(frozen=True)
class Match:
    """What was found.

    Attributes:
        index: of the pattern.
        start, end: absolute positions.
        text: the bytes that matched.
        groups: as ``re.Match.groups``.
    """

    index: int
    start: int
    end: int
    text: bytes
    groups: tuple[bytes | None, ...]


@lru_cache(maxsize=256)
def bounded(pattern: Pattern) -> tuple[re.Pattern[bytes], int]:
    """Return ``pattern`` compiled, and its greatest width; AgentBug if it has none."""
    compiled = re.compile(pattern)
    tree = _parser.parse(compiled.pattern, compiled.flags & ~re.DEBUG)
    low, high = tree.getwidth()
    if low == 0 or high > MAX_WIDTH:
        raise AgentBug(f"pattern {compiled.pattern!r} matches {low} to over {MAX_WIDTH} bytes")
    if not _REFUSED.isdisjoint(_operations(tree)):
        raise AgentBug(f"pattern {compiled.pattern!r} looks beyond itself")
    return compiled, int(high)


class Matcher:
    """Searches a growing stream for the first of some patterns.

    The first is the one that is complete first, at the same end the one that
    is named first: the same in one piece as byte by byte, where the patterns
    don't end in something that could still grow (``\\d{1,4}`` alone could;
    ``\\d{1,4}\\r`` couldn't).

    Args:
        patterns: regular expressions over bytes.
        start: the position to search from.
    """

    def __init__(self, patterns: Iterable[Pattern], start: int) -> None:
        both = [bounded(pattern) for pattern in patterns]
        self._patterns = [compiled for compiled, _ in both]
        self._reach = max(width for _, width in both) - 1
        self._start = start
        self.searched = start

    def search(self, cut: Callable[[int, int], tuple[int, bytes]], end: int) -> Match | None:
        """Search what has come up to ``end``; each byte costs its time once.

        Args:
            cut: returns up to so many bytes from a position on, and from where
                they really are, see :meth:`Tape.cut`.
            end: the end of the stream at present.
        """
        while self.searched < end:
            at = max(self._start, self.searched - self._reach)
            at, piece = cut(at, PIECE_BYTES + self._reach)
            if not piece:
                return None
            if match := self._first(piece, at):
                return match
            self.searched = at + len(piece)
        return None

    def _first(self, piece: bytes, at: int) -> Match | None:
        found = [
            (match.end(), index, match)
            for index, pattern in enumerate(self._patterns)
            if (match := pattern.search(piece))
        ]
        if not found:
            return None
        end, index, match = min(found, key=lambda each: each[:2])
        return Match(index, at + match.start(), at + end, match.group(), match.groups())


def _operations(tree: Any) -> Iterator[object]:
    """Return every operation in a parsed pattern, whatever it is nested in."""
    if isinstance(tree, _parser.SubPattern):
        for operation, argument in tree:
            yield operation
            yield from _operations(argument)
    elif isinstance(tree, (list, tuple)):
        for each in tree:
            yield from _operations(each)
