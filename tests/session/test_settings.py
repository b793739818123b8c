# SPDX-License-Identifier: Apache-2.0
"""What a run asks for is checked before anything is switched."""

from pathlib import Path

import pytest

from hilagent import abi, errors
from hilagent import board as boards
from hilagent.session import subject
from hilagent.session.settings import NEEDS, Request, look_up, unmet


def test_an_unknown_board_is_a_usage_error() -> None:
    with pytest.raises(errors.UsageError, match="no board 'qemu-vrt'"):
        look_up(Request(board="qemu-vrt"))


def test_a_transfer_that_the_board_can_not_do_is_a_usage_error() -> None:
    with pytest.raises(errors.UsageError, match="can't load by pigeon"):
        look_up(Request(transfer="pigeon"))


@pytest.mark.parametrize(
    ("needs", "reason"),
    [
        ({}, ""),
        ({"cpus": 4, "emulated": True, "transfer": "tftp", "uboot": True, "entry_el": 2}, ""),
        ({"cpus": 5}, "needs cpus=5, qemu-virt declares 4"),
        ({"emulated": False}, "needs emulated=False, qemu-virt declares True"),
        ({"soc": "bcm2711"}, "needs soc=bcm2711"),
        ({"tag": "wifi"}, "needs tag=wifi"),
        ({"transfer": "usb"}, "needs transfer=usb, qemu-virt declares tftp, ymodem"),
        ({"vectors": "reference-kvm"}, ""),
    ],
)
def test_needs_are_held_against_declared_facts(needs: dict[str, object], reason: str) -> None:
    found = unmet(boards.load("qemu-virt"), needs)
    assert found.startswith(reason)
    assert bool(found) == bool(reason)


def test_every_need_is_known_by_name() -> None:
    board = boards.load("qemu-virt")
    for name in NEEDS:
        unmet(board, {name: 1})
    with pytest.raises(errors.UsageError, match="unknown"):
        unmet(board, {"colour": 1})


def test_vectors_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "table.bin"
    path.write_bytes(bytes(0x1800))
    profile = abi.load("iss-2015")
    found = subject.resolve(f"file:{path}@0x800", profile)
    assert (len(found.blob), found.offset, found.server) == (0x1800, 0x800, "hyp-stub")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("file:/nonexistent/x", "No such file"),
        ("file:{}@0x1000", "a table is 2048 bytes"),
        ("file:{}@0x10", "a table is 2048 bytes"),
        ("file:{}@x", "not a number"),
    ],
)
def test_a_file_that_is_no_table_is_a_usage_error(tmp_path: Path, name: str, said: str) -> None:
    path = tmp_path / "table.bin"
    path.write_bytes(bytes(0x1000))
    with pytest.raises(errors.UsageError, match=said):
        subject.resolve(name.format(path), abi.load("iss-2015"))
