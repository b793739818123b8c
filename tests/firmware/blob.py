# SPDX-License-Identifier: Apache-2.0
"""Makes flattened device trees (Devicetree Specification v0.4, chapter 5) for tests."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Union

Value = Union[int, str, bytes, Sequence[int], Sequence[str], "Node"]
Node = Mapping[str, Value]
"""A name with a mapping is a child; an int or a list of ints is cells, "" is an empty string,
b"" an empty property."""

_BEGIN, _END, _PROP, _LAST = 1, 2, 3, 9
_VERSION, _COMPATIBLE = 17, 16


def build(root: Node, reserve: Sequence[tuple[int, int]] = ()) -> bytes:
    """Return the blob of a tree with this memory reservation block."""
    strings = bytearray()
    nodes = _node("", root, strings) + struct.pack(">I", _LAST)
    reserved = b"".join(struct.pack(">QQ", *entry) for entry in [*reserve, (0, 0)])
    at_reserved = 40
    at_nodes = at_reserved + len(reserved)
    at_strings = at_nodes + len(nodes)
    head = [
        *(0xD00DFEED, at_strings + len(strings), at_nodes, at_strings, at_reserved),
        *(_VERSION, _COMPATIBLE, 0, len(strings), len(nodes)),
    ]
    return struct.pack(">10I", *head) + reserved + nodes + bytes(strings)


def _node(name: str, node: Node, strings: bytearray) -> bytes:
    out = struct.pack(">I", _BEGIN) + _padded(name.encode() + b"\0")
    for key, value in node.items():
        if not isinstance(value, Mapping):
            raw = _raw(value)
            out += struct.pack(">III", _PROP, len(raw), _name(key, strings)) + _padded(raw)
    for key, value in node.items():
        if isinstance(value, Mapping):
            out += _node(key, value, strings)
    return out + struct.pack(">I", _END)


def _raw(value: int | str | bytes | Sequence[int] | Sequence[str]) -> bytes:
    if isinstance(value, bytes):
        return value
    items = [value] if isinstance(value, int | str) else value
    return b"".join(
        item.encode() + b"\0" if isinstance(item, str) else struct.pack(">I", item)
        for item in items
    )


def _name(name: str, strings: bytearray) -> int:
    wanted = name.encode() + b"\0"
    at = strings.find(b"\0" + wanted) + 1 if not strings.startswith(wanted) else 0
    if at == 0 and not strings.startswith(wanted):
        at = len(strings)
        strings += wanted
    return at


def _padded(raw: bytes) -> bytes:
    return raw + bytes(-len(raw) % 4)
