# SPDX-License-Identifier: Apache-2.0
"""What the summary says of a kernel's own vectors: which ABI, why, and what was left out."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hilagent.journal import Run
from hilagent.text import scrub_line

WIDTH = 80
MOST_VALUES = 4
MOST_TEXT = 600
MOST_NAME = 46
_LISTS = (("evidence", "evidence"), ("left out", "left_out"), ("note", "notes"))


def sections(run: Run) -> Iterator[str]:
    """Return a part for each kernel whose vectors were cut out; none for a run without."""
    for said in run.facts.get("kernels_vectors", []):
        server, abi = scrub_line(str(said.get("server"))), scrub_line(str(said.get("abi")))
        lines = [f"Vectors   {scrub_line(str(said.get('name')))}"]
        lines += _line("speaks", f"{abi}, {server}: {said.get('place')}")
        for word, name in _LISTS:
            for text in said.get(name, []):
                lines += _line(word, str(text))
        yield "\n".join(lines)


def short(name: str) -> str:
    """Return a subject's name for a title: of a long path the end."""
    said = scrub_line(name)
    return said if len(said) <= MOST_NAME else f"...{said[3 - MOST_NAME :]}"


def asked(record: Mapping[str, Any]) -> list[str]:
    """Return what a dispatch map says of what was asked, and of the immediate beside x0."""
    lines = [line for text in record.get("asked", []) for line in _line("asked", str(text))]
    if "immediate" in record:
        lines += _line("the immediate does", str(record["immediate"]))
    return lines


def span(first: int, last: int) -> str:
    """Return a range of numbers; one without an end stands for everything above."""
    if last < 0:
        return f"{first:#06x}-..."
    return f"{first:#06x}" if first == last else f"{first:#06x}-{last:#06x}"


def x0(ranges: Sequence[tuple[int, int]]) -> str:
    """Return the values of x0 that named an hcall, as they follow the immediates."""
    texts = [f"{a:#x}" if a == b else f"{a:#x}-{b:#x}" for a, b in ranges[:MOST_VALUES]]
    if len(ranges) > MOST_VALUES:
        texts.append(f"{len(ranges) - MOST_VALUES} more ranges")
    return f", x0 {', '.join(texts)}" if texts else ""


def _line(word: str, text: str) -> list[str]:
    said = f"{word}: {scrub_line(text, limit=MOST_TEXT)}"
    return textwrap.wrap(
        said, WIDTH, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False
    )
