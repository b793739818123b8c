# SPDX-License-Identifier: Apache-2.0
"""From U-Boot's prompt into a Linux kernel with our root file system.

Over a network the Image goes as it is. Over a serial line it is compressed first
(``unzip`` of U-Boot), since the line is what takes the time.
"""

from __future__ import annotations

import gzip
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from hilagent.board.model import LinuxSpec
from hilagent.clock import Deadline
from hilagent.console.match import Pattern
from hilagent.console.uboot import UBoot, Var
from hilagent.deploy.base import Progress, Transfer, silent
from hilagent.deploy.boot import load_verified
from hilagent.errors import LabError, UsageError

_HEADER = struct.Struct("<8x3Q24xI")
_MAGIC = int.from_bytes(b"ARM\x64", "little")
_TREE_ALIGN = 0x20_0000
_WORDS = 120
"""Characters of kernel arguments in one U-Boot command: its line has 250 for all of it."""


@dataclass(frozen=True)
class ImageHeader:
    """The 64-byte header of an arm64 Image (Documentation/arch/arm64/booting.rst).

    Attributes:
        text_offset: from a 2 MiB boundary, in bytes.
        image_size: bytes that it occupies once it runs, BSS included.
        flags: bit 0 big-endian, bits 1-2 page size, bit 3 anywhere in memory.
    """

    text_offset: int
    image_size: int
    flags: int


def image_header(image: bytes, name: str = "the kernel") -> ImageHeader:
    """Return the header of an arm64 Image.

    Raises:
        UsageError: it is none; says what it looks like.
    """
    if len(image) < 64 or _HEADER.unpack_from(image)[3] != _MAGIC:
        looks = {b"\x7fELF": "an ELF file: use arch/arm64/boot/Image", b"\x1f\x8b": "gzip data"}
        kinds = [said for magic, said in looks.items() if image.startswith(magic)]
        if image[0x202:0x206] == b"HdrS":
            kinds = ["an x86 bzImage"]
        what = kinds[0] if kinds else f"{len(image)} bytes without the magic 'ARM\\x64' at 56"
        raise UsageError(f"{name} is no arm64 Image but {what}")
    text_offset, image_size, flags, _ = _HEADER.unpack_from(image)
    if flags & 1:
        raise UsageError(f"{name} is a big-endian Image")
    return ImageHeader(text_offset, image_size, flags)


def start_linux(
    uboot: UBoot,
    spec: LinuxSpec,
    image: bytes,
    archive: bytes,
    cmdline: str,
    by: Transfer,
    *,
    deadline: Deadline,
    dtb: bytes = b"",
    progress: Progress = silent,
    signs: Sequence[Pattern] = (),
) -> int:
    """Load kernel and root file system, verify both where they are, and start the kernel.

    Args:
        uboot: at its prompt.
        spec: the addresses.
        image, archive: an arm64 Image and an initramfs.
        cmdline: all arguments of the kernel.
        by: how to load.
        dtb: a device tree in place of the firmware's; it is put behind ``archive``.
        deadline: for all of it, up to the kernel's first sign.
        progress: told about the bytes of both together.
        signs: see ``UBoot.start``.

    Returns the console's position where its output begins.

    Raises:
        UsageError: the image is no arm64 Image.
        LabError: it didn't arrive whole, or U-Boot came back.
    """
    header = image_header(image)
    room = spec.ramdisk_addr - spec.kernel_addr
    if 0 < room < max(header.image_size, len(image)):
        hint = "move linux.ramdisk_addr in the board's file"
        raise LabError(f"a kernel of {header.image_size:#x} bytes reaches the ramdisk", hint=hint)
    by_efi = spec.start == "bootefi"
    if by_efi:  # it has no argument for a ramdisk before U-Boot 2024.01
        cmdline += f" initrd={spec.ramdisk_addr:#x},{len(archive):#x}"
    _arguments(uboot, cmdline)
    _load_kernel(uboot, spec, image, by, deadline, progress)
    load_verified(uboot, spec.ramdisk_addr, archive, by, deadline=deadline, progress=progress)
    fdt = uboot.spec.fdt
    tree = Var(fdt.removeprefix("$")) if isinstance(fdt, str) else fdt
    if dtb:
        tree = spec.ramdisk_addr + (len(archive) // _TREE_ALIGN + 1) * _TREE_ALIGN
        load_verified(uboot, tree, dtb, by, deadline=deadline, progress=progress)
    if by_efi:
        signs = [*signs, rb"EFI stub: "]
        return uboot.start("bootefi", spec.kernel_addr, tree, deadline=deadline, signs=signs)
    ramdisk = f"{spec.ramdisk_addr:x}:{len(archive):x}"
    return uboot.start("booti", spec.kernel_addr, ramdisk, tree, deadline=deadline, signs=signs)


def _load_kernel(
    uboot: UBoot,
    spec: LinuxSpec,
    image: bytes,
    by: Transfer,
    deadline: Deadline,
    progress: Progress,
) -> None:
    if by.name == "tftp" or spec.start == "bootefi":  # it only takes what it saw loaded
        load_verified(uboot, spec.kernel_addr, image, by, deadline=deadline, progress=progress)
        return
    packed, at = gzip.compress(image, 6, mtime=0), spec.ramdisk_addr  # free until the next load
    load_verified(uboot, at, packed, by, deadline=deadline, progress=progress)
    done = uboot.run("unzip", at, spec.kernel_addr, len(image), deadline=deadline)
    if not done.ok or not uboot.matches(spec.kernel_addr, image, deadline):
        raise LabError(f"U-Boot can't unpack the kernel: {done.text[:200]!r}")


def _arguments(uboot: UBoot, cmdline: str) -> None:
    """Set ``bootargs``, in pieces that fit U-Boot's line."""
    pieces = [""]
    for word in cmdline.split():
        if len(pieces[-1]) + len(word) > _WORDS and pieces[-1]:
            pieces.append("")
        pieces[-1] = f"{pieces[-1]} {word}".strip()
    names = [f"hilargs{number}" for number in range(len(pieces))]
    for name, piece in zip(names, pieces, strict=True):
        uboot.env_set(name, piece)
    if not uboot.run("setenv", "bootargs", *(Var(name) for name in names)).ok:
        raise LabError("U-Boot didn't set bootargs")
