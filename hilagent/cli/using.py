# SPDX-License-Identifier: Apache-2.0
"""A session for the verbs that aren't a test run: same lock, journal and power-off."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Iterator, Sequence
from pathlib import Path

from hilagent import __version__, errors
from hilagent import journal as journals
from hilagent.board import Board
from hilagent.cli import progress
from hilagent.plugin.runs import Run, begun
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


@contextlib.contextmanager
def journal(
    board: Board,
    run_dir: Path | None,
    verb: str,
    listeners: Sequence[journals.Listener] = (),
) -> Iterator[journals.Journal]:
    """Keep the journal of a verb that is no run of tests, for the ``with`` block."""
    log = begun(run_dir or journals.new_run_dir(board.name))
    log.listeners += listeners
    end: dict[str, str] = {}
    try:
        log.run(
            hilagent=__version__, host=platform.node(), board=board.name,
            description=board.description, soc=board.soc, emulated=board.emulated, verb=verb,
        )  # fmt: skip
        yield log
    except KeyboardInterrupt as exc:
        end = {"signal": signals.signal_of(exc)}
        raise
    except errors.WorldError as exc:
        end = {"lab": exc.message}
        raise
    finally:
        with contextlib.suppress(errors.LabError):
            log.write("end", **end)
        log.close()
