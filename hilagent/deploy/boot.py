# SPDX-License-Identifier: Apache-2.0
"""From U-Boot's prompt into an image: load it, verify it, jump."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from hilagent.board.model import Board
from hilagent.clock import Deadline
from hilagent.console.match import Pattern
from hilagent.console.prompt import CHANCE
from hilagent.console.uboot import UBoot, Var
from hilagent.deploy.base import Progress, Transfer, silent
from hilagent.deploy.tftp import Tftp
from hilagent.deploy.ymodem import Ymodem
from hilagent.errors import BoardReset, LabError, LinkError, UsageError

_LOADS = 4


@dataclass(frozen=True)
class Started:
    """An image that runs.

    Attributes:
        position: on the console, where the output of ``booti`` begins.
        loads: how often the image was loaded until it was right.
        garbled: attempts at a command that the line spoiled.
        notes: what a person should know, e.g. an unusual load address.
    """

    position: int
    loads: int
    garbled: int
    notes: tuple[str, ...]


def transfer(
    board: Board, name: str = "", *, tftp_dir: Path | None = None, chance: Random = CHANCE
) -> Transfer:
    """Return the board's way to load, its best one if no name is given.

    Args:
        board: which.
        name: ``tftp`` or ``ymodem``; ``loader`` begins by ymodem, too.
        tftp_dir: the directory that an emulator's TFTP server serves; a board with a
            server of its own says where that one's is.
        chance: what names of served files are drawn from.
    """
    name = name or board.transfers[0]
    if name == "ymodem" and "loader" in board.transfers:
        name = "loader"
    if name not in board.transfers or board.uboot is None:
        raise UsageError(f"board {board.name} can't load by {name}; it can by {board.transfers}")
    if name == "tftp":
        network = board.uboot.network
        served = Path(network.tftp_dir) if network.tftp_dir is not None else tftp_dir
        if served is None:
            raise UsageError("loading by TFTP needs the directory that the server serves")
        return Tftp(served, network, chance)
    return Ymodem(board.console.baud)


def start_payload(
    uboot: UBoot,
    image: bytes,
    by: Transfer,
    *,
    deadline: Deadline | None = None,
    progress: Progress = silent,
    signs: Sequence[Pattern] = (),
) -> Started:
    """Load ``image`` to the board's load address, verify it there, ``booti`` it.

    Args:
        uboot: at its prompt.
        image: an arm64 Image.
        by: how to load.
        deadline: for all of it; by default the board's transfer time.
        progress: told about the bytes loaded.
        signs: patterns that only the running image prints, see ``UBoot.start``.

    Raises:
        LabError: it didn't arrive whole, or U-Boot came back from ``booti``.
    """
    deadline = deadline or Deadline.after(uboot.spec.transfer_timeout_s, uboot.line.console.clock)
    addr = uboot.spec.load_addr
    notes = _address_notes(uboot)
    loads = load_verified(uboot, addr, image, by, deadline=deadline, progress=progress, notes=notes)
    fdt = uboot.spec.fdt
    tree = Var(fdt.removeprefix("$")) if isinstance(fdt, str) else fdt
    position = uboot.start("booti", addr, "-", tree, deadline=deadline, signs=signs)
    return Started(position, loads, uboot.garbled, notes)


def load_verified(
    uboot: UBoot,
    addr: int,
    image: bytes,
    by: Transfer,
    *,
    deadline: Deadline,
    progress: Progress = silent,
    notes: Sequence[str] = (),
) -> int:
    """Load until U-Boot's CRC-32 of memory is that of ``image``; return how many loads it took."""
    why, advice = f"loading by {by.name} took too long", ""
    for count in range(1, _LOADS + 1):
        if deadline.expired():
            break
        try:
            by.load(uboot, addr, image, deadline, progress)
        except (LinkError, BoardReset):
            raise
        except LabError as error:
            why, advice = str(error), error.hint
            continue
        if uboot.matches(addr, image, deadline):
            return count
        why, advice = "the CRC-32 of what has arrived is wrong", ""
    seen = f"last of all: {uboot.line.console.tail(3)}"
    hint = "; ".join(each for each in (advice, seen, *notes) if each)
    raise LabError(f"can't load {len(image)} bytes to {addr:#x} by {by.name}: {why}", hint=hint)


def _address_notes(uboot: UBoot) -> tuple[str, ...]:
    """Return a remark if U-Boot itself would load a kernel elsewhere."""
    usual = uboot.env_get("kernel_addr_r")
    if usual is None or usual.lower().removeprefix("0x") == f"{uboot.spec.load_addr:x}":
        return ()
    ours = f"this board's description loads to {uboot.spec.load_addr:#x}"
    return (f"{ours}, its U-Boot would to $kernel_addr_r = {usual}",)
