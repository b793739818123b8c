# SPDX-License-Identifier: Apache-2.0
"""A scripted U-Boot on a pty, with a console on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from hilagent import transport
from hilagent.board.model import Console as Config
from hilagent.board.model import Network, UBootSpec
from hilagent.clock import Deadline
from hilagent.console import Console
from hilagent.console.prompt import Prompt
from hilagent.console.uboot import UBoot
from hilagent.testing import Faults, FaultyStream, PtyBoard, ScriptedUBoot
from hilagent.testing.uboot import LOAD_ADDR

SPEC = UBootSpec(
    prompt="=> ",
    autoboot="Hit any key to stop autoboot",
    load_addr=LOAD_ADDR,
    network=Network(mode="qemu"),
)
CLEAN = Faults()


@dataclass
class Scripted:
    """A scripted board, its console, and a driver on it."""

    machine: ScriptedUBoot
    console: Console
    uboot: UBoot

    def prompt(self) -> Prompt:
        """Take the console for a U-Boot that is known to be at its prompt."""
        return Prompt(self.console.take("test"), "=> ")

    def ran(self) -> set[str]:
        """Return every command that was run, but for the marks."""
        return {" ".join(words) for words in self.machine.commands if words[0] != "echo"}


@contextmanager
def scripted(
    machine: ScriptedUBoot,
    *,
    to_board: Faults = CLEAN,
    to_host: Faults = CLEAN,
    seed: int = 0,
    spec: UBootSpec = SPEC,
) -> Iterator[Scripted]:
    """Connect to ``machine`` over a pty, through faults."""
    with PtyBoard(machine) as board:
        stream = transport.open(Config(kind="serial", path=board.path))
        worse = FaultyStream(stream, to_board=to_board, to_host=to_host, seed=seed)
        with Console(worse) as console:
            board.change(machine.power_on)  # now somebody listens
            yield Scripted(machine, console, UBoot(console, spec))


def soon(seconds: float = 10.0) -> Deadline:
    return Deadline.after(seconds)
