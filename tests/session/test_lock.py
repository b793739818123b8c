# SPDX-License-Identifier: Apache-2.0
"""A board is held by one run, and whoever comes second is told by whom."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hilagent import board as boards
from hilagent import errors
from hilagent.board import Console
from hilagent.session import lock


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HILAGENT_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


def _refused(name: str, run_dir: Path) -> str:
    """Return what is said to whoever comes second."""
    with pytest.raises(errors.LabError) as seen, lock.hold([name], board="x", run_dir=run_dir):
        pass
    return str(seen.value)


def test_the_second_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    with lock.hold(["/dev/ttyUSB0"], board="rpi4", run_dir=tmp_path):
        said = _refused("/dev/ttyUSB0", tmp_path)
        assert "x: /dev/ttyUSB0 is in use by " in said
        assert f"pid {os.getpid()}" in said
        assert str(tmp_path) in said
    with lock.hold(["/dev/ttyUSB0"], board="rpi4", run_dir=tmp_path):
        pass


def test_what_was_taken_is_given_back_if_the_rest_is_in_use(tmp_path: Path) -> None:
    with lock.hold(["b"], board="x", run_dir=tmp_path):
        with pytest.raises(errors.LabError), lock.hold(["a", "b"], board="x", run_dir=tmp_path):
            pass
        with lock.hold(["a"], board="x", run_dir=tmp_path):
            pass


def test_a_holder_that_dies_frees_it(tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from hilagent.session import lock\n"
        "with lock.hold(['port'], board='x', run_dir=Path('.')):\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    assert f"pid {child.pid}" in _refused("port", tmp_path)
    child.kill()
    child.communicate()
    with lock.hold(["port"], board="x", run_dir=tmp_path):
        pass


def test_the_holder_can_be_asked_for_without_taking_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert lock.holder(["port"]) is None
    with lock.hold(["port"], board="rpi4", run_dir=Path("run")):
        found = lock.holder(["other", "port"])
        assert found is not None
        assert (found.pid, found.run_dir) == (os.getpid(), tmp_path / "run")
        assert found.holds()
    assert not found.holds()
    assert lock.holder(["port"]) is None


def test_a_holder_without_a_log_says_so() -> None:
    with lock.hold(["port"], board="x", run_dir=None):
        found = lock.holder(["port"])
    assert found is not None
    assert found.run_dir is None
    assert str(found).endswith(f"(pid {os.getpid()})")


def test_a_lock_file_full_of_rubbish_names_nobody(state: Path, tmp_path: Path) -> None:
    with lock.hold(["port"], board="x", run_dir=tmp_path):
        (state / "port.lock").write_bytes(b"\x1b[2J\xff{")
        assert "somebody who left no name" in _refused("port", tmp_path)
        assert lock.holder(["port"]) is None


def test_an_emulated_board_is_nobodys(tmp_path: Path) -> None:
    assert lock.things(boards.load("qemu-virt")) == ()


def test_a_serial_board_is_its_device_however_it_is_called(tmp_path: Path) -> None:
    (tmp_path / "tty").touch()
    (tmp_path / "by-path").symlink_to(tmp_path / "tty")
    board = boards.load("qemu-virt")
    serial = Console("serial", path=str(tmp_path / "by-path"))
    object.__setattr__(board, "console", serial)
    assert lock.things(board) == (str((tmp_path / "tty").resolve()),)
    tcp = Console("tcp", host="lab", port=2001)
    object.__setattr__(board, "console", tcp)
    assert lock.things(board) == ("lab:2001",)
    assert dataclasses.is_dataclass(board)


def test_a_folder_that_can_not_be_made_is_the_labs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("HILAGENT_STATE", str(tmp_path / "file" / "x"))
    with pytest.raises(errors.LabError, match="can't hold the locks"):
        lock.state_dir()
