# SPDX-License-Identifier: Apache-2.0
"""Files over SSH: whole or not at all, and each way in which it fails, with class and message."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hilagent.clock import SYSTEM
from hilagent.errors import AgentBug, LabError, LinkError
from hilagent.testing.ssh import SshServer
from hilagent.transport import ssh
from hilagent.transport.ssh import Connection
from tests.transport.helper import soon


def test_an_upload_is_whole_and_the_same_again_is_skipped(to: Connection, tmp_path: Path) -> None:
    data, path = os.urandom(1 << 20), tmp_path / "deep" / "kernel 'x'"
    told: list[tuple[int, int]] = []
    done = to.put(data, str(path), soon(), lambda sent, size: told.append((sent, size)))
    assert done
    assert path.read_bytes() == data
    assert told[-1] == (len(data), len(data))
    assert not to.put(data, str(path), soon())
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_what_compresses_well_is_sent_compressed(to: Connection, tmp_path: Path) -> None:
    data, path = b"kernel text " * 100_000, tmp_path / "kernel"
    told: list[tuple[int, int]] = []
    assert to.put(data, str(path), soon(), lambda sent, size: told.append((sent, size)))
    assert path.read_bytes() == data
    assert told[-1][1] < len(data) / 50
    assert not to.put(data, str(path), soon())


def test_a_board_without_gzip_gets_it_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for name in ("cat", "mv", "chmod", "mkdir", "sha256sum", "rm", "sh"):
        (tmp_path / "bin" / name).symlink_to(f"/bin/{name}")
    data = bytes(1 << 20)
    told: list[tuple[int, int]] = []
    with (
        SshServer(root=tmp_path) as board,
        ssh.connect(board.target(), soon()) as to,
    ):
        assert to.put(data, "/kernel", soon(), lambda sent, size: told.append((sent, size)))
    assert (tmp_path / "kernel").read_bytes() == data
    assert told[-1] == (len(data), len(data))


@pytest.mark.parametrize("there", [True, False], ids=["held", "other"])
def test_an_end_that_the_board_holds_is_not_sent_again(
    to: Connection, tmp_path: Path, there: bool
) -> None:
    head, tail, path = os.urandom(70_000), os.urandom(300_000), tmp_path / "bundle"
    held = tmp_path / "initrd"
    held.write_bytes(tail if there else tail[:-1] + bytes([tail[-1] ^ 1]))
    told: list[int] = []
    data = head + tail
    assert to.put(
        data, str(path), soon(), lambda sent, size: told.append(size), tail=(str(held), len(tail))
    )
    assert path.read_bytes() == data
    assert told[-1] == (len(head) if there else len(data))
    assert to.put(tail, str(tmp_path / "alone"), soon(), tail=(str(held), len(tail)))
    assert (tmp_path / "alone").read_bytes() == tail
    absent = str(tmp_path / "absent")
    assert to.put(data, str(tmp_path / "again"), soon(), tail=(absent, len(tail)))
    assert (tmp_path / "again").read_bytes() == data


def test_an_upload_replaces_what_is_there_and_sets_its_mode(to: Connection, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.write_bytes(b"new")
    there.write_bytes(b"something old")
    assert to.put(here, str(there), soon(), mode=0o755)
    assert there.read_bytes() == b"new"
    assert there.stat().st_mode & 0o777 == 0o755


def test_a_file_that_is_not_here_is_lab(to: Connection, tmp_path: Path) -> None:
    with pytest.raises(LabError, match="none: can't be read: No such file"):
        to.put(tmp_path / "none", "/x", soon())
    with pytest.raises(AgentBug):
        to.put(b"", "relative", soon())


def test_a_progress_that_fails_ends_the_upload(to: Connection, tmp_path: Path) -> None:
    def full(sent: int, size: int) -> None:
        raise LabError("the journal's disk is full")

    with pytest.raises(LabError, match="the journal's disk is full"):
        to.put(os.urandom(1 << 20), str(tmp_path / "x"), soon(), full)
    assert to.alive()


def test_a_network_lost_in_the_upload_says_how_far_it_was(
    board: SshServer, to: Connection, tmp_path: Path
) -> None:
    board.traits.cut_after_bytes = 1 << 20
    size, path = 8 << 20, tmp_path / "kernel"
    lost = rf"the connection was lost in the upload of {path}, after \d+ of {size} bytes"
    with pytest.raises(LinkError, match=lost) as caught:
        to.put(os.urandom(size), str(path), soon())
    assert "network" in caught.value.hint
    assert not path.exists()
    assert not to.alive()


def test_a_network_that_stands_still_ends_the_upload_in_time(
    board: SshServer, to: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stops(sent: int, size: int) -> None:
        if sent > 1 << 20:
            board.traits.hang = "network"

    monkeypatch.setattr("hilagent.transport.ssh_connection.ALIVE_S", 0.3)
    began_s = SYSTEM.now_s()
    still = r"didn't end within 3 s, after \d+ of 16777216 bytes, and SSH does not answer"
    with pytest.raises(LinkError, match=still):
        to.put(os.urandom(16 << 20), str(tmp_path / "kernel"), soon(3), stops)
    assert SYSTEM.now_s() - began_s < 15
    assert not to.alive()


@pytest.mark.parametrize("real", [True, False], ids=["real", "simulated"])
def test_a_full_disk_of_the_board_is_named(
    board: SshServer, to: Connection, tmp_path: Path, real: bool
) -> None:
    path = tmp_path / "kernel"
    if real:
        path.with_suffix(".part").symlink_to("/dev/full")
    else:
        board.traits.full_after_bytes = 100_000
    with pytest.raises(LabError) as caught:
        to.put(os.urandom(1 << 20), str(path), soon())
    message = f"scripted/rootfs: no space for {path} (1048576 bytes) on the board's /"
    assert caught.value.message.startswith(message)
    assert "KiB free of" in caught.value.message
    assert not isinstance(caught.value, LinkError)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_can_not_be_written_is_named(to: Connection) -> None:
    with pytest.raises(LabError, match=r"the upload of /proc/x/y ended with 1: mkdir: .*/proc/x"):
        to.put(b"data", "/proc/x/y", soon())


def test_a_board_that_spoils_what_is_written_is_caught(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    spoiling = tmp_path / "bin/cat"
    spoiling.write_text("#!/bin/sh\nexec tr a b\n")
    spoiling.chmod(0o755)
    with (
        SshServer(root=tmp_path) as board,
        ssh.connect(board.target(), soon()) as to,
        pytest.raises(LinkError, match="/x arrived damaged"),
    ):
        to.put(b"aaa", "/x", soon())
    assert not (tmp_path / "x").exists()


def test_a_download_is_whole_or_an_error(board: SshServer, to: Connection, tmp_path: Path) -> None:
    path, data = tmp_path / "x", os.urandom(1 << 20)
    path.write_bytes(data)
    assert to.get(str(path), soon()) == data
    with pytest.raises(LabError, match=r"the download of .*/x printed more"):
        to.get(str(path), soon(), limit_bytes=1 << 19)
    with pytest.raises(LabError, match=r"the download of .*/none ended with \d+: .*none"):
        to.get(str(tmp_path / "none"), soon())
    board.traits.truncate_bytes = 1000
    with pytest.raises(LinkError, match=r"the download of .*/x was cut off without an exit status"):
        to.get(str(path), soon())
