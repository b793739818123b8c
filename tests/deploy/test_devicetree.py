# SPDX-License-Identifier: Apache-2.0
"""Device trees: read as they are, written as they were, and a broken one is an error."""

from __future__ import annotations

import contextlib
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilagent import errors
from hilagent.deploy import devicetree
from hilagent.deploy.devicetree import Node, Tree

NAMES = st.from_regex(r"[a-z][a-z0-9,._+?#-]{0,11}(@[0-9a-f]{1,8})?", fullmatch=True)
PROPS = st.dictionaries(NAMES, st.binary(max_size=20), max_size=4)


def nodes(children: st.SearchStrategy[list[Node]]) -> st.SearchStrategy[Node]:
    return st.builds(Node, NAMES, PROPS, children)


TREES = st.builds(
    Tree,
    st.recursive(
        st.builds(Node, NAMES, PROPS), lambda inner: nodes(st.lists(inner, max_size=3)),
        max_leaves=8,
    ),
    st.lists(st.tuples(st.integers(1, 1 << 63), st.integers(0, 1 << 63)), max_size=3),
    st.integers(0, 255),
)  # fmt: skip
SMALL = devicetree.build(
    Tree(Node("", {"a": b"\0\0\0\1"}, [Node("chosen", {"bootargs": b"x\0"})]), [(0x1000, 0x2000)])
)


@given(TREES)
def test_what_is_built_is_parsed(tree: Tree) -> None:
    blob = devicetree.build(tree)
    assert devicetree.parse(blob) == tree
    assert devicetree.used_bytes(blob[: devicetree.HEAD_BYTES]) == len(blob)
    assert devicetree.build(devicetree.parse(blob)) == blob


@given(st.binary(max_size=300))
def test_no_bytes_crash_it(data: bytes) -> None:
    with pytest.raises(errors.LabError, match="no device tree"):
        devicetree.parse(data)


@given(st.integers(0, len(SMALL) - 1), st.integers(1, 255))
def test_a_changed_byte_is_read_or_refused_but_never_crashes_it(at: int, change: int) -> None:
    broken = bytearray(SMALL)
    broken[at] ^= change
    with contextlib.suppress(errors.LabError):
        devicetree.build(devicetree.parse(bytes(broken)))


@given(st.integers(0, len(SMALL) - 1))
def test_a_cut_tree_is_refused(size: int) -> None:
    with pytest.raises(errors.LabError):
        devicetree.parse(SMALL[:size])


def test_room_at_the_end_is_not_read() -> None:
    roomy = bytearray(SMALL + bytes(4000))
    struct.pack_into(">I", roomy, 4, len(roomy))
    assert devicetree.used_bytes(bytes(roomy[:40])) == len(SMALL)
    assert devicetree.parse(bytes(roomy[: len(SMALL)])) == devicetree.parse(SMALL)


def test_nops_are_passed_over() -> None:
    """U-Boot and the kernel overwrite what they remove by them."""
    at = SMALL.index(struct.pack(">I", 3))
    nops = struct.pack(">IIII", 4, 4, 4, 4)
    assert SMALL[at + 4 : at + 8] == b"\0\0\0\4"
    tree = devicetree.parse(SMALL[:at] + nops + SMALL[at + 16 :])
    assert tree.root.props == {}
    assert tree.root.children == devicetree.parse(SMALL).root.children


def test_trees_share_nothing() -> None:
    """The `fdt` package gives each tree the reservations of all before it."""
    first, second = devicetree.parse(SMALL), devicetree.parse(SMALL)
    first.reserve.append((1, 2))
    assert second.reserve == devicetree.parse(SMALL).reserve == [(0x1000, 0x2000)]


@pytest.mark.parametrize(
    ("at", "value", "said"),
    [
        (0, b"\x27\x05\x19\x56", "it begins with 27051956"),
        (20, b"\0\0\0\2", "version 2"),
        (4, b"\0\0\0\x40", "it says that it has 64 bytes"),
        (4, b"\1\0\0\0", "it says that it has 16777216 bytes"),
    ],
)
def test_it_says_what_is_wrong(at: int, value: bytes, said: str) -> None:
    with pytest.raises(errors.LabError, match=said):
        devicetree.parse(SMALL[:at] + value + SMALL[at + 4 :])


def test_a_property_twice_is_refused() -> None:
    at = SMALL.index(struct.pack(">I", 3))
    prop = SMALL[at : at + 16]
    twice = bytearray(SMALL[:at] + prop + SMALL[at:])
    for field in (4, 12, 36):  # total size, strings, size of the nodes
        struct.pack_into(">I", twice, field, struct.unpack_from(">I", twice, field)[0] + 16)
    with pytest.raises(errors.LabError, match="a twice in "):
        devicetree.parse(bytes(twice))


def test_a_real_machines_tree_comes_out_as_it_went_in(tmp_path: Path) -> None:
    path = tmp_path / "virt.dtb"
    machine = ["-M", f"virt,virtualization=on,dumpdtb={path}", "-nodefaults", "-display", "none"]
    subprocess.run(["qemu-system-aarch64", *machine, "-smp", "4"], check=True, capture_output=True)
    blob = path.read_bytes()
    tree = devicetree.parse(blob)
    chosen, memory = tree.node("/chosen"), tree.node("/memory@40000000")
    assert chosen is not None
    assert memory is not None
    assert chosen.text("stdout-path").startswith("/pl011@")
    assert list(memory.regs("reg", 2, 2)) == [(0x4000_0000, 0x800_0000)]
    again = devicetree.build(tree)
    assert devicetree.parse(again) == tree
    assert len(again) <= devicetree.used_bytes(blob)
