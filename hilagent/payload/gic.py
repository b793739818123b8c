# SPDX-License-Identifier: Apache-2.0
"""Memory that the interrupt controller writes by itself: it is alive, whoever runs.

A kernel gives each redistributor of a GICv3 its LPI tables once, and nobody can take
them back but a reset. A kernel that is started over them is destroyed (seen, see
:mod:`hilagent.probe.lpi`), unless its tree reserves them: then it goes on using them.
Arm IHI 0069, chapter 12.11.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hilagent import errors
from hilagent.deploy.devicetree import Node, Tree

from .client import Payload
from .places import Range, merged
from .trouble import PayloadFault

_CTLR, _TYPER, _PROPBASER, _PENDBASER = 0x00, 0x08, 0x70, 0x78
_ENABLE_LPIS, _VIRTUAL_LPIS, _LAST = 1 << 0, 1 << 1, 1 << 4
_FRAME, _TABLE_ALIGN = 0x2_0000, 0x1_0000
_PROP_ADDRESS, _PEND_ADDRESS = 0xF_FFFF_FFFF_F000, 0xF_FFFF_FFFF_0000


def lpi_tables(payload: Payload, tree: Tree) -> tuple[Range, ...]:
    """Return the tables of every redistributor that has some; none where there is no GICv3."""
    found: list[Range] = []
    for region in _redistributors(tree.root, ()):
        try:
            found += _tables(payload, region)
        except PayloadFault:  # the tree names registers that are not there
            continue
    return tuple(merged(found))


def require(found: Sequence[Range], tables: Sequence[int]) -> None:
    """Refuse to go on where a kernel used LPIs, and `lpi_tables` doesn't hold its tables.

    Args:
        tables: addresses of the property tables that the kernel spoke of.

    Raises:
        errors.PreconditionError: some memory is alive, and nobody knows where.
    """
    unknown = [at for at in tables if not any(each.start <= at < each.end for each in found)]
    if unknown or not found:
        where = ", ".join(map(hex, unknown)) or "somewhere"
        raise errors.PreconditionError(
            f"no handover: the kernel before us gave the interrupt controller tables ({where}) "
            "that its registers don't show",
            hint="a GIC without an ITS, or irqchip.gicv3_nolpi=1",
        )


def _tables(payload: Payload, region: Range) -> Iterator[Range]:
    at = region.start
    while at + _FRAME <= region.end:
        kind = payload.read64(at + _TYPER)
        if payload.read32(at + _CTLR) & _ENABLE_LPIS:
            properties = payload.read64(at + _PROPBASER)
            ids = 2 << (properties & 0x1F)
            yield _aligned(properties & _PROP_ADDRESS, ids)
            yield _aligned(payload.read64(at + _PENDBASER) & _PEND_ADDRESS, ids // 8)
        if kind & _LAST:
            return
        at += 2 * _FRAME if kind & _VIRTUAL_LPIS else _FRAME


def _aligned(start: int, size: int) -> Range:
    return Range(start, size + -size % _TABLE_ALIGN)


def _redistributors(node: Node, parents: tuple[Node, ...]) -> Iterator[Range]:
    """The register regions of every enabled GICv3, as CPU addresses."""
    names = node.props.get("compatible", b"").split(b"\0")
    if b"arm,gic-v3" in names and parents:
        count = node.number("#redistributor-regions", 1)
        regions = list(node.regs("reg", *parents[-1].cells))[1 : 1 + count]
        for start, size in regions:
            address = translated(parents, start)
            if address is not None:
                yield Range(address, size)
    for child in node.children:
        yield from _redistributors(child, (*parents, node))


def translated(parents: tuple[Node, ...], address: int) -> int | None:
    """Return an address of ``parents[-1]``'s children as the CPU's; None if it can't be had."""
    for bus, above in zip(parents[:0:-1], parents[-2::-1], strict=True):
        if "ranges" not in bus.props:
            return None
        if not bus.props["ranges"]:
            continue
        for child, parent, size in bus.windows(above):
            if child <= address < child + size:
                address += parent - child
                break
        else:
            return None
    return address
