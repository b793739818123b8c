# SPDX-License-Identifier: Apache-2.0
"""The command line: one clear message, no traceback, the exit code of the table."""

from __future__ import annotations

import dataclasses
import errno
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from hilagent import __version__, cli, errors, journal
from hilagent.cli import ending, progress
from hilagent.plugin import runs
from hilagent.session import signals
from hilagent.session.settings import Request, look_up
from tests.session import fakes

HEAVY = {
    "pydantic",
    "paramiko",
    "fabric",
    "rich",
    "jinja2",
    "capstone",
    "pytest",
    "elftools",
    "yaml",
}


def _mine(tmp_path: Path, source: str) -> str:
    path = tmp_path / "test_mine.py"
    path.write_text(source)
    return str(path)


def _last(tmp_path: Path) -> journal.Run:
    return journal.read((tmp_path / "runs" / "latest").resolve())


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from hilagent.cli import main\n"
        "code = main(['--help'])\n"
        f"print(sorted(set(sys.modules) & {HEAVY!r}), file=sys.stderr)\n"
        "sys.exit(code)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stderr.strip() == "[]"
    for verb in ("run", "boards", "hvc", "shell", "power", "console", "trust", "build", "setup"):
        assert f"  {verb} " in done.stdout


@pytest.mark.bench
def test_help_starts_at_once() -> None:
    took = []
    for _ in range(5):
        began = time.monotonic()
        subprocess.run(
            [sys.executable, "-m", "hilagent", "--help"], check=True, capture_output=True
        )
        took.append(time.monotonic() - began)
    assert min(took) <= 0.15


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert __version__ in capsys.readouterr().out


