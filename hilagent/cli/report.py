# SPDX-License-Identifier: Apache-2.0
"""``hilagent report``: makes any report of a run again, from its directory alone."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hilagent import errors, journal, report
from hilagent.cli.ending import say
from hilagent.report import many, soak
from hilagent.report.results import results
from hilagent.result import EXIT_OK

_Runs = Sequence[journal.Run]


def made(words: Sequence[str], form: str, out: Path | None, origin: str) -> int:
    """Write a report of the runs, or all of a run's own reports into its directory.

    Args:
        words: directories of runs, or their ids.
        form: one of ``hilagent.cli.reports.FORMATS``; empty: the files that a run leaves.
        out: where to; None for stdout.
        origin: of KCIDB.

    Raises:
        errors.InputError: one is no run.
        errors.UsageError: several runs don't go into one page.
    """
    runs = [journal.read(journal.find(word)) for word in words]
    if not form:
        if out is not None:
            raise errors.UsageError(
                "-o needs a --format: without one, a run's files are made again"
            )
        for run in runs:
            _again(run)
        return EXIT_OK
    text = _made(runs, form, origin)
    if out is None:
        print(text, end="", flush=True)
    else:
        report.replace(out, text)
    return EXIT_OK


def _again(run: journal.Run) -> None:
    if "soak" in run.facts:
        report.replace(run.run_dir / "results.json", _json([run]))
        say(f"{run.run_dir}: results.json is made again; each round has reports of its own")
        return
    whole = many if "boards" in run.facts else report
    whole.write(run.run_dir)
    say(f"{run.run_dir}: results.json, junit.xml and report.html are made again")


def _made(runs: _Runs, form: str, origin: str) -> str:
    soaks = [run.run_dir for run in runs if "soak" in run.facts]
    if soaks and form not in {"text", "json"}:
        hint = "name one of the rounds in it"
        raise errors.UsageError(f"{soaks[0]} is a soak: text and json are all it has", hint=hint)
    if form == "html":
        if len(runs) != 1:
            raise errors.UsageError(f"a page is made of one run, not {len(runs)}")
        return _page(runs[0])
    if form == "kcidb":
        from hilagent.report.kcidb import kcidb

        return json.dumps(kcidb(_single(runs), origin), indent=1) + "\n"
    return _WRITERS[form](runs)


def _page(run: journal.Run) -> str:
    if "boards" in run.facts:
        from hilagent.report.html.many import html as page_of_many

        return page_of_many(many.read(run.run_dir))
    from hilagent.report.html import html

    return html(run)


def _single(runs: _Runs) -> list[journal.Run]:
    """Return the runs, and of one of many boards those of its boards."""
    found: list[journal.Run] = []
    for run in runs:
        boards = many.read(run.run_dir).boards if "boards" in run.facts else ()
        found += [board.run for board in boards if board.run.facts] or [run]
    return found


def _text(runs: _Runs) -> str:
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    return "\n".join(_summary(run, colour=colour) for run in runs)


def _summary(run: journal.Run, *, colour: bool) -> str:
    if "boards" in run.facts:
        return many.summary(many.read(run.run_dir), colour=colour)
    if "soak" in run.facts:
        return soak.summary(run, colour=colour)
    return report.summary(run, colour=colour)


def _json(runs: _Runs) -> str:
    found = [_results(run) for run in runs]
    return json.dumps(found[0] if len(found) == 1 else found, indent=1) + "\n"


def _results(run: journal.Run) -> dict[str, Any]:
    if "boards" in run.facts:
        return many.results(many.read(run.run_dir))
    return soak.results(run) if "soak" in run.facts else results(run)


def _junit(runs: _Runs) -> str:
    from hilagent.report.junit import document, suite

    return document(
        element
        for run in runs
        for element in (
            many.suites(many.read(run.run_dir)) if "boards" in run.facts else [suite(run)]
        )
    )


def _ktap(runs: _Runs) -> str:
    from hilagent.report.ktap import ktap

    return ktap(_single(runs))


def _markdown(runs: _Runs) -> str:
    from hilagent.report.markdown import markdown

    return markdown(_single(runs))


_WRITERS: dict[str, Callable[[_Runs], str]] = {
    "text": _text, "json": _json, "junit": _junit, "ktap": _ktap, "markdown": _markdown,
}  # fmt: skip
