# SPDX-License-Identifier: Apache-2.0
"""What a place gives, and what it doesn't do any more once it is lost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pytest

from hilagent.clock import Deadline
from hilagent.errors import LabError
from hilagent.place import Place
from hilagent.place.process import Helper

SERIAL = {"host": "lab1", "port": 4001, "speed": 115200, "protocol": "raw"}
SAID = {"exporters": ["lab1"], "serial": SERIAL, "power": {"kind": "NetworkPowerPort"}}


class Asked:
    """A helper that answers everything alike, and remembers what it was asked."""

    address = "lab0:20408"

    def __init__(self, **answer: Any) -> None:
        self.did: list[str] = []
        self._answer = answer

    def ask(self, do: str, deadline: Deadline, **arguments: object) -> Mapping[str, Any]:
        self.did.append(" ".join([do, *map(str, arguments.values())]))
        return self._answer


def place(helper: Asked, told: list[str] | None = None, **said: Any) -> Place:
    heard = told if told is not None else []
    return Place(cast(Helper, helper), "a", {**SAID, **said}, heard.append)


def lose(it: Place, kind: str) -> None:
    it.hear({"event": "lost", "kind": kind, "text": f"it is {kind}\x1b[2J"})


def test_it_says_where_its_console_is_and_switches() -> None:
    helper = Asked(state=True)
    it = place(helper)
    found = it.serial()
    assert (found.host, found.port, found.protocol) == ("lab1", 4001, "raw")
    assert it.switch("get", 1) is True
    it.release()
    assert helper.did == ["power get", "release"]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            {"error": "expected one NetworkSerialPort, found none"},
            "no serial port to use: expected",
        ),
        ({**SERIAL, "protocol": "ssh\x1b[2J"}, "by ssh is unknown"),
        (None, "no serial port to use: nothing"),
    ],
)
def test_a_place_without_a_console_that_can_be_used_says_so(said: object, words: str) -> None:
    with pytest.raises(LabError, match=words):
        place(Asked(), serial=said).serial()


def test_a_place_without_a_switch_says_so() -> None:
    with pytest.raises(LabError, match="place a has no power port to use: found none"):
        place(Asked(), power={"error": "found none"}).switch("on", 1)


def test_what_was_taken_away_is_not_switched_and_not_released() -> None:
    helper = Asked()
    it = place(helper)
    lose(it, "taken")
    assert it.lost == "it is taken"
    assert it.why() == "it is taken"
    with pytest.raises(LabError, match="power off: it is taken: it was left as it is"):
        it.switch("off", 1)
    it.release()
    assert helper.did == []


def test_what_lost_its_exporter_is_still_ours_to_switch_off() -> None:
    helper = Asked()
    it = place(helper)
    lose(it, "exporter")
    lose(it, "taken")  # the first reason is the reason
    assert it.lost == "it is exporter"
    it.switch("off", 1)
    it.release()
    assert helper.did == ["power off", "release"]


def test_a_coordinator_that_comes_and_goes_is_only_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hilagent.place.client.PATIENCE_S", 0)
    told = list[str]()
    it = place(Asked(), told)
    it.hear({"event": "away", "text": "it is gone"})
    assert it.why() == "it is gone"
    it.hear({"event": "back", "text": "it is back"})
    assert told == ["it is gone", "it is back"]
    assert it.lost == ""
