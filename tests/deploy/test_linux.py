# SPDX-License-Identifier: Apache-2.0
"""Kernel and root file system by a scripted U-Boot."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilagent.board.model import LinuxSpec, Ssh
from hilagent.clock import Deadline
from hilagent.console.uboot import UBoot
from hilagent.deploy.base import Progress
from hilagent.deploy.linux import image_header, start_linux
from hilagent.errors import LabError, UsageError
from hilagent.testing import ScriptedUBoot, UBootTraits
from hilagent.testing.memory import Memory
from hilagent.testing.uboot import FDT_ADDR, LOAD_ADDR
from tests.console.scripted import Scripted, scripted, soon

READY = UBootTraits(autoboot_s=0)
RAMDISK = LOAD_ADDR + 0x10_0000
SPEC = LinuxSpec(console="ttyAMA0", kernel_addr=LOAD_ADDR, ramdisk_addr=RAMDISK, ssh=Ssh("qemu"))
CMDLINE = "console=ttyAMA0 ip=10.0.2.15::10.0.2.2:255.255.255.0::eth0:off hilagent.run=0123"


def image(size: int = 4096, *, image_size: int = 0x8000, flags: int = 0xA) -> bytes:
    head = struct.pack("<8x3Q24xI4x", 0, image_size, flags, int.from_bytes(b"ARM\x64", "little"))
    return head + bytes(range(256)) * ((size - 64) // 256)


class Way:
    """Puts bytes into memory as the transfer called ``name`` would."""

    def __init__(self, board: Scripted, name: str) -> None:
        self.board, self.name = board, name
        self.loaded: list[tuple[int, bytes]] = []

    def load(
        self, uboot: UBoot, addr: int, image: bytes, deadline: Deadline, progress: Progress
    ) -> None:
        self.loaded.append((addr, image))
        self.board.machine.memory.write(addr, image)
        self.board.machine.env["filesize"] = f"{len(image):x}"


def start(
    board: Scripted, by: str, kernel: bytes, spec: LinuxSpec = SPEC, words: str = CMDLINE
) -> Way:
    board.uboot.attach(soon())
    way = Way(board, by)
    start_linux(board.uboot, spec, kernel, b"archive" * 9, words, way, deadline=soon())
    return way


def test_kernel_ramdisk_and_the_boards_device_tree_are_started() -> None:
    with scripted(ScriptedUBoot(traits=READY)) as board:
        way = start(board, "tftp", image())
        assert way.loaded == [(LOAD_ADDR, image()), (RAMDISK, b"archive" * 9)]
        (booti,) = [words for words in board.machine.commands if words[0] == "booti"]
        assert booti[1:] == [f"{LOAD_ADDR:x}", f"{RAMDISK:x}:{63:x}", f"{FDT_ADDR:x}"]
        assert board.machine.env["bootargs"] == CMDLINE


def test_another_device_tree_is_loaded_behind_the_ramdisk() -> None:
    tree = b"\xd0\x0d\xfe\xed" + bytes(60)
    with scripted(ScriptedUBoot(traits=READY)) as board:
        board.machine.memory = Memory({LOAD_ADDR: 0x80_0000})
        board.uboot.attach(soon())
        way = Way(board, "tftp")
        start_linux(board.uboot, SPEC, image(), b"archive" * 9, "x", way, dtb=tree, deadline=soon())
        at, loaded = way.loaded[-1]
        assert loaded == tree
        assert at % 0x20_0000 == RAMDISK % 0x20_0000
        assert at >= RAMDISK + 63
        (booti,) = [words for words in board.machine.commands if words[0] == "booti"]
        assert booti[3] == f"{at:x}"


def test_over_a_serial_line_the_kernel_goes_compressed_and_is_verified_unpacked() -> None:
    with scripted(ScriptedUBoot(traits=READY)) as board:
        way = start(board, "ymodem", image())
        assert gzip.decompress(way.loaded[0][1]) == image()
        assert board.machine.memory.read(LOAD_ADDR, len(image())) == image()


def test_a_long_command_line_goes_in_pieces_and_arrives_whole() -> None:
    words = " ".join(f"option{n}=value{n}" for n in range(30))
    with scripted(ScriptedUBoot(traits=READY)) as board:
        start(board, "tftp", image(), words=words)
        assert board.machine.env["bootargs"] == words


def test_a_kernel_that_reaches_the_ramdisk_is_never_started() -> None:
    with scripted(ScriptedUBoot(traits=READY)) as board:
        with pytest.raises(LabError, match="0x200000 bytes reaches the ramdisk"):
            start(board, "tftp", image(image_size=0x20_0000))
        assert not any(words[0] == "booti" for words in board.machine.commands)


def test_a_kernel_that_does_not_unpack_is_the_labs() -> None:
    class Spoils(ScriptedUBoot):
        def _do_unzip(self, source: str, to: str, size: str) -> str:
            return self._failed("Error: inflate() returned -3\n")

    with scripted(Spoils(traits=READY)) as board, pytest.raises(LabError, match="can't unpack"):
        start(board, "ymodem", image())


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\x7fELF" + bytes(100), "an ELF file"),
        (b"\x1f\x8b" + bytes(100), "gzip data"),
        (bytes(0x202) + b"HdrS" + bytes(100), "x86 bzImage"),
        (b"short", "5 bytes without the magic"),
    ],
)
def test_what_is_no_arm64_image_is_called_what_it_is(data: bytes, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        image_header(data)


def test_a_big_endian_image_is_refused() -> None:
    with pytest.raises(UsageError, match="big-endian"):
        image_header(image(flags=0xB))


@given(st.binary(max_size=200))
def test_no_bytes_make_the_header_parser_crash(data: bytes) -> None:
    with contextlib.suppress(UsageError):
        image_header(data)


def test_a_ramdisk_below_the_kernel_is_no_conflict() -> None:
    spec = dataclasses.replace(SPEC, ramdisk_addr=LOAD_ADDR - 0x10_0000)
    with scripted(ScriptedUBoot(traits=READY)) as board:
        start(board, "tftp", image(), spec)
