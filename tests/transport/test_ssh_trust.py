# SPDX-License-Identifier: Apache-2.0
"""Who is spoken to by SSH, and as whom: nothing is trusted that nobody pinned."""

from __future__ import annotations

from pathlib import Path

import paramiko
import pytest

from hilagent.errors import LabError
from hilagent.testing.ssh import SshServer, new_key
from hilagent.transport import ssh
from tests.transport.helper import soon


def test_an_unknown_key_is_refused_before_anybody_logs_in(board: SshServer) -> None:
    with pytest.raises(LabError, match="nobody has agreed to the host key") as caught:
        ssh.connect(board.target("scripted/os", trusted=False), soon())
    assert board.host_key.fingerprint in caught.value.message
    assert caught.value.hint.endswith("hilagent trust scripted")
    assert board.logins == 0


def test_nobody_is_told_to_trust_a_stranger_in_place_of_our_own_system(board: SshServer) -> None:
    unknown = board.target(trusted=False)
    with pytest.raises(LabError, match="nobody has agreed") as caught:
        ssh.connect(unknown, soon())
    assert caught.value.hint == "another system answers at this address: check linux.ssh.host"
    target = board.target("scripted/rootfs")
    board.change_key()
    with pytest.raises(LabError, match="has changed") as caught:
        ssh.connect(target, soon())
    assert caught.value.hint == "another system answers at this address: check linux.ssh.host"


def test_a_changed_key_is_refused_with_both_fingerprints(board: SshServer) -> None:
    target = board.target("scripted/os")
    old, new = board.host_key, board.change_key()
    with pytest.raises(LabError, match=r"scripted/os: the host key of .* has changed") as caught:
        ssh.connect(target, soon())
    assert f"pinned ssh-ed25519 {old.fingerprint}, shown" in caught.value.message
    assert caught.value.message.endswith(new.fingerprint)
    assert caught.value.hint.endswith("hilagent trust scripted")
    assert board.logins == 0


def test_the_key_of_another_system_of_the_board_is_not_good_enough(board: SshServer) -> None:
    board.target("scripted/rootfs")
    with pytest.raises(LabError, match="scripted/os: nobody has agreed"):
        ssh.connect(board.target("scripted/os", trusted=False), soon())


def test_nothing_of_the_users_own_ssh_is_read(
    board: SshServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".ssh").mkdir()
    name = f"[{board.host}]:{board.port}"
    (tmp_path / ".ssh/known_hosts").write_text(f"{name} {board.host_key}\n")
    (tmp_path / ".ssh/config").write_text("Host *\n  Port 1\n  HostName nowhere.invalid\n")
    (tmp_path / ".fabric.yaml").write_text("user: nobody\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(LabError, match="nobody has agreed"):
        ssh.connect(board.target(trusted=False), soon())
    with ssh.connect(board.target(), soon()) as to:
        assert to.alive()


def test_what_a_server_offers_can_be_asked_without_trust(board: SshServer) -> None:
    assert ssh.offered(board.target(trusted=False), soon()) == board.host_key
    assert board.logins == 0


def test_a_login_that_is_refused_names_the_key_file(board: SshServer, tmp_path: Path) -> None:
    other = new_key(tmp_path / "other")
    target = ssh.Target(**{**vars(board.target()), "key": other})
    with pytest.raises(LabError, match=rf"root@127.0.0.1:\d+ refused the key {other}") as caught:
        ssh.connect(target, soon())
    assert "authorized_keys" in caught.value.hint


def test_without_a_key_only_an_agent_is_asked(
    board: SshServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    target = ssh.Target(**{**vars(board.target()), "key": None})
    with pytest.raises(LabError, match="refused the keys of the ssh agent, if any"):
        ssh.connect(target, soon())


def test_a_key_file_that_is_none_is_said_before_anything_is_sent(tmp_path: Path) -> None:
    with SshServer() as server:
        target = server.target()
    (tmp_path / "text").write_text("not a key")
    locked = tmp_path / "locked"
    paramiko.RSAKey.generate(2048).write_private_key_file(str(locked), password="x")
    for path, why in (
        (tmp_path / "none", "No such file"),
        (tmp_path / "text", "can't be used as an SSH key"),
        (locked, "it has a passphrase"),
    ):
        with pytest.raises(LabError, match=why) as caught:
            ssh.connect(ssh.Target(**{**vars(target), "key": path}), soon())
        assert str(path) in caught.value.message
