# SPDX-License-Identifier: Apache-2.0
"""What the pages tell people to type, and what they say is shown then.

A command is a line that is indented by four spaces, with the lines that its ``\\`` joins. What
a command shows stands in a block, below a comment that names the command, and how to read it::

    <!-- the end of: .venv/bin/hilagent run rock -->
    <!-- lines of: .venv/bin/hilagent audit path/to/vmlinux -->
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests import tree

NAMES = ("README.md", "CONTRIBUTING.md")
_BLOCK = re.compile(
    r"^<!-- (?P<how>the end|lines) of: (?P<command>.*?) -->\n```text\n(?P<shown>.*?)^```",
    re.M | re.S,
)
_VARIES = (
    (re.compile(r"\d+(\.\d+)+"), "N"),
    (re.compile(r"\b\d+ (s|min)\b"), "N \\1"),
    (re.compile(r"\b[0-9a-f]{12}\b"), "DIGEST"),
    (re.compile(r"\b\d{8}T\d{6}Z-[\w.-]+"), "RUN"),
    (re.compile(r"\S+/(vmlinux)\b"), "\\1"),
    (re.compile(r" +"), " "),
)
"""What differs from run to run: times, versions, digests, names of runs, the spaces of tables."""


@dataclass(frozen=True)
class Shown:
    """What a page says that a command shows.

    Attributes:
        whole: the lines follow each other; otherwise others may stand between them.
    """

    page: str
    command: str
    whole: bool
    lines: tuple[str, ...]

    def missing_in(self, output: str) -> str:
        """Return the first line that ``output`` lacks where it should be; "" for none."""
        said, wanted = plain(output), plain("\n".join(self.lines))
        if self.whole:
            starts = [n for n, line in enumerate(said) if line == wanted[0]] or [0]
            return min((_unequal(said[start:], wanted) for start in starts), key=len)
        rest = iter(said)
        return next((line for line in wanted if line not in rest), "")


def _unequal(said: list[str], wanted: list[str]) -> str:
    for number, line in enumerate(wanted):
        if said[number : number + 1] != [line]:
            return "\n".join([line, "instead of it:", *said[number : number + 1]])
    return ""


def plain(text: str) -> list[str]:
    """Return the lines that say something, without what differs from run to run."""
    for pattern, instead in _VARIES:
        text = pattern.sub(instead, text)
    return [line.strip() for line in text.splitlines() if line.strip()]


def text(page: str) -> str:
    """Return a page."""
    return (tree.TOP / page).read_text()


def _outside_blocks(page: str) -> str:
    return re.sub(r"^```.*?^```$", "", text(page), flags=re.M | re.S)


def commands(pages: tuple[str, ...] = NAMES) -> Iterator[tuple[str, str]]:
    """Yield (page, command) for each command of the pages, without its comment."""
    for page in pages:
        joined = re.sub(r" *\\\n +", " ", _outside_blocks(page))
        for line in re.findall(r"^    (\S.*)$", joined, re.M):
            yield page, re.sub(r"\s+#.*", "", line).strip()


def shown(pages: tuple[str, ...] = NAMES) -> Iterator[Shown]:
    """Yield what the pages say that commands show."""
    for page in pages:
        for found in _BLOCK.finditer(text(page)):
            lines = tuple(found["shown"].splitlines())
            yield Shown(page, found["command"], found["how"] == "the end", lines)


def unexplained(pages: tuple[str, ...] = NAMES) -> list[str]:
    """Return the first line of each block of output that names no command; packets on the
    line (``raw ...``) are nobody's output."""
    named = {each.lines[0] for each in shown(pages)}
    pattern = r"^```text\n(.*)$"
    blocks = [block for page in pages for block in re.findall(pattern, text(page), re.M)]
    return [first for first in blocks if first not in named and not first.startswith("raw ")]


def files() -> list[Path]:
    """Return every page of the tree that speaks of commands."""
    return [path for path in tree.files(".md") if not tree.name(path).startswith("tests/")]
