# SPDX-License-Identifier: Apache-2.0
"""A clock that stands still until a test moves it."""

from __future__ import annotations


class ManualClock:
    """A `hilagent.clock.Clock` for tests::

    clock = ManualClock()
    deadline = Deadline.after(5, clock)
    clock.advance(5)
    assert deadline.expired()
    """

    def __init__(self, now_s: float = 1000.0) -> None:
        self._now_s = now_s

    def now_s(self) -> float:
        """Return the time that was set."""
        return self._now_s

    def advance(self, seconds: float) -> None:
        """Move forward; never back."""
        self._now_s += max(0.0, seconds)

    def advance_to(self, at_s: float) -> None:
        """Move forward to a point in time; stay where that has passed."""
        self._now_s = max(self._now_s, at_s)
