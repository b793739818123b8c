# SPDX-License-Identifier: Apache-2.0
"""The helper as a process that fails in every way, and who it acquires as."""

from __future__ import annotations

import os
import queue
import re
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from hilagent.clock import Deadline
from hilagent.errors import LabError
from hilagent.place import Coordinator, Refused, address_of, process
from hilagent.place.process import Helper
from tests.place.lab import free_port

NO_PID = 2**22 + 1
"""Above the kernel's own limit for process ids."""
READY = '{"event": "ready", "labgrid": "0"}'
Fake = Callable[..., Helper]


def program(folder: Path, *lines: str) -> Path:
    """Write a Python that, whatever it is asked to run, does ``lines``."""
    path = folder / "python"
    head = f"#!{sys.executable}\nimport json, os, signal, sys, time\n"
    say = "def say(text): print(text, flush=True)\n"
    path.write_text(head + say + "\n".join(lines) + "\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def heard() -> queue.SimpleQueue[Mapping[str, Any]]:
    return queue.SimpleQueue()


@pytest.fixture
def fake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, heard: queue.SimpleQueue[Mapping[str, Any]]
) -> Iterator[Fake]:
    """Starts a helper that does some lines of Python instead."""
    running: list[Helper] = []

    def start(*lines: str, start_s: float = 60.0) -> Helper:
        monkeypatch.setenv(process.PYTHON, str(program(tmp_path, *lines)))
        running.append(Helper("lab0:20408", heard.put, start_s))
        return running[-1]

    yield start
    for helper in running:
        helper.close(0)


def soon() -> Deadline:
    return Deadline.after(30)


def test_a_python_without_labgrid_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(process.PYTHON, sys.executable)
    with pytest.raises(LabError, match="No module named") as caught:
        Helper("127.0.0.1:1", lambda said: None)
    assert "$HILAGENT_LABGRID_PYTHON must name the Python that has labgrid" in caught.value.hint


def test_what_is_no_program_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(process.PYTHON, str(tmp_path / "nothing"))
    with pytest.raises(LabError, match="nothing: No such file"):
        Helper("127.0.0.1:1", lambda said: None)


def test_without_labgrid_it_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(process.PYTHON, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LabError, match="an environment of its own") as caught:
        process.python()
    assert "-m venv ~/labgrid" in caught.value.hint


def test_labgrids_own_command_leads_to_its_python(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(process.PYTHON, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    client = tmp_path / "labgrid-client"
    client.write_text("#!/opt/labgrid/bin/python3 -s\nimport sys\n")
    client.chmod(0o755)
    assert process.python() == "/opt/labgrid/bin/python3"
    client.write_text("#!/bin/sh\nexec something\n")
    with pytest.raises(LabError):
        process.python()


@pytest.mark.hil
@pytest.mark.usefixtures("labgrid")
def test_a_coordinator_that_does_not_answer_is_the_labs() -> None:
    address = f"127.0.0.1:{free_port()}"
    with (
        pytest.raises(LabError, match=f"no labgrid coordinator answers at {address}"),
        Coordinator.at(address),
    ):
        pass


def test_one_that_says_nothing_is_not_waited_for_without_end(fake: Fake) -> None:
    with pytest.raises(LabError, match=r"labgrid didn't start within 0.2 s"):
        fake("sys.stdin.read()", start_s=0.2)


def test_no_answer_is_an_error_after_a_time(fake: Fake) -> None:
    helper = fake(f"say('{READY}')", "sys.stdin.read()")
    with pytest.raises(LabError, match=r"labgrid didn't acquire within 0.2 s"):
        helper.ask("acquire", Deadline.after(0.2), place="a")


def test_rubbish_is_no_answer(fake: Fake) -> None:
    helper = fake(
        "say('warning: x')", f"say('{READY}')", "n = json.loads(sys.stdin.readline())['number']",
        "say('[1]'); say('{'); say(json.dumps({'number': n + 1, 'x': 1}))",
        "say(json.dumps({'number': n, 'x': 2}))", "sys.stdin.read()",
    )  # fmt: skip
    assert helper.ask("places", soon())["x"] == 2


def test_one_that_dies_ends_whoever_asks_and_the_place(
    fake: Fake, heard: queue.SimpleQueue[Mapping[str, Any]]
) -> None:
    helper = fake(
        f"say('{READY}')", "sys.stdin.readline()",
        "print('Killed by \\x1b[31mthe\\x1b[0m kernel', file=sys.stderr)", "os._exit(9)",
    )  # fmt: skip
    for _ in range(2):
        with pytest.raises(Refused, match="ended: Killed by the kernel") as caught:
            helper.ask("acquire", soon(), place="a")
        assert caught.value.kind == "helper"
    said = heard.get(timeout=30)
    assert (said["event"], said["kind"]) == ("lost", "helper")


def test_one_that_does_not_end_is_killed(fake: Fake) -> None:
    helper = fake(f"say('{READY}')", "signal.pause()")
    helper.close(0.1)
    with pytest.raises(LabError):
        helper.ask("places", soon())


def test_its_words_cannot_drive_a_terminal(fake: Fake) -> None:
    said = '{"event": "failed", "kind": "gone", "text": "\\\\u001b]0;x\\\\u0007no\\\\u202e"}'
    with pytest.raises(Refused) as caught:
        fake(f"say('{said}')")
    assert caught.value.message == "no"


@pytest.mark.parametrize(
    ("said", "address"),
    [
        (None, "127.0.0.1:20408"),
        ("lab0", "lab0:20408"),
        ("lab0:7", "lab0:7"),
        ("[::1]:7", "[::1]:7"),
        ("[::1]", "[::1]:20408"),
    ],
)
def test_an_address_has_a_port(
    said: str | None, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(process.COORDINATOR, raising=False)
    assert address_of(said) == address
    monkeypatch.setenv(process.COORDINATOR, "other:1")
    assert address_of(None) == "other:1"


def test_two_processes_of_one_user_are_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LG_HOSTNAME", "lab1")
    monkeypatch.setenv("LG_USERNAME", "a/b c")
    assert process.own_name()[1].startswith("a_b_c+hilagent-")
    monkeypatch.setenv("LG_USERNAME", "ci")
    names = ["/".join(process.own_name()) for _ in range(2)]
    assert names[0] != names[1]
    assert names[0].startswith(f"lab1/ci+hilagent-{os.getpid()}.")
    assert not process.is_dead(names[0])
    gone = names[0].replace(f"-{os.getpid()}.", f"-{NO_PID}.")
    assert process.is_dead(gone)
    assert not process.is_dead(gone.replace("lab1", "lab2"))
    assert not process.is_dead(re.sub(r"\.[0-9a-f]+\.", ".1.", gone))
    assert not process.is_dead("lab1/ci")


def test_a_box_gives_the_first_answer_and_none_at_the_deadline() -> None:
    box = process._Box()
    assert box.take(Deadline.after(0)) is None
    box.put({"number": 1})
    box.put({"error": "it has ended, too"})
    assert box.take(Deadline.after(0)) == {"number": 1}


def test_a_signal_as_the_time_is_up_does_not_make_it_wait_for_ever() -> None:
    """It comes again and again, so that one falls upon the end."""
    seen: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: seen.append(number))
    signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
    try:
        for _ in range(300):
            assert process._Box().take(Deadline.after(0.002)) is None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert seen
