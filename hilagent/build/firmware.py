# SPDX-License-Identifier: Apache-2.0
"""The firmware of an emulated board, where it comes in an arm64 package of Debian's."""

from __future__ import annotations

import dataclasses

from hilagent.board.model import Board
from hilagent.errors import LabError

from . import debian
from .progress import Progress, silent


def at_hand(board: Board, *, progress: Progress = silent) -> Board:
    """Return ``board`` with its firmware where it is on this host.

    A foreign package is fetched the first time and unpacked into the cache; any other
    board is returned as it is.

    Raises:
        LabError: the package can't be had, or has no such file.
    """
    qemu = board.qemu
    if qemu is None or qemu.firmware is None or not qemu.firmware.foreign:
        return board
    firmware = qemu.firmware
    try:
        folder = debian.unpack(debian.fetch([firmware.package], progress=progress))
    except LabError as error:
        raise LabError(
            f"can't get the firmware of {board.name}: {error.message}",
            hint=f"Debian 12 and 13 have {firmware.package} for arm64, in main",
        ) from error
    path = folder / firmware.path.lstrip("/")
    if not path.is_file():
        raise LabError(f"{firmware.package} has no file {firmware.path}")
    found = dataclasses.replace(firmware, path=str(path))
    return dataclasses.replace(board, qemu=dataclasses.replace(qemu, firmware=found))
