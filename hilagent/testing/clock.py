# SPDX-License-Identifier: Apache-2.0
"""A clock that stands still until a test moves it."""

from __future__ import annotations

import math


class Stuck(BaseException):
    """More time has passed on a `ManualClock` than it was made for: somebody waits for ever.

    No ``Exception``: what tidies up after those must not hide it.
    """


class ManualClock:
    """A `hilagent.clock.Clock` for tests::

    clock = ManualClock()
    deadline = Deadline.after(5, clock)
    clock.advance(5)
    assert deadline.expired()

    Args:
        limit_s: how much time may pass; then moving it raises `Stuck`.
    """

    def __init__(self, now_s: float = 1000.0, *, limit_s: float = math.inf) -> None:
        self._now_s, self._end_s = now_s, now_s + limit_s

    def now_s(self) -> float:
        """Return the time that was set."""
        return self._now_s

    def advance(self, seconds: float) -> None:
        """Move forward; never back."""
        self.advance_to(self._now_s + seconds)

    def advance_to(self, at_s: float) -> None:
        """Move forward to a point in time; stay where that has passed."""
        self._now_s = max(self._now_s, at_s)
        if self._now_s > self._end_s:
            raise Stuck(f"{self._now_s - self._end_s:.0f} s beyond what was allowed")
