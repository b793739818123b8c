# SPDX-License-Identifier: Apache-2.0
"""Reports: pure functions of the run directory, so each can be made again at any time."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from hilagent import errors, journal
from hilagent.report.junit import junit
from hilagent.report.results import results
from hilagent.report.summary import summary

__all__ = ["junit", "replace", "results", "summary", "write"]


def write(run_dir: Path) -> None:
    """Write ``junit.xml`` and ``results.json`` into ``run_dir`` from its journal.

    A file that can't be written whole leaves the one that was there.

    Raises:
        errors.LabError: the disk doesn't take them.
        errors.InputError: there is no journal.
    """
    run = journal.read(run_dir)
    replace(run_dir / "junit.xml", junit(run))
    replace(run_dir / "results.json", json.dumps(results(run), indent=1) + "\n")


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
