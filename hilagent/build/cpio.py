# SPDX-License-Identifier: Apache-2.0
"""Writes the archive that a kernel unpacks as its first root file system.

Format: "newc" (Documentation/driver-api/early-userspace/buffer-format.rst).
The same entries give the same bytes: no time, owner or inode of this host gets
in, and a device node needs no root. Reads it back for whoever wants to check.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_TRAILER = "TRAILER!!!"
_HEADER = 110
_FIELDS = 13


@dataclass(frozen=True)
class Node:
    """One entry: its mode (type and permissions), contents, and device number."""

    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


def folder(mode: int = 0o755) -> Node:
    """Return a folder."""
    return Node(stat.S_IFDIR | mode)


def file(data: bytes, mode: int = 0o644) -> Node:
    """Return a regular file."""
    return Node(stat.S_IFREG | mode, data)


def symlink(target: str) -> Node:
    """Return a symbolic link to ``target``."""
    return Node(stat.S_IFLNK | 0o777, target.encode())


def char_device(major: int, minor: int, mode: int = 0o600) -> Node:
    """Return a character device."""
    return Node(stat.S_IFCHR | mode, device=(major, minor))


def write(nodes: Mapping[str, Node]) -> bytes:
    """Return the archive of these nodes, by path without a leading slash.

    Folders that are missing above a path are added; names are sorted, so a
    folder comes before what is in it.
    """
    whole = dict(nodes)
    for path in nodes:
        parts = path.split("/")
        for depth in range(1, len(parts)):
            whole.setdefault("/".join(parts[:depth]), folder())
    out = bytearray()
    for inode, (path, node) in enumerate(sorted(whole.items()), 1):
        out += _record(path, node, inode)
    out += _record(_TRAILER, Node(0), 0)
    return bytes(out) + b"\0" * (-len(out) % 512)


def read(archive: bytes) -> Iterator[tuple[str, Node]]:
    """Yield path and node of each entry. Raises ValueError for what isn't such an archive."""
    at = 0
    while True:
        header = archive[at : at + _HEADER]
        if len(header) < _HEADER or header[:6] != b"070701":
            raise ValueError(f"no entry at byte {at}")
        values = [int(header[6 + 8 * n : 14 + 8 * n], 16) for n in range(_FIELDS)]
        name_end = at + _HEADER + values[11]
        path = archive[at + _HEADER : name_end - 1].decode()
        body = name_end + -name_end % 4
        at = body + values[6] + -(body + values[6]) % 4
        if path == _TRAILER:
            return
        yield path, Node(values[1], archive[body : body + values[6]], (values[9], values[10]))


def _record(path: str, node: Node, inode: int) -> bytes:
    name = path.encode() + b"\0"
    links = 2 if stat.S_ISDIR(node.mode) else 1
    fields = (inode, node.mode, 0, 0, links, 0, len(node.data), 0, 0, *node.device, len(name), 0)
    head = b"070701" + b"".join(b"%08X" % value for value in fields) + name
    head += b"\0" * (-len(head) % 4)
    return head + node.data + b"\0" * (-len(node.data) % 4)
