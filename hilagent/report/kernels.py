# SPDX-License-Identifier: Apache-2.0
"""What the summary says of kernels: which were booted, and each way they were restarted.

The table of restarts names the code that served each, so that nobody believes more
was tested than was.
"""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hilagent.journal import Run
from hilagent.probe.restart import Row, Times, summarise
from hilagent.text import scrub_line

WIDTH = 80
_COLUMNS = (("way", 10), ("kernel", 14), ("EL2 by", 9), ("into", 7), ("served by", 9),
            ("EL", 3), ("n", 3), ("s each", 6), ("", 9))  # fmt: skip
_IN_A_ROW = (("way", 10), ("kernel", 16), ("into", 7), ("n", 3), ("EL", 3),
             ("s: min med max", 14), ("MiB: 1st min last", 17))  # fmt: skip
_SERVERS = {"none": "no hvc"}


def sections(run: Run) -> Iterator[str]:
    """Return the parts of the summary that are about kernels; none for a run without."""
    kernels = [line for name, said in run.facts.items() for line in _kernel(name, said)]
    if kernels:
        yield "\n".join(["Kernels", *kernels])
    rows = summarise([row for record in run.observations("restarts") for row in _rows(record)])
    if rows:
        yield "\n".join(["Restarts", _line([name for name, _ in _COLUMNS]), *map(_row, rows)])
    chains = [line for legs in _chains(run) if (line := _chain(legs))]
    if chains:
        head = [name for name, _ in _IN_A_ROW]
        yield "\n".join(["Restarts in a row", _line(head, _IN_A_ROW), *chains])


def names(run: Run) -> list[str]:
    """Return the names of the kernels that were booted."""
    return [name.partition(" ")[2] for name, said in run.facts.items() if _kernel(name, said)]


def _kernel(name: str, said: object) -> Sequence[str]:
    """Return the lines about a kernel: what it is, and what it lacks; none for another fact."""
    kind, _, which = name.partition(" ")
    if kind != "kernel" or not which or not isinstance(said, Mapping):
        return ()
    cells = (which, said.get("release"), said.get("abi") or "ABI not declared",
             str(said.get("image"))[:12])  # fmt: skip
    first, *rest = (scrub_line(str(cell), limit=30) for cell in cells)
    absent = said.get("absent") or {}
    lacks = [scrub_line(f"no {what}: {costs}") for what, costs in absent.items()]
    lines = [
        line
        for text in lacks
        for line in textwrap.wrap(text, WIDTH, initial_indent=" " * 4, subsequent_indent=" " * 6)
    ]
    return [f"  {first:<16} {'  '.join(rest)}"[:WIDTH], *lines]


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


def _chains(run: Run) -> Iterator[Sequence[Mapping[str, Any]]]:
    """Return the legs of each way that was taken more than once."""
    chains: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for record in run.observations("leg"):
        key = tuple(str(record.get(name)) for name in ("way", "boot", "receiver"))
        chains.setdefault(key, []).append(record)
    return (legs for legs in chains.values() if len(legs) > 1)


def _chain(legs: Sequence[Mapping[str, Any]]) -> str:
    """Return how alike its legs were: times that grow or memory that goes tell of a leak."""
    came = [leg for leg in legs if leg.get("el")]
    els = sorted({leg["el"] for leg in came})
    times = [leg["times"]["ready_s"] for leg in came if leg["times"]["ready_s"] is not None]
    free = [leg["available_bytes"] >> 20 for leg in came if leg.get("available_bytes")]
    if not came:
        return ""
    first = legs[0]
    return _line([
        first["way"], first["boot"], first["receiver"], f"{len(came)}",
        ",".join(map(str, els)),
        f"{min(times):.1f} {statistics.median(times):.1f} {max(times):.1f}" if times else "",
        f"{free[0]} {min(free)} {free[-1]}" if free else "",
    ], _IN_A_ROW)  # fmt: skip


def _verdict(row: Row) -> str:
    """A restart that had to be refused, and was, came nowhere."""
    return "refused" if row.verdict == "pass" and not row.el else row.verdict


def _line(cells: list[str], columns: Sequence[tuple[str, int]] = _COLUMNS) -> str:
    parts = [
        f"{scrub_line(cell, limit=width):<{width}}"
        for cell, (_, width) in zip(cells, columns, strict=True)
    ]
    return f"  {' '.join(parts)}".rstrip()[:WIDTH]
