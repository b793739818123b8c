# SPDX-License-Identifier: Apache-2.0
"""The emulated board, for tests against the real U-Boot."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hilagent import board, power, transport
from hilagent.board.model import Board, UBootSpec
from hilagent.console import Console
from hilagent.console.uboot import UBoot
from hilagent.transport.base import Stream


@dataclass
class Emulated:
    """A board that was just switched on."""

    board: Board
    power: power.Power
    console: Console
    folder: Path

    @property
    def spec(self) -> UBootSpec:
        """The board's U-Boot as described."""
        assert self.board.uboot is not None
        return self.board.uboot

    def uboot(self) -> UBoot:
        """Take the console for U-Boot."""
        return UBoot(self.console, self.spec, self.board.console.fifo_bytes)


@contextmanager
def emulated(
    folder: Path, wrap: Callable[[Stream], Stream] = lambda stream: stream
) -> Iterator[Emulated]:
    """Switch ``qemu-virt`` on and off; ``wrap`` puts something around its console."""
    it = board.load("qemu-virt", options={"smp": "1", "memory": "256"})
    switch = power.open(it, folder)
    switch.on()
    try:
        with Console(wrap(transport.open(it.console, switch)), folder) as console:
            yield Emulated(it, switch, console, folder)
    finally:
        switch.off()
