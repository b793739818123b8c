# SPDX-License-Identifier: Apache-2.0
"""``hilagent power``: it says what it did, and what it knows."""

from __future__ import annotations

from pathlib import Path

import pytest

from hilagent import cli
from hilagent.session import lock
from tests.cli.outlet import Outlet


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HILAGENT_STATE", str(tmp_path / "state"))


def power(outlet: Outlet, verb: str) -> int:
    return cli.main(["power", "rock", verb, "--boards", str(outlet.folder)])


def test_each_verb_says_what_it_did_and_what_the_switch_says_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outlet = Outlet(tmp_path)
    assert power(outlet, "on") == 0
    assert outlet.is_on()
    assert power(outlet, "state") == 0
    assert power(outlet, "off") == 0
    assert not outlet.is_on()
    assert power(outlet, "state") == 0
    assert power(outlet, "cycle") == 0
    assert outlet.did() == ["on", "off", "off", "on"]
    assert capsys.readouterr().out.splitlines() == [
        "rock: switched on; its switch says that it is on",
        "rock: on",
        "rock: switched off; its switch says that it is off",
        "rock: off",
        "rock: switched off; its switch says that it is off",
        "rock: switched on; its switch says that it is on",
    ]


def test_a_cycle_of_the_boards_own_is_that_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outlet = Outlet(tmp_path, cycle=True)
    assert power(outlet, "cycle") == 0
    assert outlet.did() == ["cycle"]
    assert "cycled by its own command; its switch says that it is on" in capsys.readouterr().out


def test_what_can_not_be_verified_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outlet = Outlet(tmp_path, state=False)
    assert power(outlet, "on") == 0
    said = capsys.readouterr().out
    assert said == "rock: switched on; not verified: its file has no 'power.state'\n"
    assert power(outlet, "state") == 2
    assert "rock: its file has no 'power.state'" in capsys.readouterr().err


def test_a_state_that_is_neither_on_nor_off_is_the_labs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outlet = Outlet(tmp_path)
    outlet.let("silent")
    assert power(outlet, "off") == 0
    assert "outlet says neither on (exit 0) nor off (1)" in capsys.readouterr().out
    assert power(outlet, "state") == 125


@pytest.mark.parametrize(("verb", "left"), [("off", "off"), ("cycle", "off"), ("on", "on")])
def test_a_switch_that_says_the_opposite_is_125(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str, left: str
) -> None:
    outlet = Outlet(tmp_path)
    if verb != "on":
        power(outlet, "on")
    outlet.let("stuck")
    assert power(outlet, verb) == 125
    said = capsys.readouterr().err
    assert f"rock was switched {left}, and its switch says that it is " in said
    assert outlet.did()[-1] == left  # a cycle that stays on goes no further


def test_a_command_that_fails_is_125_with_its_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outlet = Outlet(tmp_path)
    outlet.let("fails-off")
    assert power(outlet, "off") == 125
    assert "outlet ended with 3: the relay sticks" in capsys.readouterr().err


def test_a_board_in_use_is_not_switched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outlet = Outlet(tmp_path)
    with lock.hold(["/dev/null"], board="rock", run_dir=tmp_path / "theirs"):
        for verb in ("on", "off", "cycle", "state"):
            assert power(outlet, verb) == 125
    assert outlet.did() == []
    said = capsys.readouterr().err
    assert "INFRA: rock: /dev/null is in use by " in said
    assert str(tmp_path / "theirs") in said


@pytest.mark.parametrize("verb", ["on", "off", "cycle", "state"])
def test_an_emulated_board_has_no_switch_for_another_command(
    capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    assert cli.main(["power", "qemu-virt", verb]) == 2
    said = capsys.readouterr().err
    assert "qemu-virt is emulated: it lives no longer than the command that starts it" in said
    assert "hilagent console qemu-virt" in said


def test_a_board_without_a_switch_is_refused_with_file_and_field(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outlet, path = Outlet(tmp_path), tmp_path / "rock.yaml"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not line.startswith("power")))
    assert power(outlet, "on") == 2
    assert "rock.yaml" in (said := capsys.readouterr().err)
    assert "power" in said


def test_what_it_can_not_do_is_a_usage_error(tmp_path: Path) -> None:
    assert power(Outlet(tmp_path), "toggle") == 2
    assert cli.main(["power", "nonesuch", "on"]) == 2
