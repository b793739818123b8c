# SPDX-License-Identifier: Apache-2.0
"""The lab's keys: made once, for nobody else's eyes, in formats that others read."""

from __future__ import annotations

import stat
from pathlib import Path

import paramiko
import pytest

from hilagent.build import keys
from hilagent.errors import LabError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(keys.ENV, str(tmp_path / "keys"))
    return tmp_path / "keys"


def test_they_are_made_once() -> None:
    first = keys.lab_keys()
    assert keys.lab_keys() == first
    assert first.client_public != first.host_public


def test_nobody_else_can_read_them(home: Path) -> None:
    keys.lab_keys()
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert {stat.S_IMODE(p.stat().st_mode) for p in home.iterdir()} == {0o600}


def test_paramiko_reads_the_client_key_and_its_public_half() -> None:
    own = keys.lab_keys()
    key = paramiko.Ed25519Key.from_private_key_file(str(own.client))
    kind, blob, _ = own.client_public.split()
    assert (kind, blob) == ("ssh-ed25519", key.get_base64())


def test_dropbear_gets_kind_private_and_public_half() -> None:
    own = keys.lab_keys()
    raw = own.host_dropbear
    assert raw[:15] == b"\0\0\0\x0bssh-ed25519"
    assert raw[15:19] == (64).to_bytes(4, "big")
    public = paramiko.Ed25519Key(data=_blob(own.host_public)).asbytes()
    assert raw[51:] == public[-32:]
    assert len(raw) == 83


def _blob(line: str) -> bytes:
    import base64

    return base64.b64decode(line.split()[1])


@pytest.mark.parametrize("text", [b"", b"not a key"])
def test_a_broken_key_says_what_to_do(home: Path, text: bytes) -> None:
    keys.lab_keys()
    (home / "client").write_bytes(text)
    with pytest.raises(LabError, match="not a private key") as caught:
        keys.lab_keys()
    assert "remove it" in caught.value.hint


def test_a_key_that_others_can_read_is_refused(home: Path) -> None:
    keys.lab_keys()
    (home / "host").chmod(0o644)
    with pytest.raises(LabError, match="can be read by others"):
        keys.lab_keys()


def test_a_folder_that_cannot_be_made_is_the_labs(home: Path) -> None:
    home.write_text("a file")
    with pytest.raises(LabError, match="can't keep the lab's SSH keys"):
        keys.lab_keys()


def test_the_default_is_the_users_configuration(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(keys.ENV)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert keys.folder() == tmp_path / "hilagent/keys"