@pytest.mark.parametrize(
    "argv",
    [
        ["run", "nonesuch"],
        ["run", "-o", "nonsense"],
        ["run", "-o", "cpu=z80"],
        ["run", "--abi", "nonesuch"],
        ["run", "--vectors", "file:/nonexistent"],
        ["run", "--suite", "nonesuch"],
        ["run", "--tests", "/nonexistent"],
        ["hvc", "qemu-virt", "zwei"],
        ["hvc", "qemu-virt", "1", "--x0", "0x10000000000000000"],
        ["nonesuch"],
    ],
    ids=" ".join,
)
def test_a_mistake_of_the_caller_is_2_and_one_message(
    argv: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert cli.main(argv) == 2
    said = capsys.readouterr()
    assert said.err
    assert "Traceback" not in said.err + said.out
    assert not list(tmp_path.iterdir())


def test_a_users_tests_run_and_the_summary_begins_with_the_verdict(
    bench: fakes.FakeBench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = _mine(tmp_path, "def test_a(hilagent_payload): assert hilagent_payload.boot == 1\n")
    assert cli.main(["run", "--tests", path]) == 0
    out = capsys.readouterr().out
    assert out.startswith("PASS  qemu-virt (emulated")
    assert bench.did[-1] == "off"
    assert _last(tmp_path).plan == ["test_mine.py::test_a"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("assert False", 1),
        ("raise errors.TargetCrash('x')", 1),
        ("raise errors.TargetHang('x')", 1),
        ("raise errors.LinkError('x')", 125),
        ("raise errors.PreconditionError('x')", 125),
        ("raise errors.Unsupported('x')", 125),
        ("raise errors.AgentBug('x')", 3),
        ("raise KeyError('x')", 3),
        ("raise KeyboardInterrupt", 130),
        ("os.kill(os.getpid(), signal.SIGTERM)", 143),
        ("os.kill(os.getpid(), signal.SIGHUP)", 143),
        ("os.kill(os.getpid(), signal.SIGINT)", 130),
    ],
)
def test_the_exit_code_comes_from_the_journal_and_the_board_is_off(
    bench: fakes.FakeBench, tmp_path: Path, body: str, code: int
) -> None:
    source = (
        f"import os, signal\nfrom hilagent import errors\ndef test_a(hilagent_uboot):\n    {body}\n"
    )
    assert cli.main(["run", "--tests", _mine(tmp_path, source)]) == code
    assert bench.did[-1] == "off"
    assert _last(tmp_path).exit_code == code
    assert json.loads((tmp_path / "runs/latest/results.json").read_text())["exit_code"] == code


def test_a_file_that_can_not_be_collected_is_a_usage_error_and_shown(
    bench: fakes.FakeBench, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", "--tests", _mine(tmp_path, "import nonesuch_module\n")]) == 2
    assert "nonesuch_module" in capfd.readouterr().err


def test_a_disk_that_fills_up_is_the_labs_and_the_board_is_off(
    bench: fakes.FakeBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: journal.Journal, outcome: object) -> None:
        raise errors.LabError("journal.jsonl: can't be written: No space left on device")

    monkeypatch.setattr(journal.Journal, "outcome", full)
    path = _mine(tmp_path, "def test_a(hilagent_uboot): pass\n")
    assert cli.main(["run", "--tests", path]) == 125
    assert bench.did[-1] == "off"


def test_a_switch_that_fails_at_the_end_is_no_pass(
    bench: fakes.FakeBench, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    bench.fail["off"] = [errors.LabError("the outlet does not answer")]
    path = _mine(tmp_path, "def test_a(hilagent_uboot): pass\n")
    assert cli.main(["run", "--tests", path]) == 125
    assert "the outlet does not answer" in capfd.readouterr().out


def test_json_on_stdout_is_nothing_but_json(
    bench: fakes.FakeBench, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = "def test_a(hilagent_board):\n    print('noise')\n"
    assert cli.main(["run", "--json", "--tests", _mine(tmp_path, source)]) == 0
    data = json.loads(capfd.readouterr().out)
    assert data["schema"] == "hilagent-results"
    assert data["verdict"] == "pass"


def test_the_callers_pytest_settings_change_nothing(
    bench: fakes.FakeBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --nonsense\n")
    monkeypatch.setenv("PYTEST_ADDOPTS", "--nonsense")
    assert cli.main(["run", "--tests", _mine(tmp_path, "def test_a(hilagent_board): pass\n")]) == 0


def test_tests_that_use_nothing_of_ours_count_too(bench: fakes.FakeBench, tmp_path: Path) -> None:
    path = _mine(tmp_path, "def test_a(): pass\ndef test_b(): assert False\n")
    assert cli.main(["run", "--tests", path]) == 1
    assert set(_last(tmp_path).outcomes) == {"test_mine.py::test_a", "test_mine.py::test_b"}


def test_only_what_was_asked_for_is_planned(bench: fakes.FakeBench, tmp_path: Path) -> None:
    path = _mine(tmp_path, "def test_a(): assert False\ndef test_b(): pass\n")
    assert cli.main(["run", "-k", "test_b", "--tests", path]) == 0
    assert _last(tmp_path).plan == ["test_mine.py::test_b"]


def test_a_board_in_use_is_125_and_names_the_holder(
    bench: fakes.FakeBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def taken(chosen: Any, log: Any) -> Any:
        raise errors.LabError("rpi4: /dev/ttyUSB0 is in use by ann (pid 7)")

    monkeypatch.setattr(runs, "open_session", taken)
    path = _mine(tmp_path, "def test_a(hilagent_uboot): pass\n")
    assert cli.main(["run", "--tests", path]) == 125
    assert "in use by ann" in capfd.readouterr().err


def test_every_vector_can_be_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "--list-vectors"]) == 0
    out = capsys.readouterr().out
    assert "reference-kvm" in out
    assert out.count("mutant:") >= 15


def test_setup_gets_all_its_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []

    def main(args: list[str]) -> int:
        seen.append(args)
        return 7

    monkeypatch.setattr("hilagent.setup.main", main)
    assert cli.main(["setup", "test", "--check", "-x", "--help"]) == 7
    assert seen == [["test", "--check", "-x", "--help"]]


def test_a_defect_of_ours_is_3_and_says_where_the_traceback_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: Any, **__: Any) -> int:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("hilagent.cli.boards.boards", broken)
    assert cli.main(["boards"]) == 3
    said = capsys.readouterr().err
    assert "ZeroDivisionError: oops" in said
    assert "Traceback" not in said
    path = Path(said.split("the traceback is in ")[1].strip())
    assert "Traceback" in path.read_text()
    path.unlink()


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (errors.UsageError("x"), 2),
        (errors.LabError("x"), 125),
        (errors.PreconditionError("x"), 125),
        (errors.TargetHang("x"), 1),
        (errors.TargetCrash("x"), 1),
        (errors.AgentBug("x"), 3),
        (KeyboardInterrupt(), 130),
        (signals.Interrupted("SIGTERM"), 143),
        (signals.Interrupted("SIGINT"), 130),
        (ZeroDivisionError(), 3),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_end_has_its_exit_code(raised: BaseException, code: int) -> None:
    def command() -> int:
        raise raised

    assert ending.guarded(command) == code


def test_a_signal_to_a_command_whose_terminal_hung_up_is_no_bug() -> None:
    def command() -> int:
        try:
            raise signals.Interrupted("SIGHUP")
        except KeyboardInterrupt:
            raise OSError(errno.EIO, "gone") from None  # click tells stderr

    assert ending.guarded(command) == 143


def test_a_message_from_a_board_can_not_drive_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def command() -> int:
        raise errors.LabError("\x1b[2Jlost", hint="\x07look")

    ending.guarded(command)
    assert "\x1b" not in capsys.readouterr().err


def test_plain_progress_tells_slow_steps_and_failures_once() -> None:
    class Out(list[str]):
        def write(self, text: str) -> int:
            self.append(text)
            return len(text)

    out = Out()
    plain = progress.Plain(out)  # type: ignore[arg-type]
    step = {"kind": "step", "what": "sweep", "phase": "end", "step": 1}
    plain({"t": 1.0, **step, "took_s": 0.1})
    plain({"t": 2.0, **step, "took_s": 3.0})
    for share in (0.1, 0.2, 0.9):
        plain({"t": 3.0 + share, "kind": "progress", "step": 1, "what": "sweep", "share": share})
    outcome = {"t": 5.0, "kind": "outcome", "verdict": "infra", "message": "cut"}
    for name in ("a", "b", "c"):
        plain({**outcome, "test": name})
    plain({**outcome, "test": "d", "verdict": "pass", "message": ""})
    lines = "".join(out).splitlines()
    assert [line[11:] for line in lines] == ["sweep (3.0 s)", "sweep: 10%", "INFRA  a: cut"]


def test_a_request_is_what_was_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Request] = []

    def run(request: Request, *args: Any, **options: Any) -> int:
        seen.append(request)
        return 0

    monkeypatch.setattr("hilagent.cli.run.run", run)
    cli.main(["run"])
    cli.main(["run", "rpi4", "--vectors", "mutant:x", "--abi", "iss-6.12", "-o", "a=b"])
    assert seen[0] == Request(command=("hilagent", "run", "qemu-virt"))
    assert seen[1].command[2:] == (
        "rpi4", "--vectors", "mutant:x", "--abi", "iss-6.12", "--option", "a=b",
    )  # fmt: skip
    assert (seen[1].board, seen[1].vectors, seen[1].abi) == ("rpi4", ("mutant:x",), "iss-6.12")
    assert seen[1].options == {"a": "b"}


@pytest.mark.parametrize("built", [True, False])
def test_kernels_are_part_of_the_main_job_once_they_are_built(
    built: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hilagent.cli.run import default_suites

    class Told:
        def __init__(self) -> None:
            self.said: list[str] = []

        def begin(self, title: str) -> None:
            self.said.append(title)

        def __call__(self, record: journal.Record) -> None: ...

    monkeypatch.setattr("hilagent.build.kernel.cached", lambda *_: object() if built else None)
    told = Told()
    vectors = ("architecture", "dispatch", "clobber")
    chosen = look_up(Request())
    assert default_suites(chosen, told) == ((*vectors, "kernel") if built else vectors)
    assert bool(told.said) is not built
    assert default_suites(look_up(Request(vectors=("reference-stub",))), told) == vectors
    without = dataclasses.replace(chosen, board=dataclasses.replace(chosen.board, linux=None))
    assert default_suites(without, told) == vectors
