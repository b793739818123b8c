# SPDX-License-Identifier: Apache-2.0
"""LPI tables are found where the redistributors say, and are never written over."""

from __future__ import annotations

import struct

import pytest

from hilagent import errors
from hilagent.deploy.devicetree import Node, Tree
from hilagent.payload.cargo import look
from hilagent.payload.gic import lpi_tables, require, translated
from hilagent.payload.handover import hand_over, next_tree
from hilagent.payload.places import Range
from hilagent.testing.memory import Memory
from tests.payload.bench import bench
from tests.payload.test_handover import AT, DTB, RAM, Board

GICR = 0x080A_0000
TABLES = Range(0x4000_0000, 0x3_0000)


def frame(*, enabled: bool, last: bool, pending: int = 0, virtual: bool = False) -> bytes:
    """One redistributor's registers: 16 bits of interrupt ids, properties at TABLES."""
    out = bytearray(0x4_0000 if virtual else 0x2_0000)
    struct.pack_into("<I", out, 0x00, int(enabled))
    struct.pack_into("<Q", out, 0x08, (16 if last else 0) | (2 if virtual else 0))
    struct.pack_into("<Q", out, 0x70, TABLES.start | 0x780 | 15)
    struct.pack_into("<Q", out, 0x78, pending | 0x780 | 1 << 62)
    return bytes(out)


def gic(compatible: bytes = b"arm,gic-v3\0", at: int = GICR, size: int = 0x8_0000) -> Node:
    reg = struct.pack(">8I", 0, 0x0800_0000, 0, 0x1_0000, 0, at, 0, size)
    return Node("intc@8000000", {"compatible": compatible, "reg": reg})


def tree(*nodes: Node) -> Tree:
    cells = {"#address-cells": struct.pack(">I", 2), "#size-cells": struct.pack(">I", 2)}
    return Tree(Node("", cells, list(nodes)))


TWO = frame(enabled=True, last=False, pending=0x4001_0000, virtual=True) + frame(
    enabled=True, last=True, pending=0x4002_0000
)


@pytest.mark.parametrize(
    ("registers", "found"),
    [
        (TWO, (TABLES,)),
        (frame(enabled=False, last=False) + frame(enabled=False, last=True), ()),
        (frame(enabled=True, last=True, pending=0x4010_0000),
         (Range(0x4000_0000, 0x1_0000), Range(0x4010_0000, 0x1_0000))),
    ],
)  # fmt: skip
def test_the_tables_are_what_the_registers_say(registers: bytes, found: tuple[Range, ...]) -> None:
    b = bench()
    payload = b.connect()
    b.twin.memory = Memory({GICR: 0x8_0000})
    b.twin.memory.write(GICR, registers)
    assert lpi_tables(payload, tree(gic())) == found


@pytest.mark.parametrize(
    ("found", "tables", "said"),
    [
        ((TABLES,), (), ""),
        ((TABLES,), (TABLES.start, TABLES.end - 1), ""),
        ((), (), "somewhere"),
        ((TABLES,), (TABLES.start, TABLES.end), "0x40030000"),
    ],
)
def test_a_kernel_that_used_lpis_has_tables_that_must_be_found(
    found: tuple[Range, ...], tables: tuple[int, ...], said: str
) -> None:
    if not said:
        require(found, tables)
        return
    with pytest.raises(errors.PreconditionError, match=rf"no handover: .*\({said}\) that its reg"):
        require(found, tables)


def test_without_a_gicv3_or_without_its_registers_there_are_none() -> None:
    payload = bench().connect()
    assert lpi_tables(payload, tree(gic(b"arm,gic-400\0"))) == ()
    assert lpi_tables(payload, tree(gic(at=0x0900_0000))) == ()
    assert lpi_tables(payload, tree(gic(size=0x1000))) == ()


def test_an_address_goes_through_every_bus() -> None:
    root = Node("", {"#address-cells": struct.pack(">I", 2)})
    cells = {"#address-cells": struct.pack(">I", 1), "#size-cells": struct.pack(">I", 1)}
    same = Node("same", {**cells, "ranges": struct.pack(">4I", 0x100, 1, 0x8000, 0x1000)})
    shifted = Node("soc", {**cells, "ranges": b""})
    assert translated((root,), 7) == 7
    assert translated((root, same, shifted), 0x180) == 0x1_0000_8080
    assert translated((root, same), 0x1100) is None
    assert translated((root, Node("closed", cells)), 0x180) is None


def test_the_next_kernel_is_not_put_there_and_its_tree_reserves_them() -> None:
    board = Board(more=[gic()]).start()
    payload = board.connect()
    board.bench.twin.memory = memory = Memory({GICR: 0x8_0000, RAM.start: RAM.size})
    for at, data in ((DTB, board.memory.read(DTB, 4096)), (AT, board.bundle), (GICR, TWO)):
        memory.write(at, data)
    board.memory = memory
    cargo = look(payload)
    assert cargo.lpi == (TABLES,)
    once = next_tree(cargo.tree, cargo, "x", Range(0, 0))
    assert once.reserve == [(TABLES.start, TABLES.size)]
    assert next_tree(once, cargo, "x", Range(0, 0)).reserve == once.reserve
    done = hand_over(payload, cargo)
    assert not any(each.overlaps(TABLES) for each in done.places.ranges(done.sizes))
