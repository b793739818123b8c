# SPDX-License-Identifier: Apache-2.0
"""``hilagent trust``: what is shown, asked and pinned."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hilagent import cli
from hilagent.cli import trust
from hilagent.testing.ssh import SshServer
from hilagent.transport import known


def _board(tmp_path: Path, ssh: str) -> str:
    """Write a board whose Linux is reached by ``ssh``; return its file."""
    path = tmp_path / "my-board.yaml"
    path.write_text(
        "extends: qemu-virt\nname: my-board\n"
        f"linux:\n  ssh: {ssh}\n"
    )  # fmt: skip
    return str(path)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SshServer]:
    """A server that is the address of the board ``my-board`` in ``tmp_path``."""
    monkeypatch.setenv(known.ENVIRONMENT, str(tmp_path / "hosts"))
    monkeypatch.setenv("HILAGENT_BOARDS", str(tmp_path))
    with SshServer() as server:
        address = f"host: {server.host}, port: {server.port}, key: {server.key_file}"
        _board(tmp_path, f"{{via: address, {address}}}")
        yield server


def _answers(monkeypatch: pytest.MonkeyPatch, answer: bool) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("click.confirm", lambda text, default: answer)


def _pinned() -> dict[str, tuple[known.HostKey, ...]]:
    return known.read(known.path_of("my-board"))


def test_a_key_is_shown_and_pinned_with_yes(
    server: SshServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["trust", "my-board", "--yes"]) == 0
    out = capsys.readouterr().out
    assert f"my-board/os at 127.0.0.1:{server.port} shows  ssh-ed25519 SHA256:" in out
    assert server.host_key.fingerprint in out
    assert _pinned() == {"my-board/os": (server.host_key,)}
    assert server.logins == 0


def test_a_changed_key_is_shown_beside_the_old_one(
    server: SshServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["trust", "my-board", "--system", "rootfs", "--yes"]) == 0
    old, new = server.host_key, server.change_key()
    _answers(monkeypatch, True)
    assert cli.main(["trust", "my-board", "--system", "rootfs"]) == 0
    out = capsys.readouterr().out
    assert f"pinned so far: ssh-ed25519 {old.fingerprint}" in out
    assert "ssh-keygen -lf" in out
    assert _pinned() == {"my-board/rootfs": (new,)}


def test_who_says_no_changes_nothing(
    server: SshServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _answers(monkeypatch, False)
    assert cli.main(["trust", "my-board"]) == 2
    assert "nothing was changed" in capsys.readouterr().err
    assert _pinned() == {}


def test_without_anybody_to_ask_yes_has_to_be_said(
    server: SshServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    assert cli.main(["trust", "my-board"]) == 2
    assert "--yes" in capsys.readouterr().err
    assert _pinned() == {}


def test_a_key_that_is_pinned_already_needs_no_answer(
    server: SshServer, capsys: pytest.CaptureFixture[str]
) -> None:
    known.pin(known.path_of("my-board"), "my-board/os", server.host_key)
    assert cli.main(["trust", "my-board"]) == 0
    assert "the same" in capsys.readouterr().out


def test_an_emulated_board_has_nobody_to_trust(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["trust", "qemu-virt"]) == 2
    err = capsys.readouterr().err
    assert "qemu-virt has no 'linux.ssh' with a host" in err
    assert "needs no trust" in err


def test_a_board_that_does_not_answer_is_the_labs(
    server: SshServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server.traits.hang = "banner"
    monkeypatch.setattr(trust, "ANSWER_S", 0.3)
    assert cli.main(["trust", "my-board", "--yes"]) == 125
    assert "INFRA: my-board/os: no SSH at 127.0.0.1:" in capsys.readouterr().err
