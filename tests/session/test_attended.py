# SPDX-License-Identifier: Apache-2.0
"""A board in the hands of a person: what was switched on is switched off."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hilagent import board as boards
from hilagent import errors
from hilagent.journal import Journal
from hilagent.session.attended import Begin, attend
from tests.cli.outlet import Outlet
from tests.cli.person import Port


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HILAGENT_STATE", str(tmp_path / "state"))


@pytest.fixture
def port() -> Iterator[Port]:
    with Port() as port:
        yield port


def attended(outlet: Outlet, begin: Begin, *, cycles: bool = False) -> list[str]:
    """Attend the board, cycle it if that is wanted, and return what the outlet was told."""
    run_dir = outlet.folder / "run"
    run_dir.mkdir()
    journal = Journal(run_dir)
    try:
        with attend(boards.load("rock", dirs=[outlet.folder]), journal, begin) as board:
            if cycles:
                board.cycle()
        return outlet.did()
    finally:
        journal.close()


@pytest.mark.parametrize(
    ("was_on", "tells", "begin", "cycles", "did"),
    [
        (False, True, "as it is", False, []),
        (False, True, "on", False, ["on", "off"]),
        (True, True, "on", False, []),
        (True, False, "on", False, ["on", "off"]),
        (True, True, "cycle", False, ["off", "on", "off"]),
        (False, True, "as it is", True, ["off", "on", "off"]),
        (True, True, "as it is", True, ["off", "on"]),
        (True, False, "as it is", True, ["off", "on"]),
    ],
)
def test_power_at_the_end_is_as_it_was_found(
    tmp_path: Path, port: Port, was_on: bool, tells: bool, begin: Begin, cycles: bool,
    did: list[str],
) -> None:  # fmt: skip
    outlet = Outlet(tmp_path, port.path, state=tells)
    outlet.let(*(["live"] if was_on else []))
    assert attended(outlet, begin, cycles=cycles) == did


def test_a_port_that_is_not_there_leaves_power_alone(tmp_path: Path) -> None:
    outlet = Outlet(tmp_path, "/dev/no-such-port")
    with pytest.raises(errors.LabError, match="No such file"):
        attended(outlet, "on")
    assert outlet.did() == []


def test_a_switch_that_fails_is_switched_off_all_the_same(tmp_path: Path, port: Port) -> None:
    outlet = Outlet(tmp_path, port.path)
    outlet.let("fails-on")
    with pytest.raises(errors.LabError, match="the relay sticks"):
        attended(outlet, "on")
    assert outlet.did() == ["off"]
