# SPDX-License-Identifier: Apache-2.0
"""Device trees read from a board and written for the next kernel, byte for byte.

Not the `fdt` package: that can't read a tree with a NOP in it, and its parser puts the
memory reservations of every tree that a process reads into one list (0.3.3), so a
second circle would reserve the first one's bundle. Values stay the bytes that they
are: what is not edited comes out as it went in. Devicetree Specification v0.4, chapter 5.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from hilagent import errors

MAGIC, HEAD_BYTES, SIZE_MAX = 0xD00DFEED, 40, 2 << 20
_VERSION, _COMPATIBLE = 17, 16
_BEGIN, _END_NODE, _PROP, _NOP, _END = 1, 2, 3, 4, 9
_DEPTH = 64


@dataclass
class Node:
    """A node; ``props`` are raw values in their order."""

    name: str
    props: dict[str, bytes] = field(default_factory=dict)
    children: list[Node] = field(default_factory=list)

    def child(self, name: str) -> Node | None:
        """Return the child of that full name, unit address included."""
        return next((node for node in self.children if node.name == name), None)

    def number(self, name: str, otherwise: int) -> int:
        """Return a property of one or two cells; ``otherwise`` where there is none."""
        value = self.props.get(name, b"")
        return int.from_bytes(value, "big") if len(value) in (4, 8) else otherwise

    def text(self, name: str) -> str:
        """Return the first string of a property; empty where there is none."""
        return self.props.get(name, b"").split(b"\0")[0].decode("utf-8", "replace")

    @property
    def cells(self) -> tuple[int, int]:
        """``#address-cells`` and ``#size-cells`` of its children."""
        return self.number("#address-cells", 2), self.number("#size-cells", 1)

    def regs(self, name: str, address_cells: int, size_cells: int) -> Iterator[tuple[int, int]]:
        """Return the (address, size) pairs of ``reg`` or a property like it."""
        yield from ((row[0], row[1]) for row in self._rows(name, (address_cells, size_cells)))

    def windows(self, above: Node) -> Iterator[tuple[int, int, int]]:
        """Return (its children's address, its parent's, size) of ``ranges``."""
        widths = (self.cells[0], above.cells[0], self.cells[1])
        yield from ((row[0], row[1], row[2]) for row in self._rows("ranges", widths))

    def _rows(self, name: str, widths: tuple[int, ...]) -> Iterator[list[int]]:
        """A property as rows of numbers, each so many cells wide."""
        value, one = self.props.get(name, b""), 4 * sum(widths)
        for at in range(0, len(value) - one + 1, one) if 0 < one <= 64 else ():
            row = []
            for width in widths:
                row.append(int.from_bytes(value[at : at + 4 * width], "big"))
                at += 4 * width
            yield row


@dataclass
class Tree:
    """A whole tree; ``reserve`` is its memory reservation block."""

    root: Node
    reserve: list[tuple[int, int]] = field(default_factory=list)
    boot_cpu: int = 0

    def node(self, path: str, *, create: bool = False) -> Node | None:
        """Return the node at ``/a/b``, of full names; made where ``create``."""
        node: Node | None = self.root
        for name in path.strip("/").split("/"):
            assert node is not None
            found = node.child(name)
            if found is None and create:
                found = Node(name)
                node.children.append(found)
            if found is None:
                return None
            node = found
        return node


def used_bytes(head: bytes) -> int:
    """Return how many bytes of the blob that begins with ``head`` mean anything.

    A tree may say that it is large only to have room. Raises `errors.LabError`.
    """
    if len(head) < HEAD_BYTES:
        raise _bad("no head")
    magic, total, nodes, strings, reserve, version, compatible, _, strings_size, nodes_size = (
        struct.unpack_from(">10I", head)
    )
    if magic != MAGIC:
        raise _bad(f"it begins with {head[:4].hex()}")
    if version < _VERSION or compatible > _VERSION:
        raise _bad(f"version {version}, compatible with {compatible}")
    used = max(HEAD_BYTES, nodes + nodes_size, strings + strings_size, reserve + 16)
    if not used <= total <= SIZE_MAX:
        raise _bad(f"it says that it has {total} bytes, and uses {used}")
    return int(used if reserve < nodes else total)


