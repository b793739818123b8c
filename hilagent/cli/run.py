# SPDX-License-Identifier: Apache-2.0
"""``hilagent run``: opens the session and is pytest, with our suites and own ini."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from hilagent import errors, journal, report, suites
from hilagent.cli import progress
from hilagent.cli.ending import say, told
from hilagent.plugin.runs import KEY, Run
from hilagent.report.results import results
from hilagent.session import signals
from hilagent.session.settings import DEFAULT_SUITES, Request
from hilagent.text import scrub

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


def run(
    request: Request,
    chosen: Sequence[str],
    tests: Sequence[Path],
    run_dir: Path | None,
    *,
    as_json: bool,
) -> int:
    """Run the suites; print the summary; return the exit code that the journal gives.

    Raises:
        errors.UsageError: the request can't be looked up; nothing was begun.
    """
    with progress.shown() as listener, signals.as_exceptions():
        the_run = Run(request, run_dir, every_test=True, listeners=[listener])
        vectors = [subject.name for subject in the_run.settings.subjects]
        listener.begin(f"{the_run.settings.board.name}: {', '.join(vectors)}")
        _run(the_run, chosen or DEFAULT_SUITES, tests)
    done = the_run.run_dir
    if done is None:
        raise errors.AgentBug("the run left no run directory")
    return _tell(done, as_json=as_json)


def _run(the_run: Run, chosen: Sequence[str], tests: Sequence[Path]) -> None:
    try:
        the_run.session()
        with _own_pytest():
            code = pytest.main(_arguments(chosen, tests), plugins=[Hosting(the_run)])
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


def _arguments(chosen: Sequence[str], tests: Sequence[Path]) -> list[str]:
    folder = Path(suites.__file__).parent
    return [
        *("-c", str(folder / "pytest.ini"), "--rootdir", str(Path.cwd())),
        *("-p", "hilagent.plugin", "-p", "no:terminal", "-p", "no:cacheprovider"),
        *(str(folder / f"{suite}.py") for suite in dict.fromkeys(chosen)),
        *(str(path) for path in tests),
    ]


@contextlib.contextmanager
def _own_pytest() -> Iterator[None]:
    """Keep what the caller's environment does to pytest out of this one."""
    before = {name: os.environ.pop(name, None) for name in _FOREIGN}
    before["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = os.environ.get("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _tell(run_dir: Path, *, as_json: bool) -> int:
    done = journal.read(run_dir)
    if as_json:
        import json

        print(json.dumps(results(done), indent=1))
    else:
        colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        print(report.summary(done, colour=colour), end="")
    return done.exit_code
