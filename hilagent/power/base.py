# SPDX-License-Identifier: Apache-2.0
"""A board's switch."""

from __future__ import annotations

from typing import Protocol


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
