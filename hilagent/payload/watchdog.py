# SPDX-License-Identifier: Apache-2.0
"""Reset without PSCI: the watchdog that a board's model names, started over the line.

The payload stores to its registers as to any other address, so it needs no driver of it.

- ``bcm2835``: Linux 6.12, drivers/watchdog/bcm2835_wdt.c.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hilagent.board.hardware import Watchdog

DELAY_S = 0.25
"""Until the board is reset: enough for the last answer to arrive, at 9600 baud too."""


@dataclass(frozen=True)
class Store:
    """A store of 32 bits to a device's register."""

    addr: int
    value: int


def stores(watchdog: Watchdog, delay_s: float = DELAY_S) -> tuple[Store, ...]:
    """Return what resets the board when it is stored in this order.

    Args:
        delay_s: from the last store to the reset, in seconds.
    """
    return _KINDS[watchdog.kind](watchdog.base, delay_s)


def _bcm2835(base: int, delay_s: float) -> tuple[Store, ...]:
    password, full_reset = 0x5A000000, 0x122
    ticks = min(max(1, int(delay_s * 65536)), 0xFFFFF)
    return Store(base + 0x24, password | ticks), Store(base + 0x1C, password | full_reset)


_KINDS: dict[str, Callable[[int, float], tuple[Store, ...]]] = {"bcm2835": _bcm2835}
