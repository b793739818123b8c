# SPDX-License-Identifier: Apache-2.0
"""The firmware of an emulated board, where it has to be fetched."""

from __future__ import annotations

from hilagent.board import Board
from hilagent.journal import Journal, parts


def with_firmware(board: Board, journal: Journal) -> Board:
    """Return ``board`` with its firmware on this host; fetching it is a step of the run.

    Raises errors.LabError where it can't be had.
    """
    firmware = board.qemu.firmware if board.qemu is not None else None
    if firmware is None or not firmware.foreign:
        return board
    from hilagent.build.firmware import at_hand

    with journal.step(f"get {firmware.package}") as share:
        return at_hand(board, progress=lambda done, total, _: parts(share)(done, total))
