# SPDX-License-Identifier: Apache-2.0
"""One host talking to one boot of the payload: a state machine without I/O.

The caller moves bytes and time::

    out = session.request(wire.Op.ECHO, b"hi", now)     # write these
    reply = session.feed(received, now)                 # None: not yet
    out = session.due(now)                              # write these, if any
    wait_until(session.wake_s)                          # then feed() or due() again

One request is outstanding at a time. It is repeated, the same bytes under the
same sequence number, when a NAK or damage is seen and when its time-out passes;
the payload does it once. Replies that are late, of another run or of another
operation are dropped and counted. A packet with another boot id ends everything
as `errors.BoardReset`.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from dataclasses import dataclass

from hilagent import errors

from . import wire
from .frame import ConsoleText, Damaged, Decoder, Packet, encode
from .pace import ChunkSize, Rtt

_REPEAT_GAP_S = 0.002
_RAW_TRIES = 4  # then a raw request is repeated armoured, every second time
_GIVE_UP_RAW = 8  # such repeats in a row: noise alone does it once in 10 million requests
XON = b"\x11"
"""Sent before what follows a raw packet that may have held an XOFF."""
_ANY_RUN = frozenset({wire.Event.BOOT, wire.Event.LOG, wire.Event.DYING})
_OVERHEAD = 2 * (wire.HEAD.size + 4 + 4)  # heads, CRCs and delimiters of both ways
_KEPT_EVENTS = 256


@dataclass(frozen=True)
class Reply:
    """The answer to the outstanding request."""

    status: int
    body: bytes
    armoured: bool = False


@dataclass(frozen=True)
class Event:
    """Something that the payload said unasked."""

    op: int
    body: bytes


@dataclass
class Counters:
    """What happened on the line besides replies in time."""

    replies: int = 0
    late: int = 0  # replies to a request that is no longer outstanding
    foreign: int = 0  # packets of another run, or of no known kind here
    damaged: int = 0
    naks: int = 0
    timeouts: int = 0
    repeats: int = 0


@dataclass
class _Pending:
    packet: Packet
    line_bytes: int
    first_s: float
    sent_s: float
    wake_s: float
    failures: int = 0
    timeouts: int = 0
    sends: int = 1


class Session:
    """See the module. ``boot_id`` is 0 until the first reply, then fixed.

    Attributes:
        events: what came unasked, oldest first; the caller takes from the left.
        text: console text, in order; the caller takes and clears it.
        heard_s: when the last packet of this run came, or the remains of one, in the
            caller's time: a line that damages is bad, but not silent.
        armoured: the encoding of the next request.
        chunk: how many bytes of bulk data the next request should carry.
    """

    def __init__(
        self, run_id: int, *, first_seq: int = 1, armoured: bool = True, baud: int = 115_200
    ) -> None:
        self.run_id, self.boot_id, self.armoured = run_id, 0, armoured
        self.events: deque[Event] = deque(maxlen=_KEPT_EVENTS)
        self.text: list[bytes] = []
        self.counters = Counters()
        self.chunk = ChunkSize(wire.MAX_BODY - wire.ACCESS.size)
        self.heard_s = float("-inf")
        self._seq = first_seq & 0xFFFF
        self._rtt = Rtt(baud)
        self._decoder = Decoder()
        self._pending: _Pending | None = None
        self.fallback = True
        """Whether a raw request that keeps failing is repeated armoured."""
        self._only_armoured = 0
        self._answered = 0  # the last request, where a time-out repeated it

    @property
    def wake_s(self) -> float:
        """When `due` should be asked again."""
        return self._pending.wake_s if self._pending else float("inf")

    @property
    def failures(self) -> int:
        """How often the outstanding request failed so far."""
        return self._pending.failures if self._pending else 0

    def request(self, op: int, body: bytes, now_s: float, *, reply_size: int = 0) -> bytes:
        """Begin a request and return its bytes; an outstanding one is forgotten.

        Args:
            reply_size: bytes of body expected back, for the time-out.
        """
        self._seq = self._seq % 0xFFFF + 1
        packet = Packet(
            wire.Kind.REQUEST, op, self._seq, 0, self.boot_id, self.run_id, body, self.armoured
        )
        line_bytes = len(body) + reply_size + _OVERHEAD
        if self.armoured:
            line_bytes = line_bytes * 4 // 3
        wake_s = now_s + self._rtt.timeout_s(line_bytes)
        self._pending = _Pending(packet, line_bytes, now_s, now_s, wake_s)
        return encode(packet)

    def forget(self) -> None:
        """Stop waiting for the outstanding request; a reply to it will be late."""
        self._pending = None

    def due(self, now_s: float) -> bytes:
        """Return the outstanding request again where it is time to repeat it, else b""."""
        pending = self._pending
        if pending is None or now_s < pending.wake_s:
            return b""
        if pending.failures < pending.sends:  # no NAK: the time-out itself passed
            self.counters.timeouts += 1
            pending.timeouts += 1
            self._rtt.missed()
            self._failed(pending)
        self.counters.repeats += 1
        pending.sends += 1
        pending.sent_s = now_s
        pending.wake_s = now_s + self._rtt.timeout_s(pending.line_bytes)
        armoured = self._encoding(pending)
        out = encode(dataclasses.replace(pending.packet, armoured=armoured))
        return XON + out if armoured and not pending.packet.armoured else out

    def feed(self, data: bytes, now_s: float) -> Reply | None:
        """Take received bytes; return the reply when it is complete.

        Raises `errors.BoardReset` when the boot id changed.
        """
        reply, reset = None, 0
        for item in self._decoder.feed(data):
            if isinstance(item, ConsoleText):
                self.text.append(item.data)
            elif isinstance(item, Damaged):
                self.counters.damaged += 1
                self.heard_s = now_s
                self._repeat_soon(now_s)
            elif self._is_other_boot(item):
                reset = item.boot_id
            else:
                reply = self._packet(item, now_s) or reply
        if reset:
            raise errors.BoardReset(
                f"the board restarted: boot id {reset:#010x} instead of {self.boot_id:#010x}"
            )
        return reply

    def _packet(self, packet: Packet, now_s: float) -> Reply | None:
        if packet.kind == wire.Kind.NAK:
            self.counters.naks += 1
            self.heard_s = now_s
            self._repeat_soon(now_s)
        elif packet.kind == wire.Kind.EVENT:
            if packet.run_id == self.run_id or packet.op in _ANY_RUN:
                self.heard_s = now_s
                self.events.append(Event(packet.op, packet.body))
            else:
                self.counters.foreign += 1
        elif packet.kind == wire.Kind.REPLY and packet.run_id == self.run_id:
            self.heard_s = now_s
            return self._reply(packet, now_s)
        else:
            self.counters.foreign += 1
        return None

    def _reply(self, packet: Packet, now_s: float) -> Reply | None:
        pending = self._pending
        asked = (pending.packet.seq, pending.packet.op) if pending else None
        if pending is None or (packet.seq, packet.op) != asked:
            self.counters.late += 1
            if packet.seq == self._answered:
                self._answered = 0
                self._rtt.needless()
            return None
        self.counters.replies += 1
        self.boot_id = self.boot_id or packet.boot_id
        self._pending = None
        if pending.sends == 1:
            self._rtt.measured(now_s - pending.first_s, pending.line_bytes)
        self._answered = packet.seq if pending.timeouts else 0
        self.chunk.ok(pending.line_bytes)
        self._learn_encoding(pending, packet.armoured)
        return Reply(packet.status, packet.body, packet.armoured)

    def _is_other_boot(self, packet: Packet) -> bool:
        known = self.boot_id != 0 and packet.boot_id != 0
        return known and packet.boot_id != self.boot_id

    def _repeat_soon(self, now_s: float) -> None:
        """Something of the outstanding exchange was damaged: do not wait for the time-out."""
        pending = self._pending
        if pending and pending.failures < pending.sends:
            self._failed(pending)
            self._rtt.heard()
            pending.wake_s = max(now_s, pending.sent_s + _REPEAT_GAP_S)

    def _failed(self, pending: _Pending) -> None:
        pending.failures += 1
        self.chunk.failed()

    def _encoding(self, pending: _Pending) -> bool:
        stuck = pending.failures >= _RAW_TRIES and pending.failures % 2 == 0
        return pending.packet.armoured or (stuck and self.fallback)

    def _learn_encoding(self, pending: _Pending, armoured: bool) -> None:
        """Stay armoured once raw requests do not come through any more."""
        if pending.packet.armoured or pending.failures < _RAW_TRIES:
            self._only_armoured = 0
        elif armoured:
            self._only_armoured += 1
            self.armoured = self._only_armoured >= _GIVE_UP_RAW
