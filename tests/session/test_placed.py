# SPDX-License-Identifier: Apache-2.0
"""Waiting for a place, with a coordinator on a clock that nobody waits for."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, cast

import pytest

from hilagent import board as boards
from hilagent import errors
from hilagent.board import Place as Spec
from hilagent.clock import Deadline
from hilagent.place import Coordinator, Refused, process
from hilagent.place.client import Listed, Reservation
from hilagent.session import lock, placed
from hilagent.testing import ManualClock

MINE = "host1/me"


class Lab:
    """A coordinator with two places, and who has them; ``at`` second N something happens."""

    address = "lab0:20408"

    def __init__(self, **held: str) -> None:
        self.held = {"a": "", "b": "", **held}
        self.tags: dict[str, dict[str, str]] = {"a": {"soc": "x"}, "b": {"soc": "x"}}
        self.turns: dict[str, Mapping[str, str]] = {}
        self.clock, self.told, self.notes = ManualClock(0.0), list[str](), list[str]()
        self.at: dict[int, Callable[[], object]] = {}
        self.gone = False

    def queue(self, wait_s: float) -> lock.Queue:
        return lock.Queue(Deadline.after(wait_s, self.clock), self.told.append, self._pause)

    def _pause(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.at.get(round(self.clock.now_s()), lambda: None)()

    def places(self) -> list[Listed]:
        return [Listed(name, self.tags[name], by) for name, by in self.held.items()]

    def reserve(self, tags: Mapping[str, str]) -> Reservation:
        self.turns[token := f"T{len(self.turns)}"] = tags
        return self.poll(token)

    def poll(self, token: str) -> Reservation:
        if self.gone:
            raise Refused({"error": "the coordinator is gone", "kind": "gone"})
        if token not in self.turns:
            raise Refused({"error": f"Reservation {token} does not exist", "kind": "refused"})
        wanted = self.turns[token].items()
        fit = [p for p in self.places() if wanted <= {**p.tags, "name": p.name}.items()]
        return Reservation(token, next((p.name for p in fit if p.free), ""), fit)

    def cancel(self, token: str) -> None:
        if self.gone or self.turns.pop(token, None) is None:
            raise Refused({"error": f"Reservation {token} does not exist", "kind": "refused"})

    def acquire(self, name: str, told: object) -> str:
        if self.held[name]:
            raise Refused({"error": f"{name} is taken", "kind": "taken", "by": self.held[name]})
        self.held[name] = MINE
        return name


def take(lab: Lab, queue: lock.Queue | None, **spec: Any) -> str:
    board = boards.load("rpi-4b", place=Spec(**spec))
    return cast(str, placed._acquired(cast(Coordinator, lab), board, queue, lab.notes.append))


def test_a_free_place_is_had_at_once() -> None:
    lab = Lab()
    assert take(lab, None, name="a") == "a"
    assert take(lab, None, tags={"soc": "x"}) == "b"
    assert lab.turns == {}


def test_a_place_that_is_taken_is_refused_and_its_holder_named() -> None:
    lab = Lab(a="host2/bob")
    with pytest.raises(lock.Taken, match=r"place a of lab0:20408 is in use by host2/bob$") as seen:
        take(lab, None, name="a")
    assert "--wait 30m" in seen.value.hint


def test_a_holder_of_this_host_that_is_no_more_is_named_with_what_frees_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LG_HOSTNAME", "host1")
    host, user = process.own_name()
    gone = f"{host}/{user}".replace(f"-{os.getpid()}.", f"-{2**22 + 1}.")
    lab = Lab(a=gone)
    for queue in (None, lab.queue(3600)):  # nobody will give it back, so it isn't waited for
        with pytest.raises(lock.Taken, match="a run on this host that is no more") as seen:
            take(lab, queue, name="a")
        free = f"labgrid-client -x lab0:20408 -p a release-from '{gone}'"
        assert seen.value.hint.startswith(free)
    assert lab.clock.now_s() == 0


def test_each_place_that_would_do_is_named_with_its_holder() -> None:
    lab = Lab(a="host2/bob", b="host3/eve")
    with pytest.raises(lock.Taken, match=r"in use by a by host2/bob, b by host3/eve"):
        take(lab, None, tags={"soc": "x"})


@pytest.mark.parametrize("wait_s", [0, 60])
def test_tags_that_no_place_has_are_not_waited_for(wait_s: float) -> None:
    lab = Lab()
    queue = lab.queue(wait_s) if wait_s else None
    with pytest.raises(errors.LabError, match="has not a place with soc=y") as seen:
        take(lab, queue, tags={"soc": "y"})
    assert seen.value.hint == "its places: a soc=x; b soc=x"
    assert lab.clock.now_s() == 0


def test_whoever_waits_is_told_for_whom_and_takes_what_is_free_first() -> None:
    lab = Lab(a="host2/bob", b="host3/eve")
    lab.at[40] = lambda: lab.held.update(b="")
    assert take(lab, lab.queue(1800), tags={"soc": "x"}) == "b"
    assert lab.clock.now_s() == 40
    assert lab.told[0].endswith("a by host2/bob, b by host3/eve; waiting, 30 min left")
    assert lab.turns == {}


def test_a_wait_in_vain_ends() -> None:
    lab = Lab(a="host2/bob")
    with pytest.raises(errors.LabError, match="in use by host2/bob, still after 90 s"):
        take(lab, lab.queue(90), name="a")
    assert lab.held["a"] == "host2/bob"


def test_a_coordinator_that_is_restarted_costs_the_turn_and_not_the_wait() -> None:
    lab = Lab(a="host2/bob")

    def goes() -> None:
        lab.gone = True

    def is_back() -> None:
        lab.gone = False
        lab.turns.clear()

    lab.at = {3: goes, 9: is_back, 20: lambda: lab.held.update(a="")}
    assert take(lab, lab.queue(60), name="a") == "a"
    assert any("the coordinator is gone" in each for each in lab.told)


def test_a_place_that_is_kept_and_can_not_be_acquired_is_left_and_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lab = Lab()

    def acquire(name: str, told: object) -> str:
        if lab.clock.now_s() < 30:
            raise Refused({"error": "Failed to acquire resources", "kind": "refused"})
        return name

    monkeypatch.setattr(lab, "acquire", acquire)
    assert take(lab, lab.queue(60), name="a") == "a"
    assert lab.turns == {}


def test_a_helper_that_died_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = Lab(a="host2/bob")

    def poll(token: str) -> Reservation:
        raise Refused({"error": "labgrid's helper ended", "kind": "helper"})

    monkeypatch.setattr(lab, "poll", poll)
    with pytest.raises(Refused, match="helper ended"):
        take(lab, lab.queue(60), name="a")
    assert lab.clock.now_s() == 0
