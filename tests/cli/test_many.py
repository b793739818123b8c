# SPDX-License-Identifier: Apache-2.0
"""``hilagent run`` on several boards: each has its own verdict, whatever the others do."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from hilagent import board as boards
from hilagent import cli
from hilagent.cli.children import OUTPUT
from hilagent.cli.many import may_start
from hilagent.clock import Deadline
from hilagent.session import lock
from tests.cli.person import Person, environment, hilagent
from tests.cli.shelf import VERDICTS, shelf

SHORT = ("--suite", "architecture", "--suite", "clobber", "--vectors", "reference-stub")
KINDS = {"one": "good", "two": "clobbers", "three": "silent", "four": "good"}
SOON_S = 60.0


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def waiting(tmp_path: Path) -> Iterator[list[str]]:
    """Three boards that keep a run until it is ended."""
    with shelf(tmp_path / "shelf", dict.fromkeys(("a", "b", "c"), "waits")) as named:
        yield named


def many(folder: Path, *argv: str) -> subprocess.Popen[str]:
    """Start a run of several boards, with its run directory in ``folder``."""
    return subprocess.Popen(
        hilagent("run", *argv, "--run-dir", str(folder / "run")), cwd=folder,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def until(seen: Callable[[], Any]) -> None:
    """Wait for another process to do something."""
    deadline, never = Deadline.after(SOON_S), threading.Event()
    while not seen():
        assert not deadline.expired()
        never.wait(0.05)


def records(folder: Path) -> list[dict[str, Any]]:
    path = folder / "journal.jsonl"
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines]


def pids(run: Path) -> dict[str, int]:
    return {r["board"]: r["pid"] for r in records(run) if r.get("phase") == "begin"}


def told(folder: Path, name: str) -> list[str]:
    """Return what the outlet of a board was told."""
    log = folder / "shelf" / f"{name}.log"
    return log.read_text().split() if log.exists() else []


def switched_on(folder: Path, names: str) -> Callable[[], bool]:
    return lambda: all(told(folder, name)[-1:] == ["on"] for name in names)


def verdicts(run: Path) -> Mapping[str, str]:
    found = json.loads((run / "results.json").read_text())["boards"]
    return {board["board"]: board["verdict"] for board in found}


def test_each_board_has_its_own_verdict_and_the_worst_decides(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    with shelf(tmp_path / "shelf", KINDS) as named:
        out, err = (run := many(tmp_path, *KINDS, *named, *SHORT)).communicate(timeout=120)
    assert run.returncode == 1, err
    assert verdicts(tmp_path / "run") == {name: VERDICTS[kind] for name, kind in KINDS.items()}
    assert out.startswith("FAIL  4 boards, ")
    assert ": 2 pass, 1 fail, 1 infra\n" in out
    assert "clobber[hyp-stub-unknown-clobber]: clobber: unknown x19" in out
    assert "three: INFRA after" in err
    found = json.loads((tmp_path / "run" / "results.json").read_text())
    assert (found["verdict"], found["exit_code"], found["finished"]) == ("fail", 1, True)
    for board in found["boards"]:
        folder = tmp_path / "run" / board["folder"]
        own = json.loads((folder / "results.json").read_text())
        assert {**board["results"], "files": own["files"]} == own
        assert (folder / OUTPUT).exists()
        process = board["process"]
        assert 0 < process["cpu_s"] < 60
        record_property(f"{board['board']}_cpu_s", process["cpu_s"])
        record_property(f"{board['board']}_rss_kib", process["rss_kib"])
    suites = ET.parse(tmp_path / "run" / "junit.xml").getroot().findall("testsuite")
    assert [suite.get("name") for suite in suites] == [f"hilagent {name}" for name in KINDS]
    cases = [(c.get("classname"), c.get("name")) for s in suites for c in s.iter("testcase")]
    assert len(set(cases)) == len(cases)
    assert ("two.hilagent.clobber", "clobber[hyp-stub-unknown-clobber]") in cases


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_each_with_its_board_off_and_a_report(
    tmp_path: Path, waiting: list[str], number: signal.Signals, code: int
) -> None:
    argv = ("--all", "--tag", "shelf", *waiting, *SHORT, "--jobs", "2")
    with many(tmp_path, *argv) as run:
        until(switched_on(tmp_path, "ab"))
        children = pids(tmp_path / "run")
        for pid in children.values():
            assert os.getpgid(pid) != os.getpgid(run.pid), "a terminal's Ctrl-C reaches it, too"
        run.send_signal(number)
        out, err = run.communicate(timeout=60)
    assert run.returncode == code, err
    assert [told(tmp_path, name)[-1:] for name in "abc"] == [["off"], ["off"], []]
    assert verdicts(tmp_path / "run") == dict.fromkeys("abc", "unfinished")
    assert "c                real               no tests\n             was not started" in out
    assert f"It was cut short (signal): {number.name}" in out
    for name in "ab":
        (end,) = (r for r in records(tmp_path / "run" / name) if r["kind"] == "end")
        assert end["signal"] == number.name
        assert (tmp_path / "run" / name / "junit.xml").exists()
    assert "Traceback" not in err


def test_a_second_signal_ends_it_at_once_and_says_what_it_leaves(
    tmp_path: Path, waiting: list[str]
) -> None:
    with many(tmp_path, "a", "b", *waiting, *SHORT) as run:
        until(switched_on(tmp_path, "ab"))
        slow = tmp_path / "shelf" / "a.outlet.slow"
        os.mkfifo(slow)
        run.send_signal(signal.SIGINT)
        until(lambda: told(tmp_path, "b")[-1:] == ["off"])
        run.send_signal(signal.SIGINT)
        _, err = run.communicate(timeout=60)
        assert run.returncode == 130
        assert f"a is being switched off by process {pids(tmp_path / 'run')['a']}" in err
        assert told(tmp_path, "a")[-1] == "on"
        assert verdicts(tmp_path / "run")["a"] == "unfinished"
        slow.write_text("\n")
        until(lambda: told(tmp_path, "a")[-1:] == ["off"])
        ended = [r["kind"] for r in records(tmp_path / "run" / "a")][-1:]
        until(lambda: ended == ["end"] or records(tmp_path / "run" / "a")[-1]["kind"] == "end")


def test_a_child_that_is_killed_is_unfinished_and_the_others_go_on(
    tmp_path: Path, waiting: list[str]
) -> None:
    del waiting
    with shelf(tmp_path / "more", {"good": "good"}) as more:
        folders = [*more, "--boards", str(tmp_path / "shelf")]
        with many(tmp_path, "a", "good", *folders, *SHORT) as run:
            until(switched_on(tmp_path, "a"))
            os.kill(pids(tmp_path / "run")["a"], signal.SIGKILL)
            out, err = run.communicate(timeout=60)
    assert run.returncode == 125, err
    assert verdicts(tmp_path / "run") == {"a": "unfinished", "good": "pass"}
    assert "was killed by signal 9" in out
    assert (tmp_path / "run" / "a" / "junit.xml").exists()


def test_a_parent_that_is_killed_takes_its_children_along(
    tmp_path: Path, waiting: list[str]
) -> None:
    with many(tmp_path, "a", "b", *waiting, *SHORT) as run:
        until(switched_on(tmp_path, "ab"))
        run.kill()
        run.wait()
        until(lambda: [told(tmp_path, name)[-1:] for name in "ab"] == [["off"], ["off"]])
        until(lambda: records(tmp_path / "run" / "a")[-1]["kind"] == "end")


@pytest.fixture
def taken(tmp_path: Path) -> Iterator[tuple[list[str], contextlib.ExitStack]]:
    """Two boards, of which somebody holds ``yours``."""
    with shelf(tmp_path / "shelf", {"mine": "good", "yours": "good"}) as named:
        names = lock.things(boards.load("yours", dirs=[tmp_path / "shelf"]))
        with contextlib.ExitStack() as held:
            held.enter_context(lock.hold(names, board="yours", run_dir=tmp_path / "theirs"))
            yield ["mine", "yours", *named, *SHORT[-4:]], held


def test_a_board_that_is_taken_costs_that_one_alone(
    tmp_path: Path, taken: tuple[list[str], contextlib.ExitStack]
) -> None:
    out, err = (run := many(tmp_path, *taken[0])).communicate(timeout=60)
    assert verdicts(tmp_path / "run") == {"mine": "pass", "yours": "infra"}, out + err
    assert run.returncode == 125
    assert f"(pid {os.getpid()}, " in " ".join(out.split())


def test_a_board_that_is_taken_can_be_waited_for(
    tmp_path: Path, taken: tuple[list[str], contextlib.ExitStack]
) -> None:
    argv, held = taken
    run = many(tmp_path, *argv, "--wait", "5m")
    waits = tmp_path / "run" / "yours"
    until(lambda: any(r.get("waits") for r in records(waits)))
    held.close()
    _, err = run.communicate(timeout=60)
    assert run.returncode == 0, err
    assert "; waiting, 5 min left" in err


def test_jobs_bounds_how_many_run_at_the_same_time(tmp_path: Path) -> None:
    with shelf(tmp_path / "shelf", {"a": "good", "b": "good"}) as named:
        many(tmp_path, "a", "b", *named, *SHORT[:2], "--jobs", "1").communicate(timeout=120)
    said = [r["phase"] for r in records(tmp_path / "run") if r["kind"] == "child"]
    assert said == ["begin", "end"] * 2


@pytest.mark.parametrize(
    ("emulated", "running", "jobs", "may"),
    [
        (False, [False] * 31 + [True] * 9, 0, True),
        (True, [False] * 31, 0, True),
        (True, [True], 0, True),
        (True, [True, True, False], 0, False),
        (True, [True, True, False], 4, True),
        (False, [True, True, False], 3, False),
    ],
)
def test_emulated_boards_leave_each_other_a_cpu_and_real_ones_wait_for_nobody(
    emulated: bool, running: list[bool], jobs: int, may: bool
) -> None:
    assert may_start(emulated, running, jobs, 2) is may


def test_a_terminal_shows_one_table(tmp_path: Path, waiting: list[str]) -> None:
    with Person(tmp_path, "run", "a", "b", *waiting, *SHORT, "--run-dir", "run") as person:
        person.sees(b"board")
        person.sees(b"reach U-Boot")
        person.process.send_signal(signal.SIGINT)
        person.sees(b"ending")
        person.sees(b"UNFINISHED")
        assert person.ends() == 130
        assert person.settings() == person.before
    assert b"Traceback" not in person.seen


def test_a_terminal_that_hangs_up_ends_it_with_every_board_off(
    tmp_path: Path, waiting: list[str]
) -> None:
    with Person(tmp_path, "run", "a", "b", *waiting, *SHORT, "--run-dir", "run") as person:
        until(switched_on(tmp_path, "ab"))
        person.hangs_up()
        person.process.send_signal(signal.SIGHUP)
        assert person.process.wait(60) == 143
    assert [told(tmp_path, name)[-1:] for name in "ab"] == [["off"], ["off"]]
    assert verdicts(tmp_path / "run") == dict.fromkeys("ab", "unfinished")


def test_a_run_among_many_can_be_watched(tmp_path: Path, waiting: list[str]) -> None:
    with many(tmp_path, "a", "b", *waiting, *SHORT) as run:
        until(switched_on(tmp_path, "ab"))
        with Person(tmp_path, "console", "a", "--watch", *waiting) as watcher:
            watcher.sees(str(tmp_path / "run" / "a").encode())
            watcher.sees(b"DRAM:  256 MiB")
            run.send_signal(signal.SIGTERM)
            assert watcher.ends() == 0
            assert b"a was given back" in watcher.seen


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("qemu-virt", "qemu-vert"), "no board 'qemu-vert'; did you mean qemu-virt or "),
        (("qemu-virt", "rock-5b"), "rock-5b is a model of boards"),
        (("qemu-virt", "--all"), "--all is every board: name none"),
        (("qemu-virt", "--tag", "x"), "--tag chooses boards, and these were named"),
        (("--tag", "colour=red"), "no such field 'colour'"),
        (("--tag", "soc=none"), "no board has soc=none"),
    ],
)
def test_what_can_not_be_chosen_is_the_callers_mistake(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], argv: tuple[str, ...], said: str
) -> None:
    assert cli.main(["run", *argv, "--run-dir", str(tmp_path / "run")]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_one_board_named_twice_is_one_and_two_of_one_name_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "qemu-virt.yaml").write_text("extends: qemu-raspi3b\nname: qemu-virt\n")
    file = str(tmp_path / "qemu-virt.yaml")
    argv = ["run", "qemu-virt", "qemu-virt", file, "--run-dir", str(tmp_path / "run")]
    assert cli.main(argv) == 2
    assert f"qemu-virt and {file} are both qemu-virt" in capsys.readouterr().err


def test_a_file_with_a_mistake_is_a_row_of_its_own(tmp_path: Path) -> None:
    with shelf(tmp_path / "shelf", {"good": "good"}) as named:
        (tmp_path / "shelf" / "wrong.yaml").write_text("extends: good\nname: wrong\nnonsense: 1\n")
        run = many(tmp_path, "--tag", "shelf", *named, *SHORT[-4:])
        out, err = run.communicate(timeout=60)
    assert run.returncode == 2, err
    assert verdicts(tmp_path / "run") == {"good": "pass", "wrong": "unfinished"}
    found = json.loads((tmp_path / "run" / "results.json").read_text())["boards"]
    assert "wrong.yaml:3: nonsense: unknown field" in found[1]["why"]
    assert "unfinished\n" in out


def test_a_child_that_can_not_be_started_is_the_labs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_process(*args: object, **how: object) -> object:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("hilagent.cli.children.subprocess.Popen", no_process)
    argv = ["run", "qemu-virt", "qemu-raspi3b", "--run-dir", str(tmp_path / "run")]
    assert cli.main(argv) == 125
    assert "can't run qemu-virt: Resource temporarily unavailable" in capsys.readouterr().out


@pytest.mark.hil
def test_four_emulated_boards_side_by_side_have_four_right_verdicts(tmp_path: Path) -> None:
    changes = {
        "one": "cpus: 1\nqemu: {smp: 1}",
        "max": "cpus: 2\nqemu: {smp: 2, cpu: max}",
        "no-el2": "qemu: {machine: virt}\npayload: {psci: hvc}",
        "nobody": 'uboot: {prompt: "nobody$ ", prompt_timeout_s: 3}',
    }
    for name, text in changes.items():
        (tmp_path / f"{name}.yaml").write_text(f"extends: qemu-virt\nname: {name}\n{text}\n")
    argv = (*changes, "--boards", str(tmp_path), "--jobs", "4", *SHORT[2:])
    out, err = (run := many(tmp_path, *argv)).communicate(timeout=300)
    right = {"one": "pass", "max": "pass", "no-el2": "precondition", "nobody": "infra"}
    assert verdicts(tmp_path / "run") == right, out + err
    assert run.returncode == 125
