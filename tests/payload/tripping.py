# SPDX-License-Identifier: Apache-2.0
"""Trips without a board: a scripted payload does a batch, and leaves the results as it does."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from hilagent.link import frame, memory, wire
from hilagent.payload.alone import Restarted, Vanished
from hilagent.payload.answers import Answers
from hilagent.payload.batch import Batch
from hilagent.payload.channel import numbers
from hilagent.testing import ManualClock, PayloadTwin, Traits
from hilagent.testing.behaviour import Behaviour, hyp_stub
from hilagent.testing.twin import SLOT

GOOD = Traits(cpus=2, sweep_s=0.1)


def requests(packed: bytes) -> Iterator[frame.Packet]:
    """Return the requests of a packed batch."""
    head, at = numbers(memory.BATCH.unpack(packed)), memory.BATCH.size
    end = at + head["size"]
    while at < end:
        fields = numbers(wire.HEAD.unpack(packed[at:]))
        start, at = at + wire.HEAD.size, at + wire.HEAD.size + fields["size"]
        yield frame.Packet(fields["kind"], fields["op"], fields["seq"], run_id=fields["run_id"],
                           body=packed[start:at])  # fmt: skip
        at += -at % memory.BATCH_ALIGN


@dataclass
class Trips:
    """Each trip is a new boot; ``go`` is a `hilagent.payload.alone.Go`.

    Attributes:
        batches: what was brought along.
        room: most bytes of replies; what finds no room ends the batch.
    """

    traits: Traits = GOOD
    behaviour: Behaviour = hyp_stub
    room: float = math.inf
    seed: int = 0
    batches: list[Batch] = field(default_factory=list)

    def go(self, batch: Batch, vectors: bytes) -> Answers:
        self.batches.append(batch)
        return batch.read(self.done(batch.pack(), vectors))

    def done(self, packed: bytes, vectors: bytes = b"") -> bytes:
        """Return the batch with the results behind it."""
        self.seed += 1
        twin = _Lone(self.traits, self.behaviour, self.seed)
        twin.payload.memory.write(SLOT, vectors)
        end, replies = memory.BatchEnd.DONE, list[bytes]()
        head = numbers(memory.BATCH.unpack(packed))
        for asked in requests(packed):
            if asked.op == wire.Op.JOB_STATUS and not twin.gets_on(head["hang_s"]):
                if not int.from_bytes(asked.body, "little"):
                    raise Vanished("CPU 0 hangs, and nobody can say so")
                end = memory.BatchEnd.STUCK
            left = asked.op == wire.Op.NEXT
            raw = frame.pack(twin.left(asked) if left else twin.ask(asked))
            replies.append(raw + bytes(-len(raw) % memory.BATCH_ALIGN))
            if sum(map(len, replies)) > self.room:
                replies.pop()
                end = memory.BatchEnd.FULL
            if end != memory.BatchEnd.DONE or left:
                break
        body = b"".join(replies)
        fields = {"magic": memory.MAGIC_RESULTS, "run_id": head["run_id"],
                  "boot_id": twin.payload.boot_id, "count": len(replies), "size": len(body),
                  "end": int(end), "asked": head["crc"]}  # fmt: skip
        crc = zlib.crc32(memory.RESULTS.pack(**fields) + body)
        at = memory.BATCH.size + head["size"]
        results = memory.RESULTS.pack(**fields, crc=crc) + body
        return packed[:at] + results.ljust(len(packed) - at, b"\0")


class _Lone:
    """A scripted payload that is asked request after request, on a clock that nobody waits for."""

    def __init__(self, traits: Traits, behaviour: Behaviour, seed: int) -> None:
        self.clock = ManualClock()
        self.payload = PayloadTwin(clock=self.clock, traits=traits, behaviour=behaviour, seed=seed)
        self._decoder = frame.Decoder()

    def ask(self, request: frame.Packet) -> frame.Packet:
        """Return the reply; events in between are lost, as nobody hears them."""
        self.gets_on(5)
        boot_id = self.payload.boot_id
        for item in self._decoder.feed(self.payload.feed(frame.encode(request))):
            if isinstance(item, frame.Packet) and item.kind == wire.Kind.REPLY:
                return item
        raise Restarted(f"boot {boot_id:#x} did not answer")

    def left(self, request: frame.Packet) -> frame.Packet:
        """Return the last reply of a payload that starts the next kernel."""
        return frame.Packet(wire.Kind.REPLY, request.op, request.seq, wire.Status.OK,
                            self.payload.boot_id, request.run_id)  # fmt: skip

    def gets_on(self, hang_s: float) -> bool:
        """Let the time pass until no CPU works any more; False if one stops getting on."""
        payload, waited_s = self.payload, 0.0
        while payload.jobs.running:
            step_s = max(0.01, min(1.0, payload.next_s() - self.clock.now_s()))
            waited_s += step_s
            boot_id = payload.boot_id
            self.clock.advance(step_s)
            payload.tick()
            if payload.boot_id != boot_id:
                raise Restarted("the board restarted instead of starting the next kernel")
            if waited_s > hang_s:
                return False
        return True
