# SPDX-License-Identifier: Apache-2.0
"""How long to wait for a reply, and how much to send at once.

Both are learned from the line while it is used. Pure arithmetic: no clock, no I/O.
"""

from __future__ import annotations

SMALLEST_CHUNK = 16
_KEEP = 0.9  # weight of the past in the chunk's averages
_BITS_A_BYTE = 10  # 8N1


class Rtt:
    """Time-out of a request: smoothed round trip and its spread (as TCP does, RFC 6298),
    plus the time that the bytes themselves take.

    Only a request that was sent once gives a sample (Karn's rule), and a longer wait
    is kept until there is one; a repeat that proves needless raises the floor, and each
    sample lowers it again. Or a line slower than the first guess would fill up with
    repeats and never be measured; and where damage only made a repeat look needless,
    every later loss would cost the raised time.

    Args:
        baud: of the slowest part of the line.
        start_s: before anything was measured.
        floor_s, ceiling_s: bounds of the part that does not depend on the size.
    """

    def __init__(
        self,
        baud: int = 115_200,
        start_s: float = 0.25,
        floor_s: float = 0.008,
        ceiling_s: float = 4.0,
    ) -> None:
        self._smooth_s = start_s
        self._spread_s = 0.0
        self._byte_s = _BITS_A_BYTE / baud
        self._known = False
        self._backoff = 1.0
        self._floor_s = self._least_s = floor_s
        self._ceiling_s = ceiling_s

    def timeout_s(self, line_bytes: int) -> float:
        """Return how long to wait for an exchange of ``line_bytes``, both ways together."""
        fixed = max(self._floor_s, self._smooth_s + 4 * self._spread_s) * self._backoff
        return min(self._ceiling_s, fixed) + line_bytes * self._byte_s

    def measured(self, rtt_s: float, line_bytes: int) -> None:
        """Take a round trip of a request that was sent once."""
        self._backoff = 1.0
        self._floor_s = max(self._least_s, self._floor_s * _KEEP)
        if line_bytes > 200:
            self._byte_s = min(self._byte_s, rtt_s / line_bytes)
        own_s = max(0.0, rtt_s - line_bytes * self._byte_s)
        if not self._known:
            self._known, self._smooth_s, self._spread_s = True, own_s, own_s / 2
            return
        self._spread_s += (abs(own_s - self._smooth_s) - self._spread_s) / 4
        self._smooth_s += (own_s - self._smooth_s) / 8

    def missed(self) -> None:
        """Wait longer: the time-out passed without a reply."""
        self._backoff = min(self._backoff * 2, 64.0)

    def heard(self) -> None:
        """Something, if only damage, came back in time: the line loses, it is not slow."""
        self._backoff = 1.0

    def needless(self) -> None:
        """A repeat was answered too: the reply had been under way."""
        self._floor_s = min(self._ceiling_s, self._floor_s * 2)


class ChunkSize:
    """Frames shrink as they fail and grow back slowly.

    A failure halves the chunk, but not below what the line was seen to carry
    between two failures: with losses spread evenly, chunks much shorter than
    that cost more in heads than they save in repeats (at 1 % a byte, 2.5 times
    the attempts).
    """

    def __init__(self, largest: int) -> None:
        self.size = self._largest = largest
        self._good = self._bad = 0.0

    def ok(self, line_bytes: int) -> None:
        """An exchange of ``line_bytes``, both ways together, went through."""
        self._good = self._good * _KEEP + line_bytes
        self._bad *= _KEEP
        self.size = min(self._largest, self.size + max(4, self.size // 4))

    def failed(self) -> None:
        """A frame was lost or damaged."""
        self._good *= _KEEP
        self._bad = self._bad * _KEEP + 1
        carried = int(self._good / self._bad)
        self.size = max(SMALLEST_CHUNK, self.size // 2, min(self.size, carried))
