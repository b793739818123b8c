# SPDX-License-Identifier: Apache-2.0
"""kill -9 at boundaries of the journal; `tests/long/test_killed.py` has all of them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hilagent import journal
from tests.cli.person import environment
from tests.cli.shelf import shelf
from tests.cli.test_many import SHORT
from tests.fault import boundaries
from tests.fault.harness import HILAGENT, ran


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HILAGENT_STATE", environment(tmp_path)["HILAGENT_STATE"])


def test_a_killed_run_is_what_its_journal_says_and_the_next_one_recovers(tmp_path: Path) -> None:
    with shelf(tmp_path / "shelf", {"rock": "clobbers"}) as named:
        argv = ["run", "rock", *named, *SHORT]
        expected = boundaries.whole(argv, tmp_path / "whole")
        assert {verdict.name for verdict in expected.verdicts.values()} >= {"PASS", "FAIL"}
        last = expected.lines // 2
        for lines, torn in ((1, 40), (expected.lines - 2, 0), (last, 1)):
            done = boundaries.killed(argv, tmp_path / f"{lines}", lines, torn)
            assert done.code == -signal.SIGKILL, done.story()
            boundaries.check(done, lines, bool(torn), expected)
        assert str(tmp_path / str(last)) in _left_on(named), "nobody says that it may be on"
        again = ran(argv, tmp_path / "again")
        assert _left_on(named) == ""
    assert again.code == expected.code, again.story()
    assert again.run is not None
    assert {t: o.verdict for t, o in again.run.outcomes.items()} == expected.verdicts
    assert (tmp_path / "shelf" / "rock.log").read_text().split()[-1] == "off"
    assert str(tmp_path / str(last) / "run") in _notes(again.run), (
        "not told who may have left it on"
    )


def _left_on(named: list[str]) -> str:
    argv = [sys.executable, *HILAGENT, "boards", *named, "--json"]
    rows = json.loads(subprocess.run(argv, capture_output=True, timeout=60).stdout)
    (left_on,) = (row["left_on"] for row in rows if row["name"] == "rock")
    return str(left_on)


def _notes(run: journal.Run) -> str:
    return "\n".join(record["text"] for record in run.records if record["kind"] == "note")
