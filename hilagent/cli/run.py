# SPDX-License-Identifier: Apache-2.0
"""``hilagent run``: opens the session and is pytest, with our suites and own ini."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from hilagent import data, errors, journal, report, suites
from hilagent.cli import progress
from hilagent.cli.ending import say, told
from hilagent.plugin.runs import KEY, Run
from hilagent.report.results import results
from hilagent.session import signals
from hilagent.session.settings import DEFAULT_SUITES, GROUPS, Request, Settings
from hilagent.text import scrub

BUILD_MINUTES = 8
_FOREIGN = ("PYTEST_ADDOPTS", "PYTEST_PLUGINS")


class Hosting:
    """The pytest plugin that hands ``hilagent run``'s own run to ours."""

    def __init__(self, run: Run) -> None:
        self._run = run

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        config.stash[KEY] = self._run

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            say(scrub(f"{report.nodeid} can't be collected:\n{report.longrepr}"))
            self._run.note_end(usage=f"{report.nodeid} can't be collected")


@dataclass(frozen=True)
class Chosen:
    """Which tests are run.

    Attributes:
        suites: of ours; empty for the default.
        tests: a user's own files and folders.
        only: an expression over their names, as pytest's ``-k``; empty for all.
    """

    suites: Sequence[str] = ()
    tests: Sequence[Path] = ()
    only: str = ""


def run(request: Request, chosen: Chosen, run_dir: Path | None, *, as_json: bool) -> journal.Run:
    """Run the suites; print the summary; return what the journal has.

    Raises:
        errors.UsageError: the request can't be looked up; nothing was begun.
    """
    with progress.shown() as listener, signals.as_exceptions():
        the_run = Run(request, run_dir, every_test=True, listeners=[listener])
        vectors = [subject.name for subject in the_run.settings.subjects]
        replay = the_run.settings.recording
        name = f"replay of {replay.label}" if replay else the_run.settings.board.name
        listener.begin(f"{name}: {', '.join(vectors)}")
        for each in the_run.settings.absent:
            listener.begin(f"no {each.what} of the kernel: {each.costs}")
        wanted = chosen.suites or default_suites(the_run.settings, listener)
        _run(the_run, replace(chosen, suites=wanted))
    done = the_run.run_dir
    if done is None:
        raise errors.AgentBug("the run left no run directory")
    return _tell(done, as_json=as_json)


def default_suites(settings: Settings, listener: progress.Listener) -> Sequence[str]:
    """Return what runs if nothing was chosen: with kernels only if those are built."""
    if settings.board.linux is None or settings.request.vectors:
        return DEFAULT_SUITES
    from hilagent.build.kernel import GIVEN, cached
    from hilagent.session.built import fragments

    config = fragments(settings.board)
    wanted = [name for name in settings.kernels if name != GIVEN]
    missing = [name for name in wanted if cached(name, config) is None]
    if not missing:
        return (*DEFAULT_SUITES, "kernel")
    names = " ".join([*missing, *(f"--config {path}" for path in config)])
    listener.begin(
        f"without the suites live and restart: they need 'hilagent build kernel {names}' first, "
        f"about {BUILD_MINUTES} minutes on 2 cores"
    )
    return DEFAULT_SUITES


def _run(the_run: Run, chosen: Chosen) -> None:
    try:
        the_run.session()
        with _own_pytest():
            code = pytest.main(_arguments(chosen), plugins=[Hosting(the_run)])
        if code == pytest.ExitCode.USAGE_ERROR:
            the_run.note_end(usage="pytest did not accept the tests")
    except KeyboardInterrupt as exc:
        the_run.note_end(signal=signals.signal_of(exc))
    except errors.WorldError as exc:
        say(*told(exc))
        the_run.note_end(lab=exc.message)
    except errors.UsageError:
        raise
    except Exception as exc:
        path = the_run.note_bug(exc)
        say(f"hilagent has a bug: {type(exc).__name__}: {exc}", f"the traceback is in {path}")
    finally:
        the_run.end()


def _arguments(chosen: Chosen) -> list[str]:
    folder = Path(suites.__file__).parent
    return [
        *("-c", str(folder / "pytest.ini"), "--rootdir", str(Path.cwd())),
        *("-p", "hilagent.plugin", "-p", "no:terminal", "-p", "no:cacheprovider"),
        *(("-k", chosen.only) if chosen.only else ()),
        *(str(folder / f"{suite}.py") for suite in _suites(chosen.suites)),
        *(str(path) for path in chosen.tests),
    ]


def _suites(chosen: Sequence[str]) -> list[str]:
    """Return each suite once; ``kernel`` stands for two."""
    names = [name for suite in chosen for name in GROUPS.get(suite, (suite,))]
    return list(dict.fromkeys(names))


@contextlib.contextmanager
def _own_pytest() -> Iterator[None]:
    """Keep what the caller's environment does to pytest out of this one.

    Beside an installed package it leaves no bytecode, which no uninstaller knows of.
    """
    wrote = sys.dont_write_bytecode
    sys.dont_write_bytecode = wrote or data.checkout() is None
    before = {name: os.environ.pop(name, None) for name in _FOREIGN}
    before["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = os.environ.get("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    try:
        yield
    finally:
        sys.dont_write_bytecode = wrote
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _tell(run_dir: Path, *, as_json: bool) -> journal.Run:
    done = journal.read(run_dir)
    if as_json:
        import json

        print(json.dumps(results(done), indent=1))
    else:
        colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        print(report.summary(done, colour=colour), end="")
    return done
