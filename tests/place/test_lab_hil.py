# SPDX-License-Identifier: Apache-2.0
"""Agents at the places of a real coordinator with two exporters: who gets what, and what
becomes of it when something dies."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hilagent import cli
from hilagent.place import Coordinator
from tests.place.agent import Agent, until
from tests.place.lab import Lab, raw_port, scripted

pytestmark = [pytest.mark.hil, pytest.mark.usefixtures("labgrid")]
SHORT = ("--suite", "architecture", "--vectors", "reference-stub")
PLACES = {
    "a": {"board": "one", "pool": "x"},
    "b": {"board": "two", "pool": "x"},
    "w": {"board": "waits"},
}
OUTLETS = {"a": "1", "b": "2", "w": "3"}


@contextlib.contextmanager
def laboratory(folder: Path) -> Iterator[Lab]:
    """Places ``a`` and ``w`` by exporter east's own ser2net, and ``b`` by a console server
    that west only tells of; the board at ``w`` is never heard of."""
    with contextlib.ExitStack() as stack:
        lab = stack.enter_context(Lab(folder, PLACES))
        pty = {n: stack.enter_context(scripted(lab, int(OUTLETS[n]), "good")) for n in "ab"}
        pty["w"] = stack.enter_context(scripted(lab, 3, "waits"))
        east = {
            name: {"RawSerialPort": {"port": pty[name]}, "NetworkPowerPort": lab.outlets.port(n)}
            for name, n in (("a", 1), ("w", 3))
        }
        port = stack.enter_context(raw_port(pty["b"]))
        raw = {"host": "127.0.0.1", "port": port, "protocol": "raw"}
        lab.export("east", east)
        lab.export("west", {"b": {"NetworkSerialPort": raw,
                                  "NetworkPowerPort": lab.outlets.port(2)}})  # fmt: skip
        for name in ("one", "two"):
            lab.board(name)
        lab.board("waits", prompt_s=600)
        yield lab


@pytest.fixture(scope="module")
def _lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with laboratory(tmp_path_factory.mktemp("lab")) as lab:
        yield lab


@pytest.fixture
def lab(_lasting: Lab) -> Lab:
    """One lab, for tests after which it is as it was, but for power."""
    _lasting.outlets.all_off()
    return _lasting


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[Lab]:
    """One for a test that kills parts of it."""
    with laboratory(tmp_path) as lab:
        yield lab


_numbers = itertools.count()


def agent(lab: Lab, *argv: str, **env: str) -> Agent:
    return Agent(lab, lab.folder / f"run{next(_numbers)}", "run", *argv, *SHORT, **env)


def holders(lab: Lab) -> dict[str, str]:
    """Return who has which place."""
    with Coordinator.at(lab.address) as coordinator:
        return {each.name: each.acquired for each in coordinator.places() if each.acquired}


def runs_at(lab: Lab, place: str) -> Agent:
    """Return an agent that has switched the board at ``place`` on."""
    it = agent(lab, "--place", place)
    until(lambda: lab.outlets.on.get(OUTLETS[place]), f"{place} is on", it.process)
    return it


@contextlib.contextmanager
def gate(lab: Lab, place: str) -> Iterator[threading.Event]:
    """Whoever switches the board at ``place`` on waits for what this gives."""
    opened, really = threading.Event(), lab.outlets.switch[OUTLETS[place]]

    def switch(on: bool) -> None:
        if on:
            opened.wait(60)
        really(on)

    lab.outlets.switch[OUTLETS[place]] = switch
    try:
        yield opened
    finally:
        opened.set()
        lab.outlets.switch[OUTLETS[place]] = really


def test_tags_lead_to_two_boards_of_two_exporters(lab: Lab) -> None:
    with (
        agent(lab, "one", "--reserve", "pool=x,board=one") as first,
        agent(lab, "--reserve", "pool=x,board=two") as second,
    ):
        assert (first.ends(), second.ends()) == (0, 0)
        facts = first.says('"exporters"')
        assert (facts["place"], facts["exporters"]) == ("a", ["east"])
        assert second.says('"exporters"')["exporters"] == ["west"]
        assert first.verdicts() == second.verdicts() == {"pass"}
    assert holders(lab) == {}
    assert not any(lab.outlets.on.values())


def test_every_verb_reaches_a_board_at_a_place(
    lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By options, and by the board's own file."""
    text = (lab.folder / "boards/two.yaml").read_text().replace("name: two", "name: own")
    text = text.replace("kind: manual", "kind: labgrid")
    text = re.sub("^console: .*", "console: {kind: labgrid}\nplace: {name: b}", text, flags=re.M)
    (tmp_path / "own.yaml").write_text(text)
    monkeypatch.setenv("HILAGENT_BOARDS", f"{tmp_path}:{lab.folder}/boards")
    monkeypatch.setenv("LG_COORDINATOR", lab.address)
    assert cli.main(["power", "two", "on", "--reserve", "board=two"]) == 0
    assert cli.main(["power", "own", "state"]) == 0
    assert capsys.readouterr().out == "two: switched on; its switch says that it is on\nown: on\n"
    assert cli.main(["doctor", "two", "--place", "b", "--run-dir", str(tmp_path / "log")]) == 0
    assert "WELL  two: 16 layers" in capsys.readouterr().out
    assert not lab.outlets.on["2"]
    assert holders(lab) == {}


