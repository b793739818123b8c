# SPDX-License-Identifier: Apache-2.0
"""What every test has in common: order, tiers, and what the host must have."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from hilagent import setup
from tests import kernels

_MANY = 2000
"""Cheap tests of a whole run."""
_IN_CI = bool(os.environ.get("CI"))
_HELD_BACK = pytest.StashKey[list[pytest.Item]]()

hypothesis.settings.register_profile("hilagent", deadline=None, derandomize=_IN_CI)
hypothesis.settings.load_profile("hilagent")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="also run the second tier, tests/long")


@pytest.fixture(scope="session", autouse=True)
def _own_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Locks and quarantine of the tests are no business of this host's boards."""
    with pytest.MonkeyPatch.context() as patch:
        state = tmp_path_factory.mktemp("state")
        patch.setenv("HILAGENT_STATE", str(state))
        yield state


@pytest.fixture(autouse=True)
def _no_quarantine(_own_state: Path) -> Iterator[None]:
    """What a test put into quarantine is none of the next one's, which has the same pty."""
    yield
    for mark in _own_state.glob("quarantine/*"):
        mark.unlink()


def _tier(item: pytest.Item) -> int:
    """Cheap tests first: a broken one is told in seconds."""
    marks = ("hil", "bench", "long")
    return max((marks.index(m.name) + 1 for m in item.iter_markers() if m.name in marks), default=0)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=_tier)
    held_back = [item for item in items if item.get_closest_marker("long")]
    if held_back and not config.getoption("--long"):
        config.stash[_HELD_BACK] = held_back
        config.hook.pytest_deselected(items=held_back)
        items[:] = [item for item in items if not item.get_closest_marker("long")]


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Iterator[None]:
    """Have the kernel built beside the many tests that need none: it takes ten minutes of CPU,
    and they leave a core idle."""
    cheap = sum(1 for item in session.items if not _tier(item))
    with contextlib.ExitStack() as stack:
        if cheap > _MANY and cheap < len(session.items) and not session.config.option.collectonly:
            stack.enter_context(kernels.ahead())
        return (yield)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if not item.get_closest_marker("hil"):
        return
    missing = [word for need in setup.needs() for word in need.missing()]
    if missing:
        say = pytest.fail if _IN_CI else pytest.skip
        say(f"missing: {', '.join(missing)} (python3 -m hilagent.setup test installs it)")


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    held_back = config.stash.get(_HELD_BACK, [])
    if held_back:
        terminalreporter.section("not run here")
        terminalreporter.line("second tier (python3 -m hilagent.setup test --long [NAME]):")
        for name in sorted({item.location[0] for item in held_back}):
            terminalreporter.line(f"  {name}")
