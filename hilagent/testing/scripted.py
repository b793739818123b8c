# SPDX-License-Identifier: Apache-2.0
"""A whole scripted board: power, U-Boot, then the payload's twin, well or badly.

::

    board = ScriptedBoard(
        powered=False, files={"payload": image}, behaviour=behaviour.hangs_at(0x1234)
    )
    with PtyBoard(board) as pty:
        port = serial.Serial(pty.path)          # opening a tty throws away what came before
        pty.change(lambda: board.power(True))
        ...

or in memory, on a clock that nobody waits for::

    clock = ManualClock()
    line = MachineLine(ScriptedBoard(clock=clock), clock)
"""

from __future__ import annotations

from collections.abc import Mapping

from hilagent.clock import SYSTEM, Clock
from hilagent.testing import behaviour as behaviours
from hilagent.testing.behaviour import Behaviour
from hilagent.testing.jobs import GOOD, Traits
from hilagent.testing.twin import PayloadTwin
from hilagent.testing.uboot import ORDINARY, ScriptedUBoot, UBootTraits

IMAGE_HEADER = b"\0" * 56 + b"ARM\x64" + b"\0" * 4
"""The least that booti takes for an arm64 Image."""


class ScriptedBoard:
    """A machine (see `hilagent.testing.machine`).

    Args:
        uboot, payload: what each is like, and what is wrong with it.
        behaviour: of the vectors under test.
        files: what the TFTP server holds.
        printk: a kernel's line, printed into whatever the board says, in the middle
            of any line, after each ``printk_every`` bytes of it.

    Attributes:
        uboot, twin: the two machines.
        powered: `power` switches it.
        hung: it neither hears nor says anything, until it is switched on again.
    """

    def __init__(
        self,
        *,
        clock: Clock = SYSTEM,
        uboot: UBootTraits = ORDINARY,
        payload: Traits = GOOD,
        behaviour: Behaviour = behaviours.hyp_stub,
        files: Mapping[str, bytes] | None = None,
        printk: bytes = b"",
        printk_every: int = 0,
        seed: int = 1,
        powered: bool = True,
    ) -> None:
        self.clock = clock
        self.uboot = ScriptedUBoot(clock=clock, traits=uboot, files=files, on_boot=self._boot)
        self.twin = PayloadTwin(
            clock=clock, traits=payload, behaviour=behaviour, seed=seed, on_reset=self._reset
        )
        self.powered = powered
        self._printk, self._every, self._said = printk, printk_every, 0
        self._in_payload = self.hung = False
        self._unasked = b""

    def power(self, on: bool) -> None:
        """Switch the board; switched on, it starts from U-Boot."""
        self.powered = on
        self._in_payload = self.hung = False
        self._unasked = b""
        if on:
            self.uboot.power_on()

    def feed(self, data: bytes) -> bytes:
        """Take bytes from the host."""
        return self._spoilt(self._now().feed(data)) if self._runs else b""

    def tick(self) -> bytes:
        """Return what is said unasked."""
        if not self._runs:
            return b""
        unasked, self._unasked = self._unasked, b""
        return unasked + self._spoilt(self._now().tick())

    def next_s(self) -> float:
        """When `tick` has something."""
        if not self._runs:
            return float("inf")
        return self.clock.now_s() if self._unasked else self._now().next_s()

    def interject(self, data: bytes) -> None:
        """Say this too, at once: a kernel's line, noise, or a flood of it."""
        self._unasked += data

    def restart(self) -> None:
        """Reset by itself: it starts from U-Boot."""
        if self.powered:
            self.power(True)

    @property
    def _runs(self) -> bool:
        return self.powered and not self.hung

    def _now(self) -> PayloadTwin | ScriptedUBoot:
        return self.twin if self._in_payload else self.uboot

    def _boot(self, addr: int, fdt: int) -> bytes:
        self._in_payload = True
        self.twin.start()
        return b"HIL"

    def _reset(self) -> bytes:
        self.power(True)
        return self.uboot.tick()

    def _spoilt(self, data: bytes) -> bytes:
        if not self._every:
            return data
        out = b""
        while len(data) >= self._every - self._said:
            cut = self._every - self._said
            out, data, self._said = out + data[:cut] + self._printk, data[cut:], 0
        self._said += len(data)
        return out + data
