# SPDX-License-Identifier: Apache-2.0
"""Power by a place: what it says is believed, and its silence is no answer."""

from __future__ import annotations

from typing import Any, cast

import pytest

from hilagent import board as boards
from hilagent import power
from hilagent.board.model import Power as Spec
from hilagent.errors import AgentBug, LabError
from hilagent.place import Place
from hilagent.power.labgrid import LabgridPower
from hilagent.testing import ManualClock


class Strip:
    """A place's switch that does, says and refuses what it is told to."""

    name = "a"

    def __init__(self, *, sticks: bool = False, tells: bool = True) -> None:
        self.did: list[str] = []
        self.on, self._sticks, self._tells = False, sticks, tells

    def switch(self, verb: str, limit_s: float) -> bool | None:
        if verb == "get":
            return self.on if self._tells else None
        self.did.append(verb)
        if not self._sticks:
            self.on = verb == "on"
        return None


def power_by(strip: Strip, **how: Any) -> LabgridPower:
    return LabgridPower(Spec("labgrid", off_s=5), cast(Place, strip), **how)


def test_a_cycle_leaves_the_board_without_power_for_as_long_as_it_needs() -> None:
    strip, pauses = Strip(), list[float]()
    switch = power_by(strip, clock=ManualClock(), pause=pauses.append)
    switch.on()
    switch.cycle()
    assert strip.did == ["on", "off", "on"]
    assert pauses == [5.0]
    assert switch.state() is True
    assert switch.alive() is None


def test_a_switch_that_says_the_opposite_is_an_error() -> None:
    with pytest.raises(LabError, match="power on: the switch of place a says that it is off"):
        power_by(Strip(sticks=True)).on()


def test_a_switch_that_tells_nothing_is_believed_to_have_switched() -> None:
    switch = power_by(Strip(tells=False))
    switch.on()
    assert switch.state() is None


def test_there_is_none_without_its_place() -> None:
    board = boards.load("rpi-4b", place=boards.Place("a"))
    with pytest.raises(AgentBug):
        power.open(board)
