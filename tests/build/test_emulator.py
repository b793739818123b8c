# SPDX-License-Identifier: Apache-2.0
"""Which QEMU a board gets."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pytest

from hilagent import board
from hilagent.board import Board
from hilagent.build import debian, emulator
from hilagent.errors import LabError


def _qemu(path: Path, version: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho 'QEMU emulator version {version} (Debian 1:{version})'\n")
    path.chmod(0o755)
    return str(path)


def _pi(binary: str) -> Board:
    found = board.load("qemu-raspi4b")
    assert found.qemu is not None
    return dataclasses.replace(found, qemu=dataclasses.replace(found.qemu, binary=binary))


@pytest.fixture
def unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the packages of backports are unpacked to."""
    root = tmp_path / "root"

    def fetch(names: Sequence[str], **how: object) -> tuple[debian.Package, ...]:
        assert (how["for_host"], how["backports"]) == (True, True)
        return tuple(debian.Package(Path(f"{name}_1%3a10.0_amd64.deb")) for name in names)

    monkeypatch.setattr(debian, "fetch", fetch)
    monkeypatch.setattr(debian, "unpack", lambda packages: root)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return root


@pytest.mark.parametrize("version", ["9.0.0", "9.1", "10.0.2", "11.1.3"])
def test_an_emulator_that_is_new_enough_is_used(tmp_path: Path, version: str) -> None:
    pi = _pi(_qemu(tmp_path / "qemu", version))
    assert emulator.at_hand(pi) is pi


def test_an_older_one_is_replaced_by_a_backport_and_its_own_data(
    tmp_path: Path, unpacked: Path
) -> None:
    _qemu(tmp_path / "qemu-old", "7.2.22")
    newer = _qemu(unpacked / "usr/bin/qemu-old", "10.0.2")
    found = emulator.at_hand(_pi("qemu-old")).qemu
    assert found is not None
    assert found.binary == newer
    assert found.args[:4] == ("-L", f"{unpacked}/usr/share/qemu", "-audio", "none")
    assert found.args[4:] == ("-serial", "null", "-accel", "tcg,thread=single")


@pytest.mark.parametrize("version", ["8.2.0", ""])
def test_a_backport_that_is_too_old_or_does_not_start_is_not_used(
    tmp_path: Path, unpacked: Path, version: str
) -> None:
    _qemu(tmp_path / "qemu-old", "7.2.22")
    if version:
        _qemu(unpacked / "usr/bin/qemu-old", version)
    said = r"qemu-raspi4b needs QEMU 9\.0 or newer, this host has 7\.2\.22: .* is no such QEMU"
    with pytest.raises(LabError, match=said) as caught:
        emulator.at_hand(_pi("qemu-old"))
    assert "bookworm-backports" in caught.value.hint


def test_what_is_not_installed_or_says_no_version_is_left_to_whoever_starts_it(
    tmp_path: Path,
) -> None:
    for binary in ("no-such-qemu", "false"):
        pi = _pi(binary)
        assert emulator.at_hand(pi) is pi


def test_a_board_that_names_no_version_asks_nothing(tmp_path: Path) -> None:
    virt = board.load("qemu-virt")
    assert virt.qemu is not None
    assert not emulator.is_too_old(dataclasses.replace(virt.qemu, binary="no-such-qemu"))
