# SPDX-License-Identifier: Apache-2.0
"""A board's switch."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from typing import Protocol

from hilagent.clock import Clock, Deadline


class Power(Protocol):
    """Switches one board; every method may raise LabError."""

    def on(self) -> None:
        """Give power; harmless if it is on."""
        ...

    def off(self) -> None:
        """Take power away; harmless if it is off."""
        ...

    def cycle(self) -> None:
        """Off for as long as the board needs, then on. An emulator is a new one afterwards."""
        ...

    def state(self) -> bool | None:
        """Return whether the board has power, None where that can't be told."""
        ...

    def alive(self) -> bool | None:
        """Return whether the emulator itself answers, None for a real board."""
        ...


class Relay:
    """What is on or off, and rests between; how it is switched, a subclass says.

    Args:
        off_s: how long the board stays without power, in seconds.
        pause: waits until the board is empty; its capacitors have no event to wait for.
    """

    def __init__(self, off_s: float, clock: Clock, pause: Callable[[float], object] | None) -> None:
        self._rest = Rest(off_s, clock, pause)

    def on(self) -> None:
        """Switch on, ``off_s`` after it was switched off at the earliest."""
        self._rest.wait()
        self._switch(True)

    def off(self) -> None:
        """Switch off."""
        self._switch(False)
        self._rest.begins()

    def cycle(self) -> None:
        """Off, and on."""
        self.off()
        self.on()

    def alive(self) -> bool | None:
        """Return None: a real board has no emulator to ask."""
        return None

    def _switch(self, on: bool) -> None:
        raise NotImplementedError


class Rest:
    """The time that a board stays without power, whoever asks for it again.

    Args:
        off_s: how long, in seconds; capacitors take a while, and have no event to wait for.
        pause: waits for so many seconds.
    """

    def __init__(self, off_s: float, clock: Clock, pause: Callable[[float], object] | None) -> None:
        self._off_s, self._clock, self._pause = off_s, clock, pause or Event().wait
        self._empty: Deadline | None = None

    def begins(self) -> None:
        """The board has lost its power now."""
        self._empty = Deadline.after(self._off_s, self._clock)

    def wait(self) -> None:
        """Return once it has been without for long enough, at once if it never was switched."""
        if self._empty is not None and (left_s := self._empty.left_s()):
            self._pause(left_s)
