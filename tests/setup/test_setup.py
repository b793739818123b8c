# SPDX-License-Identifier: Apache-2.0
"""hilagent.setup against an apt-get and a sudo that only write down what they are asked."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from hilagent import setup
from tests import tree

LACKING = setup.Need("no-such-package", "is a test", tools=("no-such-command",))

Fake = Callable[..., Path]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Puts a command into a PATH that holds only such ones; it logs its words in `calls`."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(setup, "_has_command", lambda name: (tmp_path / name).exists())

    def make(name: str, body: str = "") -> Path:
        script = tmp_path / name
        script.write_text(f'#!/bin/sh\necho "{name} $*" >> {tmp_path}/calls\n{body}\n')
        script.chmod(0o755)
        return tmp_path / "calls"

    (tmp_path / "sh").symlink_to("/bin/sh")
    return make


def as_user(monkeypatch: pytest.MonkeyPatch, uid: int) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)


def install_on(fake: Fake, body: str) -> Path:
    """An apt-get whose install does `body`."""
    provides = 'echo > "${0%/*}/no-such-command"'
    return fake("apt-get", f'case "$*" in *install*) {body}\n{provides};; esac')


def test_nothing_missing_means_no_package_manager(fake: Fake) -> None:
    calls = fake("apt-get")
    setup._packages([], yes=False)
    assert not calls.exists()


def test_root_installs_without_sudo_and_without_recommends(
    fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_user(monkeypatch, 0)
    calls = install_on(fake, ":")
    setup._packages([LACKING], yes=True)
    (call,) = calls.read_text().splitlines()
    assert call.startswith("apt-get -q")
    assert "install -y --no-install-recommends" in call
    assert call.endswith("no-such-package")


def test_a_user_goes_by_sudo(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    as_user(monkeypatch, 1000)
    calls = install_on(fake, ":")
    fake("sudo", 'exec "$@"')
    setup._packages([LACKING], yes=True)
    first, second = calls.read_text().splitlines()
    assert first.startswith("sudo ")
    assert second.startswith("apt-get ")


def test_a_user_without_sudo_is_told_what_root_must_run(
    fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_user(monkeypatch, 1000)
    calls = install_on(fake, ":")
    with pytest.raises(setup.SetupError, match=r"as root: apt-get install .* no-such-package"):
        setup._packages([LACKING], yes=True)
    assert not calls.exists()


def test_the_package_lists_are_fetched_only_after_a_failure(
    fake: Fake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    as_user(monkeypatch, 0)
    calls = install_on(fake, f"[ -e {tmp_path}/fetched ] || exit 100")
    script = tmp_path / "apt-get"
    script.write_text(
        script.read_text() + f'case "$*" in *update) echo > {tmp_path}/fetched;; esac\n'
    )
    setup._packages([LACKING], yes=True)
    assert [call.split()[4] for call in calls.read_text().splitlines()] == [
        *("install", "update", "install")
    ]


def test_a_failure_shows_what_apt_said(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    as_user(monkeypatch, 0)
    install_on(fake, "echo E: the disk is full; exit 100")
    with pytest.raises(
        setup.SetupError, match=r"E: the disk is full(.|\n)*failed \(100\)"
    ) as caught:
        setup._packages([LACKING], yes=True)
    assert caught.value.status == 125


def test_a_package_that_does_not_give_its_command_is_named(
    fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_user(monkeypatch, 0)
    fake("apt-get")
    with pytest.raises(setup.SetupError, match="still missing: the command no-such-command"):
        setup._packages([LACKING], yes=True)


def test_nobody_is_asked_where_there_is_no_terminal(
    fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_user(monkeypatch, 0)
    calls = install_on(fake, ":")
    with pytest.raises(setup.SetupError, match="--yes") as caught:
        setup._packages([LACKING], yes=False)
    assert caught.value.status == 2
    assert not calls.exists()


def test_no_is_an_answer(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    as_user(monkeypatch, 0)
    calls = install_on(fake, ":")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda question: "n")
    with pytest.raises(setup.SetupError, match="nothing was changed"):
        setup._packages([LACKING], yes=False)
    assert not calls.exists()


def test_a_host_without_apt_is_told_the_tools_not_the_packages(fake: Fake) -> None:
    with pytest.raises(setup.SetupError, match="the command no-such-command") as caught:
        setup._packages([LACKING], yes=True)
    assert "no-such-package" not in str(caught.value)


def test_a_packages_own_script_may_print(
    fake: Fake, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """apt closes the descriptor of its status lines before it runs scripts; found on Debian 12."""
    as_user(monkeypatch, 0)
    status = "echo pmstatus:x:50.0:Unpacking x >&3; exec 3>&-; echo printed || exit 1"
    install_on(fake, status)
    setup._packages([LACKING], yes=True)
    assert "Unpacking x" in capfd.readouterr().out


def test_progress_off_a_terminal_is_a_line_a_quarter(capsys: pytest.CaptureFixture[str]) -> None:
    progress = setup._Progress("Packages")
    for percent in range(101):
        progress.at(percent, "x")
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == [
        *("0", "25", "50", "75", "100")
    ]


@pytest.mark.parametrize(
    ("argv", "ends"),
    [
        (["run"], ["run", "qemu-virt"]),
        (["run", "--json"], ["run", "qemu-virt", "--json"]),
        (["run", "--yes", "rock", "--suite", "clobber"], ["run", "rock", "--suite", "clobber"]),
        (["test"], ["-m", "pytest"]),
        (["test", "-x", "tests/link"], ["pytest", "-x", "tests/link"]),
        (["test", "--long"], ["--long", "-o", "faulthandler_timeout=0", "tests/long"]),
        (["test", "--long", "chroots"], ["tests/long", "-k", "chroots"]),
    ],
)
def test_a_job_gets_its_arguments(argv: Sequence[str], ends: Sequence[str]) -> None:
    options, rest = setup._arguments(argv)
    assert setup._job(options.job, options.long, rest)[-len(ends) :] == ends


@pytest.mark.parametrize("argv", [["--nonsense"], ["run", "--long"], ["walk"]])
def test_a_wrong_argument_is_exit_2(argv: Sequence[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        setup.main(argv)
    assert caught.value.code == 2


def test_an_old_python_is_told_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 2))
    assert setup.main([]) == 125
    assert "Python 3.11 or newer" in capsys.readouterr().err


def test_the_stamp_follows_the_lock_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "requirements.lock").write_text("a==1")
    (tmp_path / "pyproject.toml").write_text("")
    monkeypatch.setattr(setup, "_TOP", tmp_path)
    monkeypatch.setattr(setup, "_LOCK", tmp_path / "requirements.lock")
    before = setup._stamp()
    assert before == setup._stamp()
    (tmp_path / "requirements.lock").write_text("a==2")
    assert before != setup._stamp()


@pytest.mark.parametrize("job", ["", "run", "test"])
def test_check_changes_nothing_and_names_what_is_missing(job: str, tmp_path: Path) -> None:
    command = [sys.executable, "-S", "-m", "hilagent.setup"]
    argv = [*command, *([job] if job else []), "--check"]
    env = {"PATH": str(tmp_path)}
    done = subprocess.run(argv, cwd=tree.TOP, env=env, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert "the command qemu-system-aarch64" in done.stdout
    assert "no apt-get" in done.stdout
    assert "the command flex" in done.stdout
