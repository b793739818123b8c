# SPDX-License-Identifier: Apache-2.0
"""Requests without a line: the payload finds them in its memory, and leaves the replies there.

::

    batch = Batch(run_id=run_id)
    batch.start_cpus([0, 1])
    batch.vectors(subject.target, subject.blob, subject.offset)
    batch.sweep(requests)
    members = {"jobs": batch.pack(), "vectors": subject.blob}
    ...                                         # the board does it, and leaves the payload
    answers = batch.read(memory)                # the member jobs, as the payload left it
    passes = answers.passes(want)

The payload does what it would do for the same requests on a line, in their order, and
touches no UART. What the host would decide by a reply it has to decide before: how many
CPUs there are, say. The only difference is in a sweep's result, of which the host asks for
the most there can be and gets what there is.
"""

from __future__ import annotations

import copy
import dataclasses
import secrets
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from hilagent import errors
from hilagent.deploy import devicetree
from hilagent.deploy.devicetree import Tree
from hilagent.link import frame, memory, wire
from hilagent.link.packed import Struct
from hilagent.result import CpuFacts, Exchange, Sig, SweepPass

from . import facts
from .channel import fault_of, numbers
from .places import Places, Sizes
from .sweep import SweepRequest
from .sweeper import Want, checked_pass
from .trouble import Place, Refused, status_name

_COMPACT = wire.SWEEP_RESULT.size + wire.MAX_SIGS * wire.SIG.size + wire.MAX_RUNS * 4
_CRC_SIZE = 4
_PAIR = 2 * wire.FRAME.size
_RESETS = frozenset({wire.Op.RESET, wire.Op.POWEROFF})
_LEAVE = _RESETS | {wire.Op.BOOT, wire.Op.NEXT}
_ROOM_MOST = 0x180000  # a kernel takes no tree of more than 2 MiB
PROPERTY = "hilagent,results"
"""Of /chosen, in the tree of the kernel that comes next."""


@dataclass(frozen=True)
class _Asked:
    """One request; ``reply`` is the size of the greatest body that it can be answered with."""

    op: int
    body: bytes
    reply: int


@dataclass(frozen=True)
class _Sweep:
    """A sweep, its job's number, and the indices of the requests that belong to it."""

    request: SweepRequest
    job: int
    status: int
    compact: range
    frames: range


