# SPDX-License-Identifier: Apache-2.0
"""Time: a clock that can be injected, and deadlines made from it once.

Nobody sleeps in hilagent. Whoever waits is handed a :class:`Deadline` and
blocks in one place (a poll, a condition variable) for ``deadline.left_s()``.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol


class Clock(Protocol):
    """A monotonic clock; tests inject one that they move themselves."""

    def now_s(self) -> float:
        """Return monotonic seconds."""
        ...


class SystemClock:
    """The host's monotonic clock."""

    def now_s(self) -> float:
        return time.monotonic()


SYSTEM = SystemClock()


@dataclass(frozen=True)
class Deadline:
    """A point in time, made once and passed down.

    Attributes:
        at_s: the clock's time at which it expires, in seconds.
        clock: the clock that it was made from.
        budget_s: the time that it was made with, for messages.
    """

    at_s: float
    clock: Clock
    budget_s: float

    @classmethod
    def after(cls, seconds: float, clock: Clock = SYSTEM) -> Deadline:
        """Return the deadline ``seconds`` from now."""
        return cls(clock.now_s() + seconds, clock, seconds)

    def left_s(self) -> float:
        """Return the seconds left, never below zero."""
        return max(0.0, self.at_s - self.clock.now_s())

    def expired(self) -> bool:
        """Return whether the time is up."""
        return self.clock.now_s() >= self.at_s

    def sooner(self, seconds: float) -> Deadline:
        """Return the earlier of this deadline and ``seconds`` from now."""
        other = Deadline.after(seconds, self.clock)
        return other if other.at_s < self.at_s else self
