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
import secrets
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from hilagent import errors
from hilagent.deploy import devicetree
from hilagent.deploy.devicetree import Tree
from hilagent.link import frame, memory, wire

from .answers import PAIR, Answers, Planned, results, sealed
from .channel import numbers
from .places import Places, Sizes
from .sweep import SweepRequest, sweep_name

_COMPACT = wire.SWEEP_RESULT.size + wire.MAX_SIGS * wire.SIG.size + wire.MAX_RUNS * 4
_CRC_SIZE = 4
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
    _sweeps: list[Planned] = field(default_factory=list)
    _cpus: dict[int, int] = field(default_factory=dict)
    _jobs: dict[int, int] = field(default_factory=dict)
    _chosen: int = 0  # which vectors; the index of HELLO where none were chosen
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
        self._chosen = self.ask(wire.Op.VECTORS, body)

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
            frames = self._part(request.cpu, job, wire.FRAMES_OFFSET, wire.MAX_SIGS * PAIR)
            self._sweeps.append(Planned(request, job, status, compact, frames))

    def has_room(self, request: SweepRequest) -> bool:
        """Return whether the results surely have room for one more sweep."""
        more = copy.copy(self)
        more._asked, more._sweeps, more._jobs = [*self._asked], [*self._sweeps], {**self._jobs}
        more.sweep([request])
        return more._most() <= _ROOM_MOST

    def hvc(self, request: SweepRequest, job: bytes) -> None:
        """Add one hvc whose register files are both wanted, as `Payload.hvc` does.

        Args:
            job: the ``wire.JOB`` of ``request``.
        """
        number = self._jobs[request.cpu] = self._jobs.get(request.cpu, 0) + 1
        self.ask(wire.Op.JOB_START, job.rstrip(b"\0"), reply=4)
        cpu = request.cpu.to_bytes(4, "little")
        status = self.ask(wire.Op.JOB_STATUS, cpu, reply=wire.JOB_STATUS.size)
        frames = self._part(request.cpu, number, 0, PAIR + wire.SIG.size)
        self._sweeps.append(Planned(request, number, status, range(0), frames))

    def what(self, job: int) -> str:
        """Return what a job is, for messages."""
        return sweep_name(self._sweeps[job].request)

    @property
    def jobs(self) -> int:
        """How many jobs there are."""
        return len(self._sweeps)

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
        return sealed(head + body, memory.BATCH) + bytes(room)

    def next_kernel(self, tree: Tree, places: Places, sizes: Sizes) -> bytes:
        """End by starting the bundle's kernel; return the bundle's member ``dtb`` for it.

        Args:
            tree: of that kernel; it gets the results as `PROPERTY`.
            places, sizes: see `hilagent.payload.places.plan`. The payload refuses places
                that meet itself or the bundle, and does not leave then.
        """
        index = self.ask(wire.Op.NEXT, bytes(memory.NEXT.size))
        tree, mark = copy.deepcopy(tree), secrets.token_bytes(memory.RESULTS.size)
        spare = devicetree.HEAD_BYTES + 16 * len(tree.reserve)
        tree.reserve.append((0, 0))
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
            results_size=room, reserve=spare,
        )  # fmt: skip
        self._asked[index] = _Asked(wire.Op.NEXT, body, wire.FAULT.size)
        return blob[:where] + bytes(len(mark)) + blob[where + len(mark) :]

    def _room(self) -> int:
        return min(self._most(), _ROOM_MOST)

    def _most(self) -> int:
        sizes = (wire.HEAD.size + asked.reply + _CRC_SIZE for asked in self._asked)
        return memory.RESULTS.size + sum(size + -size % memory.BATCH_ALIGN for size in sizes)

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
        fields, body = results(found)
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


def _padded(raw: bytes) -> bytes:
    return raw + bytes(-len(raw) % memory.BATCH_ALIGN)
