# SPDX-License-Identifier: Apache-2.0
"""What a running kernel says of the board's memory: /proc/iomem, and its log."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from hilagent.payload.places import Range, merged

IOMEM = "/proc/iomem"
_LINE = re.compile(r"^( *)([0-9a-f]+)-([0-9a-f]+) : (.*)$", re.MULTILINE)
_RAM = "System RAM"
_TABLE = re.compile(r"GICv3: (?:CPU\d+: )?[Uu]sing (?:\w+ )?LPI \w+ table @0x([0-9a-f]+)")
_ITS = re.compile(r"\bITS \[mem 0x|GICv3: .*\bLPI")
_TABLE_BYTES = 0x10000
"""Of each table: Linux takes no more than 16 bits of LPIs (irq-gic-v3-its.c of 6.12)."""


def ram(iomem: bytes) -> list[Range]:
    """Return the memory that a kernel may use; none where it hides the addresses."""
    return merged([each for depth, each, what in _lines(iomem) if not depth and what == _RAM])


def taken(iomem: bytes) -> list[Range]:
    """Return what of that memory is somebody's: firmware's, ACPI's, or the kernel's own."""
    return merged([each for depth, each, _ in _lines(iomem) if depth])


def lpi_tables(log: Iterable[str]) -> list[Range] | None:
    """Return the memory that the interrupt controller writes by itself; None where the log
    speaks of such tables and doesn't say where all of them are."""
    lines = list(log)
    found = [int(match[1], 16) for line in lines if (match := _TABLE.search(line))]
    if not found and any(_ITS.search(line) for line in lines):
        return None
    return merged([Range(at, _TABLE_BYTES) for at in found])


def _lines(iomem: bytes) -> Iterator[tuple[int, Range, str]]:
    for indent, first, last, what in _LINE.findall(iomem.decode("utf-8", "replace")):
        start, end = int(first, 16), int(last, 16) + 1
        if end > 1:
            yield len(indent), Range(start, end - start), what
