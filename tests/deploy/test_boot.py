# SPDX-License-Identifier: Apache-2.0
"""Load, verify, jump: against a scripted U-Boot."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from hilagent import board as boards
from hilagent import deploy
from hilagent.board.model import Network
from hilagent.clock import Deadline
from hilagent.console.uboot import UBoot
from hilagent.deploy.base import Progress
from hilagent.deploy.tftp import Tftp
from hilagent.errors import BoardReset, LabError, UsageError
from hilagent.testing import IMAGE_HEADER, ScriptedUBoot, UBootTraits
from hilagent.testing.uboot import FDT_ADDR, LOAD_ADDR
from tests.console.scripted import Scripted, scripted, soon

READY = UBootTraits(autoboot_s=0)
IMAGE = IMAGE_HEADER + bytes(range(256)) * 16


class Folder(dict[str, bytes]):
    """The files of a folder, as the scripted TFTP server sees them when asked."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def get(self, name: str, default: object = None) -> object:  # type: ignore[override]
        path = self._path / name
        return path.read_bytes() if path.is_file() else default


class Poke:
    """A transfer that puts the bytes straight into memory, damaged ``bad`` times."""

    name = "poke"

    def __init__(self, board: Scripted, bad: int = 0, error: Exception | None = None) -> None:
        self.board, self.bad, self.error = board, bad, error
        self.loads = 0

    def load(
        self, uboot: UBoot, addr: int, image: bytes, deadline: Deadline, progress: Progress
    ) -> None:
        self.loads += 1
        if self.error:
            raise self.error
        spoiled = self.loads <= self.bad
        self.board.machine.memory.write(addr, image[:-1] + b"?" if spoiled else image)


def test_tftp_serves_a_file_of_its_own_for_its_time_only(tmp_path: Path) -> None:
    machine = ScriptedUBoot(traits=READY)
    machine.files = Folder(tmp_path)
    with scripted(machine) as board:
        board.uboot.attach(soon())
        network = Network("static", "192.0.2.20", "255.255.255.0", None, "192.0.2.1")
        for _ in range(2):
            Tftp(tmp_path, network).load(board.uboot, LOAD_ADDR, IMAGE, soon(), lambda *_: None)
        assert board.uboot.matches(LOAD_ADDR, IMAGE)
        names = {words[2] for words in machine.commands if words[0] == "tftpboot"}
        assert len(names) == 2
        assert machine.env["ipaddr"] == "192.0.2.20"
        assert machine.env["serverip"] == "192.0.2.1"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_the_labs_trouble(tmp_path: Path) -> None:
    with scripted(ScriptedUBoot(traits=READY)) as board:
        board.uboot.attach(soon())
        by = Tftp(tmp_path / "none", Network("qemu"))
        with pytest.raises(LabError, match="can't put a file into"):
            by.load(board.uboot, LOAD_ADDR, IMAGE, soon(), lambda *_: None)


def test_a_server_of_the_labs_own_serves_its_own_folder(tmp_path: Path) -> None:
    private, served = tmp_path / "private", tmp_path / "srv"
    served.mkdir()
    machine = ScriptedUBoot(traits=READY)
    machine.files = Folder(served)
    virt = boards.load("qemu-virt")
    assert virt.uboot is not None
    network = Network("static", "192.0.2.20", "255.255.255.0", None, "192.0.2.1", str(served))
    real = dataclasses.replace(virt, uboot=dataclasses.replace(virt.uboot, network=network))
    by = deploy.transfer(real, "tftp", tftp_dir=private)
    with scripted(machine) as board:
        board.uboot.attach(soon())
        by.load(board.uboot, LOAD_ADDR, IMAGE, soon(), lambda *_: None)
        assert board.uboot.matches(LOAD_ADDR, IMAGE)


@pytest.mark.parametrize("name", ["loader", "ymodem", ""])
def test_what_the_loader_needs_first_comes_by_ymodem(name: str) -> None:
    board = dataclasses.replace(boards.load("qemu-virt"), transfers=("loader",))
    assert deploy.transfer(board, name).name == "ymodem"
    with pytest.raises(UsageError, match="can't load by tftp"):
        deploy.transfer(board, "tftp")


def test_an_image_is_started_with_the_boards_own_device_tree() -> None:
    started: list[tuple[int, int]] = []

    def boot(addr: int, fdt: int) -> bytes:
        started.append((addr, fdt))
        return b"ALIVE"

    with scripted(ScriptedUBoot(traits=READY, on_boot=boot)) as board:
        board.uboot.attach(soon())
        result = deploy.start_payload(board.uboot, IMAGE, Poke(board), deadline=soon())
        assert started == [(LOAD_ADDR, FDT_ADDR)]
        assert (result.loads, result.notes) == (1, ())
        assert board.console.take("payload").expect([b"ALIVE"], soon()) is not None


def test_a_load_that_arrived_damaged_is_done_again() -> None:
    with scripted(ScriptedUBoot(traits=READY)) as board:
        board.uboot.attach(soon())
        loads = deploy.load_verified(
            board.uboot, LOAD_ADDR, IMAGE, Poke(board, bad=2), deadline=soon()
        )
        assert loads == 3


def test_a_load_that_is_never_right_is_never_started() -> None:
    with scripted(ScriptedUBoot(traits=READY)) as board:
        board.uboot.attach(soon())
        with pytest.raises(LabError, match=r"can't load .*: the CRC-32 of what has arrived"):
            deploy.start_payload(board.uboot, IMAGE, Poke(board, bad=99), deadline=soon())
        assert not any(words[0] == "booti" for words in board.machine.commands)


def test_a_transfer_that_fails_is_tried_again_and_then_told() -> None:
    with scripted(ScriptedUBoot(traits=READY)) as board:
        board.uboot.attach(soon())
        by = Poke(board, error=LabError("no carrier"))
        with pytest.raises(LabError, match="no carrier"):
            deploy.load_verified(board.uboot, LOAD_ADDR, IMAGE, by, deadline=soon())
        assert by.loads == 4


def test_a_board_that_restarts_is_not_loaded_again() -> None:
    with scripted(ScriptedUBoot(traits=READY)) as board:
        board.uboot.attach(soon())
        by = Poke(board, error=BoardReset("gone"))
        with pytest.raises(BoardReset):
            deploy.load_verified(board.uboot, LOAD_ADDR, IMAGE, by, deadline=soon())
        assert by.loads == 1


def test_a_uboot_that_would_load_elsewhere_is_noted() -> None:
    with scripted(ScriptedUBoot(traits=READY)) as board:
        board.uboot.attach(soon())
        board.uboot.env_set("kernel_addr_r", "0x40080000")
        result = deploy.start_payload(board.uboot, IMAGE, Poke(board), deadline=soon())
        assert "0x40200000" in result.notes[0]
        assert "0x40080000" in result.notes[0]


def test_a_boot_that_fails_is_told_in_uboots_words() -> None:
    traits = UBootTraits(autoboot_s=0, boot_fails="ERROR: Did not find a cmdline FDT")
    with scripted(ScriptedUBoot(traits=traits)) as board:
        board.uboot.attach(soon())
        with pytest.raises(LabError, match="ERROR: Did not find a cmdline FDT"):
            deploy.start_payload(board.uboot, IMAGE, Poke(board), deadline=soon())
