# SPDX-License-Identifier: Apache-2.0
"""A whole run in this process: as ``hilagent run``, without pytest's start-up.

The session, the suites' tests, what is measured again, journal and reports are the
program's own; only what finds and calls the tests is another.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from hilagent import errors, journal
from hilagent.journal import Journal
from hilagent.plugin import again, reports
from hilagent.plugin.runs import Run
from hilagent.result import Outcome, Verdict
from hilagent.session import signals
from hilagent.session.open import open as open_session
from hilagent.session.session import Session
from hilagent.session.settings import Settings
from hilagent.testing.replayed import Replay
from hilagent.testing.simulated import Simulation

Lab = Simulation | Replay


@dataclass(frozen=True)
class _Test:
    """One test of a suite."""

    name: str
    call: Callable[[Session, Settings], object]


def run(
    lab: Lab, settings: Settings, run_dir: Path, suites: Sequence[str] = ("dispatch",)
) -> journal.Run:
    """Run ``suites`` on the board of ``lab`` and return what the journal says.

    Args:
        settings: with the board's file, and what is under test.
        run_dir: gets everything that a run leaves; must hold no run yet.
    """
    return _run(lab, settings, run_dir, list(tests(settings, suites)))


def tests(settings: Settings, suites: Sequence[str]) -> Iterator[_Test]:
    """Yield the tests of ``suites``, in the order of a run."""
    for suite in suites:
        module = import_module(f"hilagent.suites.{suite}")
        for name, function in vars(module).items():
            if name.startswith("test_") and inspect.isfunction(function):
                yield from _cases(name.removeprefix("test_"), function, settings)


def _cases(name: str, function: Callable[..., object], settings: Settings) -> Iterator[_Test]:
    make: Any = getattr(function, "hilagent_cases", None)
    if make is None:
        yield _Test(name, function)
        return
    for case in make(settings):
        yield _Test(f"{name}[{case}]", functools.partial(_with_case, function, case))


def _with_case(
    function: Callable[..., object], case: object, session: Session, settings: Settings
) -> object:
    return function(session, settings, case)


def _run(lab: Lab, settings: Settings, run_dir: Path, wanted: list[_Test]) -> journal.Run:
    def opener(settings: Settings, journal: Journal) -> contextlib.AbstractContextManager[Session]:
        return open_session(settings, journal, lab)

    the_run = Run(settings.request, run_dir, opener=opener, listeners=[lab.heard], clock=lab.clock)
    the_run.settings = settings
    with signals.as_exceptions():  # around its end, too, which gives back what it found
        _done(the_run, settings, wanted)
    return journal.read(run_dir)


def _done(the_run: Run, settings: Settings, wanted: list[_Test]) -> None:
    try:
        the_run.plan([test.name for test in wanted])
        for test in wanted:
            _settle(the_run, settings, test)
    except KeyboardInterrupt as exc:
        the_run.note_end(signal=signals.signal_of(exc))
    except errors.WorldError as exc:
        the_run.note_end(lab=exc.message)
    except Exception as exc:  # a defect of the program
        the_run.note_bug(exc)
    finally:
        with contextlib.suppress(errors.WorldError):  # the disk is full
            the_run.end()


def _settle(the_run: Run, settings: Settings, test: _Test) -> None:
    first = _once(the_run, settings, test)

    def repeat() -> Outcome:
        with the_run.session().again():
            return _once(the_run, settings, test)

    again.settle(first, the_run.journal(), repeat if the_run.opened is not None else None)


def _once(the_run: Run, settings: Settings, test: _Test) -> Outcome:
    try:
        test.call(the_run.session(), settings)
    except Exception as exc:  # whatever a test raises is judged, as pytest's plugin does
        judged = reports.raised(exc, repr(exc))
    else:
        judged = reports.Judged(Verdict.PASS)
    return Outcome(
        test.name,
        judged.verdict,
        judged.message,
        details=judged.details,
        findings=judged.findings,
        measured=judged.measured,
    )
