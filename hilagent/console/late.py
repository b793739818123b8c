# SPDX-License-Identifier: Apache-2.0
"""How late this host was: evidence that a time-out may, or may not, accuse.

The reader means to come by every 100 ms. When it comes late, the process, or
the machine under it, was not running, and silence from a board proves nothing.
"""

from __future__ import annotations

from collections import deque

TICK_S = 0.1
_WORTH_S = 0.05
_REMEMBER = 1000


class Lateness:
    """The lateness of a tick. Written by one thread, read by any."""

    def __init__(self, now_s: float) -> None:
        self.due_s = now_s + TICK_S
        self._late: deque[tuple[float, float]] = deque(maxlen=_REMEMBER)  # (when, by how much)

    def tick(self, now_s: float) -> None:
        """Note that the reader came by, if it was due."""
        if now_s < self.due_s:
            return
        if now_s - self.due_s > _WORTH_S:
            self.note(now_s, now_s - self.due_s)
        self.due_s = now_s + TICK_S

    def note(self, now_s: float, late_s: float) -> None:
        """Note a time, ending now, in which nothing could be heard."""
        self._late.append((now_s, late_s))

    def worst_s(self, since_s: float, now_s: float) -> float:
        """Return the worst lateness, in seconds, that reaches beyond ``since_s``.

        Counts the tick that is late right now: after a stop of the whole
        process the asking thread may well be running first.
        """
        past = [late for when, late in list(self._late) if when > since_s]
        return max([*past, now_s - self.due_s, 0.0])
