# SPDX-License-Identifier: Apache-2.0
"""``hilagent soak``: over and over, until something is wrong."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from hilagent.cli.soak import KEPT
from tests.cli.person import environment, hilagent
from tests.cli.shelf import shelf

SHORT = ("--suite", "architecture", "--suite", "clobber", "--vectors", "reference-stub")


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)


def _soak(tmp_path: Path, kind: str, *argv: str) -> tuple[int, dict[str, Any], str]:
    with shelf(tmp_path / "shelf", {"one": kind}) as named:
        done = subprocess.run(
            hilagent("soak", "one", *named, *SHORT, *argv, "--run-dir", str(tmp_path / "soak")),
            cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
    said = (tmp_path / "soak" / "results.json").read_text()
    return done.returncode, json.loads(said), done.stdout + done.stderr


def test_each_round_begins_at_power_and_the_last_folders_are_kept(tmp_path: Path) -> None:
    rounds = KEPT + 1
    code, data, said = _soak(tmp_path, "good", "--rounds", str(rounds))
    assert (code, data["verdict"], data["end"]["why"]) == (0, "pass", f"{rounds} rounds are done")
    assert [each["verdict"] for each in data["rounds"]] == ["pass"] * rounds
    assert [each["boots"] for each in data["rounds"]] == [1] * rounds
    assert data["link"]["rx_bytes"] > 1000 * rounds
    kept = sorted(path.name for path in (tmp_path / "soak").iterdir() if path.is_dir())
    assert kept == [f"{number:04}" for number in range(2, rounds + 1)]
    assert f"{rounds} starts from power" in said
    words = (tmp_path / "shelf" / "one.log").read_text().split()
    assert words.count("on") == rounds
    assert words[-1] == "off"


def test_the_first_accusation_ends_it_with_its_evidence(tmp_path: Path) -> None:
    code, data, said = _soak(tmp_path, "clobbers", "--rounds", "5")
    assert (code, data["verdict"], len(data["rounds"])) == (1, "fail", 1)
    assert data["end"]["why"] == "round 0001 is FAIL"
    assert "FAIL 2 of 2" in said
    assert "x19: expected keeps its value" in said
    assert (tmp_path / "soak" / "0001" / "console.raw").exists()


def test_a_lab_that_fails_three_times_in_a_row_ends_it(tmp_path: Path) -> None:
    code, data, _ = _soak(tmp_path, "silent", "--rounds", "9")
    assert (code, data["verdict"]) == (125, "infra")
    assert [each["verdict"] for each in data["rounds"]] == ["infra"] * 3
    assert data["end"]["why"] == "the lab failed 3 rounds in a row"


def test_no_round_begins_when_time_is_up(tmp_path: Path) -> None:
    code, data, said = _soak(tmp_path, "good", "--for", "0.1s")
    assert (code, len(data["rounds"]), data["end"]["why"]) == (0, 1, "time is up")
    assert "1 round in" in said


def test_a_signal_switches_the_board_off_and_ends_it(tmp_path: Path) -> None:
    with shelf(tmp_path / "shelf", {"one": "waits"}) as named:
        soak = subprocess.Popen(
            hilagent("soak", "one", *named, *SHORT, "--run-dir", str(tmp_path / "soak")),
            cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert soak.stderr is not None
        for line in soak.stderr:
            if "tests" in line:  # the round's plan: its run has begun
                break
        soak.send_signal(signal.SIGINT)
        out, _ = soak.communicate(timeout=60)
        words = (tmp_path / "shelf" / "one.log").read_text().split()
    assert soak.returncode == 130
    assert words[-1] == "off"
    assert "It ended: SIGINT" in out


def test_a_board_that_nobody_knows_is_wrong_usage(tmp_path: Path) -> None:
    done = subprocess.run(
        hilagent("soak", "none"), cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "none" in done.stderr
