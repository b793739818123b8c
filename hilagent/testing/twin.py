# SPDX-License-Identifier: Apache-2.0
"""A Python twin of the payload: the same protocol, simulated work, well or badly.

::

    clock = ManualClock()
    twin = PayloadTwin(clock=clock, behaviour=behaviour.hangs_at(0x1234))
    line = MachineLine(twin, clock)
    payload = connect(line, run_id=1, deadline=Deadline.after(20, clock))
    payload.sweep([SweepRequest(cpu=1)])          # raises Hang at 0x1234, in no time
"""

from __future__ import annotations

import dataclasses
import math
import struct
import zlib
from collections.abc import Callable

from hilagent.clock import SYSTEM, Clock
from hilagent.link import packed, wire
from hilagent.link.frame import Damaged, Decoder, Packet, encode
from hilagent.payload.channel import numbers
from hilagent.testing import behaviour as behaviours
from hilagent.testing import laboratory
from hilagent.testing.behaviour import Behaviour
from hilagent.testing.jobs import CNTFRQ, GOOD, Jobs, Tools, Traits, under_test
from hilagent.testing.laboratory import Work
from hilagent.testing.memory import BadAddress, Memory
from hilagent.testing.speech import Speech, plain

SCRATCH, ROOM = 0x4200_0000, 0x1_0000
SLOT = laboratory.SLOT


