# SPDX-License-Identifier: Apache-2.0
"""A board's file at a place: console and power are the place's, all else is the file's."""

from __future__ import annotations

from pathlib import Path

from hilagent import errors
from hilagent.board.model import Place
from hilagent.document import Node

_WIRING = ("kind", "path", "host", "port", "argv")
_TIMES = ("off_s", "timeout_s")


def placed(tree: Node, place: Place) -> Node:
    """Return ``tree`` with the console and the power of ``place``.

    What a model lacks but these two is still missing. An address is not: without one, no
    kernels are booted on it.

    Raises:
        errors.UsageError: the board is an emulator that this host starts.
    """
    assert isinstance(tree.value, dict)
    if tree.get("qemu") is not None:
        hint = "name the board that is there: hilagent boards lists them"
        raise errors.UsageError("an emulator that this host starts is at no place", hint=hint)
    said = {"name": place.name, "tags": dict(place.tags), "coordinator": place.coordinator}
    console, power = _fields(tree, "console"), _fields(tree, "power")
    fields = {
        **tree.value,
        "place": _node({key: value for key, value in said.items() if value}),
        "console": _node({key: console[key] for key in console if key not in _WIRING}, "labgrid"),
        "power": _node({key: power[key] for key in power if key in _TIMES}, "labgrid"),
    }
    linux = tree.get("linux")
    if linux is not None and linux.value is not None and not _is_reached(linux):
        fields["linux"] = _node(None)
    return Node(fields, tree.path, tree.line)


def _is_reached(linux: Node) -> bool:
    """Return whether the file says where its kernels answer."""
    ssh = linux.get("ssh")
    return ssh is not None and any(ssh.get(field) is not None for field in ("host", "via"))


def _fields(tree: Node, name: str) -> dict[str, Node]:
    block = tree.get(name)
    return block.value if block is not None and isinstance(block.value, dict) else {}


def _node(value: object, kind: str = "") -> Node:
    """Return ``value``, whose parts may be nodes, as one that stands in no file."""
    where = Path("--place")
    if isinstance(value, Node):
        return value
    if isinstance(value, dict):
        own = {"kind": Node(kind, where, None)} if kind else {}
        return Node({**own, **{key: _node(each) for key, each in value.items()}}, where, None)
    assert value is None or isinstance(value, str)
    return Node(value, where, None)