@dataclass
class Batch:
    """Gathers requests, and reads their replies.

    Attributes:
        run_id: 32 bits, not zero, new for each batch: of the replies to any other none counts.
        hang_s: how long a job may make no progress before the rest is left out.
    """

    run_id: int
    hang_s: int = 5
    _asked: list[_Asked] = field(default_factory=list)
    _sweeps: list[_Sweep] = field(default_factory=list)
    _cpus: dict[int, int] = field(default_factory=dict)
    _jobs: dict[int, int] = field(default_factory=dict)
    _kept: int = 0  # bytes for results in the next kernel's tree

    def __post_init__(self) -> None:
        self.ask(wire.Op.HELLO, reply=wire.HELLO.size)

    def ask(self, op: int, body: bytes = b"", *, reply: int = 0) -> int:
        """Add a request; return its index.

        Args:
            reply: bytes of body that may come back.

        Raises:
            errors.UsageError: one before it leaves the payload.
        """
        last = self._asked[-1].op if self._asked else 0
        if last in _LEAVE and not (last == wire.Op.NEXT and op in _RESETS):
            raise errors.UsageError("nothing is done after the payload has been left")
        self._asked.append(_Asked(op, body, max(reply, wire.FAULT.size)))
        return len(self._asked) - 1

    def start_cpus(self, cpus: Collection[int]) -> None:
        """Start CPUs, and ask each what it is; 0, which runs, among them or not."""
        for cpu in cpus:
            number = cpu.to_bytes(4, "little")
            if cpu:
                self.ask(wire.Op.CPU_START, number, reply=4)
            self._cpus[cpu] = self.ask(wire.Op.CPU_INFO, number, reply=wire.CPU_INFO.size)

    def vectors(
        self, target: int, blob: bytes = b"", offset: int = 0, *, serves_el2: bool = False
    ) -> None:
        """Choose the vectors under test, as `Payload.vectors` does.

        Args:
            blob: for the slot: the bundle's member ``vectors``, which has to be the same.
        """
        body = wire.VECTORS.pack(
            target=target, flags=int(serves_el2), offset=offset, size=len(blob),
            crc=zlib.crc32(blob),
        )  # fmt: skip
        self.ask(wire.Op.VECTORS, body)

    def sweep(self, requests: Sequence[SweepRequest]) -> None:
        """Add sweeps, one after the other, with all their frames."""
        for request in requests:
            if request.cpu not in self._cpus:
                raise errors.UsageError(f"CPU {request.cpu} is not started")
            job = self._jobs[request.cpu] = self._jobs.get(request.cpu, 0) + 1
            self.ask(wire.Op.JOB_START, request.packed().rstrip(b"\0"), reply=4)
            number = request.cpu.to_bytes(4, "little")
            status = self.ask(wire.Op.JOB_STATUS, number, reply=wire.JOB_STATUS.size)
            compact = self._part(request.cpu, job, 0, _COMPACT)
            frames = self._part(request.cpu, job, wire.FRAMES_OFFSET, wire.MAX_SIGS * _PAIR)
            self._sweeps.append(_Sweep(request, job, status, compact, frames))

    def leave(self, op: wire.Op) -> None:
        """End by RESET or POWEROFF; behind `next_kernel` it is done where that was refused."""
        self.ask(op)

    def pack(self) -> bytes:
        """Return the batch, with room for the replies."""
        packets = (
            frame.pack(
                frame.Packet(
                    wire.Kind.REQUEST, asked.op, number, run_id=self.run_id, body=asked.body
                )
            )
            for number, asked in enumerate(self._asked, 1)
        )
        body = b"".join(_padded(packet[:-_CRC_SIZE]) for packet in packets)
        room = self._room()
        head = memory.BATCH.pack(
            magic=memory.MAGIC_BATCH, version=memory.VERSION_BATCH, run_id=self.run_id,
            count=len(self._asked), size=len(body), room=room, hang_s=self.hang_s,
        )  # fmt: skip
        return _sealed(head + body, memory.BATCH) + bytes(room)

    def next_kernel(self, tree: Tree, places: Places, sizes: Sizes) -> bytes:
        """End by starting the bundle's kernel; return the bundle's member ``dtb`` for it.

        Args:
            tree: of that kernel; it gets the results as `PROPERTY`.
            places, sizes: see `hilagent.payload.places.plan`. The payload refuses places
                that meet itself or the bundle, and does not leave then.
        """
        index = self.ask(wire.Op.NEXT, bytes(memory.NEXT.size))
        tree, mark = copy.deepcopy(tree), secrets.token_bytes(memory.RESULTS.size)
        chosen = tree.node("/chosen", create=True)
        assert chosen is not None
        room, blob = self._room(), b""
        self._kept = room
        for shift in (0, 4):  # a property is aligned to 4 bytes, results are to 8
            chosen.props[PROPERTY] = bytes(shift) + mark + bytes(room - len(mark))
            blob = devicetree.build(tree)
            if blob.index(mark) % memory.BATCH_ALIGN == 0:
                break
        where = blob.index(mark)
        body = memory.NEXT.pack(
            image=places.image, image_size=sizes.image, rootfs=places.initrd,
            rootfs_size=sizes.initrd, dtb=places.dtb, dtb_size=sizes.dtb, results=where,
            results_size=room,
        )  # fmt: skip
        self._asked[index] = _Asked(wire.Op.NEXT, body, wire.FAULT.size)
        return blob[:where] + bytes(len(mark)) + blob[where + len(mark) :]

    def _room(self) -> int:
        sizes = (wire.HEAD.size + asked.reply + _CRC_SIZE for asked in self._asked)
        most = memory.RESULTS.size + sum(size + -size % memory.BATCH_ALIGN for size in sizes)
        return min(most, _ROOM_MOST)

    def read(self, found: bytes) -> Answers:
        """Return what the payload answered.

        Args:
            found: the bytes of `pack`, as they are in the board's memory now.

        Raises:
            errors.LabError: nothing was answered, or it does not keep its CRC, or it is
                the answer to something else.
        """
        packed = self.pack()
        sent = numbers(memory.BATCH.unpack(packed))
        asked_size = memory.BATCH.size + sent["size"]
        if found[:asked_size] != packed[:asked_size]:
            raise errors.LabError("the batch in the board's memory is not the one that was sent")
        return self._read(found[asked_size : len(packed)], sent["crc"])

    def read_tree(self, tree: Tree) -> Answers:
        """Return what the payload answered, by the tree of the kernel that it started.

        Raises:
            errors.LabError: see `read`.
        """
        chosen = tree.node("/chosen")
        found = chosen.props.get(PROPERTY, b"") if chosen is not None else b""
        asked = numbers(memory.BATCH.unpack(self.pack()))["crc"]
        return self._read(
            found[len(found) - self._kept :] if self._kept <= len(found) else b"", asked
        )

    def _read(self, found: bytes, asked: int) -> Answers:
        fields, body = _results(found)
        if (fields["run_id"], fields["asked"]) != (self.run_id, asked):
            raise errors.LabError(
                f"results of run {fields['run_id']:#x}, not of {self.run_id:#x}: of an earlier boot"
            )
        replies = tuple(self._replies(body, fields))
        return Answers(self, memory.BatchEnd(fields["end"]), fields["boot_id"], replies)

    def _part(self, cpu: int, job: int, start: int, size: int) -> range:
        first = len(self._asked)
        for at in range(0, size, wire.MAX_BODY):
            count = min(wire.MAX_BODY, size - at)
            part = wire.JOB_PART.pack(cpu=cpu, job=job, offset=start + at, size=count)
            self.ask(wire.Op.JOB_RESULT, part, reply=count)
        return range(first, len(self._asked))

    def _replies(self, body: bytes, fields: dict[str, int]) -> list[frame.Packet]:
        """Every reply is checked by itself too: its request's number, run and boot."""
        out: list[frame.Packet] = []
        at = 0
        while at < len(body):
            size = wire.HEAD.unpack(body.ljust(at + wire.HEAD.size, b"\0"), at)["size"]
            assert isinstance(size, int)
            size += wire.HEAD.size + _CRC_SIZE
            packet = frame.unpack(body[at : at + size], armoured=False)
            at += size + -size % memory.BATCH_ALIGN
            number = len(out)
            if isinstance(packet, str) or number >= len(self._asked):
                raise errors.LabError(f"reply {number} of the batch is broken: {packet}")
            wanted = (wire.Kind.REPLY, self._asked[number].op, number + 1, self.run_id)
            if (packet.kind, packet.op, packet.seq, packet.run_id) != wanted or (
                packet.boot_id != fields["boot_id"]
            ):
                raise errors.LabError(f"reply {number} of the batch answers another request")
            out.append(packet)
        left = bool(out) and out[-1].op == wire.Op.NEXT and out[-1].status == wire.Status.OK
        whole = fields["end"] != memory.BatchEnd.DONE or len(out) == len(self._asked) or left
        if len(out) != fields["count"] or not whole:
            raise errors.LabError(f"{len(out)} replies to {len(self._asked)} requests")
        return out


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

    def _pass(self, sweep: _Sweep, want: Want | None, max_frames: int) -> SweepPass:
        state = wire.JOB_STATUS.unpack(self.body(sweep.status))["state"]
        if state != wire.JobState.DONE:
            raise errors.LabError(f"a sweep on CPU {sweep.request.cpu} ended in state {state}")
        raw = b"".join(self.body(at) for at in sweep.compact)
        head, size = facts.sweep_head(raw), wire.SWEEP_RESULT.size
        swept = checked_pass(sweep.request, sweep.job, head, raw[size:])
        pairs = b"".join(self.body(at) for at in sweep.frames)
        there = min(head.fields["frames"], len(pairs) // _PAIR)
        chosen = [i for i, sig in enumerate(swept.sigs[:there]) if want is not None and want(sig)]
        frames = {i: _exchange(pairs[i * _PAIR :], swept.sigs[i]) for i in chosen[:max_frames]}
        return dataclasses.replace(swept, frames=frames)


def _exchange(pair: bytes, judged: Sig) -> Exchange:
    """The same of the frames as is fetched over a line."""
    before, after = facts.frame_sizes(judged, whole=False)
    size = wire.FRAME.size
    return facts.partial_exchange(pair[:before], pair[size : size + after], judged)


def _results(raw: bytes) -> tuple[dict[str, int], bytes]:
    """Return the head of the results and the replies, verified."""
    fields = numbers(memory.RESULTS.unpack(raw.ljust(memory.RESULTS.size, b"\0")))
    if fields["magic"] != memory.MAGIC_RESULTS:
        raise errors.LabError(
            "no results: the payload did not come to the end of its batch",
            hint="was it entered, with the bundle as its initrd, and did the board keep its power?",
        )
    whole = raw[: memory.RESULTS.size + fields["size"]]
    if fields["size"] > len(raw) - memory.RESULTS.size or (_sealed(whole, memory.RESULTS) != whole):
        raise errors.LabError("the results do not keep their CRC")
    if fields["end"] not in set(memory.BatchEnd):
        raise errors.LabError(f"results with an unknown end, {fields['end']}")
    return fields, whole[memory.RESULTS.size :]


def _sealed(raw: bytes, head: Struct) -> bytes:
    """Return ``raw`` with the CRC of it all in the last word of its head."""
    at = head.size - 4
    crc = zlib.crc32(raw[:at] + bytes(4) + raw[head.size :])
    return raw[:at] + crc.to_bytes(4, "little") + raw[head.size :]


def _padded(raw: bytes) -> bytes:
    return raw + bytes(-len(raw) % memory.BATCH_ALIGN)
