# SPDX-License-Identifier: Apache-2.0
"""Pinned host keys: one file a board, a line a system, and never half a file."""

from __future__ import annotations

import base64
import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilagent.errors import LabError
from hilagent.transport import known
from hilagent.transport.known import HostKey


def _key(seed: int = 0) -> HostKey:
    kind = b"ssh-ed25519"
    blob = len(kind).to_bytes(4, "big") + kind + (32).to_bytes(4, "big") + bytes([seed]) * 32
    return HostKey(kind.decode(), blob)


def test_a_pinned_key_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "my-board"
    known.pin(path, "my-board/os", _key(1))
    known.pin(path, "my-board/rootfs", _key(2))
    assert known.read(path) == {"my-board/os": (_key(1),), "my-board/rootfs": (_key(2),)}


def test_a_new_pin_replaces_all_keys_of_its_system_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "b"
    path.write_text(f"# mine\nb/os {_key(1)}\nb/os {_key(2)} me@home\n\nb/rootfs {_key(3)}\n")
    known.pin(path, "b/os", _key(4))
    assert path.read_text() == f"# mine\n\nb/rootfs {_key(3)}\nb/os {_key(4)}\n"


def test_no_file_means_no_keys(tmp_path: Path) -> None:
    assert known.read(tmp_path / "nobody") == {}


@pytest.mark.parametrize("line", ["b/os", "b/os ssh-ed25519", "b/os ssh-rsa AAAA", "b/os x !!"])
def test_a_line_that_holds_no_key_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "b"
    path.write_text(f"# x\n{line}\n")
    with pytest.raises(LabError, match=r"b:2: not a host key") as caught:
        known.read(path)
    assert "hilagent trust" in caught.value.hint


def test_a_full_disk_is_lab_and_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "b"
    known.pin(path, "b/os", _key(1))
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(LabError, match="b: can't be written: No space left") as caught:
        known.pin(path, "b/os", _key(2))
    assert known.ENVIRONMENT in caught.value.hint
    assert known.read(path) == {"b/os": (_key(1),)}
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_a_file_that_can_not_be_read_is_lab(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LabError, match="file/b: can't be read: Not a directory"):
        known.read(tmp_path / "file" / "b")


def test_nothing_is_left_beside_the_file(tmp_path: Path) -> None:
    known.pin(tmp_path / "b", "b/os", _key())
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_the_folder_is_the_environments_or_in_the_users_configuration() -> None:
    assert known.path_of("b", {"HILAGENT_KNOWN_HOSTS": "/x", "HOME": "/h"}) == Path("/x/b")
    assert known.path_of("b", {"XDG_CONFIG_HOME": "/c"}) == Path("/c/hilagent/known_hosts/b")
    assert known.path_of("b", {"HOME": "/h"}) == Path("/h/.config/hilagent/known_hosts/b")


def test_a_fingerprint_is_the_one_that_openssh_prints() -> None:
    line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl x@y"
    key = HostKey.parse(line)
    assert key.fingerprint == "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU"
    assert str(key) == line.removesuffix(" x@y")


@given(st.text())
def test_whatever_is_not_a_key_is_a_value_error(text: str) -> None:
    try:
        key = HostKey.parse(text)
    except ValueError:
        return
    assert base64.b64encode(key.blob).decode() in text
