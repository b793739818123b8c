# SPDX-License-Identifier: Apache-2.0
"""A board at a place: console and power are the place's, all else is its file's."""

from __future__ import annotations

from pathlib import Path

import pytest

from hilagent import board as boards
from hilagent import errors
from hilagent.board import Place

AT = Place("rock-a", coordinator="lab0")
OWN = """\
extends: rock-pi-4
name: own
console: {kind: serial, path: /dev/ttyUSB0, baud: 57600}
power: {kind: command, on: [outlet, "on"], off: [outlet, "off"], off_s: 7}
"""


def own(folder: Path, more: str = "", text: str = OWN) -> list[Path]:
    (folder / "own.yaml").write_text(text + more)
    return [folder]


def test_a_model_will_do_and_boots_no_kernels_for_it_has_no_address() -> None:
    board = boards.load("rock-pi-4", place=AT)
    assert (board.console.kind, board.power.kind, board.linux) == ("labgrid", "labgrid", None)
    assert board.place == AT
    assert board.console.baud == 1500000
    assert board.console.uart is not None


def test_a_labs_own_board_keeps_its_rates_times_and_address(tmp_path: Path) -> None:
    dirs = own(tmp_path, "linux: {ssh: {host: 192.0.2.19}}\n")
    board = boards.load("own", dirs=dirs, place=Place(tags={"soc": "rk3399"}))
    assert (board.console.baud, board.console.path, board.power.off_s) == (57600, None, 7)
    assert board.power.on is None
    assert board.linux is not None
    assert str(board.place) == "a place with soc=rk3399"


def test_what_else_a_model_needs_is_still_asked_for() -> None:
    with pytest.raises(errors.UsageError, match=r"it needs cpus, os.ssh.host"):
        boards.load("sbsa-server", place=AT)


def test_an_emulator_of_this_host_is_at_no_place() -> None:
    with pytest.raises(errors.UsageError, match="is at no place"):
        boards.load("qemu-virt", place=AT)


def test_a_file_says_it_once_for_every_verb(tmp_path: Path) -> None:
    text = OWN.partition("console")[0] + (
        "place: {name: rock-a, coordinator: 'lab0:20408'}\n"
        "console: {kind: labgrid}\npower: {kind: labgrid}\nlinux: ~\n"
    )
    board = boards.load("own", dirs=own(tmp_path, text=text))
    assert board.place == Place("rock-a", coordinator="lab0:20408")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("console: {kind: labgrid}", "console or power by labgrid needs a 'place' block"),
        ("place: {}", "a place has a 'name', or 'tags' to choose one by"),
        ("place: {name: a, tags: {soc: x}}", "a place has a 'name', or 'tags'"),
        ("place: {name: a/b}", "place.name: expected the name of a place"),
        ("place: {tags: {Soc: x}}", "expected a tag of a place"),
        ("place: {name: a, coordinator: 'http://lab0'}", "expected HOST or HOST:PORT"),
        ("power: {kind: labgrid, outlet: 3}", "power by labgrid has no"),
    ],
)
def test_a_place_that_is_none_is_told(tmp_path: Path, line: str, said: str) -> None:
    key = line.partition(":")[0]
    text = "".join(x for x in OWN.splitlines(True) if not x.startswith(f"{key}:"))
    with pytest.raises(errors.InputError) as caught:
        boards.load("own", dirs=own(tmp_path, f"{line}\nlinux: ~\n", text))
    assert said in str(caught.value)


def test_two_boards_at_one_place_are_told(tmp_path: Path) -> None:
    text = "extends: rpi-4b\nname: {}\nplace: {{name: a}}\nconsole: {{kind: labgrid}}\n"
    for name in ("one", "two"):
        more = "power: {kind: labgrid}\nlinux: ~\n"
        (tmp_path / f"{name}.yaml").write_text(text.format(name) + more)
    _, problems = boards.check([tmp_path], env={"HOME": "/nonexistent"})
    (problem,) = problems
    assert "place.name: expected a place of its own, found 'a of labgrid'" in problem.message
