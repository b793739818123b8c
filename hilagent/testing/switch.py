# SPDX-License-Identifier: Apache-2.0
"""A power switch in simulated time, which may lie."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hilagent import errors
from hilagent.testing.clock import ManualClock


@dataclass
class SwitchTraits:
    """How a switch behaves; a test may change it at any time.

    Attributes:
        sticks_off, sticks_on: it says that it did it, and didn't.
        late_s: so much later than it says it does what it was asked.
        fails_every: each so manieth time it is an error, and nothing is done; 0: never.
        tells: it says what it did when it is asked; ``honest``: what is.
        off_s: how long the board rests without power.
    """

    sticks_off: bool = False
    sticks_on: bool = False
    late_s: float = 0.0
    fails_every: int = 0
    tells: bool = False
    honest: bool = True
    off_s: float = 0.1


class Switch:
    """A `hilagent.power.Power` that switches a scripted board.

    Args:
        power: switches the board itself.
        later: does something in so many seconds.

    Attributes:
        did: what it was asked for, in order: ``on`` or ``off``.
    """

    def __init__(
        self,
        power: Callable[[bool], None],
        clock: ManualClock,
        later: Callable[[float, Callable[[], object]], None],
        traits: SwitchTraits,
    ) -> None:
        self.traits, self.did = traits, list[str]()
        self.is_on = False
        self._power, self._clock, self._later = power, clock, later

    def on(self) -> None:
        """Switch on."""
        self._clock.advance(self.traits.off_s)
        self._do(True, self.traits.sticks_on)

    def off(self) -> None:
        """Switch off."""
        self._do(False, self.traits.sticks_off)

    def cycle(self) -> None:
        """Off, and on."""
        self.off()
        self.on()

    def state(self) -> bool | None:
        """Return whether it says that the board has power."""
        if not self.traits.tells:
            return None
        return self.is_on if self.traits.honest else self.did[-1:] == ["on"]

    def alive(self) -> bool | None:
        """Return None: the board is no emulator."""
        return None

    def _do(self, on: bool, sticks: bool) -> None:
        self.did.append("on" if on else "off")
        every = self.traits.fails_every
        if every and len(self.did) % every == 0:
            raise errors.LabError("the simulated relay didn't answer")
        if sticks:
            return
        if self.traits.late_s:
            self._later(self.traits.late_s, lambda: self._now(on))
        else:
            self._now(on)

    def _now(self, on: bool) -> None:
        if on is not self.is_on:  # a board that has power goes on with what it does
            self.is_on = on
            self._power(on)
