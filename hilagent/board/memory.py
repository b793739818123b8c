# SPDX-License-Identifier: Apache-2.0
"""Whether what is loaded fits into the memory that a board describes.

How big a kernel is, is known when one is loaded, and asked again then. Here each takes
the least that it surely will.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

from hilagent.board.hardware import Region
from hilagent.board.model import Board

MIB = 1 << 20
PAYLOAD_BYTES = 24 * MIB
"""The payload with its BSS, for as many CPUs as it knows (``image_size`` of its header)."""
KERNEL_BYTES = 32 * MIB
RAMDISK_BYTES = 16 * MIB
TREE_BYTES = 64 * 1024


@dataclass(frozen=True)
class Span:
    """What lies at ``base`` because the field ``field`` says so."""

    field: str
    base: int
    size: int

    @property
    def end(self) -> int:
        """The first byte behind it."""
        return self.base + self.size

    def __str__(self) -> str:
        return f"{self.base:#x} to {self.end - 1:#x}"


def overlaps(board: Board) -> Iterator[tuple[str, str]]:
    """Yield field and message of everything that lies where something else does."""
    regions = [_span(f"memory.{at}", region) for at, region in enumerate(board.memory)]
    uses = [region.use for region in board.memory]
    for (one, use), (two, other) in combinations(zip(regions, uses, strict=True), 2):
        if use == other and _meet(one, two):
            yield two.field, f"{use} {two} overlaps {one.field}, {one}"
    ram = [span for span, use in zip(regions, uses, strict=True) if use == "ram"]
    reserved = [span for span, use in zip(regions, uses, strict=True) if use == "reserved"]
    for span in _loaded(board):
        yield from (
            (span.field, f"{span} overlaps reserved {r}") for r in reserved if _meet(span, r)
        )
        if ram and not any(r.base <= span.base and span.end <= r.end for r in ram):
            yield span.field, f"expected an address in ram ({_said(ram)}), found {span}"
    yield from _pairs(board)
    uart = board.console.uart
    for region in ram if uart else ():
        if uart and region.base <= uart.base < region.end:
            yield "console.uart.base", f"{uart.base:#x} is in ram {region}"


def _pairs(board: Board) -> Iterator[tuple[str, str]]:
    """Yield what is in memory at the same time, and in the same place."""
    spans = {span.field: span for span in _loaded(board)}
    for one, two in (
        ("uboot.load_addr", "uboot.fdt"),
        ("linux.kernel_addr", "uboot.fdt"),
        ("linux.ramdisk_addr", "uboot.fdt"),
        ("linux.kernel_addr", "linux.ramdisk_addr"),
    ):
        if one in spans and two in spans and _meet(spans[one], spans[two]):
            yield two, f"{spans[two]} overlaps {one}, {spans[one]}"


def _loaded(board: Board) -> Iterator[Span]:
    if board.uboot is None:
        return
    yield Span("uboot.load_addr", board.uboot.load_addr, PAYLOAD_BYTES)
    if isinstance(board.uboot.fdt, int):
        yield Span("uboot.fdt", board.uboot.fdt, TREE_BYTES)
    if board.linux is not None:
        yield Span("linux.kernel_addr", board.linux.kernel_addr, KERNEL_BYTES)
        yield Span("linux.ramdisk_addr", board.linux.ramdisk_addr, RAMDISK_BYTES)


def _span(field: str, region: Region) -> Span:
    return Span(field, region.base, region.size)


def _meet(one: Span, two: Span) -> bool:
    return one.base < two.end and two.base < one.end


def _said(spans: list[Span]) -> str:
    return ", ".join(str(span) for span in spans)
