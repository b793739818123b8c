# SPDX-License-Identifier: Apache-2.0
"""Power by commands."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hilagent.board.model import Power as Spec
from hilagent.errors import LabError
from hilagent.power.command import CommandPower


@pytest.fixture
def outlet(tmp_path: Path) -> Path:
    """Return an outlet: a program that notes what it is told, and holds its state."""
    path = tmp_path / "outlet"
    path.write_text(
        "#!/bin/sh\n"
        f'cd "{tmp_path}" || exit 9\n'
        "case $1 in state) exec test -e live;; on) : >live;; off) rm -f live;; esac\n"
        'echo "$1" >>log\n'
    )
    path.chmod(0o755)
    return path


def power(outlet: Path, **more: object) -> CommandPower:
    name = str(outlet)
    fields = {"on": (name, "on"), "off": (name, "off"), "state": (name, "state"), "off_s": 0.1}
    return CommandPower(Spec(kind="command", **{**fields, **more}))  # type: ignore[arg-type]


def test_each_verb_runs_its_command(outlet: Path) -> None:
    switch = power(outlet)
    assert switch.state() is False
    switch.on()
    assert switch.state() is True
    switch.off()
    assert switch.state() is False
    assert switch.alive() is None


def test_a_cycle_without_a_command_is_off_and_on(outlet: Path) -> None:
    power(outlet).cycle()
    assert (outlet.parent / "log").read_text().split() == ["off", "on"]


class Clock:
    """One that only a pause moves."""

    def __init__(self) -> None:
        self.at_s, self.paused = 100.0, list[float]()

    def now_s(self) -> float:
        return self.at_s

    def pause(self, seconds: float) -> None:
        self.paused.append(seconds)
        self.at_s += seconds


def test_power_comes_back_no_sooner_than_the_board_is_empty() -> None:
    clock = Clock()
    spec = Spec(kind="command", on=("true",), off=("true",), off_s=5.0)
    switch = CommandPower(spec, clock=clock, pause=clock.pause)
    switch.on()
    assert clock.paused == []
    switch.off()
    clock.at_s += 2.0
    switch.on()
    assert clock.paused == [3.0]
    switch.on()
    switch.cycle()
    assert clock.paused == [3.0, 5.0]
    switch.off()
    clock.at_s += 60.0
    switch.on()
    assert clock.paused == [3.0, 5.0]


def test_an_off_that_failed_starts_no_time_without_power() -> None:
    clock = Clock()
    spec = Spec(kind="command", on=("true",), off=("false",), off_s=5.0)
    switch = CommandPower(spec, clock=clock, pause=clock.pause)
    with pytest.raises(LabError):
        switch.off()
    switch.on()
    assert clock.paused == []


def test_a_cycle_with_a_command_is_that_command(outlet: Path) -> None:
    power(outlet, cycle=(str(outlet), "cycle")).cycle()
    assert (outlet.parent / "log").read_text().split() == ["cycle"]


def test_no_shell_reads_the_arguments(outlet: Path, tmp_path: Path) -> None:
    power(outlet, on=(str(outlet), f"; touch {tmp_path}/oops")).on()
    assert not (tmp_path / "oops").exists()


def test_a_command_that_fails_is_the_labs_trouble_and_what_it_said_is_shown() -> None:
    switch = CommandPower(
        Spec(
            kind="command", on=("sh", "-c", "printf 'no\\033[31m relay' >&2; exit 3"), off=("true",)
        )
    )
    with pytest.raises(LabError, match="power on: sh ended with 3: no relay"):
        switch.on()


def test_a_command_that_hangs_is_killed_and_reported(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    switch = CommandPower(Spec(kind="command", on=("cat", str(fifo)), off=("true",), timeout_s=0.2))
    with pytest.raises(LabError, match=r"didn't end within 0\.2 s"):
        switch.on()


def test_a_command_that_is_not_there_is_named() -> None:
    switch = CommandPower(Spec(kind="command", on=("no-such-tool",), off=("true",)))
    with pytest.raises(LabError, match="can't run no-such-tool: No such file"):
        switch.on()


def test_a_state_that_is_neither_on_nor_off_is_unknown() -> None:
    switch = CommandPower(
        Spec(kind="command", on=("true",), off=("true",), state=("sh", "-c", "exit 7"))
    )
    assert switch.state() is None
    assert CommandPower(Spec(kind="command", on=("true",), off=("true",))).state() is None
