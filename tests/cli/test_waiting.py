# SPDX-License-Identifier: Apache-2.0
"""``--wait``: a command behind another one, and each verb that uses a board has it."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from hilagent import cli
from hilagent.cli.values import Duration
from hilagent.session import lock
from tests.cli.outlet import Outlet
from tests.cli.person import Person, Port

QUIT = b"\x1dq"


@pytest.fixture
def port() -> Iterator[Port]:
    with Port() as port:
        yield port


@pytest.fixture
def outlet(tmp_path: Path, port: Port, monkeypatch: pytest.MonkeyPatch) -> Outlet:
    monkeypatch.setenv("HILAGENT_STATE", str(tmp_path / "state"))
    return Outlet(tmp_path, port.path)


def person(outlet: Outlet, *argv: str) -> Person:
    return Person(outlet.folder, *argv, "--boards", str(outlet.folder))


def test_the_console_is_had_when_the_first_one_ends(outlet: Outlet) -> None:
    with person(outlet, "console", "rock") as first:
        first.sees(b"is help")
        with person(outlet, "console", "rock", "--wait", "5m") as second:
            second.sees(f"(pid {first.process.pid}, ".encode())
            second.sees(b"waiting, 5 min left")
            first.types(QUIT)
            second.sees(b"is help")
            second.types(QUIT)
            assert second.ends() == 0
    notes = (outlet.folder / "runs/latest/journal.jsonl").read_text()
    assert '"waits":true' in notes


@pytest.mark.parametrize(
    "verb", [("power", "rock", "on"), ("run", "rock"), ("hvc", "rock", "1"), ("shell", "rock")]
)
def test_who_waits_can_be_interrupted(outlet: Outlet, verb: tuple[str, ...]) -> None:
    things = ("outlet '" + str(outlet.folder / "outlet") + " off'",)
    with (
        lock.hold(things, board="rock", run_dir=None),
        person(outlet, *verb, "--wait", "1h") as waiting,
    ):
        waiting.sees(b"; waiting, 60 min left")
        waiting.process.send_signal(signal.SIGINT)
        assert waiting.ends() == 130
        assert b"Traceback" not in waiting.seen
    assert outlet.did() == []


def test_a_wait_in_vain_is_125_and_names_the_holder(
    outlet: Outlet, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["power", "rock", "on", "--boards", str(outlet.folder)]
    with lock.hold([outlet_port(outlet)], board="rock", run_dir=None):
        assert cli.main([*argv, "--wait", "0.3"]) == 125
        assert "still after 0 s" in capsys.readouterr().err
        assert cli.main(argv) == 125
        assert "wait for it to end (--wait 30m), or end it" in capsys.readouterr().err
    assert cli.main([*argv, "--wait", "5m"]) == 0


def outlet_port(outlet: Outlet) -> str:
    from hilagent import board as boards

    (name,) = (
        each for each in lock.things(boards.load("rock", dirs=[outlet.folder])) if each[0] == "/"
    )
    return name


def test_one_outlet_of_two_boards_is_used_by_one_at_a_time(
    outlet: Outlet, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (outlet.folder / "rock.yaml").read_text()
    other = text.replace("name: rock", "name: pebble").replace("192.0.2.1", "192.0.2.2")
    path = text.partition("path: ")[2].partition("}")[0]
    (outlet.folder / "pebble.yaml").write_text(other.replace(path, "/dev/null"))
    with person(outlet, "console", "rock") as first:
        first.sees(b"is help")
        assert cli.main(["power", "pebble", "off", "--boards", str(outlet.folder)]) == 125
        said = capsys.readouterr().err
        assert f"pebble: outlet '{outlet.folder / 'outlet'} off' is in use by" in said
        assert f"pid {first.process.pid}" in said


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90.0), ("90s", 90.0), ("30m", 1800.0), ("1.5h", 5400.0), ("2 min", 120.0)],
)
def test_a_time_is_what_people_write(text: str, seconds: float) -> None:
    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["-1", "soon", "5 years", ""])
def test_what_is_no_time_is_the_callers_mistake(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["power", "rock", "on", "--wait", text]) == 2
    assert "is not a time: expected 90s, 30m or 2h" in capsys.readouterr().err


def test_the_lock_says_which_ci_job_it_is(
    outlet: Outlet, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CI_JOB_URL", "https://ci.example/7")
    with lock.hold([outlet_port(outlet)], board="rock", run_dir=outlet.folder):
        cli.main(["power", "rock", "on", "--boards", str(outlet.folder)])
        (file,) = (outlet.folder / "state").glob("*.lock")
        assert json.loads(file.read_text())["job"] == "https://ci.example/7"
    assert "job https://ci.example/7" in capsys.readouterr().err
