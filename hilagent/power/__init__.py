# SPDX-License-Identifier: Apache-2.0
"""Switches of boards, one small file a back-end."""

from __future__ import annotations

from pathlib import Path

from hilagent.board.model import Board
from hilagent.errors import AgentBug
from hilagent.place import Place
from hilagent.power.base import Power
from hilagent.power.command import CommandPower
from hilagent.power.http import HttpPower
from hilagent.power.labgrid import LabgridPower
from hilagent.power.manual import ManualPower
from hilagent.power.qemu import QemuPower
from hilagent.power.recorded import RecordedPower

__all__ = ["CommandPower", "HttpPower", "ManualPower", "Power", "QemuPower", "open"]


def open(board: Board, tftp_dir: Path | None = None, place: Place | None = None) -> Power:
    """Return the switch of ``board``; nothing is switched yet.

    Args:
        board: whose.
        tftp_dir: what an emulated network serves, see :class:`QemuPower`.
        place: that gives its power.

    Raises:
        LabError: it is switched by a person, and nobody is there.
    """
    if board.power.kind == "command":
        return CommandPower(board.power)
    if board.power.kind == "http":
        return HttpPower(board.power)
    if board.power.kind == "labgrid" and place is not None:
        return LabgridPower(board.power, place)
    if board.power.kind == "manual":
        return ManualPower(board.power, board.name)
    if board.power.kind == "recorded" and board.console.path is not None:
        return RecordedPower(Path(board.console.path))
    if board.qemu is not None:
        ssh = [block.ssh for block in (board.linux, board.os) if block is not None]
        forward = tuple({each.port for each in ssh if each.via == "qemu"})
        boots_by_net = board.uboot is not None and board.uboot.network.mode == "qemu"
        net = tftp_dir if boots_by_net or forward else None  # not each machine takes a card
        serial = board.console.kind != "none"
        return QemuPower(board.qemu, net, forward=forward, serial=serial)
    raise AgentBug(f"board {board.name} has no way to be switched")
