# SPDX-License-Identifier: Apache-2.0
"""Short measurements, each with a bound that a loaded host with 2 cores still keeps."""

from pathlib import Path

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker("bench")
