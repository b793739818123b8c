# SPDX-License-Identifier: Apache-2.0
"""Quarantine: on what is physical, for everybody on the host, until it is lifted."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from hilagent import board as boards
from hilagent import cli, errors
from hilagent.board import Board
from hilagent.journal import Journal
from hilagent.session import quarantine, shared
from hilagent.session.attended import attend
from tests.cli.outlet import Outlet
from tests.cli.person import Port

SAW = "it ran on"


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HILAGENT_STATE", str(tmp_path / "state"))
    return tmp_path / "state" / "quarantine"


@pytest.fixture
def rock(tmp_path: Path) -> Board:
    Outlet(tmp_path)
    return boards.load("rock", dirs=[tmp_path])


def _other(folder: Path, name: str, **replaced: str) -> Board:
    text = (folder / "rock.yaml").read_text().replace("name: rock", f"name: {name}")
    for before, after in replaced.items():
        text = text.replace({"address": "192.0.2.1", "port": "/dev/null"}[before], after)
    (folder / f"{name}.yaml").write_text(text)
    return boards.load(name, dirs=[folder])


def test_a_mark_says_what_was_seen_when_and_where(rock: Board, tmp_path: Path) -> None:
    assert quarantine.found(rock) is None
    quarantine.refuse(rock)
    assert quarantine.mark(rock, SAW, tmp_path / "run")
    with pytest.raises(errors.LabError, match=r"rock is in quarantine since 20.* UTC: it ran on"):
        quarantine.refuse(rock)
    assert str(tmp_path / "run") in str(quarantine.found(rock))


def test_it_holds_for_every_file_of_the_same_thing_and_for_no_namesake(
    rock: Board, tmp_path: Path
) -> None:
    quarantine.mark(rock, SAW, tmp_path)
    same = _other(tmp_path, "stone", address="192.0.2.7")
    assert quarantine.found(same) is not None
    (tmp_path / "elsewhere").mkdir()
    Outlet(tmp_path / "elsewhere", "/dev/zero")
    text = (tmp_path / "elsewhere/rock.yaml").read_text().replace("192.0.2.1", "192.0.2.9")
    (tmp_path / "elsewhere/rock.yaml").write_text(text)
    assert quarantine.found(boards.load("rock", dirs=[tmp_path / "elsewhere"])) is None


def test_an_emulated_board_can_not_be_marked(tmp_path: Path) -> None:
    virt = boards.load("qemu-virt")
    assert not quarantine.mark(virt, SAW, tmp_path)
    assert quarantine.found(virt) is None


def test_lifting_it_ends_it_and_says_what_was_known(rock: Board, tmp_path: Path) -> None:
    quarantine.mark(rock, SAW, tmp_path)
    quarantine.mark(_other(tmp_path, "stone", port="/dev/zero"), "another", tmp_path)
    assert {mark.saw for mark in quarantine.lift(rock)} == {SAW, "another"}
    assert quarantine.found(rock) is None
    assert quarantine.lift(rock) == []


def test_it_is_in_the_folder_that_a_reboot_keeps_and_others_may_lift_it(
    rock: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HILAGENT_STATE")
    monkeypatch.setattr(shared, "KEPT", tmp_path / "kept")
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept").chmod(0o2775)
    before = os.umask(0o077)
    try:
        quarantine.mark(rock, SAW, tmp_path)
    finally:
        os.umask(before)
    folder = tmp_path / "kept" / "quarantine"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o2775
    (file,) = folder.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o664


@pytest.mark.parametrize(
    "rubbish", [b"", b"\xff{", b"[" * 5000, b"[]", b'{"things": [1], "board": "x"}']
)
def test_rubbish_in_the_folder_is_no_mark(
    rock: Board, state: Path, tmp_path: Path, rubbish: bytes
) -> None:
    quarantine.mark(rock, SAW, tmp_path)
    (state / "a.json").write_bytes(rubbish)
    os.mkfifo(state / "b.json")
    (state / "c.json").symlink_to("/etc/hostname")
    assert len(quarantine.lift(rock)) == 1


def test_a_mark_that_can_not_be_written_hides_no_lie(
    rock: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("HILAGENT_STATE", str(tmp_path / "file"))
    journal = Journal(tmp_path)
    lied = quarantine.lied(rock, journal, SAW)
    journal.close()
    assert lied.message == SAW
    assert "it can't be put into quarantine" in lied.hint


def test_a_run_is_refused_and_told_what_to_do_and_a_person_is_not(
    rock: Board, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = ["--boards", str(tmp_path)]
    quarantine.mark(rock, SAW, tmp_path)
    run = ["run", "rock", *folder, "--suite", "architecture", "--run-dir", str(tmp_path / "run")]
    assert cli.main(run) == 125
    said = capsys.readouterr().err
    assert "rock is in quarantine since" in said
    assert "repair it, then: hilagent doctor rock; or, unseen: hilagent boards release rock" in said
    assert not (tmp_path / "log").exists(), "it was switched"
    assert cli.main(["power", "rock", "on", *folder]) == 0
    with Port() as port:
        Outlet(tmp_path, port.path)
        again = boards.load("rock", dirs=[tmp_path])
        assert quarantine.found(again) is not None
        journal = Journal(tmp_path)
        with attend(again, journal):
            pass
        journal.close()


def test_the_listing_shows_it_until_it_is_released(
    rock: Board, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quarantine.mark(rock, SAW + "\x1b[2J", tmp_path)
    verb = ["boards", "--boards", str(tmp_path)]
    assert cli.main(verb) == 0
    listed = capsys.readouterr().out
    assert "in quarantine since" in listed
    assert "\x1b" not in listed
    assert cli.main([*verb, "release", "rock"]) == 0
    assert "rock is released; it was in quarantine since" in capsys.readouterr().out
    assert cli.main([*verb, "release", "rock"]) == 0
    assert "rock is not in quarantine" in capsys.readouterr().out
    assert cli.main([*verb, "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["rock"]["quarantine"] == ""


def test_of_a_model_at_a_place_it_is_the_place_that_is_marked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    board = boards.load("rpi-4b", place=boards.Place("a", coordinator="lab0"))
    quarantine.mark(board, SAW, tmp_path)
    other = boards.load("rock-pi-4", place=boards.Place("a", coordinator="LAB0:20408"))
    assert quarantine.found(other) is not None
    assert quarantine.found(boards.load("rpi-4b", place=boards.Place("b"))) is None
    with pytest.raises(errors.LabError) as caught:
        quarantine.refuse(board)
    command = caught.value.hint.rpartition(": hilagent ")[2]
    assert command == "boards release rpi-4b --place a --coordinator lab0:20408"
    assert cli.main(command.split()) == 0
    assert "rpi-4b is released" in capsys.readouterr().out
    assert quarantine.found(other) is None
