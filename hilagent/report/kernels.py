# SPDX-License-Identifier: Apache-2.0
"""What the summary says of kernels: which were booted, and each way they were restarted.

The table of restarts names the code that served each, so that nobody believes more
was tested than was.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hilagent.journal import Run
from hilagent.probe.restart import Row, Times, summarise
from hilagent.text import scrub_line

WIDTH = 80
_COLUMNS = (("way", 10), ("kernel", 14), ("EL2 by", 9), ("into", 7), ("served by", 9),
            ("EL", 3), ("n", 3), ("s each", 6), ("", 9))  # fmt: skip
_SERVERS = {"none": "no hvc"}


def sections(run: Run) -> Iterator[str]:
    """Return the parts of the summary that are about kernels; none for a run without."""
    kernels = [line for name, said in run.facts.items() if (line := _kernel(name, said))]
    if kernels:
        yield "\n".join(["Kernels", *kernels])
    rows = summarise([row for record in run.observations("restarts") for row in _rows(record)])
    if rows:
        yield "\n".join(["Restarts", _line([name for name, _ in _COLUMNS]), *map(_row, rows)])


def names(run: Run) -> list[str]:
    """Return the names of the kernels that were booted."""
    return [name.partition(" ")[2] for name, said in run.facts.items() if _kernel(name, said)]


def _kernel(name: str, said: object) -> str:
    kind, _, which = name.partition(" ")
    if kind != "kernel" or not which or not isinstance(said, Mapping):
        return ""
    cells = (which, said.get("release"), said.get("abi") or "ABI not declared",
             str(said.get("image"))[:12])  # fmt: skip
    first, *rest = (scrub_line(str(cell), limit=30) for cell in cells)
    return f"  {first:<16} {'  '.join(rest)}"[:WIDTH]


def _rows(record: Mapping[str, Any]) -> Iterator[Row]:
    for row in record.get("rows", []):
        yield Row(**{**row, "times": Times(**row["times"])})


def _row(row: Row) -> str:
    took_s = row.times.ready_s
    return _line([
        row.way, row.sender, row.mode, row.receiver, _SERVERS.get(row.server, row.server),
        row.el.removeprefix("EL"), str(row.count) if row.count else "",
        f"{took_s:.1f}" if took_s is not None else "", _verdict(row),
    ])  # fmt: skip


def _verdict(row: Row) -> str:
    """A restart that had to be refused, and was, came nowhere."""
    return "refused" if row.verdict == "pass" and not row.el else row.verdict


def _line(cells: list[str]) -> str:
    parts = [
        f"{scrub_line(cell, limit=width):<{width}}"
        for cell, (_, width) in zip(cells, _COLUMNS, strict=True)
    ]
    return f"  {' '.join(parts)}".rstrip()[:WIDTH]
