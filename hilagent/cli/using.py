# SPDX-License-Identifier: Apache-2.0
"""A session for the verbs that aren't a test run: same lock, journal and power-off."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from hilagent.cli import progress
from hilagent.plugin.runs import Run
from hilagent.session import signals
from hilagent.session.session import Session
from hilagent.session.settings import Request, Settings


@contextlib.contextmanager
def session(request: Request, run_dir: Path | None) -> Iterator[tuple[Session, Settings]]:
    """Hold the board of ``request`` for the ``with`` block."""
    with progress.shown() as listener, signals.as_exceptions():
        run = Run(request, run_dir, listeners=[listener])
        try:
            yield run.session(), run.settings
        except KeyboardInterrupt as exc:
            run.note_end(signal=signals.signal_of(exc))
            raise
        finally:
            run.end()
