# SPDX-License-Identifier: Apache-2.0
"""What the summary says of a kernel's own vectors: which ABI, why, and what was left out."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hilagent.journal import Run
from hilagent.report.results import tables
from hilagent.text import scrub_line

WIDTH = 80
MOST_VALUES = 4
MOST_TEXT = 600
MOST_NAME = 46
_COLUMNS = ("contract lets", "code can", "board did")
_MOST_COLUMN = 19
_LISTS = (("evidence", "evidence"), ("left out", "left_out"), ("note", "notes"))


def sections(run: Run) -> Iterator[str]:
    """Return a part for each kernel whose vectors were cut out; none for a run without."""
    for said in run.facts.get("kernels_vectors", []):
        server, abi = scrub_line(str(said.get("server"))), scrub_line(str(said.get("abi")))
        lines = [f"Vectors   {short(str(said.get('name')))}"]
        lines += _line("speaks", f"{abi}, {server}: {said.get('place')}")
        for word, name in _LISTS:
            for text in said.get(name, []):
                lines += _line(word, str(text))
        yield "\n".join(lines)


def code(run: Run) -> Iterator[str]:
    """Return for each subject what may change, can and did; none for a run without."""
    for record in tables(run, "code"):
        name = short(str(record.get("subject")))
        lines = [f"Code      {name}", f"  {'':<17} {_columns(_COLUMNS)}".rstrip()]
        for row in record.get("rows", []):
            lines += _code(row)
        yield "\n".join(lines)


def _code(row: Mapping[str, Any]) -> Iterator[str]:
    hcall = scrub_line(str(row.get("hcall")), limit=17)
    cells = [registers(row.get(name)) for name in ("contract", "code", "board")]
    mark = "X" if row.get("beyond") else " "
    yield f"{mark} {hcall:<17} {_columns(cells)}".rstrip()[:WIDTH]
    for name in row.get("beyond") or {}:
        yield from _line(f"    {name}", "changed, and no path of the code changes it")
    for name, where in (row.get("untaken") or {}).items():
        yield from _line(f"    not taken: {name}", where)
    if row.get("reason"):
        yield from _line("    ?", str(row["reason"]))


def registers(names: Sequence[str] | None) -> str:
    """Return registers as a person writes them: ``x0-x2 x17``; what isn't known is ``?``.

    What is too long for a column is counted: results.json has them all.
    """
    if names is None:
        return "?"
    numbers = [int(name[1:]) for name in names if name[:1] == "x" and name[1:].isdigit()]
    said: list[str] = []
    for first, last in _runs(numbers):
        said.append(f"x{first}" if first == last else f"x{first}-x{last}")
    system = [scrub_line(name) for name in names if not name[1:].isdigit()]
    said += system if len(system) < 2 else [f"{len(system)} of system"]
    vectors = [name for name in names if name[0] in "vz" and name[1:].isdigit()]
    said += vectors if len(vectors) < 3 else [f"{len(vectors)} of v"]
    text = " ".join(said) or "-"
    return text if len(text) <= _MOST_COLUMN else f"{len(names)} registers"


def _runs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    out: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if out and out[-1][1] == number - 1:
            out[-1] = (out[-1][0], number)
        else:
            out.append((number, number))
    return out


def _columns(cells: Sequence[str]) -> str:
    return " ".join(f"{each:<{_MOST_COLUMN}}" for each in cells)


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
