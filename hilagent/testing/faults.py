# SPDX-License-Identifier: Apache-2.0
"""Faults for a stream of bytes: seeded, so that a run that failed can be repeated.

::

    bad = Faults(drop=0.003, flip=0.004, double=0.003, arm_after=b"HELLO")
    injector = Injector(bad, seed=7)
    injector.push(b"...")
    injector.pull()              # what comes out at the other end by now

`hilagent.testing.proxy` puts injectors around streams, sockets and ptys.
"""

from __future__ import annotations

import enum
import math
import random
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from hilagent.clock import SYSTEM, Clock


class Fault(enum.Enum):
    """What can happen to a byte."""

    DROP = "drop"
    FLIP = "flip"  # one bit of it
    DOUBLE = "double"
    GARBAGE = "garbage"  # 1 to 8 random bytes before it
    DELAY = "delay"  # it and all that follows come `delay_s` later
    STALL = "stall"  # nothing comes for `stall_s`, then everything
    CUT = "cut"  # the stream ends before it


_PACED = 16  # bytes at a time, where there is a rate: what a UART's FIFO holds
_AT_RANDOM = (Fault.DROP, Fault.FLIP, Fault.DOUBLE, Fault.GARBAGE)
Filter = Callable[[bytes], bytes]


@dataclass(frozen=True)
class Faults:
    """What one direction of a line does to its bytes.

    Attributes:
        drop, flip, double, garbage: probability for each byte.
        at: byte offset (from where the faults were armed) to a fault.
        delay_s: how much later every byte comes out.
        baud: at what rate bytes come out, 10 bits each; 0: all at once.
        stall_s: for `Fault.STALL` and `Fault.DELAY` in ``at``.
        arm_after: faults begin after this pattern has passed; b"": at once.
        armed: False: only `Injector.arm` begins them.
        filter: what the line does to all bytes, faults apart, armed or not;
            see `hilagent.testing.filters`.
    """

    drop: float = 0.0
    flip: float = 0.0
    double: float = 0.0
    garbage: float = 0.0
    at: Mapping[int, Fault] = field(default_factory=dict)
    delay_s: float = 0.0
    baud: int = 0
    stall_s: float = 1.0
    arm_after: bytes = b""
    armed: bool = True
    filter: Callable[[], Filter] | None = None

    @classmethod
    def spread(cls, rate: float, *, arm_after: bytes = b"", armed: bool = True) -> Faults:
        """Return faults at ``rate`` a byte: a third each of drops, flips and doubles."""
        third = rate / 3
        return cls(drop=third, flip=third, double=third, arm_after=arm_after, armed=armed)


NONE = Faults()
"""A good line."""


class Injector:
    """One direction of a line.

    Attributes:
        done: what was injected so far: (offset since armed, fault).
        cut: whether the stream has ended here.
    """

    def __init__(self, faults: Faults = NONE, *, seed: int = 0, clock: Clock = SYSTEM) -> None:
        self.faults, self.done, self.cut = faults, list[tuple[int, Fault]](), False
        self._random = random.Random(seed)
        self._clock = clock
        self._armed = faults.armed and not faults.arm_after
        self._waiting = faults.arm_after if faults.armed else b""
        self._seen = b""
        self._offset = 0
        self._later_s = self._last_s = 0.0
        self._out: deque[tuple[float, bytes]] = deque()
        self._take(faults)

    def _take(self, faults: Faults) -> None:
        self._named = dict(faults.at)
        self._filter = faults.filter() if faults.filter else None
        self._rates = {kind: getattr(faults, kind.value) for kind in _AT_RANDOM}
        self._rate = sum(self._rates.values())
        self._next = self._offset + self._gap()

    def arm(self) -> None:
        """Begin with the faults at the next byte."""
        self._armed = True

    def inject(self, *kinds: Fault) -> None:
        """Have the next bytes suffer these faults, one each; what is at random is armed, too."""
        self._armed = True
        self._named |= {self._offset + n: kind for n, kind in enumerate(kinds)}

    def change(self, faults: Faults) -> None:
        """Do something else to the bytes from the next one on."""
        self.faults, self._armed = faults, faults.armed
        self._take(faults)

    def push(self, data: bytes) -> None:
        """Take bytes at the near end."""
        if self._filter:
            data = self._filter(data)
        clean, rest = self._until_armed(data)
        self._emit(clean)
        while rest and not self.cut:
            rest = self._one_piece(rest)

    def pull(self) -> bytes:
        """Return the bytes that are due at the far end."""
        now_s = self._clock.now_s()
        due = []
        while self._out and self._out[0][0] <= now_s:
            due.append(self._out.popleft()[1])
        return b"".join(due)

    @property
    def ready_s(self) -> float:
        """When `pull` will have something; infinite where nothing is on its way."""
        return self._out[0][0] if self._out else math.inf

    def _until_armed(self, data: bytes) -> tuple[bytes, bytes]:
        if self._armed:
            return b"", data
        if not self._waiting:
            return data, b""
        seen = self._seen + data
        at = seen.find(self._waiting)
        self._seen = seen[-len(self._waiting) :]
        if at < 0:
            return data, b""
        self._armed = True
        clean = max(0, at + len(self._waiting) - (len(seen) - len(data)))
        return data[:clean], data[clean:]

    def _one_piece(self, data: bytes) -> bytes:
        """Pass on up to the next fault, inject it, and return what is left."""
        named = min((at for at in self._named if at >= self._offset), default=math.inf)
        here = min(self._next, named) - self._offset
        if here >= len(data):
            self._offset += len(data)
            self._emit(data)
            return b""
        at = int(here)
        self._emit(data[:at])
        self._offset += at
        if self._offset == named:
            kind = self._named.pop(self._offset)
        else:
            kind = self._random.choices(_AT_RANDOM, [self._rates[k] for k in _AT_RANDOM])[0]
        self.done.append((self._offset, kind))
        self._inject(kind, data[at : at + 1])
        self._offset += 1
        self._next = self._offset + self._gap()
        return data[at + 1 :]

    def _inject(self, kind: Fault, byte: bytes) -> None:
        if kind is Fault.FLIP:
            self._emit(bytes([byte[0] ^ 1 << self._random.randrange(8)]))
        elif kind is Fault.DOUBLE:
            self._emit(byte * 2)
        elif kind is Fault.GARBAGE:
            self._emit(self._random.randbytes(self._random.randint(1, 8)) + byte)
        elif kind is Fault.CUT:
            self.cut = True
        elif kind in (Fault.DELAY, Fault.STALL):
            self._later_s = self._clock.now_s() + self.faults.stall_s
            self._emit(byte)

    def _emit(self, data: bytes) -> None:
        step = _PACED if self.faults.baud else len(data)
        for at in range(0, len(data), step or 1):
            piece = data[at : at + step]
            due_s = max(self._clock.now_s() + self.faults.delay_s, self._later_s, self._last_s)
            if self.faults.baud:
                due_s += 10 * len(piece) / self.faults.baud
            self._last_s = due_s
            self._out.append((due_s, piece))

    def _gap(self) -> float:
        """Bytes until the next random fault."""
        if not self._rate:
            return math.inf
        if self._rate >= 1:
            return 0.0
        return math.floor(math.log(1 - self._random.random()) / math.log(1 - self._rate))
