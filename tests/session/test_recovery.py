# SPDX-License-Identifier: Apache-2.0
"""A board is reset by the cheapest that answers, and left alone where nothing did."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, cast

import pytest

from hilagent import board as boards
from hilagent import errors, journal
from hilagent.board import Board
from hilagent.clock import Deadline
from hilagent.console import Console
from hilagent.journal import Journal
from hilagent.payload import Payload
from hilagent.session import quarantine, recovery
from hilagent.session.linux import Boot, Linux
from tests.cli.outlet import Outlet


class Asked:
    """A payload, a kernel and a console that note what they are asked, or don't answer."""

    def __init__(self, *dead: str) -> None:
        self.dead, self.did = dead, list[str]()

    def _do(self, what: str) -> None:
        self.did.append(what)
        if what in self.dead:
            raise errors.LinkError(f"no answer to {what}")

    def reset(self, how: object) -> None:
        self._do("ssh" if isinstance(how, Deadline) else f"payload {how}")

    def send_break(self) -> None:
        self._do("break")

    def write(self, data: bytes, deadline: Deadline) -> None:
        self._do(data.decode())

    def console(self) -> Console:
        return cast(Console, self)

    @property
    def payload(self) -> Payload:
        return cast(Payload, self)

    @property
    def linux(self) -> Linux:
        nothing: Any = None
        system: Any = self
        return Linux(Boot(), nothing, "0" * 16, system, nothing, 0)


@pytest.fixture
def log(tmp_path: Path) -> Journal:
    (tmp_path / "run").mkdir()
    return Journal(tmp_path / "run")


@pytest.fixture
def rock(tmp_path: Path) -> Board:
    Outlet(tmp_path)
    return boards.load("rock", dirs=[tmp_path])


def test_a_kernel_is_reset_over_ssh_and_else_by_a_break(rock: Board, log: Journal) -> None:
    alive, deaf, dead = Asked(), Asked("ssh"), Asked("ssh", "break")
    assert recovery.reset(alive.linux, rock, alive.console, log)
    assert alive.did == ["ssh"]
    assert recovery.reset(deaf.linux, rock, deaf.console, log)
    assert deaf.did == ["ssh", "break", "b"]
    assert not recovery.reset(dead.linux, rock, dead.console, log)


def test_a_payload_resets_by_psci_or_by_the_models_watchdog(rock: Board, log: Journal) -> None:
    by_psci, dead = Asked(), Asked("payload ()")
    assert recovery.reset(by_psci.payload, rock, by_psci.console, log)
    assert by_psci.did == ["payload ()"]
    assert not recovery.reset(dead.payload, rock, dead.console, log)
    by_watchdog, model = Asked(), boards.load("qemu-raspi3b")
    assert recovery.reset(by_watchdog.payload, model, by_watchdog.console, log)
    assert by_watchdog.did != ["payload ()"]


TRIES = [errors.LabError("no prompt"), errors.LinkError("the line was lost")] * 2


def test_a_board_that_was_given_up_is_left_alone_with_all_that_was_seen(
    rock: Board, log: Journal
) -> None:
    assert "until 'hilagent doctor rock' finds it well" in recovery.given_up(rock, log, TRIES)
    mark = quarantine.found(rock)
    assert mark is not None
    assert mark.saw == "not reached in 4 tries: no prompt; the line was lost"
    assert mark.run == str(log.run_dir)
    with pytest.raises(errors.LabError, match="in quarantine"):
        quarantine.refuse(rock)
    (note,) = (r for r in journal.read(log.run_dir).records if r["kind"] == "note")
    assert note["blame"] == "infra"


@pytest.mark.parametrize(
    "other", [errors.HostError("no space"), errors.HostOverloaded("late"), errors.PowerLied("on")]
)
def test_what_is_not_the_boards_doing_marks_nothing(
    rock: Board, log: Journal, other: errors.LabError
) -> None:
    assert recovery.given_up(rock, log, [*TRIES, other]) == ""
    assert quarantine.found(rock) is None


def test_neither_a_board_in_a_persons_hands_nor_an_emulated_one_is_marked(
    rock: Board, log: Journal, tmp_path: Path
) -> None:
    path = tmp_path / "rock.yaml"
    path.write_text(re.sub("power: .*", "power: {kind: manual}", path.read_text()))
    assert recovery.given_up(boards.load("rock", dirs=[tmp_path]), log, TRIES) == ""
    assert recovery.given_up(boards.load("qemu-virt"), log, TRIES) == ""
    assert quarantine.found(rock) is None
