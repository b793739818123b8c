# SPDX-License-Identifier: Apache-2.0
"""A scripted board with all that a run needs, for runs in simulated time."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from hilagent import abi
from hilagent import board as boards
from hilagent.session.settings import Request, Settings
from hilagent.session.subject import Subject
from hilagent.testing import ManualClock, ScriptedBoard, Traits, UBootTraits
from hilagent.testing.simulated import Simulation

STUB = Subject("reference-stub", "hyp-stub", blob=bytes(0x800))
BOARD = """\
schema: 1
name: bed
description: a scripted board in simulated time
soc: scripted
emulated: false
cpus: 2
console: {kind: serial, path: /dev/simulated, baud: 115200}
power: {kind: command, "on": [outlet, "2 on"], "off": [outlet, "2 off"], off_s: 0.1}
uboot:
  prompt: "=> "
  autoboot: Hit any key to stop autoboot
  load_addr: 0x40200000
  network: {mode: none}
  transfer_timeout_s: 120
transfers: [ymodem]
payload: {entry_el: 2, psci: smc, timeout_s: 20}
"""
LIMIT_S = 3600.0
"""No run of a scripted board is meant to take so long: one that does hangs."""


class Bed:
    """Makes laboratories and run directories in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "bed.yaml").write_text(BOARD)
        self.board = boards.load("bed", dirs=[folder])
        self.profile = abi.load("iss-2015")
        self._numbers = itertools.count()
        self.last = folder

    def settings(self) -> Settings:
        """Return the settings of a run with the reference vectors' name."""
        return Settings(Request(), self.board, self.profile, (STUB,), "ymodem")

    def run_dir(self) -> Path:
        """Return a new run directory; it is ``last``."""
        self.last = self._folder / f"run-{next(self._numbers)}"
        return self.last

    def lab(
        self,
        *,
        payload: Traits | None = None,
        uboot: UBootTraits | None = None,
        behaviour: Any = None,
        seed: int = 0,
        limit_s: float = LIMIT_S,
        kind: type[Simulation] = Simulation,
        **line: Any,
    ) -> Simulation:
        """Return a laboratory with a board that is off.

        Args:
            kind: of laboratory.
            line: of `Simulation`.
        """
        clock = ManualClock(limit_s=limit_s)
        more = {"behaviour": behaviour} if behaviour else {}
        board = ScriptedBoard(
            clock=clock, powered=False, payload=payload or Traits(cpus=2),
            uboot=uboot or UBootTraits(), seed=seed, **more,
        )  # fmt: skip
        return kind(board, clock, seed=seed, baud=self.board.console.baud, **line)
