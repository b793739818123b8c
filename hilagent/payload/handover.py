# SPDX-License-Identifier: Apache-2.0
"""The way back: the payload starts the kernel that came along in the bundle.

::

    cargo = look(payload, expect=index)
    ...                                   # what the payload is asked
    done = hand_over(payload, cargo, cmdline="console=ttyAMA0 hilagent.run=...")

Nothing crosses the line but the tree: kernel and initrd are copied on the target, and
verified there. Whatever would make it a gamble is refused, with the reason; the payload
is still there then, and the board can be reset.
"""

from __future__ import annotations

import copy
import secrets
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from hilagent import errors
from hilagent.deploy import devicetree
from hilagent.deploy.devicetree import Tree
from hilagent.link import wire

from .cargo import CORE, INITRD, USABLE, BundleLost, Cargo, foreign_cpus, read_member
from .client import Payload
from .mover import Mover
from .places import Places, Range, Sizes, plan
from .trouble import Refused

_HEADER_BYTES, _MAGIC = 64, b"ARM\x64"
_ANYWHERE, _BIG_ENDIAN = 1 << 3, 1 << 0
_SEED_BYTES, _KASLR_BYTES = 64, 8
_EFI = "linux,uefi-system-table"
_LEFTOVERS = ("linux,booted-from-kexec", "linux,ima-kexec-buffer", "linux,kho-fdt",
              "linux,kho-scratch")  # fmt: skip

Progress = Callable[[int, int], None]
"""Called with the bytes copied and the bytes in all."""


@dataclass(frozen=True)
class Handover:
    """What was done, for the journal.

    Attributes:
        crash: it went from a crash region into the same region, never outside of it.
        elsewhere: CPUs that were left in the dead kernel.
    """

    places: Places
    sizes: Sizes
    crash: bool
    elsewhere: tuple[int, ...]
    cmdline: str


def hand_over(
    payload: Payload,
    cargo: Cargo,
    *,
    cmdline: str | None = None,
    progress: Progress = lambda done, total: None,
) -> Handover:
    """Start the bundle's kernel. The payload is gone when this returns.

    Args:
        cmdline: of the next kernel; by default the bundle's member of that name.

    Raises:
        errors.PreconditionError: it would not be safe; it says why.
        errors.LabError: the bundle or a copy of it does not keep its CRC.
    """
    elsewhere = _left_behind(payload, cargo)
    if cmdline is None:
        cmdline = read_member(payload, cargo, "cmdline").decode("utf-8", "replace")
    tree = _base_tree(payload, cargo)
    refuse_efi(cargo.tree, tree)
    sizes = _sizes(payload, cargo)
    places = plan(cargo.memory(), cargo.reserved(), alive(payload, cargo), sizes,
                  cargo.crash_region)  # fmt: skip
    payload.move_link(0)
    _move(payload, cargo, places, sizes, progress)
    initrd = Range(places.initrd, sizes.initrd)
    blob = devicetree.build(next_tree(tree, cargo, cmdline, initrd, pen=pen(payload)))
    payload.write(places.dtb, blob)
    if payload.crc(places.dtb, len(blob)) != zlib.crc32(blob):
        raise errors.LinkError("the next kernel's device tree does not keep its CRC")
    go(payload, places)
    return Handover(places, sizes, cargo.crash, elsewhere, cmdline)


def alive(payload: Payload, cargo: Cargo) -> tuple[Range, ...]:
    """Return what must not be written over before the next kernel runs."""
    hello = payload.hello
    own = Range(hello.image, hello.image_size)
    lent = (Range(hello.scratch, hello.scratch_size), Range(hello.slot, hello.slot_size))
    return (own, *lent, cargo.tree_at, cargo.bundle, *cargo.core, *cargo.lpi)


def next_tree(
    tree: Tree, cargo: Cargo, cmdline: str, initrd: Range, *, pen: Range | None = None
) -> Tree:
    """Return ``tree`` for the next kernel: its own /chosen, and nothing of the kexec.

    After a crash the region's limits and the dead kernel's headers stay: the next kernel
    lives in there. Seeds are new ones where the tree had some. What the interrupt
    controller writes by itself is reserved. ``pen``: a page that CPUs of a spin-table wait in.
    """
    out = copy.deepcopy(tree)
    chosen = out.node("/chosen", create=True)
    assert chosen is not None
    old = tree.node("/chosen")
    for name in (*INITRD, *_LEFTOVERS, USABLE, CORE):
        chosen.props.pop(name, None)
    source = cargo.tree.node("/chosen")
    if cargo.crash and source is not None:
        limits = {name: source.props[name] for name in (USABLE, CORE) if name in source.props}
        chosen.props |= limits
    chosen.props["bootargs"] = cmdline.encode() + b"\0"
    if initrd.size:
        for name, address in zip(INITRD, (initrd.start, initrd.end), strict=True):
            chosen.props[name] = address.to_bytes(8, "big")
    if old is not None:
        if "kaslr-seed" in old.props:
            chosen.props["kaslr-seed"] = secrets.token_bytes(_KASLR_BYTES)
        chosen.props["rng-seed"] = secrets.token_bytes(_SEED_BYTES)
    gone = (cargo.bundle, cargo.tree_at, *(() if cargo.crash else cargo.core))
    out.reserve = [each for each in out.reserve if Range(*each) not in gone]
    kept = [*cargo.lpi, *([pen] if pen is not None else [])]
    known = {Range(*each) for each in out.reserve}
    out.reserve += [(each.start, each.size) for each in kept if each not in known]
    return out


