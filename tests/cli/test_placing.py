# SPDX-License-Identifier: Apache-2.0
"""Options of a place that contradict each other, and which board is there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from hilagent import cli, errors, place
from hilagent.board import Place
from hilagent.cli import placing, soak
from hilagent.cli.soak import Wanted
from hilagent.place.client import Listed

PLACES = [
    Listed("a", {"board": "rpi-4b", "soc": "bcm2711"}, ""),
    Listed("b", {"board": "rpi-4b", "soc": "bcm2711", "ram": "8g"}, "host/bob"),
    Listed("c", {"board": "rock-pi-4", "soc": "rk3399"}, ""),
    Listed("d", {"soc": "rk3399"}, ""),
]


class Lab:
    def places(self) -> list[Listed]:
        return PLACES


@pytest.fixture(autouse=True)
def _lab(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextlib.contextmanager
    def at(address: str) -> Iterator[Lab]:
        yield Lab()

    monkeypatch.setattr(place.Coordinator, "at", at)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["run", "--place", "a", "--reserve", "soc=x"], "--place names one place"),
        (["run", "--coordinator", "lab0"], "--coordinator is for --place and --reserve"),
        (["run", "one", "two", "--place", "a"], "a place has one board"),
        (["run", "--all", "--place", "a"], "a place has one board"),
        (["run", "rpi-4b", "--reserve", "soc"], "'soc': expected key=value"),
        (["run", "rpi-4b", "--place", "a/b"], "place.name: expected the name of a place"),
        (["run", "qemu-virt", "--place", "a"], "is at no place"),
        (["run", "sbsa-server", "--place", "a"], "it needs cpus, os.ssh.host"),
        (["run", "--place", "d"], "which board is it? The tag 'board' says (d: none)"),
        (["console", "rpi-4b", "--watch", "--reserve", "soc=x"], "--watch needs its name"),
        (["power", "rpi-4b", "on"], "is a model of boards"),
    ],
)
def test_what_makes_no_sense_is_the_callers_mistake(
    argv: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(argv) == 2
    assert said in capsys.readouterr().err


def test_the_tag_says_which_board_is_there() -> None:
    assert placing.board_at(Place("c")) == "rock-pi-4"
    assert placing.board_at(Place(tags={"soc": "bcm2711"})) == "rpi-4b"
    assert placing.board_at(Place(tags={"name": "b"})) == "rpi-4b"


def test_places_with_several_boards_are_no_answer() -> None:
    with pytest.raises(errors.UsageError, match=r"\(c: rock-pi-4, d: none\)") as caught:
        placing.board_at(Place(tags={"soc": "rk3399"}))
    assert "set-tags board=BOARD" in caught.value.hint


def test_a_place_that_is_not_there_is_the_labs() -> None:
    with pytest.raises(errors.LabError, match="has not place x") as caught:
        placing.board_at(Place("x"))
    assert caught.value.hint == "its places: a, b, c, d"


def test_each_round_of_a_soak_asks_for_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Wanted] = []

    def run_soak(wanted: Wanted, *_: object, **__: object) -> int:
        asked.append(wanted)
        return 0

    monkeypatch.setattr(soak, "run_soak", run_soak)
    argv = ["--reserve", "soc=bcm2711", "--coordinator", "lab0", "--wait", "5m", "--rounds", "2"]
    assert cli.main(["soak", *argv]) == 0
    (wanted,) = asked
    assert (wanted.board, wanted.rounds) == ("rpi-4b", 2)
    assert wanted.place == Place(tags={"soc": "bcm2711"}, coordinator="lab0")
    words = " ".join(wanted.argv)
    assert "--reserve soc=bcm2711" in words
    assert "--coordinator lab0" in words
    assert "--wait" in words
