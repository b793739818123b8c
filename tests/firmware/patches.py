# SPDX-License-Identifier: Apache-2.0
"""Reads patches as text: which files they touch, and what a file that they make becomes."""

from __future__ import annotations

import re
from pathlib import Path

from tests.tree import TOP

KERNEL = TOP / "firmware/kernel"
SERIES = KERNEL / "patches/6.12/series"
BROKEN = KERNEL / "broken"

_FILE = re.compile(r"^diff --git a/(\S+) b/(\S+)$", re.MULTILINE)
_HUNK = re.compile(r"^@@ -(\d+)(?:,\d+)? \+\d+(?:,\d+)? @@", re.MULTILINE)


def series() -> list[Path]:
    """Return the patches in their order."""
    lines = SERIES.read_text().splitlines()
    return [SERIES.parent / line for line in lines if line and not line.startswith("#")]


def held_against() -> str:
    """Return the version that the series names, or empty."""
    found = re.findall(r"^# kernel: (\S+)$", SERIES.read_text(), re.MULTILINE)
    return found[0] if len(found) == 1 else ""


def files(patch: Path) -> set[str]:
    """Return the files that ``patch`` touches, by both of their names."""
    return {name for pair in _FILE.findall(patch.read_text()) for name in pair}


def made(name: str, patches: list[Path]) -> str:
    """Return what ``patches`` make of ``name``, which the first to touch it creates."""
    lines: list[str] = []
    for patch in patches:
        for part in re.split(r"^(?=diff --git )", patch.read_text(), flags=re.MULTILINE):
            if part.startswith(f"diff --git a/{name} b/{name}\n"):
                lines = _applied(lines, part)
    return "".join(f"{line}\n" for line in lines)


def _applied(lines: list[str], diff: str) -> list[str]:
    """Return ``lines`` after the hunks of ``diff``; a context that differs is an error."""
    out, at = [], 0
    hunks = list(_HUNK.finditer(diff))
    for hunk, end in zip(hunks, [*(h.start() for h in hunks[1:]), len(diff)], strict=True):
        start = max(int(hunk[1]) - 1, 0)
        out += lines[at:start]
        at = start
        for line in diff[hunk.end() : end].splitlines()[1:]:
            if line.startswith("+"):
                out.append(line[1:])
            elif line.startswith((" ", "-")):
                assert lines[at] == line[1:], f"{lines[at]!r} is not {line[1:]!r}"
                out += [line[1:]] if line.startswith(" ") else []
                at += 1
    return out + lines[at:]
