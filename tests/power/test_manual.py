# SPDX-License-Identifier: Apache-2.0
"""A person at a pseudo-terminal, who is asked to switch the board."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import termios
import tty
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hilagent.board.model import Power as Spec
from hilagent.clock import Deadline
from hilagent.errors import LabError
from hilagent.power import manual
from hilagent.power.manual import ManualPower


class Person:
    """The far end of the terminal."""

    def __init__(self, fd: int) -> None:
        self.fd, self.seen = fd, ""

    def sees(self, text: str) -> None:
        while text not in self.seen:
            ready, _, _ = select.select([self.fd], [], [], 20)
            assert ready, self.seen
            self.seen += os.read(self.fd, 4096).decode()

    def types(self, text: str) -> None:
        os.write(self.fd, text.encode())


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch) -> Iterator[Person]:
    monkeypatch.delenv("CI", raising=False)
    far, near = os.openpty()
    monkeypatch.setattr(manual, "_TERMINAL", os.ttyname(near))
    yield Person(far)
    os.close(near)
    os.close(far)


def switch(**more: Any) -> ManualPower:
    return ManualPower(Spec("manual", **{"off_s": 0.1, **more}), "rock")


ASKING = """
import sys
from hilagent.board.model import Power as Spec
from hilagent.power import manual
manual._TERMINAL = sys.argv[1]
power = manual.ManualPower(Spec("manual", off_s=0.1), "rock")
power.cycle()
print("cycled", power.state(), power.alive())
"""


@pytest.mark.parametrize("enter", ["\n", "done\n"])
def test_a_person_is_asked_and_takes_their_time(person: Person, enter: str, tmp_path: Path) -> None:
    own = {key: value for key, value in os.environ.items() if key != "CI"}
    with subprocess.Popen(
        [sys.executable, "-c", ASKING, manual._TERMINAL],
        env={**own, "PYTHONPATH": os.pathsep.join(sys.path)}, stdout=subprocess.PIPE, text=True,
    ) as asking:  # fmt: skip
        person.sees("Switch rock OFF, then press Enter (300 s): ")
        person.types(enter)
        person.sees("Switch rock ON, then press Enter")
        person.types(enter)
        assert asking.communicate(timeout=20)[0] == "cycled None None\n"


def test_enter_counts_in_a_terminal_in_raw_mode_too(person: Person) -> None:
    near = os.open(manual._TERMINAL, os.O_RDWR | os.O_NOCTTY)
    tty.setraw(near)
    person.types("\r")
    select.select([near], [], [], 20)
    assert manual._answered(near, Deadline.after(5))
    os.close(near)


def test_an_enter_from_before_is_no_answer_and_nobody_is_waited_for_for_ever(
    person: Person,
) -> None:
    person.types("\n")
    with pytest.raises(LabError, match="power on: nobody switched rock within 0 s") as caught:
        switch(timeout_s=0.2).on()
    assert "power.timeout_s" in caught.value.hint


def test_whoever_draws_there_stops_while_somebody_is_asked(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    did: list[str] = []

    @contextlib.contextmanager
    def quiet() -> Iterator[None]:
        did.append("stopped")
        yield
        did.append("went on")

    monkeypatch.setattr(manual, "DRAWN", [quiet])
    with pytest.raises(LabError):
        switch(timeout_s=0.1).on()
    assert did[0] == "stopped"


def test_a_terminal_that_hangs_up_answers_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = os.pipe()
    os.close(there)
    with pytest.raises(LabError, match="the terminal hung up"):
        manual._answered(here, Deadline.after(5))
    os.close(here)


def test_in_ci_it_is_refused_before_anything_begins(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(LabError, match="rock is switched by hand, and in CI nobody does") as caught:
        switch()
    assert "power by command, http" in caught.value.hint


def test_without_a_terminal_it_is_refused_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(manual, "_TERMINAL", str(tmp_path / "none"))
    with pytest.raises(LabError, match="no terminal to ask at"):
        switch()


def test_the_person_keeps_their_terminal_as_it_was(person: Person) -> None:
    near = os.open(manual._TERMINAL, os.O_RDWR | os.O_NOCTTY)
    before = termios.tcgetattr(near)
    with pytest.raises(LabError):
        switch(timeout_s=0.1).off()
    assert termios.tcgetattr(near) == before
    os.close(near)
