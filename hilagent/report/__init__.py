# SPDX-License-Identifier: Apache-2.0
"""Reports: pure functions of the run directory, so each can be made again at any time."""

from __future__ import annotations

import contextlib
import json
import os
import traceback
from collections.abc import Callable
from html import escape
from pathlib import Path

from hilagent import errors, journal
from hilagent.report.junit import junit
from hilagent.report.results import results
from hilagent.report.summary import summary
from hilagent.text import scrub

_NO_PAGE = (
    "<p>hilagent has a defect: this page could not be made. The run's verdict is in "
    "<a href='results.json'>results.json</a> and <a href='junit.xml'>junit.xml</a>.</p>"
)
__all__ = ["junit", "replace", "results", "summary", "write", "write_page"]


def write(run_dir: Path) -> None:
    """Write ``junit.xml``, ``results.json`` and ``report.html`` into ``run_dir`` from its journal.

    A file that can't be written whole leaves the one that was there.

    Raises:
        errors.LabError: the disk doesn't take them.
        errors.InputError: there is no journal.
    """
    run = journal.read(run_dir)
    replace(run_dir / "junit.xml", junit(run))
    replace(run_dir / "results.json", json.dumps(results(run), indent=1) + "\n")
    write_page(run_dir, lambda: _page(run))


def _page(run: journal.Run) -> str:
    from hilagent.report.html import html

    return html(run)


def write_page(run_dir: Path, page: Callable[[], str]) -> None:
    """Write ``report.html``; a defect in making it costs the page, and no verdict.

    Raises:
        errors.LabError: the disk doesn't take it.
    """
    try:
        text = page()
    except Exception:
        said = escape(scrub(traceback.format_exc()))
        text = f"<!doctype html><title>hilagent</title><h1>No page</h1>{_NO_PAGE}<pre>{said}</pre>"
    replace(run_dir / "report.html", text)


def replace(path: Path, text: str) -> None:
    """Write ``text`` to ``path``, whole or not at all; raises errors.LabError."""
    new = path.with_name(path.name + ".new")
    try:
        with new.open("w", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        new.replace(path)
    except OSError as exc:
        with contextlib.suppress(OSError):
            new.unlink()
        raise errors.LabError(f"{path}: can't be written: {exc.strerror}") from exc
