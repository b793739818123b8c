# SPDX-License-Identifier: Apache-2.0
"""What a payload that was entered by a kexec finds: the device tree and the bundle.

After a *crash* entry devices still write into the old kernel's memory: only the crash
region (``linux,usable-memory-range``) is ours, and the others' CPUs may still run.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from hilagent import errors
from hilagent.deploy import bundle as bundles
from hilagent.deploy import devicetree
from hilagent.deploy.devicetree import Node, Tree
from hilagent.link import wire

from .client import Payload
from .gic import lpi_tables
from .places import PAGE, Range

USABLE, CORE = "linux,usable-memory-range", "linux,elfcorehdr"
INITRD = ("linux,initrd-start", "linux,initrd-end")


class BundleLost(errors.LabError):
    """The tree is good, and what its initrd names is not the bundle that was sent."""


@dataclass(frozen=True)
class Cargo:
    """What came along.

    Attributes:
        tree, tree_at: the device tree that the payload was entered with, and where it is.
        bundle, index: where the bundle is, and what it holds.
        crash_region: what is ours after a crash; empty after any other entry.
        core: the dead kernel's headers (``linux,elfcorehdr``), which its heir reads.
        lpi: tables that the interrupt controller still writes.
    """

    tree: Tree
    tree_at: Range
    bundle: Range
    index: bundles.Index
    crash_region: tuple[Range, ...] = ()
    core: tuple[Range, ...] = ()
    lpi: tuple[Range, ...] = ()

    @property
    def crash(self) -> bool:
        """Whether it was entered by a crash."""
        return bool(self.crash_region)

    def member(self, name: str) -> Range:
        """Return where a member is. Raises `errors.LabError` if the bundle has none."""
        if name not in self.index.entries:
            raise errors.LabError(f"the bundle has no {name}")
        entry = self.index.entries[name]
        return Range(self.bundle.start + entry.offset, entry.size)

    def memory(self) -> tuple[Range, ...]:
        """Return all RAM, by the tree's /memory."""
        return tuple(_memory(self.tree.root))

    def reserved(self) -> tuple[Range, ...]:
        """Return what the tree reserves for others, and the pages that CPUs wait in."""
        block, root = (Range(*each) for each in self.tree.reserve), self.tree.root
        return (*block, *_reserved_memory(root), *_release_pages(root))


def look(payload: Payload, expect: bundles.Index | None = None) -> Cargo:
    """Read the tree and the bundle's head.

    Args:
        expect: the bundle that was sent along; any other is refused.

    Raises:
        BundleLost: the tree is good, and its bundle is broken or another one.
        errors.LabError: there is no tree or no bundle.
    """
    tree, tree_at = read_tree(payload)
    chosen = tree.node("/chosen") or Node("chosen")
    start, end = (chosen.number(name, 0) for name in INITRD)
    where = Range(start, end - start)
    if not start or where.size < bundles.HEAD_BYTES or start % 64:
        raise errors.LabError(
            f"no bundle came along: the tree's initrd is {start:#x} to {end:#x}",
            hint="was the payload entered by a kexec with --initrd BUNDLE?",
        )
    ram = tuple(_memory(tree.root))
    if not any(each.start <= start and end <= each.end for each in ram):
        raise errors.LabError(f"the bundle at {where} is not in the tree's memory")
    head = payload.read(start, bundles.HEAD_BYTES)
    try:
        index = bundles.parse_index(head, where.size)
    except errors.LabError as exc:
        raise (exc if expect is None else BundleLost(exc.message)) from exc
    if expect is not None and index != expect:
        raise BundleLost("the bundle is not the one that was sent: an earlier kexec's?")
    region, core = tuple(_ranges(tree, chosen, USABLE)), tuple(_ranges(tree, chosen, CORE))
    if core and not region:
        raise errors.LabError(f"a crash entry whose tree has no {USABLE}: nothing is safe here")
    return Cargo(tree, tree_at, where, index, region, core, lpi_tables(payload, tree))


def foreign_cpus(payload: Payload, cargo: Cargo | None, *, crash: bool = False) -> tuple[int, ...]:
    """Return the CPUs that must be left alone: they run in the kernel before us.

    Without firmware to ask, after a crash, nobody knows: then all but the link's.
    ``crash``: how it was entered, where there is no cargo that says it.
    """
    states = payload.cpu_states()
    awake = (wire.CpuState.READY, wire.CpuState.BUSY)
    unknown = (cargo.crash if cargo is not None else crash) and not payload.hello.psci_conduit
    return tuple(
        cpu
        for cpu, state in states.items()
        if state == wire.CpuState.ELSEWHERE or (unknown and state not in awake)
    )


def read_member(payload: Payload, cargo: Cargo, name: str) -> bytes:
    """Return a (small) member, verified. Raises `errors.LabError`."""
    where = cargo.member(name)
    found = payload.read(where.start, where.size) if where.size else b""
    if payload.crc(where.start, where.size) != cargo.index.entries[name].crc:
        raise errors.LabError(f"the bundle's {name} does not keep its CRC in the board's memory")
    return found


def read_tree(payload: Payload) -> tuple[Tree, Range]:
    """Return the tree that the payload was entered with, verified, and where it stands.

    Raises `errors.LabError` where there is none, or a broken one.
    """
    at = payload.hello.dtb
    if not at:
        raise errors.LabError("the payload was entered without a device tree")
    used = devicetree.used_bytes(payload.read(at, devicetree.HEAD_BYTES))
    blob = payload.read(at, used)
    if payload.crc(at, used) != zlib.crc32(blob):
        raise errors.LabError("the device tree was not read as it stands in memory")
    return devicetree.parse(blob), Range(at, int.from_bytes(blob[4:8], "big"))


def _ranges(tree: Tree, node: Node, name: str) -> Iterator[Range]:
    """A property of /chosen in the root's cells, as kexec writes it."""
    for start, size in node.regs(name, *tree.root.cells):
        yield Range(start, size)


def _memory(root: Node) -> Iterator[Range]:
    for node in root.children:
        is_memory = node.text("device_type") == "memory" or node.name.startswith("memory@")
        if is_memory and node.text("status") in ("", "okay", "ok"):
            yield from (Range(*each) for each in node.regs("reg", *root.cells))


def _reserved_memory(root: Node) -> Iterator[Range]:
    parent = root.child("reserved-memory")
    for node in parent.children if parent is not None else ():
        assert parent is not None
        yield from (Range(*each) for each in node.regs("reg", *parent.cells))


def _release_pages(root: Node) -> Iterator[Range]:
    """A CPU of a spin-table may still wait there."""
    cpus = root.child("cpus")
    for node in cpus.children if cpus is not None else ():
        if address := node.number("cpu-release-addr", 0):
            yield Range(address // PAGE * PAGE, PAGE)
