# SPDX-License-Identifier: Apache-2.0
"""``report.html``: the run for people, one file that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hilagent.journal import Run
from hilagent.report.results import files, verdict

from . import log, view
from .page import page


def html(run: Run) -> str:
    """Return the page of one run."""
    shown = view.tests(run)
    console = _console(run, shown)
    return page(
        "run.html",
        run=run,
        title=f"{run.facts.get('board', 'unknown board')}: {verdict(run).name}",
        verdict=verdict(run),
        blame=view.blame(run),
        about=view.about(run),
        ends=view.ends(run),
        suites=view.suites(run),
        tests=shown,
        wrong=view.wrong(shown),
        counts=view.counts(run),
        maps=view.maps(run),
        matrices=view.matrices(run),
        cells=view.CELLS,
        lives=view.lives(run),
        spoken=view.spoken(run),
        legs=view.legs(run),
        rules=view.rules(run),
        facts=view.facts(run),
        command=view.command(run),
        findings=view.findings,
        files=files(run),
        **console,
    )


def _console(run: Run, shown: list[view.Test]) -> dict[str, Any]:
    """Return the log's rows, and at which of them each result stands."""
    raw = run.run_dir / "console.raw"
    index = log.Index(run.run_dir / "console.idx")
    began_ns = int(float(run.facts.get("monotonic_s") or 0) * 1e9)
    ended_s = {r["test"]: r["t"] for r in run.records if r["kind"] == "outcome"}
    places: dict[int, int] = {}
    for test in shown:
        t = ended_s.get(test.outcome.test)
        if began_ns and t is not None:
            place = index.received_by(began_ns + int(t * 1e9))
            if place is not None:
                places[test.number] = place
    try:
        size = raw.stat().st_size
    except OSError:
        return {"rows": [], "lines": {}, "incidents": [], "died": 0, "log_bytes": 0}
    wanted = [places[test.number] for test in shown if test.bad and test.number in places]
    found = log.incidents(raw)
    parts = log.windows(size, [*wanted, *(each.start for each in found)])
    rows = list(log.rows(raw, index, parts, began_ns))
    incidents = log.placed(rows)
    return {
        "rows": rows,
        "lines": _lines(rows, places),
        "incidents": incidents,
        "died": max(len(incidents), len(found)),
        "log_bytes": size,
    }


def _lines(rows: list[log.Row], places: Mapping[int, int]) -> dict[int, int]:
    """Return the number of the row that each place is on: the last one that began before it."""
    out: dict[int, int] = {}
    line = 0
    for number, place in sorted(places.items(), key=lambda each: each[1]):
        while line + 1 < len(rows) and rows[line + 1].at < place:
            line += 1
        if rows:
            out[number] = line
    return out
