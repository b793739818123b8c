# SPDX-License-Identifier: Apache-2.0
"""A bench for whole commands: sessions on a board that isn't there."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hilagent.plugin import runs
from tests.session import fakes


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[fakes.FakeBench]:
    """Run every session on a bench without a board, in a folder of its own."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    bench = fakes.FakeBench()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HILAGENT_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(runs, "look_up", lambda request: fakes.settings())
    monkeypatch.setattr(runs, "open_session", lambda chosen, log: fakes.opened(bench, chosen, log))
    monkeypatch.setattr("hilagent.cli.run.default_suites", lambda settings, listener: ())
    yield bench
    sys.modules.pop("test_mine", None)
