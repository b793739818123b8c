# SPDX-License-Identifier: Apache-2.0
"""What a device tree says of a board: its names, CPUs, firmware, and the console's UART."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hilagent.deploy.devicetree import Node, Tree

_UARTS = (
    (r"arm,pl011", "pl011"),
    (r"brcm,bcm2835-aux-uart", "mini"),
    (r"cdns,uart.*|xlnx,xuartps", "cadence"),
    (r"fsl,imx.*uart", "imx"),
    (r"amlogic,meson.*uart", "meson"),
    (r"ti,.*uart", "omap"),
    (r"ns16550.*|snps,dw-apb-uart|.*16550.*", "16550"),
)
FIFO = {"mini": 8}
"""Of the kinds whose FIFO has less than 16 bytes."""


@dataclass(frozen=True)
class Hardware:
    """What was found.

    Attributes:
        cpus: that aren't disabled; 0 where the tree has none.
        methods: how they are started, each once.
        psci: its conduit, "" without it.
        uart_kind, uart_base: of the console; "" and 0 where that wasn't found.
    """

    compatible: tuple[str, ...]
    model: str
    cpus: int
    methods: tuple[str, ...]
    psci: str
    uart_kind: str
    uart_base: int


def of(tree: Tree) -> Hardware:
    """Return what ``tree`` says."""
    root = tree.root
    cpus = [
        node for node in getattr(root.child("cpus"), "children", [])
        if node.text("device_type") == "cpu" and node.text("status") not in {"disabled", "fail"}
    ]  # fmt: skip
    methods = dict.fromkeys(cpu.text("enable-method") or "none" for cpu in cpus)
    psci = tree.node("/psci") or tree.node("/firmware/psci")
    kind, base = _uart(tree)
    return Hardware(
        _strings(root, "compatible"), root.text("model"), len(cpus), tuple(methods),
        psci.text("method") if psci else "", kind, base,
    )  # fmt: skip


def _strings(node: Node, name: str) -> tuple[str, ...]:
    parts = node.props.get(name, b"").split(b"\0")
    return tuple(part.decode("ascii", "replace") for part in parts if part)


def _uart(tree: Tree) -> tuple[str, int]:
    chosen = tree.node("/chosen")
    path = chosen.text("stdout-path").split(":")[0] if chosen else ""
    if path and not path.startswith("/"):
        aliases = tree.node("/aliases")
        path = aliases.text(path) if aliases else ""
    nodes = _down(tree, path)
    if len(nodes) < 2:
        return "", 0
    names = _strings(nodes[-1], "compatible")
    kinds = [kind for name in names for sign, kind in _UARTS if re.fullmatch(sign, name)]
    regs = list(nodes[-1].regs("reg", *nodes[-2].cells))
    if not kinds or not regs:
        return "", 0
    base = regs[0][0]
    for above, node in zip(reversed(nodes[:-2]), reversed(nodes[1:-1]), strict=True):
        for there, here, size in node.windows(above):
            if there <= base < there + size:
                base += here - there
                break
    return kinds[0], base


def _down(tree: Tree, path: str) -> list[Node]:
    """Return the nodes from the root to ``path``; none where it isn't there."""
    nodes = [tree.root]
    for name in path.strip("/").split("/") if path else []:
        node = nodes[-1].child(name)
        if node is None:
            return []
        nodes.append(node)
    return nodes
