# SPDX-License-Identifier: Apache-2.0
"""32 boards on one host: 32 right verdicts, and what that costs for each."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import pytest

from tests.cli.person import environment
from tests.cli.shelf import VERDICTS, shelf
from tests.cli.test_many import SHORT, many, verdicts
from tests.long.conftest import Tell

BOARDS = 32
KINDS = ("good", "clobbers", "good", "silent")
RSS_MIB = 256
"""Of one agent: more would not go with forty boards and a small host."""


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)


def test_32_scripted_boards_have_32_right_verdicts(tmp_path: Path, tell: Tell) -> None:
    kinds = {f"b{number:02}": KINDS[number % len(KINDS)] for number in range(BOARDS)}
    with shelf(tmp_path / "shelf", kinds) as named:
        out, err = (run := many(tmp_path, *kinds, *named, *SHORT)).communicate(timeout=900)
    found = verdicts(tmp_path / "run")
    right = sum(found[name] == VERDICTS[kind] for name, kind in kinds.items())
    boards = json.loads((tmp_path / "run" / "results.json").read_text())["boards"]
    cpu = [board["process"]["cpu_s"] for board in boards]
    rss = [board["process"]["rss_kib"] / 1024 for board in boards]
    tell(f"{BOARDS} scripted boards at once", f"{BOARDS} right", f"{right} right")
    tell("CPU of an agent, for two suites", "-", _shown(cpu, "s"))
    tell("memory of an agent, at most", f"{RSS_MIB} MiB", _shown(rss, "MiB"))
    assert right == BOARDS, out + err
    assert run.returncode == 1
    assert max(rss) < RSS_MIB


def _shown(found: list[float], unit: str) -> str:
    return f"median {statistics.median(found):.1f} {unit}, most {max(found):.1f} {unit}"
