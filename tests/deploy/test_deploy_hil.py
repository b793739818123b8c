# SPDX-License-Identifier: Apache-2.0
"""Loading and starting an image by the real U-Boot."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from hilagent import deploy
from hilagent.board.model import Network
from hilagent.clock import Deadline
from hilagent.console.uboot import UBoot
from hilagent.deploy.tftp import Tftp
from hilagent.errors import LabError
from tests.console.emulated import emulated
from tests.deploy.image import HELLO, image

pytestmark = pytest.mark.hil


@pytest.mark.parametrize("way", ["tftp", "ymodem"])
@pytest.mark.parametrize("size", [32768, 12345])
def test_an_image_is_loaded_verified_and_runs(tmp_path: Path, way: str, size: int) -> None:
    seen: list[tuple[int, int]] = []
    with emulated(tmp_path) as board:
        uboot = board.uboot()
        uboot.attach()
        by = deploy.transfer(board.board, way, tftp_dir=tmp_path)
        started = deploy.start_payload(
            uboot, image(size), by, progress=lambda *each: seen.append(each)
        )
        line = board.console.take("image")
        assert line.expect([HELLO], Deadline.after(5)) is not None
    assert (started.loads, started.garbled, started.notes) == (1, 0, ())
    assert seen[0] == (0, size)
    assert seen[-1] == (size, size)
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".img"] == []


def test_a_network_by_dhcp_works_too(tmp_path: Path) -> None:
    with emulated(tmp_path) as board:
        uboot = board.uboot()
        uboot.attach()
        by = Tftp(tmp_path, Network(mode="dhcp"))
        data = image(4096)
        assert deploy.load_verified(uboot, 0x4100_0000, data, by, deadline=Deadline.after(20)) == 1
        assert uboot.matches(0x4100_0000, data)


def test_a_server_that_has_no_such_file_is_reported_in_uboots_words(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with emulated(tmp_path) as board:
        uboot = board.uboot()
        uboot.attach()
        by = Tftp(elsewhere, board.spec.network)
        with pytest.raises(LabError, match=r"can't load 4096 bytes .* by tftp: .*not found"):
            deploy.start_payload(uboot, image(4096), by)
        assert uboot.run("true").ok


def test_another_load_address_than_usual_is_noted(tmp_path: Path) -> None:
    with emulated(tmp_path) as board:
        spec = dataclasses.replace(board.spec, load_addr=0x4200_0000)
        uboot = UBoot(board.console, spec)
        uboot.attach()
        by = deploy.transfer(board.board, "tftp", tftp_dir=tmp_path)
        started = deploy.start_payload(uboot, image(4096), by)
    assert "kernel_addr_r = 0x40400000" in started.notes[0]


def test_an_image_that_is_none_is_refused_by_uboot_and_reported(tmp_path: Path) -> None:
    with emulated(tmp_path) as board:
        uboot = board.uboot()
        uboot.attach()
        by = deploy.transfer(board.board, "tftp", tftp_dir=tmp_path)
        with pytest.raises(LabError, match=r"came back from 'booti .*Bad Linux ARM64 Image magic"):
            deploy.start_payload(uboot, image(4096)[64:], by)
