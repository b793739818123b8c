# SPDX-License-Identifier: Apache-2.0
"""Where the role ``board`` lets a log be written that outlives a reset, and where never."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests import ansible_env

SCRIPT = ansible_env.FOLDER / "roles/board/files/ramoops_region.py"
IOMEM = """\
09000000-09000fff : pl011@9000000
40000000-5fffffff : System RAM
  40210000-4181ffff : Kernel code
  41820000-41baffff : reserved
  50000000-500fffff : reserved
60000000-600fffff : reserved
60100000-7fffffff : System RAM
"""
ADDRESS, SIZE = 0x6000_0000, 0x10_0000


class Board:
    """A board's /proc/iomem, and the part of its device tree that is about memory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.nodes = root / "sys/firmware/devicetree/base/reserved-memory"
        (root / "proc").mkdir()
        self.iomem(IOMEM)
        self.set("#address-cells", b"\0\0\0\2")
        self.set("#size-cells", b"\0\0\0\2")
        self.reserve("log@60000000", ADDRESS, SIZE)

    def set(self, name: str, value: bytes) -> None:
        """Set a property of /reserved-memory, or of NODE/PROPERTY in it."""
        path = self.nodes / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(value)

    def reserve(self, node: str, address: int, size: int) -> None:
        self.set(f"{node}/reg", address.to_bytes(8, "big") + size.to_bytes(8, "big"))

    def iomem(self, text: str) -> None:
        (self.root / "proc/iomem").write_text(text)

    def asked(self, address: int | str = ADDRESS, size: int | str = SIZE) -> tuple[int, str]:
        """Return the script's exit status and what it says."""
        argv = [sys.executable, str(SCRIPT), str(address), str(size), str(self.root)]
        done = subprocess.run(argv, capture_output=True, text=True)
        assert done.stderr == ""
        return done.returncode, done.stdout.rstrip("\n")


@pytest.fixture
def board(tmp_path: Path) -> Board:
    return Board(tmp_path)


def test_a_region_that_the_tree_reserves_for_nobody_is_taken(board: Board) -> None:
    assert board.asked() == (0, "module")


def test_part_of_such_a_region_is_taken(board: Board) -> None:
    assert board.asked("0x60010000", "0x10000") == (0, "module")


def test_a_reserved_region_that_stays_mapped_is_taken(board: Board) -> None:
    board.reserve("log@50000000", 0x5000_0000, SIZE)
    assert board.asked(0x5000_0000) == (0, "module")


def test_a_region_of_ramoops_itself_needs_no_parameters(board: Board) -> None:
    board.set("log@60000000/compatible", b"ramoops\0")
    assert board.asked() == (0, "tree")


def test_cells_are_as_wide_as_the_tree_says(board: Board) -> None:
    board.set("#address-cells", b"\0\0\0\1")
    board.set("#size-cells", b"\0\0\0\1")
    board.set("log@60000000/reg", bytes.fromhex("6000000000100000"))
    assert board.asked() == (0, "module")


def test_ram_that_is_in_use_is_refused(board: Board) -> None:
    status, said = board.asked(0x7000_0000)
    assert status == 1
    assert "0x70000000 to 0x700fffff is RAM that may be in use" in said
    assert "it has 0x60000000 to 0x600fffff" in said


def test_what_the_kernel_itself_reserved_is_refused(board: Board) -> None:
    """Its own allocations are "reserved" in /proc/iomem, too: the tree has to say so."""
    status, said = board.asked(0x4182_0000, 0x10000)
    assert status == 1
    assert "may be in use" in said


def test_a_region_that_ends_behind_the_reserved_one_is_refused(board: Board) -> None:
    assert board.asked(ADDRESS, 2 * SIZE)[0] == 1


def test_a_region_that_the_kernel_did_not_keep_free_is_refused(board: Board) -> None:
    board.iomem(IOMEM.replace("60000000-600fffff : reserved\n60100000", "60000000"))
    status, said = board.asked()
    assert status == 1
    assert "the running kernel doesn't keep it free" in said


def test_addresses_that_the_kernel_hides_are_no_proof(board: Board) -> None:
    board.iomem("00000000-00000000 : System RAM\n  00000000-00000000 : reserved\n")
    assert "or hides addresses" in board.asked()[1]


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("compatible", b"shared-dma-pool\0", "is compatible with shared-dma-pool"),
        ("reusable", b"", "may be used by the kernel"),
        ("status", b"disabled\0", "is disabled"),
    ],
)
def test_a_region_that_has_an_owner_is_refused(
    board: Board, name: str, value: bytes, why: str
) -> None:
    board.set(f"log@60000000/{name}", value)
    status, said = board.asked()
    assert status == 1
    assert "reserved for somebody else: log@60000000" in said
    assert why in said


def test_a_region_that_another_node_uses_is_refused(board: Board) -> None:
    board.set("log@60000000/phandle", b"\0\0\0\7")
    assert board.asked() == (0, "module")
    device = board.nodes.parent / "dsp@1000"
    device.mkdir()
    (device / "memory-region").write_bytes(b"\0\0\0\6\0\0\0\7")
    status, said = board.asked()
    assert status == 1
    assert "is the memory-region of dsp@1000" in said


def test_a_board_without_a_tree_is_told_what_to_do(board: Board, tmp_path: Path) -> None:
    board.nodes.rename(tmp_path / "gone")
    status, said = board.asked()
    assert status == 1
    assert "reserve_mem=SIZE:ALIGN:LABEL" in said


@pytest.mark.parametrize(
    ("address", "size"),
    [(ADDRESS, 0x8000), (ADDRESS, 0x30000), (ADDRESS + 8, SIZE), ("here", SIZE), (ADDRESS, "")],
)
def test_numbers_that_ramoops_cannot_take_are_refused(
    board: Board, address: int | str, size: int | str
) -> None:
    assert board.asked(address, size)[0] == 1
