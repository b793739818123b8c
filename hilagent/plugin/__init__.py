# SPDX-License-Identifier: Apache-2.0
"""The pytest plugin: options, fixtures and hooks; what they do is in the files beside it.

Everything has the prefix ``hilagent_`` or ``--hilagent-``, so that it lives
beside labgrid's plugin. A test that uses no ``hilagent_`` fixture, and isn't
one of our suites, is left alone: no session, no run directory, no verdict.

A user's file, as a whole::

    def test_get_vectors_keeps_x19(hilagent_payload):
        exchange = hilagent_payload.hvc(1)
        assert exchange.after.x[19] == exchange.before.x[19]

``pytest --hilagent-board qemu-virt`` runs it. The plain ``pytest`` command
keeps pytest's exit codes.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

import pytest

from hilagent import errors
from hilagent.plugin import again, collected, options, reports, runs
from hilagent.session.settings import Settings, unmet

if TYPE_CHECKING:
    from hilagent.board import Board
    from hilagent.console import Console
    from hilagent.console.uboot import UBoot
    from hilagent.payload import Payload
    from hilagent.session.linux import Linux
    from hilagent.session.session import Session


def pytest_addoption(parser: pytest.Parser) -> None:
    options.add(parser)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", options.MARKER)
    if runs.KEY not in config.stash:
        with _usage():
            config.stash[runs.KEY] = runs.Run(options.request(config), options.run_dir(config))
    config.pluginmanager.register(runs.CutShort(runs.of(config)), "hilagent-cut-short")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrise a suite's test by what it says of itself (see suites/cases.py)."""
    make = getattr(metafunc.function, "hilagent_cases", None)
    if make is not None:
        cases = list(make(_settings(metafunc.config)))
        metafunc.parametrize("case", cases, ids=[str(case) for case in cases])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if any(_is_judged(item) for item in items):
        board = _settings(config).board
        with _usage():
            for item in items:
                unmet(board, collected.needs(item))  # a need that nobody knows ends the run
        items.sort(key=collected.rank)


def pytest_collection_finish(session: pytest.Session) -> None:
    judged = [item for item in session.items if _is_judged(item)]
    if judged and not session.config.option.collectonly:
        with _usage():
            runs.of(session.config).plan([collected.test_id(item) for item in judged])


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    if not _is_judged(item):
        return None
    again.run(item, nextitem)
    return True


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    wanted = collected.needs(item)
    if wanted and (reason := unmet(_settings(item.config).board, wanted)):
        raise errors.Unsupported(reason)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if _is_judged(item):
        reports.judge(item, call, report)
        report.user_properties += runs.of(item.config).properties()
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> Generator[None, None, None]:
    phase, report.when = report.when, reports.junit_phase(report)  # type: ignore[assignment]
    try:
        yield
    finally:
        report.when = phase


@pytest.hookimpl(tryfirst=True)
def pytest_report_teststatus(
    report: pytest.TestReport | pytest.CollectReport,
) -> tuple[str, str, str] | None:
    return reports.teststatus(report)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if runs.KEY in session.config.stash:
        _end(runs.of(session.config))


def pytest_unconfigure(config: pytest.Config) -> None:
    if runs.KEY in config.stash:
        _end(runs.of(config))


def _end(run: runs.Run) -> None:
    try:
        run.end()
    except errors.WorldError as exc:  # the reports can't be written; the journal is closed
        warnings.warn(pytest.PytestWarning(f"hilagent: {exc.message}"), stacklevel=1)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    run = runs.of(config)
    if run.run_dir is not None:
        terminalreporter.write_line(f"hilagent: run directory {run.run_dir}")


@pytest.fixture(scope="session")
def hilagent_board(pytestconfig: pytest.Config) -> Board:
    """The board's description; touches nothing."""
    return _settings(pytestconfig).board


@pytest.fixture(scope="session")
def hilagent_settings(pytestconfig: pytest.Config) -> Settings:
    """What this run was asked for: board, ABI profile, vectors, transfer."""
    return _settings(pytestconfig)


@pytest.fixture(scope="session")
def hilagent_session(pytestconfig: pytest.Config) -> Session:
    """The session that holds the board; opened by the first test that uses it."""
    return runs.of(pytestconfig).session()


@pytest.fixture
def hilagent_console(hilagent_session: Session) -> Console:
    """The board's console; the board is switched on for it."""
    return hilagent_session.console()


@pytest.fixture
def hilagent_uboot(hilagent_session: Session) -> UBoot:
    """U-Boot at its prompt."""
    return hilagent_session.uboot()


@pytest.fixture
def hilagent_payload(request: pytest.FixtureRequest, hilagent_session: Session) -> Payload:
    """The payload, with the vectors of ``hilagent_needs(vectors=...)`` or the run's first."""
    from hilagent.session.subject import resolve

    settings = _settings(request.config)
    chosen = collected.needs(request.node).get("vectors")
    subject = resolve(chosen, settings.profile) if chosen else settings.subjects[0]
    return hilagent_session.payload(subject)


@pytest.fixture
def hilagent_linux(hilagent_session: Session, hilagent_settings: Settings) -> Linux:
    """A kernel that runs: the run's first, in its first mode."""
    return hilagent_session.linux(hilagent_settings.boots[0])


def _is_judged(item: pytest.Item) -> bool:
    return runs.of(item.config).every_test or collected.is_ours(item)


def _settings(config: pytest.Config) -> Settings:
    with _usage():
        return runs.of(config).settings


@contextlib.contextmanager
def _usage() -> Iterator[None]:
    """Turn what keeps a run from beginning into pytest's own error for it."""
    try:
        yield
    except (errors.UsageError, errors.LabError) as exc:
        hint = f" ({exc.hint})" if exc.hint else ""
        raise pytest.UsageError(exc.message + hint) from exc
