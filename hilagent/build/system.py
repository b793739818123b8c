# SPDX-License-Identifier: Apache-2.0
"""The system that an emulated board boots by itself, where that is one of ours."""

from __future__ import annotations

import dataclasses

from hilagent.board.model import Board

from .kernel import build_kernel
from .progress import Progress, silent
from .rootfs import build_rootfs


def at_hand(board: Board, *, progress: Progress = silent) -> Board:
    """Return ``board`` with kernel and root file system built, where it has a ``system``.

    Raises:
        errors.UsageError: there is no such kernel.
        errors.TargetError: it doesn't build.
    """
    qemu = board.qemu
    if qemu is None or qemu.system is None:
        return board
    kernel = build_kernel(qemu.system, progress=progress)
    rootfs = build_rootfs(kernel=kernel, progress=progress)
    started = dataclasses.replace(qemu, kernel=str(kernel.image), initrd=str(rootfs.archive))
    return dataclasses.replace(board, qemu=started)
