# SPDX-License-Identifier: Apache-2.0
"""The firmware of an emulated board out of a package that is only unpacked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from hilagent import board
from hilagent.build import debian, firmware
from hilagent.build.progress import Progress
from hilagent.errors import LabError


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where every package is unpacked to, and which were asked for."""
    asked = tmp_path / "asked"

    def fetch(names: Sequence[str], *, progress: Progress) -> tuple[debian.Package, ...]:
        progress(50, 100, names[0])
        asked.write_text(" ".join(names))
        return ()

    monkeypatch.setattr(debian, "fetch", fetch)
    monkeypatch.setattr(debian, "unpack", lambda packages: tmp_path)
    return tmp_path


def test_a_foreign_firmware_is_found_where_its_package_was_unpacked(root: Path) -> None:
    file = root / "usr/lib/u-boot/rpi_3/u-boot.bin"
    file.parent.mkdir(parents=True)
    file.touch()
    steps: list[tuple[int, int, str]] = []
    found = firmware.at_hand(
        board.load("qemu-raspi3b"), progress=lambda *step: steps.append(step)
    ).qemu
    assert found is not None
    assert found.firmware is not None
    assert found.firmware.path == str(file)
    assert (root / "asked").read_text() == "u-boot-rpi"
    assert steps == [(50, 100, "u-boot-rpi")]


def test_any_other_board_is_left_as_it_is(root: Path) -> None:
    virt = board.load("qemu-virt")
    assert firmware.at_hand(virt) is virt
    assert not (root / "asked").exists()


def test_a_package_without_the_file_is_named(root: Path) -> None:
    with pytest.raises(LabError, match=r"u-boot-rpi has no file /usr/lib/u-boot/rpi_3/u-boot\.bin"):
        firmware.at_hand(board.load("qemu-raspi3b"))


def test_a_package_that_cannot_be_had_is_named_with_the_board(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fetch(*_: object, **__: object) -> tuple[debian.Package, ...]:
        raise LabError("u-boot-rpi (arm64) is in none of this host's package sources")

    monkeypatch.setattr(debian, "fetch", fetch)
    with pytest.raises(LabError, match="firmware of qemu-raspi3b: u-boot-rpi") as caught:
        firmware.at_hand(board.load("qemu-raspi3b"))
    assert "Debian 12 and 13 have u-boot-rpi" in caught.value.hint