def parse(blob: bytes) -> Tree:
    """Return the tree of at least `used_bytes`. Raises `errors.LabError`, and nothing else."""
    if used_bytes(blob) > len(blob):
        raise _bad(f"{len(blob)} bytes of {used_bytes(blob)}")
    return _Reader(blob).tree()


def build(tree: Tree) -> bytes:
    """Return the blob: version 17, the reservations 8-byte aligned, no room left."""
    names: dict[str, int] = {}
    strings = bytearray()
    out = bytearray()
    _write(tree.root, out, strings, names)
    out += struct.pack(">I", _END)
    reserve = b"".join(struct.pack(">QQ", *each) for each in (*tree.reserve, (0, 0)))
    nodes = HEAD_BYTES + len(reserve)
    head = struct.pack(
        ">10I", MAGIC, nodes + len(out) + len(strings), nodes, nodes + len(out), HEAD_BYTES,
        _VERSION, _COMPATIBLE, tree.boot_cpu, len(strings), len(out),
    )  # fmt: skip
    return head + reserve + bytes(out) + bytes(strings)


def checksum(blob: bytes) -> int:
    """Return the CRC-32 that the payload must find over the same bytes."""
    return zlib.crc32(blob)


def _write(node: Node, out: bytearray, strings: bytearray, names: dict[str, int]) -> None:
    out += struct.pack(">I", _BEGIN) + _padded(node.name.encode("latin-1") + b"\0")
    for name, value in node.props.items():
        if name not in names:
            names[name] = len(strings)
            strings += name.encode("latin-1") + b"\0"
        out += struct.pack(">III", _PROP, len(value), names[name]) + _padded(value)
    for child in node.children:
        _write(child, out, strings, names)
    out += struct.pack(">I", _END_NODE)


class _Reader:
    """Walks a blob that nobody has checked; every offset is bounded by it."""

    def __init__(self, blob: bytes) -> None:
        head = struct.unpack_from(">10I", blob)
        self._nodes, self._end = head[2], head[2] + head[9]
        self._strings, self._strings_end = head[3], head[3] + head[8]
        self._reserve, self.boot_cpu = head[4], head[7]
        self._blob, self._at = blob, self._nodes

    def tree(self) -> Tree:
        root: Node | None = None
        open_: list[Node] = []
        while (token := self._word()) != _END:
            if token == _BEGIN:
                node = Node(self._name())
                if (not open_ and root is not None) or len(open_) == _DEPTH:
                    raise _bad("a second root, or nodes too deep")
                if open_:
                    open_[-1].children.append(node)
                root = root or node
                open_.append(node)
            elif token == _PROP and open_:
                self._prop(open_[-1])
            elif token == _END_NODE and open_:
                open_.pop()
            elif token != _NOP:
                raise _bad(f"token {token} at {self._at - 4:#x}")
        if root is None or open_:
            raise _bad("it ends within a node")
        return Tree(root, list(self._reserved()), self.boot_cpu)

    def _take(self, size: int) -> bytes:
        start, self._at = self._at, self._at + size + -size % 4
        if start + size > self._end:
            raise _bad("it ends within its nodes")
        return self._blob[start : start + size]

    def _word(self) -> int:
        return int.from_bytes(self._take(4), "big")

    def _name(self) -> str:
        end = self._blob.find(b"\0", self._at, self._end)
        if end < 0:
            raise _bad("a name without an end")
        return self._take(end + 1 - self._at)[:-1].decode("latin-1")

    def _prop(self, node: Node) -> None:
        size, at = self._word(), self._strings + self._word()
        end = self._blob.find(b"\0", at, self._strings_end)
        if end < 0:
            raise _bad("a property without a name")
        name = self._blob[at:end].decode("latin-1")
        if name in node.props:
            raise _bad(f"{name} twice in {node.name}")
        node.props[name] = self._take(size)

    def _reserved(self) -> Iterator[tuple[int, int]]:
        for at in range(self._reserve, len(self._blob) - 15, 16):
            entry = struct.unpack_from(">QQ", self._blob, at)
            if entry == (0, 0):
                return
            yield entry
        raise _bad("its memory reservations have no end")


def _padded(value: bytes) -> bytes:
    return value + bytes(-len(value) % 4)


def _bad(what: str) -> errors.LabError:
    return errors.LabError(f"no device tree: {what}")
