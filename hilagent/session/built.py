# SPDX-License-Identifier: Apache-2.0
"""What one boot of Linux is made of: a kernel, its module, and a root file system."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hilagent import errors
from hilagent.board import Board
from hilagent.journal import Journal, parts

if TYPE_CHECKING:
    from hilagent.build.given import Given, Paths
    from hilagent.build.kernel import Kernel
    from hilagent.build.progress import Progress
    from hilagent.build.rootfs import Rootfs


@dataclass(frozen=True)
class Built:
    """What one boot is made of.

    Attributes:
        dtb: a device tree in place of the firmware's.
        under: an initramfs whose files are there where ours has none of that name.
        no_module: see `Linux`.
    """

    kernel: Kernel
    rootfs: Rootfs
    dtb: Path | None = None
    under: Path | None = None
    no_module: str = ""

    def initrd(self) -> bytes:
        """Return what the kernel gets for its initrd.

        Archives that follow each other are laid over each other, each at a multiple of 4
        (Documentation/driver-api/early-userspace/buffer-format.rst).
        """
        ours = self.rootfs.archive.read_bytes()
        under = self.under.read_bytes() if self.under else b""
        return under + bytes(-len(under) % 4) + ours


def build(board: Board, journal: Journal, name: str, own: Paths | None = None) -> Built:
    """Build what a boot of the kernel ``name`` needs, or take it from the cache.

    Args:
        own: where the kernel ``given`` is.

    Raises:
        errors.TargetError: it doesn't build.
    """
    from hilagent.build.rootfs import build_rootfs

    with journal.step(f"build kernel {name}") as share:

        def progress(done: int, total: int, what: str) -> None:
            parts(share)(done, total)
            if what.startswith("waiting"):
                journal.note(what)

        found = _kernel(board, name, own, progress)
    kernel, module, no_module = found.kernel, None, ""
    with journal.step("build module and root file system"):
        try:
            module = _module(kernel)
        except errors.Unsupported as exc:
            no_module = exc.message
        rootfs = build_rootfs(kernel=kernel, module=module)
    said: dict[str, object] = {
        "release": kernel.release, "image": kernel.digest, "rootfs": rootfs.digest,
        "abi": kernel.abi,
    }  # fmt: skip
    if found.absent:
        said["absent"] = {each.what: each.costs for each in found.absent}
    journal.write("facts", **{"kernel_build_id": kernel.digest[:16], f"kernel {name}": said})
    return Built(kernel, rootfs, found.dtb, found.initrd, no_module)


def fragments(board: Board) -> tuple[Path, ...]:
    """Return the configuration fragments that each kernel of ``board`` is built with.

    Raises:
        errors.UsageError: there is none of that name.
    """
    from hilagent.build.series import fragment

    if board.linux is None:
        return ()
    names = board.linux.config or (() if board.emulated else ("boards",))
    return tuple(fragment(name) for name in names)


def _kernel(board: Board, name: str, own: Paths | None, progress: Progress) -> Given:
    from hilagent.build.given import Given
    from hilagent.build.kernel import GIVEN, build_kernel

    config = fragments(board)
    if name == GIVEN and own:
        return own.kernel(config, progress)
    return Given(build_kernel(name, config=config, progress=progress), None, None, ())


def _module(kernel: Kernel) -> Path:
    from hilagent.build.module import build_module
    from hilagent.linux import wire

    return build_module(kernel, header=wire.c_header())
