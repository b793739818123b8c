# SPDX-License-Identifier: Apache-2.0
"""labgrid, for the tests of this room that want the real one."""

import pytest

from tests import labgrid_env


@pytest.fixture
def labgrid(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real one, which set-up fetched or this does."""
    monkeypatch.setenv("HILAGENT_LABGRID_PYTHON", labgrid_env.python())
