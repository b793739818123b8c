# SPDX-License-Identifier: Apache-2.0
"""What the running payload can be asked."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Unpack

from hilagent import errors
from hilagent.link import session as link_session
from hilagent.link import wire
from hilagent.result import CpuFacts, Exchange, SweepPass

from . import facts
from .channel import Channel
from .cpus import Cpus
from .jobs import Jobs, chunk_size, fetch, pack_job
from .sweep import HvcOptions, SweepRequest, hvc_request
from .sweeper import Arrived, Progress, Sweeper, Want
from .sysregs import encoding
from .trouble import JobStatus, Silence
from .watchdog import Store

_WRITE_SYSREG = 1 << 31
_SYSREG_S = 10.0
_GIVEN_BACK_S = 10.0  # from a conversation's end to the end of the call
_CRC_STEP = 1 << 18  # bytes a CRC request covers: with caches off, a fraction of a second


class Payload:
    """A payload that answered; made by `hilagent.payload.connect`.

    Every method may raise `errors.LinkError` (`Silence` among them), and
    `errors.BoardReset` when the board restarted by itself. Not for two threads.

    Attributes:
        hello: what it said of itself.
        encoding: ``raw`` or ``armoured``.
    """

    def __init__(
        self, channel: Channel, hello: facts.Hello, *, sleeping: bool = False, parallel: int = 0
    ) -> None:
        self.hello = hello
        self._channel = channel
        self._cpus = Cpus(channel, hello.cpus, link_cpu=hello.link_cpu, sleeping=sleeping)
        self._jobs = Jobs(channel, hello.cntfrq, lambda: self._cpus.link_cpu)
        self._worker = hello.link_cpu
        self._sweeper = Sweeper(self._jobs, self._cpus, parallel or hello.cpus)

    @property
    def encoding(self) -> str:
        """How packets go over this line."""
        return "armoured" if self._channel.session.armoured else "raw"

    @property
    def run_id(self) -> int:
        """The run that every packet names."""
        return self._channel.session.run_id

    @property
    def bytes_rx(self) -> int:
        """Bytes received on the line since `connect`, console text included."""
        return self._channel.bytes_rx

    @property
    def bytes_tx(self) -> int:
        """Bytes sent since `connect`."""
        return self._channel.bytes_tx

    @property
    def counters(self) -> link_session.Counters:
        """Late, foreign and damaged packets, NAKs and repeats so far."""
        return self._channel.session.counters

    @property
    def link_cpu(self) -> int:
        """The CPU that owns the link."""
        return self._cpus.link_cpu

    # Memory

    def echo(self, data: bytes) -> bytes:
        """Return ``data`` as the payload sends it back."""
        return self._ask(wire.Op.ECHO, data, len(data))

    def read(self, addr: int, size: int, width: int = 0) -> bytes:
        """Return memory; with ``width`` (1, 2, 4, 8) each element is one access of it."""
        _check_access(addr, size, width)

        def ask(at: int, count: int) -> bytes:
            return wire.ACCESS.pack(addr=addr + at, size=count, width=width or 1)

        return fetch(self._channel, wire.Op.READ, ask, size, step=width or 1)

    def write(self, addr: int, data: bytes, width: int = 0) -> None:
        """Write memory. Without ``width`` a long write is verified by its CRC."""
        _check_access(addr, len(data), width)
        self._write(addr, data, width)
        if not width and len(data) > wire.MAX_BODY and self.crc(addr, len(data)) != _crc(data):
            self._write(addr, data, width)
            if self.crc(addr, len(data)) != _crc(data):
                raise errors.LinkError(f"{len(data)} bytes at {addr:#x} do not keep their CRC")

    def crc(self, addr: int, size: int) -> int:
        """Return the CRC-32 of a range of memory, computed by the payload."""
        crc = 0
        for at in range(0, size, _CRC_STEP):
            count = min(_CRC_STEP, size - at)
            body = self._ask(wire.Op.CRC, wire.ACCESS.pack(addr=addr + at, size=count), 4)
            part = int.from_bytes(body[:4], "little")
            crc = part if at == 0 else _crc_join(crc, part, count)
        return crc

    def code_loaded(self, addr: int, size: int) -> None:
        """Say that these bytes of RAM, as written, are code now: for every CPU's caches."""
        self._ask(wire.Op.SLOT_LOADED, wire.ACCESS.pack(addr=addr, size=size))

    def read64(self, addr: int) -> int:
        """Read 64 bits in one access."""
        return int.from_bytes(self.read(addr, 8, 8), "little")

    def read32(self, addr: int) -> int:
        """Read 32 bits in one access."""
        return int.from_bytes(self.read(addr, 4, 4), "little")

    def read16(self, addr: int) -> int:
        """Read 16 bits in one access."""
        return int.from_bytes(self.read(addr, 2, 2), "little")

    def read8(self, addr: int) -> int:
        """Read 8 bits."""
        return int.from_bytes(self.read(addr, 1, 1), "little")

    def write64(self, addr: int, value: int) -> None:
        """Write 64 bits in one access."""
        self.write(addr, value.to_bytes(8, "little"), 8)

    def write32(self, addr: int, value: int) -> None:
        """Write 32 bits in one access."""
        self.write(addr, value.to_bytes(4, "little"), 4)

    def write16(self, addr: int, value: int) -> None:
        """Write 16 bits in one access."""
        self.write(addr, value.to_bytes(2, "little"), 2)

    def write8(self, addr: int, value: int) -> None:
        """Write 8 bits."""
        self.write(addr, value.to_bytes(1, "little"), 1)

    # CPUs

    def cpus(self) -> tuple[CpuFacts, ...]:
        """Return the CPUs that are started, the boot CPU among them."""
        return self._cpus.known()

    def start_cpus(self, *, elsewhere: Collection[int] = ()) -> tuple[CpuFacts, ...]:
        """Start every CPU of the DTB but those that are ``elsewhere``, see `cpu_states`.

        Raises `errors.LabError` for one that won't.
        """
        return self._cpus.start_all(elsewhere)

    def cpu_states(self) -> dict[int, wire.CpuState]:
        """Return what each CPU does. After a crash some may be ELSEWHERE: firmware says that
        they run, but they do so in the kernel that died, and nobody can stop them."""
        return self._cpus.states()

    def stop_cpus(self) -> None:
        """Switch off (or pen) every CPU but the link's. Raises `Refused` where that can't be."""
        self._cpus.stop_all()

    def move_link(self, cpu: int) -> None:
        """Let ``cpu`` own the link."""
        self._cpus.move_link(cpu)

    # Registers and calls

    def mrs(self, register: str | int, cpu: int = 0) -> int:
        """Read a system register at EL2. Raises `PayloadFault` where it is not there."""
        return self._sysreg(encoding(register), cpu, 0)

    def msr(self, register: str | int, value: int, cpu: int = 0) -> None:
        """Write a system register at EL2."""
        self._sysreg(encoding(register) | _WRITE_SYSREG, cpu, value)

    def call(
        self, addr: int, *args: int, el: int = 2, cpu: int = 0, seconds: float = 30.0
    ) -> facts.CallResult:
        """Call a function with up to 8 arguments at EL1 or EL2.

        Raises `errors.LabError` where it has not returned after ``seconds``.
        """
        if len(args) > 8 or el not in (1, 2):
            raise errors.UsageError("a call takes at most 8 arguments, at EL1 or EL2")
        job = pack_job({"cpu": cpu, "kind": wire.Job.CALL, "addr": addr, "el": el, "x": args})
        with self._awake(cpu):
            ended = self._jobs.run(job, cpu=cpu, what=f"call of {addr:#x}", seconds=seconds)
            return self._jobs.call_result(ended)

    def lend_line(self, talk: Callable[[Channel], None], addr: int, *args: int) -> facts.CallResult:
        """Call a function at EL2 on the link's CPU that speaks on the line itself, and let
        ``talk`` speak with it; it must return soon after ``talk`` has.

        Raises whatever ``talk`` does: the line isn't the payload's then, reset the board.
        """
        cpu, what = self.link_cpu, f"call of {addr:#x}"
        job = pack_job({"cpu": cpu, "kind": wire.Job.CALL, "addr": addr, "el": 2, "x": args})
        with self._awake(cpu):
            self._channel.uploads.clear()
            speaks = self._channel.uploads.__len__
            self._jobs.start(job, cpu=cpu, what=what, progresses=False, speaks=lambda: speaks() > 0)
            talk(self._channel)
            ended = self._jobs.wait(within_s=_GIVEN_BACK_S)
            self._jobs.check(ended)
            return self._jobs.call_result(ended)

    def hvc(self, imm: int, **how: Unpack[HvcOptions]) -> Exchange:
        """Issue one hvc with the whole register file given and returned, see `HvcOptions`.

        The frames of a direct one hold vector registers only where one changed.
        """
        request, job = hvc_request(imm, **how)
        cpu, origin = request.cpu, request.origin
        with self._awake(cpu):
            ended = self._jobs.run(job, cpu=cpu, origin=origin, what=f"hvc #{imm:#x}")
            judged = facts.sig(self._jobs.result(ended, 2 * wire.FRAME.size, wire.SIG.size))
            sizes = facts.frame_sizes(judged, whole=not how.get("direct"))
            before = self._jobs.result(ended, 0, sizes[0])
            after = self._jobs.result(ended, wire.FRAME.size, sizes[1])
        return facts.partial_exchange(before, after, judged)

    def vectors(
        self,
        target: int,
        blob: bytes = b"",
        offset: int = 0,
        *,
        serves_el2: bool = False,
        there: bool = False,
    ) -> None:
        """Choose the vectors under test, on every CPU; ``blob`` is loaded into the slot, or
        is ``there`` already. Either way the payload verifies it."""
        if len(blob) > self.hello.slot_size:
            raise errors.UsageError(f"{len(blob)} bytes; the slot has {self.hello.slot_size}")
        if blob and not there:
            self.write(self.hello.slot, blob)
            self.code_loaded(self.hello.slot, len(blob))
        body = wire.VECTORS.pack(
            target=target, flags=int(serves_el2), offset=offset, size=len(blob), crc=_crc(blob)
        )
        self._ask(wire.Op.VECTORS, body)

    # Sweeps

    def sweep(
        self,
        requests: Sequence[SweepRequest],
        progress: Progress | None = None,
        *,
        arrived: Arrived | None = None,
        want: Want | None = None,
        max_frames: int = 8,
    ) -> list[SweepPass]:
        """Run the passes, CPUs side by side, and return them in order.

        ``progress`` gets the share that is done, at least with each heartbeat; ``arrived``
        the index of a request and its pass, as soon as it is here and verified. Frames
        are fetched for at most ``max_frames`` signatures a pass, those that ``want`` says
        (default: none).

        Raises:
            Hang: no progress for 5 s while the payload went on reporting.
            Silence: nothing was heard; ResetInJob: the board restarted. All three say
                where: cpu, imm, origin, done, request.
            PayloadFault: an exception ended the job itself.
        """
        return self._sweeper.run(
            requests, progress=progress, arrived=arrived, want=want, max_frames=max_frames
        )

    def frames(self, swept: SweepPass, sig_index: int) -> Exchange:
        """Fetch the evidence of one signature, while that CPU has run nothing else."""
        return self._sweeper.frame(swept, sig_index)

    def status(self, cpu: int = 0) -> JobStatus:
        """Return how far a CPU's job is."""
        body = self._ask(wire.Op.JOB_STATUS, cpu.to_bytes(4, "little"), wire.JOB_STATUS.size)
        return self._channel.heard(body)

    # Leaving

    def boot(self, addr: int, x0: int = 0, *args: int, el: int = 2, flags: int = 0) -> None:
        """Leave the payload for another image. The payload is gone afterwards."""
        x1, x2, x3 = (*args, 0, 0, 0)[:3]
        body = wire.BOOT.pack(addr=addr, x0=x0, x1=x1, x2=x2, x3=x3, flags=flags, el=el)
        self._leave(wire.Op.BOOT, body, "it booted another image")

    def reset(self, watchdog: Sequence[Store] = ()) -> None:
        """Reset the board. The payload is gone afterwards.

        Args:
            watchdog: what does it on a board without PSCI, see :mod:`.watchdog`.

        Raises:
            Refused: the board has no PSCI, or one too old, and no watchdog is named.
        """
        if not watchdog or self.hello.psci_conduit:
            self._leave(wire.Op.RESET, b"", "the board was reset")
            return
        *before, last = (
            wire.ACCESS.pack(addr=store.addr, size=4, width=4) + store.value.to_bytes(4, "little")
            for store in watchdog
        )
        for body in before:
            self._ask(wire.Op.WRITE, body)
        self._leave(wire.Op.WRITE, last, "its watchdog resets the board")

    def poweroff(self) -> None:
        """Power the board off by PSCI. The payload is gone afterwards."""
        self._leave(wire.Op.POWEROFF, b"", "the board was powered off")

    def _ask(self, op: int, body: bytes = b"", reply_size: int = 0) -> bytes:
        reply = self._channel.request(op, body, reply_size=reply_size)
        assert reply is not None  # only a limit of tries gives None
        return reply

    def _write(self, addr: int, data: bytes, width: int) -> None:
        at = 0
        while at < len(data):
            part = data[at : at + chunk_size(self._channel, width or 1)]
            body = wire.ACCESS.pack(addr=addr + at, size=len(part), width=width or 1) + part
            tries = 2 if len(part) > 64 and not width else 0
            if self._channel.request(wire.Op.WRITE, body, tries=tries) is not None:
                at += len(part)

    def _sysreg(self, addr: int, cpu: int, value: int) -> int:
        job = pack_job({"cpu": cpu, "kind": wire.Job.SYSREG, "addr": addr, "el": 2, "x": [value]})
        what = f"system register {addr & 0xFFFF:#x}"
        with self._awake(cpu):
            ended = self._jobs.run(job, cpu=cpu, what=what, seconds=_SYSREG_S)
            return self._jobs.call_result(ended).x0

    @contextlib.contextmanager
    def _awake(self, cpu: int) -> Iterator[None]:
        """Wake a CPU for one job; afterwards it sleeps again only when another is woken."""
        if cpu != self._worker:
            self._cpus.rest(self._worker)
            self._worker = self.link_cpu
        self._cpus.wake(cpu)
        self._worker = cpu
        yield

    def _leave(self, op: int, body: bytes, why: str) -> None:
        try:
            self._ask(op, body)
        except (errors.BoardReset, Silence):
            if op == wire.Op.BOOT:
                raise
        self._channel.close(f"the payload is gone: {why}")


def _check_access(addr: int, size: int, width: int) -> None:
    if width not in (0, 1, 2, 4, 8) or (width and (size % width or addr % width)):
        raise errors.UsageError(f"{size} bytes at {addr:#x} in accesses of {width} bytes")


def _crc(data: bytes) -> int:
    return zlib.crc32(data)


def _crc_join(first: int, second: int, second_size: int) -> int:
    """Return the CRC-32 of two pieces from the CRC-32 of each.

    Appending zeros to the first is linear, so zlib itself can do it.
    """
    zeros = bytes(second_size)
    return zlib.crc32(zeros, first) ^ zlib.crc32(zeros) ^ second
