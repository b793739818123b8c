# SPDX-License-Identifier: Apache-2.0
"""What a batch was answered: replies that were left in memory, verified."""

from __future__ import annotations

import dataclasses
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hilagent import errors
from hilagent.link import frame, memory, wire
from hilagent.link.packed import Struct
from hilagent.result import CpuFacts, Exchange, Sig, SweepPass

from . import facts
from .channel import fault_of, numbers
from .sweep import SweepRequest
from .sweeper import Want, checked_pass
from .trouble import Place, Refused, status_name

if TYPE_CHECKING:
    from .batch import Batch

PAIR = 2 * wire.FRAME.size
"""Bytes of the register files before and after an hvc."""


@dataclass(frozen=True)
class Planned:
    """A sweep, its job's number, and the indices of the requests that belong to it."""

    request: SweepRequest
    job: int
    status: int
    compact: range
    frames: range


@dataclass(frozen=True)
class Answers:
    """What a batch was answered.

    Attributes:
        end: how it ended; whatever came before is good.
        boot_id: of the boot that did it; never 0.
    """

    batch: Batch
    end: memory.BatchEnd
    boot_id: int
    replies: tuple[frame.Packet, ...]

    def body(self, index: int) -> bytes:
        """Return the body of a reply.

        Raises:
            PayloadFault, Refused: it is an error.
            errors.LabError: the batch ended before it.
        """
        if index >= len(self.replies):
            raise errors.LabError(
                f"the batch ended ({self.end.name}) after {len(self.replies)} of "
                f"{len(self.batch._asked)} requests"
            )
        reply = self.replies[index]
        if reply.status == wire.Status.OK:
            return reply.body
        what = wire.Op(reply.op).name
        if reply.status == wire.Status.FAULT and len(reply.body) >= wire.FAULT.size:
            raise fault_of(what, wire.FAULT.unpack(reply.body))
        raise Refused(f"{what}: {status_name(reply.status)}", status=reply.status)

    def hello(self) -> facts.Hello:
        """Return what the payload said of itself."""
        return facts.hello(self.body(0))

    def cpus(self) -> dict[int, CpuFacts]:
        """Return what each CPU said of itself. Raises `errors.LabError` for one that is not up."""
        return {cpu: self._cpu(cpu, self.body(at)) for cpu, at in self.batch._cpus.items()}

    def started(self) -> list[CpuFacts]:
        """Return what each CPU that is up said of itself."""
        found = []
        for cpu, at in self.batch._cpus.items():
            try:
                info = self.body(at)
            except Refused:  # the tree has no such CPU
                continue
            if numbers(wire.CPU_INFO.unpack(info))["state"] == wire.CpuState.READY:
                found.append(self._cpu(cpu, info))
        return found

    def exchange(self, *, whole: bool) -> Exchange:
        """Return what the one hvc did, see `Payload.hvc`; raises as `passes` does."""
        (hvc,) = self.batch._sweeps
        self._check_done(hvc)
        raw = b"".join(self.body(at) for at in hvc.frames)
        judged = facts.sig(raw[PAIR:])
        before, after = facts.frame_sizes(judged, whole=whole)
        size = wire.FRAME.size
        return facts.partial_exchange(raw[:before], raw[size : size + after], judged)

    def _cpu(self, cpu: int, info: bytes) -> CpuFacts:
        found = facts.cpu_facts(info)
        state = numbers(wire.CPU_INFO.unpack(info))["state"]
        if state != wire.CpuState.READY or found.cpu != cpu:
            raise errors.LabError(f"CPU {cpu} did not start: state {state} of CPU {found.cpu}")
        return found

    def stuck(self) -> Place | None:
        """Return where a job made no progress by the board's clock; that alone is no proof:
        an emulator may have been stopped meanwhile."""
        if self.end != memory.BatchEnd.STUCK:
            return None
        last = len(self.replies) - 1
        for number, sweep in enumerate(self.batch._sweeps):
            if sweep.status == last:
                status = numbers(wire.JOB_STATUS.unpack(self.body(last)))
                place = (sweep.request.cpu, sweep.request.origin, status["at"], status["done"])
                return Place(*place, number, True)
        raise errors.LabError("the batch is stuck, and in no sweep")

    def passes(self, want: Want | None = None, *, max_frames: int = 8) -> list[SweepPass]:
        """Return the passes, with the frames that `Payload.sweep` would have fetched.

        Raises:
            errors.LabError: a sweep did not end well, or its result is not what was asked.
        """
        return [self._pass(sweep, want, max_frames) for sweep in self.batch._sweeps]

    def _check_done(self, job: Planned) -> None:
        self.body(self.batch._chosen)  # refused, and others would have been asked
        state = wire.JOB_STATUS.unpack(self.body(job.status))["state"]
        if state != wire.JobState.DONE:
            raise errors.LabError(f"a sweep on CPU {job.request.cpu} ended in state {state}")

    def _pass(self, sweep: Planned, want: Want | None, max_frames: int) -> SweepPass:
        self._check_done(sweep)
        raw = b"".join(self.body(at) for at in sweep.compact)
        head, size = facts.sweep_head(raw), wire.SWEEP_RESULT.size
        swept = checked_pass(sweep.request, sweep.job, head, raw[size:])
        pairs = b"".join(self.body(at) for at in sweep.frames)
        there = min(head.fields["frames"], len(pairs) // PAIR)
        chosen = [i for i, sig in enumerate(swept.sigs[:there]) if want is not None and want(sig)]
        frames = {i: _exchange(pairs[i * PAIR :], swept.sigs[i]) for i in chosen[:max_frames]}
        return dataclasses.replace(swept, frames=frames)


def _exchange(pair: bytes, judged: Sig) -> Exchange:
    """The same of the frames as is fetched over a line."""
    before, after = facts.frame_sizes(judged, whole=False)
    size = wire.FRAME.size
    return facts.partial_exchange(pair[:before], pair[size : size + after], judged)


def results(raw: bytes) -> tuple[dict[str, int], bytes]:
    """Return the head of the results and the replies, verified."""
    fields = numbers(memory.RESULTS.unpack(raw.ljust(memory.RESULTS.size, b"\0")))
    if fields["magic"] != memory.MAGIC_RESULTS:
        raise errors.LabError(
            "no results: the payload did not come to the end of its batch",
            hint="was it entered, with the bundle as its initrd, and did the board keep its power?",
        )
    whole = raw[: memory.RESULTS.size + fields["size"]]
    if fields["size"] > len(raw) - memory.RESULTS.size or (sealed(whole, memory.RESULTS) != whole):
        raise errors.LabError("the results do not keep their CRC")
    if fields["end"] not in set(memory.BatchEnd):
        raise errors.LabError(f"results with an unknown end, {fields['end']}")
    return fields, whole[memory.RESULTS.size :]


def sealed(raw: bytes, head: Struct) -> bytes:
    """Return ``raw`` with the CRC of it all in the last word of its head."""
    at = head.size - 4
    crc = zlib.crc32(raw[:at] + bytes(4) + raw[head.size :])
    return raw[:at] + crc.to_bytes(4, "little") + raw[head.size :]