class PayloadTwin:
    """A machine (see `hilagent.testing.machine`) that speaks the payload's protocol.

    Args:
        behaviour: of the vectors under test; `behaviours.recorder` for Target.RECORDER.
        on_reset: called when it resets itself; by default it just starts again.
        functions: address to what a CALL does there.

    Attributes:
        boot_id: of this boot; another after each `start`.
        memory, registers: what READ, WRITE, CRC and SYSREG work on.
        executed: operations that were really done (repeats are answered from the cache).
        speech: turns each packet into those that it says instead, see `hilagent.testing.speech`;
            it is spoken until the next `start`.
    """

    def __init__(
        self,
        *,
        clock: Clock = SYSTEM,
        behaviour: Behaviour = behaviours.hyp_stub,
        traits: Traits = GOOD,
        seed: int = 1,
        functions: dict[int, laboratory.Function] | None = None,
        on_reset: Callable[[], bytes] | None = None,
    ) -> None:
        self.clock, self.behaviour, self.traits = clock, behaviour, traits
        self.functions = functions or {}
        self.memory = Memory({SCRATCH: ROOM, SLOT: ROOM})
        self.registers = laboratory.Registers()
        self.executed: list[int] = []
        self.booted: dict[str, int | tuple[int, ...]] | None = None
        self.on_reset = on_reset or self.start
        self._seed, self._boots = seed, 0
        self.start()

    def start(self) -> bytes:
        """Boot: forget everything, take another boot id. Returns nothing yet."""
        self._boots += 1
        self.boot_id = zlib.crc32(f"{self._seed} {self._boots}".encode()) or 1
        self._decoder = Decoder()
        self.speech: Speech = plain
        self._run_id, self._seq, self._cache = 0, 0, b""
        self._armoured, self._greeted = self.traits.boots_armoured, False
        self._cached: Packet | None = None
        self._cpus = {0: wire.CpuState.READY}
        self._target, self._vectors_crc = wire.Target.HYP_STUB, 0
        self.jobs = Jobs(self.clock, self.traits)
        self._inbox = b""
        self._replies = 0
        self._boot_s = self.clock.now_s()
        self.alive = True
        return b""

    # The machine

    def feed(self, data: bytes) -> bytes:
        """Take bytes from the host; a CPU that works on the link reads them later."""
        if not self.alive:
            return b""
        if self._busy():
            self._inbox += data
            return b""
        return b"".join(map(self._item, self._decoder.feed(data)))

    def tick(self) -> bytes:
        """Return the events that are due."""
        if not self.alive:
            return b""
        now_s = self.clock.now_s()
        if not self._greeted and now_s >= self._boot_s:
            self._boot_s = now_s + 1.0
            return self._event(wire.Event.BOOT, self._hello())
        if self.jobs.reset_is_due():
            self.start()
            return self.on_reset()
        out = b"".join(self._event(wire.Event.HEARTBEAT, b) for b in self.jobs.heartbeats())
        out += b"".join(self._event(wire.Event.JOB_DONE, b) for b in self.jobs.ends())
        if self._inbox and not self._busy():
            inbox, self._inbox = self._inbox, b""
            out += self.feed(inbox)
        return out

    def next_s(self) -> float:
        """When `tick` is worth calling."""
        if not self.alive:
            return math.inf
        if self._inbox and not self._busy():
            return self.clock.now_s()
        return min(math.inf if self._greeted else self._boot_s, self.jobs.next_s())

    def _busy(self) -> bool:
        """Whether the CPU that owns the link works: then nobody reads it."""
        return self.jobs.on(self.jobs.link_cpu) is not None

    # Requests

    def _item(self, item: object) -> bytes:
        if isinstance(item, Damaged):
            nak = Packet(wire.Kind.NAK, 0, 0, 0, self.boot_id, self._run_id)
            return self._encode(nak)
        if not isinstance(item, Packet) or item.kind != wire.Kind.REQUEST:
            return b""
        release = b"\x11" if item.armoured and not self._armoured else b""
        return release + self._request(item)  # a raw packet may have held an XOFF

    def _request(self, request: Packet) -> bytes:
        if request.boot_id not in (0, self.boot_id):
            return self._turned_away(request, wire.Status.REFUSED)
        known = self._greeted and request.run_id == self._run_id
        if known and self._cached and request.seq == self._seq:
            self._armoured = request.armoured
            return self._answer(self._cached)
        hello = request.op == wire.Op.HELLO
        if known and not hello and (request.seq - self._seq) & 0x8000:
            return b""
        if not known and not hello:
            return self._turned_away(request, wire.Status.REFUSED)
        if not known and self._greeted and self.jobs.running:
            return self._turned_away(request, wire.Status.BUSY)
        return self._perform(request)

    def _perform(self, request: Packet) -> bytes:
        self._greeted, self._run_id, self._seq = True, request.run_id, request.seq
        self._armoured = request.armoured
        self.executed.append(request.op)
        try:
            status, body = self._do(request)
        except BadAddress as bad:
            fault = wire.FAULT.pack(vector=4, esr=0x9600_0010, far=bad.addr, elr=0x4000_1000)
            status, body = wire.Status.FAULT, fault
        self._cached = Packet(
            wire.Kind.REPLY, request.op, request.seq, status, 0, request.run_id, body
        )
        return self._answer(self._cached)

    def _answer(self, reply: Packet) -> bytes:
        traits, count = self.traits, self._replies
        self._replies += 1
        if traits.silent_after is not None and count >= traits.silent_after:
            self.alive = False
            return b""
        boot_id, run_id, out = self.boot_id, reply.run_id, b""
        if traits.other_boot_after is not None and count >= traits.other_boot_after:
            boot_id ^= 0x5A5A5A5A
        if count == traits.wrong_run_after:
            run_id ^= 1
        out += self._encode(dataclasses.replace(reply, boot_id=boot_id, run_id=run_id))
        if reply.status != wire.Status.OK:
            return out
        if reply.op in (wire.Op.BOOT, wire.Op.POWEROFF):
            self.alive = False
        if reply.op == wire.Op.RESET:
            self.start()
            out += self.on_reset()
        return out

    def _turned_away(self, request: Packet, status: int) -> bytes:
        self._armoured = request.armoured
        return self._encode(
            Packet(wire.Kind.REPLY, request.op, request.seq, status, self.boot_id, request.run_id)
        )

    def _do(self, request: Packet) -> tuple[int, bytes]:
        op, body = request.op, request.body
        if op == wire.Op.HELLO:
            return wire.Status.OK, self._hello() + body
        if op == wire.Op.ECHO:
            return wire.Status.OK, body
        if op in (wire.Op.READ, wire.Op.WRITE, wire.Op.CRC, wire.Op.SLOT_LOADED):
            return wire.Status.OK, self._access(op, body)
        if op == wire.Op.VECTORS:
            return self._vectors(_padded(wire.VECTORS, body))
        if op == wire.Op.JOB_START:
            return self._start_job(Work(_padded(wire.JOB, body)))
        if op == wire.Op.JOB_RESULT:
            return self._job_result(_padded(wire.JOB_PART, body))
        if op == wire.Op.BOOT:
            self.booted = _padded(wire.BOOT, body)
            return wire.Status.OK, b""
        if op in (wire.Op.RESET, wire.Op.POWEROFF):
            return wire.Status.REFUSED if self.traits.no_psci else wire.Status.OK, b""
        cpu, offset, size = struct.unpack("<III", body[:12].ljust(12, b"\0"))
        if op == wire.Op.CPU_INFO and size and cpu < self.traits.cpus:
            return wire.Status.OK, self._cpu_info(cpu)[offset : offset + size]
        return self._of_cpu(op, cpu)

    def _of_cpu(self, op: int, cpu: int) -> tuple[int, bytes]:
        if not 0 <= cpu < self.traits.cpus:
            return wire.Status.NO_CPU, b""
        if op == wire.Op.CPU_INFO:
            return wire.Status.OK, self._cpu_info(cpu)
        if op == wire.Op.CPU_START:
            if cpu in self.traits.elsewhere:
                return wire.Status.FAILED, b""
            failed = cpu in self.traits.bad_cpus
            self._cpus[cpu] = wire.CpuState.FAILED if failed else wire.CpuState.READY
            return wire.Status.OK, self._cpus[cpu].to_bytes(4, "little")
        if op == wire.Op.CPU_STOP:
            if self.jobs.on(cpu) or cpu == self.jobs.link_cpu:
                return wire.Status.BUSY, b""
            if self.traits.no_cpu_off:
                return wire.Status.REFUSED, b""
            self._cpus[cpu] = wire.CpuState.OFF
            return wire.Status.OK, b""
        if op == wire.Op.JOB_STATUS:
            return wire.Status.OK, self.jobs.status(cpu)
        if op == wire.Op.LINK_MOVE:
            if self._cpus.get(cpu) != wire.CpuState.READY or self.jobs.on(cpu):
                return wire.Status.REFUSED, b""
            self.jobs.link_cpu = cpu
            return wire.Status.OK, b""
        return wire.Status.BAD_OP, b""

    def _access(self, op: int, body: bytes) -> bytes:
        access = wire.ACCESS.unpack(body)
        addr, size = access["addr"], access["size"]
        assert isinstance(addr, int)
        assert isinstance(size, int)
        if op == wire.Op.READ:
            return self.memory.read(addr, size)
        if op == wire.Op.WRITE:
            self.memory.write(addr, body[wire.ACCESS.size :])
        if op == wire.Op.CRC:
            return self.memory.crc32(addr, size).to_bytes(4, "little")
        return b""

    def _vectors(self, fields: dict[str, int | tuple[int, ...]]) -> tuple[int, bytes]:
        size, crc, target = fields["size"], fields["crc"], fields["target"]
        assert isinstance(size, int)
        assert isinstance(crc, int)
        assert isinstance(target, int)
        if target == wire.Target.SLOT and self.memory.crc32(SLOT, size) != crc:
            return wire.Status.FAILED, b""
        self._target, self._vectors_crc = wire.Target(target), crc
        return wire.Status.OK, b""

    def _start_job(self, work: Work) -> tuple[int, bytes]:
        if self._cpus.get(work.cpu) != wire.CpuState.READY:
            return wire.Status.NO_CPU, b""
        if self.jobs.on(work.cpu):
            return wire.Status.BUSY, b""
        behaviour = under_test(self._target, self.behaviour)
        tools = Tools(self.functions, self.registers)
        number = self.jobs.start(work, behaviour, self._vectors_crc, tools)
        return wire.Status.OK, number.to_bytes(4, "little")

    def _job_result(self, part: dict[str, int | tuple[int, ...]]) -> tuple[int, bytes]:
        data = self.jobs.result(**numbers(part))
        return (wire.Status.REFUSED, b"") if data is None else (wire.Status.OK, data)

    # Facts

    def _hello(self) -> bytes:
        return wire.HELLO.pack(
            version=self.traits.version, max_body=wire.MAX_BODY, boot_id=self.boot_id,
            build_id=tuple(range(20)), cpus=self.traits.cpus, link_cpu=self.jobs.link_cpu,
            cntfrq=CNTFRQ, features=2 if self.traits.e2h_stuck else 0, image=0x4000_0000,
            image_size=0x8000, dtb=0x4800_0000, slot=SLOT, slot_size=ROOM,
            entry_el=self.traits.entry_el, uart_kind=1, uart_base=0x900_0000,
            psci_conduit=int(not self.traits.no_psci),
            scratch_size=ROOM, scratch=SCRATCH,
        )  # fmt: skip

    def _cpu_info(self, cpu: int) -> bytes:
        front = laboratory.front_of(cpu)
        foreign = cpu in self.traits.elsewhere
        never = wire.CpuState.ELSEWHERE if foreign else wire.CpuState.OFF
        entry = [0] * len(wire.ENTRY_REGS)
        entry[wire.ENTRY_REGS.index("CurrentEL")] = self.traits.entry_el << 2
        ids = [0] * len(wire.ID_REGS)
        ids[0], ids[1] = 0x411F_D070, 0x8000_0000 | cpu
        return wire.CPU_INFO.pack(
            cpu=cpu, state=self._cpus.get(cpu, never), mpidr=0x8000_0000 | cpu,
            front=front, base_vectors=front + 0x800, catch=laboratory.catch_of(cpu),
            catch_size=laboratory.CATCH_SIZE, catch_count=8, stack_page=front + 0x7000,
            bad_sp=0x40_0000_0000_0F00, midr=0x411F_D070, id=ids, entry=entry,
        )  # fmt: skip

    def _event(self, op: int, body: bytes) -> bytes:
        return self._encode(Packet(wire.Kind.EVENT, op, 0, 0, self.boot_id, self._run_id, body))

    def _encode(self, packet: Packet) -> bytes:
        packet = dataclasses.replace(packet, armoured=self._armoured)
        return b"".join(map(encode, self.speech(packet)))


def _padded(kind: packed.Struct, body: bytes) -> dict[str, int | tuple[int, ...]]:
    """Unpack a body that may have lost its trailing zeros."""
    return kind.unpack(body.ljust(kind.size, b"\0"))