def _left_behind(payload: Payload, cargo: Cargo) -> tuple[int, ...]:
    """Return the CPUs that still run in the kernel before us; refused but for a crash."""
    gone = foreign_cpus(payload, cargo)
    states = payload.cpu_states()
    late = tuple(
        cpu
        for cpu, state in states.items()
        if state == wire.CpuState.STARTING and not (cargo.crash and cpu in gone)
    )
    if late or (gone and not cargo.crash):
        raise errors.PreconditionError(
            f"no handover: CPU {', '.join(map(str, late or gone))} still runs in the kernel that "
            "was here before",
            hint="reset the board",
        )
    return gone


def refuse_efi(*trees: Tree) -> None:
    """Memory is what EFI's map says then: firmware's runtime code is in no other list."""
    for tree in trees:
        chosen = tree.node("/chosen")
        if chosen is not None and _EFI in chosen.props:
            raise errors.PreconditionError(
                f"no handover: the kernel before us was booted by EFI ({_EFI}), and which memory "
                "its firmware keeps is not known here",
                hint="boot it by device tree (U-Boot's booti)",
            )


def _base_tree(payload: Payload, cargo: Cargo) -> Tree:
    if "dtb" not in cargo.index.entries:
        return cargo.tree
    return devicetree.parse(read_member(payload, cargo, "dtb"))


def _sizes(payload: Payload, cargo: Cargo) -> Sizes:
    kernel = cargo.member("kernel")
    rootfs = cargo.index.entries.get("rootfs")
    header = payload.read(kernel.start, _HEADER_BYTES) if kernel.size > _HEADER_BYTES else b""
    text_offset, image, flags = (
        int.from_bytes(header[at : at + 8], "little") for at in (8, 16, 24)
    )
    if header[56:60] != _MAGIC or image < kernel.size or text_offset % 4096:
        raise errors.PreconditionError(
            "no handover: the bundle's kernel is no uncompressed arm64 Image that says its size"
        )
    if flags & _BIG_ENDIAN or not flags & _ANYWHERE:
        raise errors.PreconditionError(
            f"no handover: the kernel's Image flags {flags:#x} ask for "
            + ("big-endian" if flags & _BIG_ENDIAN else "the lowest memory")
        )
    return Sizes(image, text_offset, rootfs.size if rootfs else 0, devicetree.SIZE_MAX)


def _move(payload: Payload, cargo: Cargo, places: Places, sizes: Sizes, progress: Progress) -> None:
    mover = Mover(payload)
    jobs = [("kernel", places.image)]
    if sizes.initrd:
        jobs.append(("rootfs", places.initrd))
    total, done = sum(cargo.member(name).size for name, _ in jobs), 0

    def more(count: int) -> None:
        nonlocal done
        done += count
        progress(done, total)

    mover.clean(places.image, sizes.image)
    for name, to in jobs:
        member, crc = cargo.member(name), cargo.index.entries[name].crc
        mover.copy(to, member.start, member.size, more)
        if mover.crc(to, member.size) == crc:
            continue
        lost = mover.crc(member.start, member.size) != crc
        blame = "came along broken" if lost else "was broken by the copy"
        kind = BundleLost if lost else errors.LabError
        raise kind(f"the bundle's {name} {blame}: its CRC is not {crc:#010x}")
    mover.code(places.image, cargo.member("kernel").size)


def pen(payload: Payload) -> Range | None:
    """Without PSCI the other CPUs wait in our first page, whoever runs next."""
    lonely = payload.hello.cpus == 1 or payload.hello.psci_conduit
    return None if lonely else Range(payload.hello.image, 4096)


def go(payload: Payload, places: Places) -> None:
    """Start what stands at ``places``, with all other CPUs sent away.

    Raises `errors.PreconditionError` where they can't be; the payload is still there then.
    """
    try:
        payload.stop_cpus()
        payload.boot(places.image, places.dtb)
    except Refused as refused:
        raise errors.PreconditionError(
            f"no handover: the other CPUs can't be sent away ({refused.message})",
            hint="reset the board",
        ) from refused
