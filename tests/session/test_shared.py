# SPDX-License-Identifier: Apache-2.0
"""The folders that users share: which one it is, and what somebody else may have put there."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from hilagent import errors
from hilagent.session import shared


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("HILAGENT_STATE", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(shared, "LOCKS", tmp_path / "host-locks")
    monkeypatch.setattr(shared, "KEPT", tmp_path / "host-kept")
    return tmp_path


def test_without_the_hosts_folder_it_is_the_users_own(folder: Path) -> None:
    assert shared.locks() == folder / "runtime" / "hilagent"
    assert shared.kept() == folder / "state" / "hilagent"
    assert stat.S_IMODE(shared.kept().stat().st_mode) == 0o700


def test_the_hosts_folder_comes_first_and_the_chosen_one_before_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "host-locks").mkdir()
    (folder / "host-kept").mkdir()
    assert (shared.locks(), shared.kept()) == (folder / "host-locks", folder / "host-kept")
    monkeypatch.setenv("HILAGENT_STATE", str(folder / "mine"))
    assert shared.locks() == shared.kept() == folder / "mine"


def test_a_user_whom_others_could_not_see_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "host-locks").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(errors.LabError, match="can't write what others must see") as seen:
        shared.locks()
    assert "add this user to the group" in seen.value.hint


def test_a_folder_that_can_not_be_made_is_the_labs(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "file").touch()
    monkeypatch.setenv("HILAGENT_STATE", str(folder / "file" / "x"))
    with pytest.raises(errors.LabError, match="can't hold the locks"):
        shared.locks()


def test_a_file_is_for_the_group_whatever_the_umask_and_no_childs(folder: Path) -> None:
    before = os.umask(0o077)
    try:
        fd = shared.opened(folder / "lock")
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.fstat(fd).st_mode) == 0o664
    assert not os.get_inheritable(fd)
    os.close(fd)


def _link(path: Path, other: Path) -> None:
    path.symlink_to(other)


def _hard_link(path: Path, other: Path) -> None:
    path.hardlink_to(other)


def _fifo(path: Path, other: Path) -> None:
    os.mkfifo(path)


def _folder(path: Path, other: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("hostile", [_link, _hard_link, _fifo, _folder])
def test_what_is_no_file_of_one_name_is_neither_followed_nor_written(
    folder: Path, hostile: object
) -> None:
    (folder / "precious").write_text("mine")
    hostile(folder / "lock", folder / "precious")  # type: ignore[operator]
    with pytest.raises(errors.LabError, match="lock: ") as seen:
        shared.opened(folder / "lock")
    assert "rm " in seen.value.hint
    assert (folder / "precious").read_text() == "mine"
