# SPDX-License-Identifier: Apache-2.0
"""The payload as a second-stage loader: a kernel over the serial line, and its start.

::

    kernel = Kernel(image, archive, "console=ttyAMA0")
    start_kernel(payload, kernel, wire=Wire(1_500_000), deadline=Deadline.after(60))

U-Boot has brought the payload up by YMODEM and is gone. Kernel and initrd come by
:mod:`.upload`; places, device tree and the way out are those of :mod:`.handover`, so
what is alive, reserved or no memory is never written to.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from hilagent import errors
from hilagent.clock import Deadline
from hilagent.deploy import bundle, devicetree
from hilagent.deploy.linux import image_header

from .cargo import Cargo, read_tree
from .client import Payload
from .gic import lpi_tables
from .handover import alive, go, next_tree, pen, refuse_efi
from .mover import Mover
from .places import Places, Range, Sizes, plan
from .upload import Piece, Progress, Sent, Wire, upload

_ANYWHERE = 1 << 3
_SLOWER = 1.5  # than the bare line, at the most: repeats, and an image that LZMA can't shrink
_START_S = 30.0


@dataclass(frozen=True)
class Kernel:
    """What is started: an arm64 Image, its initrd (none if empty), and its arguments."""

    image: bytes
    initrd: bytes
    cmdline: str


@dataclass(frozen=True)
class Started:
    """What was done, for the journal."""

    places: Places
    sizes: Sizes
    sent: Sent


def budget_s(kernel: Kernel, wire: Wire) -> float:
    """Return the seconds that an upload of it may take on a line of that rate."""
    return _SLOWER * (len(kernel.image) + len(kernel.initrd)) * wire.byte_s + _START_S


def start_kernel(
    payload: Payload,
    kernel: Kernel,
    *,
    wire: Wire,
    deadline: Deadline,
    progress: Progress = lambda done, total: None,
) -> Started:
    """Upload ``kernel``, verify it in memory and start it. The payload is gone when this returns.

    Raises:
        errors.UsageError: it is no arm64 Image.
        errors.PreconditionError: there is no safe place for it; it says why.
        errors.LabError: it didn't arrive whole.
    """
    tree, at = read_tree(payload)
    nothing = bundle.Index({}, 0)
    cargo = Cargo(tree, at, Range(0, 0), nothing, lpi=lpi_tables(payload, tree))
    refuse_efi(tree)
    sizes = _sizes(kernel)
    places = plan(cargo.memory(), cargo.reserved(), alive(payload, cargo), sizes)
    sent = _upload(payload, kernel, places, wire, deadline, progress)
    _verify(payload, kernel, places, sizes)
    initrd = Range(places.initrd, sizes.initrd)
    blob = devicetree.build(next_tree(tree, cargo, kernel.cmdline, initrd, pen=pen(payload)))
    payload.write(places.dtb, blob)
    if payload.crc(places.dtb, len(blob)) != zlib.crc32(blob):
        raise errors.LinkError("the kernel's device tree does not keep its CRC")
    go(payload, places)
    return Started(places, sizes, sent)


def _sizes(kernel: Kernel) -> Sizes:
    header = image_header(kernel.image)
    if header.image_size < len(kernel.image) or header.text_offset % 4096:
        raise errors.UsageError("the kernel's Image doesn't say its size: it is older than 3.17")
    if not header.flags & _ANYWHERE:
        raise errors.PreconditionError(
            f"the kernel's Image flags {header.flags:#x} ask for the lowest memory",
            hint="load it by U-Boot: --transfer ymodem",
        )
    return Sizes(header.image_size, header.text_offset, len(kernel.initrd), devicetree.SIZE_MAX)


def _upload(
    payload: Payload,
    kernel: Kernel,
    places: Places,
    wire: Wire,
    deadline: Deadline,
    progress: Progress,
) -> Sent:
    pieces = [Piece(places.image, kernel.image)]
    if kernel.initrd:
        pieces.append(Piece(places.initrd, kernel.initrd))
    workspace = places.dtb  # of the tree's own 2 MiB, which it gets last of all
    return upload(payload, pieces, workspace, wire=wire, deadline=deadline, progress=progress)


def _verify(payload: Payload, kernel: Kernel, places: Places, sizes: Sizes) -> None:
    """Hold all of it against its CRC-32, and leave nothing of it or of its BSS in a cache."""
    mover = Mover(payload)
    tail = len(kernel.image) // 4096 * 4096
    mover.clean(places.image + tail, sizes.image - tail)
    for name, at, data in (
        ("kernel", places.image, kernel.image), ("initrd", places.initrd, kernel.initrd),
    ):  # fmt: skip
        if data and mover.crc(at, len(data)) != zlib.crc32(data):
            raise errors.LabError(
                f"the {name} does not keep its CRC in the board's memory",
                hint="is memory there, at all addresses that the device tree names?",
            )
    mover.code(places.image, len(kernel.image))
