# SPDX-License-Identifier: Apache-2.0
"""The second tier: what takes minutes to hours. It ends with a table of what was found."""

from collections.abc import Callable
from pathlib import Path

import pytest

Tell = Callable[[str, str, str], None]
_ROWS = pytest.StashKey[list[tuple[str, str, str]]]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker("long")


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Tell:
    """``tell(what, goal, found)`` adds a row to the table, whether the test passes or not."""

    def add(what: str, goal: str, found: str) -> None:
        request.config.stash.setdefault(_ROWS, []).append((what, goal, found))

    return add


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    rows = config.stash.get(_ROWS, [])
    if not rows:
        return
    terminalreporter.section("found")
    table = [("what", "goal", "found"), *rows]
    widths = [max(len(row[column]) for row in table) for column in range(3)]
    for row in table:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        terminalreporter.line("  ".join(cells).rstrip())
