# SPDX-License-Identifier: Apache-2.0
"""What an emulated board starts with, where that has to be fetched or built."""

from __future__ import annotations

from hilagent.board import Board
from hilagent.journal import Journal, parts


def with_firmware(board: Board, journal: Journal) -> Board:
    """Return ``board`` with what its emulator is started with on this host.

    An emulator that is new enough and a firmware from a package of another architecture
    are fetched, as a step of the run each; its device tree, a system of ours, and the payload
    where nothing else is there to start it, are built.

    Raises:
        errors.LabError: it can't be had.
        errors.InputError: its device tree's source is none.
    """
    if board.qemu is None:
        return board
    from hilagent.build import direct, emulator, firmware, system

    if emulator.is_too_old(board.qemu):
        with journal.step(f"get a newer {board.qemu.package}") as share:
            board = emulator.at_hand(
                board, progress=lambda done, total, _: parts(share)(done, total)
            )
    board = direct.at_hand(board)
    if board.qemu is not None:
        journal.write("facts", qemu=emulator.version(board.qemu.binary))
    if board.qemu is not None and board.qemu.system is not None:
        with journal.step(f"build {board.name}'s own system") as share:
            board = system.at_hand(board, progress=lambda done, total, _: parts(share)(done, total))
    if board.qemu is None or board.qemu.firmware is None or not board.qemu.firmware.foreign:
        return board
    with journal.step(f"get {board.qemu.firmware.package}") as share:
        return firmware.at_hand(board, progress=lambda done, total, _: parts(share)(done, total))