def test_two_agents_and_one_place(lab: Lab) -> None:
    elsewhere = {"HILAGENT_STATE": str(lab.folder / "host2"), "LG_HOSTNAME": "host2"}
    waits = {"HILAGENT_STATE": str(lab.folder / "host3"), "LG_HOSTNAME": "host3"}
    with gate(lab, "a") as opened, runs_at(lab, "a") as first:
        pid = first.process.pid
        with (
            agent(lab, "--place", "a") as second,
            agent(lab, "--place", "a", **elsewhere) as third,
            agent(lab, "--place", "a", "--wait", "5m", **waits) as fourth,
        ):
            assert second.ends() == 125
            assert f"(pid {pid}, {first.run_dir})" in second.err
            assert third.ends() == 125
            assert f"is in use by host1/alice+hilagent-{pid}." in third.err
            assert f"host1/alice+hilagent-{pid}." in fourth.says('"waits":true')["text"]
            assert lab.outlets.told == [("1", True)]
            opened.set()
            assert (first.ends(), fourth.ends()) == (0, 0)
            assert fourth.verdicts() == {"pass"}
    assert holders(lab) == {}


def test_signals_end_who_waits_and_who_has_it_and_nothing_is_left(lab: Lab) -> None:
    with runs_at(lab, "w") as first:
        elsewhere = str(lab.folder / "elsewhere")
        with agent(lab, "--place", "w", "--wait", "1h", HILAGENT_STATE=elsewhere) as second:
            second.says('"waits":true')
            second.signal(signal.SIGINT)
            assert second.ends() == 130
        assert "owner:" not in lab.client("reservations").stdout
        assert list(holders(lab)) == ["w"]
        first.signal(signal.SIGTERM)
        assert first.ends() == 143
    assert holders(lab) == {}
    assert not lab.outlets.on["3"]


def test_a_killed_agent_leaves_neither_place_nor_power_behind(lab: Lab) -> None:
    with runs_at(lab, "w") as it:
        it.signal(signal.SIGKILL)
        it.process.wait()
        until(lambda: not holders(lab), "w is released")
        assert not lab.outlets.on["3"]


def helper_of(pid: int) -> int:
    """Return the process of an agent's helper."""
    children = Path(f"/proc/{pid}/task").glob("*/children")
    pids = [int(child) for path in children for child in path.read_text().split()]
    (helper,) = [p for p in pids if b"helper.py" in Path(f"/proc/{p}/cmdline").read_bytes()]
    return helper


def test_what_nobody_could_give_back_is_named_with_what_to_do(lab: Lab) -> None:
    with runs_at(lab, "w") as it:
        helper = helper_of(it.process.pid)
        os.kill(helper, signal.SIGKILL)
        it.signal(signal.SIGKILL)
        it.process.wait()
    (name,) = holders(lab).values()
    with agent(lab, "--place", "w") as second:
        assert second.ends() == 125
        assert f"{name}, a run on this host that is no more" in second.err
        advice = second.err.partition("labgrid-client ")[2].partition(" frees it")[0]
    assert advice == f"-x {lab.address} -p w release-from '{name}'"
    assert lab.client("-p", "w", "release-from", name).returncode == 0
    assert holders(lab) == {}


def test_a_place_that_was_taken_away_is_the_labs_and_left_as_it_is(lab: Lab) -> None:
    with runs_at(lab, "w") as it:
        assert lab.client("-p", "w", "release", "--kick").returncode == 0
        assert it.ends() == 125
        assert "place w was taken away: it is released by somebody" in it.out
        assert it.verdicts() == {"infra"}
    assert lab.outlets.told[-1] == ("3", True)


@pytest.mark.parametrize(("place", "exporter"), [("w", "east"), ("b", "west")])
def test_an_exporter_that_dies_is_named_and_no_kernel(
    mortal: Lab, place: str, exporter: str
) -> None:
    """East's port dies with it; west's goes on, and belongs to nobody."""
    with gate(mortal, place) as opened, runs_at(mortal, place) as it:
        if place == "w":
            opened.set()
            it.says("reach U-Boot")
        mortal.exporters[exporter].kill()
        opened.set()
        assert it.ends() == 125
        assert f"exporter {exporter} of place {place} is gone" in it.out
        assert it.verdicts() == {"infra"}
    assert not mortal.outlets.on[OUTLETS[place]]
    assert holders(mortal) == {}


def test_a_coordinator_that_is_restarted_costs_no_run(mortal: Lab) -> None:
    with gate(mortal, "b") as opened, runs_at(mortal, "b") as it:
        mortal.coordinator.kill()
        it.says("is gone")
        mortal.coordinator.start()
        assert it.says("place b is ours")["blame"] == "infra"
        (name,) = holders(mortal).values()
        assert f"hilagent-{it.process.pid}." in name
        opened.set()
        assert it.ends() == 0
        assert it.verdicts() == {"pass"}
    assert holders(mortal) == {}


def test_who_was_faster_after_a_restart_has_the_place(mortal: Lab) -> None:
    with gate(mortal, "b") as opened, runs_at(mortal, "b") as it:
        helper = helper_of(it.process.pid)
        os.kill(helper, signal.SIGSTOP)
        mortal.coordinator.kill()
        mortal.coordinator.start()
        assert mortal.client("-p", "b", "acquire", "--allow-unmatched").returncode == 0
        os.kill(helper, signal.SIGCONT)
        opened.set()
        assert it.ends() == 125
        assert "place b was taken away: it is acquired by" in it.out
    (name,) = holders(mortal).values()
    assert name.endswith("/bob")
