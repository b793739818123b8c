# SPDX-License-Identifier: Apache-2.0
"""Old runs go, but never a board's last accusation, nor anything that is no run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hilagent import cli, journal
from hilagent.report import prune
from tests.report.test_history import DAY, planted, run


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HILAGENT_RUNS", str(tmp_path))
    return tmp_path


def names(found: list[prune.Kept]) -> list[str]:
    return [each.folder for each in found]


def test_old_runs_go_and_the_last_accusation_of_each_board_stays(tmp_path: Path) -> None:
    planted(tmp_path, a="..F..F....")
    run(tmp_path, 20, {"a": "F"}, board="pi")
    run(tmp_path, 21, {"a": "."}, board="pi")
    gone, held = prune.plan(tmp_path, 5 * DAY, None, now_s=10 * DAY)
    assert names(gone) == ["run-0000", "run-0001", "run-0002", "run-0003", "run-0004"]
    gone, held = prune.plan(tmp_path, 0, None, now_s=100 * DAY)
    assert names(held) == ["run-0005", "run-0020"]
    assert [each.why for each in held] == [
        "the last accusation of rock",
        "the last accusation of pi",
    ]
    assert list(prune.remove(tmp_path, gone)) == gone
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == names(held)


def test_so_many_go_that_the_rest_fits(tmp_path: Path) -> None:
    planted(tmp_path, a="....")
    size = prune._size(tmp_path / "run-0000")
    gone, _ = prune.plan(tmp_path, None, 2 * size + size // 2, now_s=100 * DAY)
    assert names(gone) == ["run-0000", "run-0001"]
    assert prune.plan(tmp_path, None, 1 << 40, now_s=100 * DAY) == ([], [])


def test_what_may_be_going_on_and_the_latest_stay(tmp_path: Path) -> None:
    run(tmp_path, 10, {"a": "."}, ends=False)
    run(tmp_path, 11, {"a": "."})
    (tmp_path / "latest").symlink_to("run-0011")
    gone, held = prune.plan(tmp_path, 0, None, now_s=10.5 * DAY)
    assert (names(gone), names(held)) == ([], ["run-0010"])
    gone, held = prune.plan(tmp_path, 0, None, now_s=12 * DAY)
    assert (names(gone), names(held)) == (["run-0010"], ["run-0011"])


def test_a_run_whose_children_still_write_or_that_nobody_can_read_stays(tmp_path: Path) -> None:
    run(tmp_path, 10, {"a": "."})
    run(tmp_path / "run-0010", 10, {"a": "."}, ends=False)
    newer = run(tmp_path, 9, {"a": "."}, version=99)
    os.utime(newer / journal.NAME, (10 * DAY, 10 * DAY))
    _, held = prune.plan(tmp_path, 0, None, now_s=10.5 * DAY)
    assert [each.why for each in held] == [
        "this version can't read it, and it is young", "it may be going on"
    ]  # fmt: skip


def test_what_an_interrupted_pruning_left_goes_with_the_next(tmp_path: Path) -> None:
    planted(tmp_path, a="..")
    (tmp_path / "run-0000").rename(tmp_path / ".gone-run-0000")
    assert list(prune.remove(tmp_path, [])) == []
    assert [path.name for path in tmp_path.iterdir()] == ["run-0001"]


def test_nothing_but_runs_goes(tmp_path: Path) -> None:
    runs, other = tmp_path / "runs", tmp_path / "other"
    planted(runs, a="..")
    planted(other, a=".")
    (runs / "mine").mkdir()
    (runs / "mine/notes.txt").write_text("keep")
    (runs / "linked").symlink_to(other / "run-0000")
    (runs / "run-0000/elsewhere").symlink_to(other)
    gone, _ = prune.plan(runs, 0, None, now_s=100 * DAY)
    assert names(gone) == ["run-0000", "run-0001"]
    assert list(prune.remove(runs, gone)) == gone
    assert (runs / "mine/notes.txt").exists()
    assert (other / "run-0000" / journal.NAME).exists()


def test_pruning_by_the_command(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    planted(runs, a=".F.")
    assert cli.main(["history", "prune"]) == 2
    assert cli.main(["history", "prune", "--keep-days", "1", "--dry-run"]) == 0
    assert "would go run-0000" in capsys.readouterr().err
    assert len([path for path in runs.iterdir() if path.is_dir()]) == 3
    assert cli.main(["history", "prune", "--keep-days", "1"]) == 0
    said = capsys.readouterr().err
    assert "kept     run-0001: the last accusation of rock" in said
    assert [path.name for path in runs.iterdir() if path.is_dir()] == ["run-0001"]
