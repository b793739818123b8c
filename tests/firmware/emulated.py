# SPDX-License-Identifier: Apache-2.0
"""The payload on an emulated machine, started by QEMU itself, and a client of a few lines.

Not the client of `hilagent.payload`: the payload is tested alone here.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from pathlib import Path

from hilagent.clock import Deadline
from hilagent.link import frame, wire
from tests.emulator import Emulator

_WAIT_S = 20.0  # for an emulator on a busy host; an answer takes milliseconds


def u32(value: int) -> bytes:
    """Return a word of memory."""
    return value.to_bytes(4, "little")


def number(value: int | tuple[int, ...]) -> int:
    """Return a field that is one number."""
    assert isinstance(value, int)
    return value


class Machine(Emulator):
    """QEMU with its console on a socket; `arguments` choose the machine and what it starts."""

    def __init__(self, folder: Path, *arguments: str | Path) -> None:
        unused = int("-second" in arguments)
        arguments = tuple(each for each in arguments if each != "-second")
        memory = () if "raspi3b" in arguments else ("-m", "512")
        super().__init__(folder, "-nodefaults", *memory, *arguments, unused=unused)
        self._decoder = frame.Decoder()
        self._packets: list[frame.Packet] = []
        self.text = b""
        self.damaged: list[frame.Damaged] = []
        self.seq, self.run_id, self.boot_id, self.armoured = 1, 1, 0, True

    def send(self, data: bytes) -> None:
        """Write bytes to the line."""
        self.serial.sendall(data)

    def wait(self, wanted: Callable[[frame.Packet], bool]) -> frame.Packet:
        """Return the next packet that is wanted; others stay."""
        deadline = Deadline.after(_WAIT_S)
        while True:
            for packet in self._packets:
                if wanted(packet):
                    self._packets.remove(packet)
                    return packet
            ready, _, _ = select.select([self.serial], [], [], deadline.left_s())
            assert ready, f"silence; packets {self._packets}, text {self.text!r}"
            self._take(self.serial.recv(65536))

    def _take(self, data: bytes) -> None:
        assert data, f"QEMU has gone; text {self.text!r}"
        for item in self._decoder.feed(data):
            if isinstance(item, frame.Packet):
                self._packets.append(item)
            elif isinstance(item, frame.ConsoleText):
                self.text += item.data
            else:
                self.damaged.append(item)

    def hear(self, text: bytes) -> None:
        """Wait for text between the packets."""
        deadline = Deadline.after(_WAIT_S)
        while text not in self.text:
            ready, _, _ = select.select([self.serial], [], [], deadline.left_s())
            assert ready, f"silence; text {self.text!r}"
            self._take(self.serial.recv(65536))

    def naks(self) -> list[frame.Packet]:
        """Return the NAKs that have come so far."""
        return [packet for packet in self._packets if packet.kind == wire.Kind.NAK]

    def event(self, event: wire.Event) -> frame.Packet:
        """Return the next event of this kind."""
        return self.wait(lambda p: p.kind == wire.Kind.EVENT and p.op == event)

    def post(self, op: int, body: bytes = b"", seq: int | None = None) -> int:
        """Send a request; return its seq."""
        if seq is None:
            self.seq += 1
            seq = self.seq
        packet = frame.Packet(
            wire.Kind.REQUEST, op, seq, 0, self.boot_id, self.run_id, body, self.armoured
        )
        self.send(frame.encode(packet))
        return seq

    def ask(self, op: int, body: bytes = b"", seq: int | None = None) -> tuple[int, bytes]:
        """Send a request; return the reply's status and body."""
        sent = self.post(op, body, seq)
        reply = self.wait(lambda p: p.kind == wire.Kind.REPLY and p.seq == sent)
        return reply.status, reply.body

    def must(self, op: int, body: bytes = b"") -> bytes:
        """Send a request that must succeed; return the reply's body."""
        status, answer = self.ask(op, body)
        assert status == wire.Status.OK, wire.Status(status)
        return answer

    def hello(self) -> dict[str, int | tuple[int, ...]]:
        """Wait for the boot event, say hello, and return what the payload is."""
        self.boot_id = 0
        self.event(wire.Event.BOOT)
        hello = wire.HELLO.unpack(self.must(wire.Op.HELLO))
        assert isinstance(hello["boot_id"], int)
        self.boot_id = hello["boot_id"]
        return hello

    def write(self, addr: int, data: bytes) -> None:
        """Write any number of bytes into the board's memory."""
        for at in range(0, len(data), 1000):
            piece = data[at : at + 1000]
            self.must(wire.Op.WRITE, wire.ACCESS.pack(addr=addr + at, size=len(piece)) + piece)

    def read(self, addr: int, size: int) -> bytes:
        """Read up to 1 KiB."""
        return self.must(wire.Op.READ, wire.ACCESS.pack(addr=addr, size=size))

    def run_job(self, body: bytes) -> dict[str, int | tuple[int, ...]]:
        """Run a job to its end; return its last status."""
        job = int.from_bytes(self.must(wire.Op.JOB_START, body), "little")
        done = wire.JOB_STATUS.unpack(self.event(wire.Event.JOB_DONE).body)
        assert done["job"] == job
        return done

    def midr_of(self, cpu: int) -> int:
        """Read MIDR_EL1 on a CPU by a job: proof that the CPU works."""
        read = wire.JOB.pack(cpu=cpu, kind=int(wire.Job.SYSREG), addr=0b11 << 14)
        job = self.run_job(read)["job"]
        assert isinstance(job, int)
        part = wire.JOB_PART.pack(cpu=cpu, job=job, offset=0, size=wire.CALL_RESULT.size)
        value = wire.CALL_RESULT.unpack(self.must(wire.Op.JOB_RESULT, part))["x0"]
        assert isinstance(value, int)
        return value


def start_all(machine: Machine) -> None:
    """Start the other three CPUs."""
    for cpu in (1, 2, 3):
        assert machine.must(wire.Op.CPU_START, u32(cpu)) == u32(wire.CpuState.READY)


BREAK = (0xB900001F, 0xD508711F, 0xD5033F9F, 0xD5033FDF, 0xD65F03C0)
"""str wzr, [x0]; ic ialluis; dsb sy; isb; ret"""


def break_setup(machine: Machine, hello: dict[str, int | tuple[int, ...]], elf: Path) -> int:
    """Make the first word of the payload's own ``el2_setup`` undefined; return its address."""
    victim = number(hello["image"]) + symbol(elf, "el2_setup")
    scratch = number(hello["scratch"])
    machine.write(scratch, b"".join(u32(word) for word in BREAK))
    machine.must(wire.Op.SLOT_LOADED, wire.ACCESS.pack(addr=scratch, size=len(BREAK) * 4))
    call = int(wire.Job.CALL)
    machine.run_job(wire.JOB.pack(cpu=0, kind=call, el=2, addr=scratch, x=(victim,)))
    return victim


def symbol(elf: Path, name: str) -> int:
    """Return the value of a symbol of ``elf``."""
    from elftools.elf.elffile import ELFFile
    from elftools.elf.sections import SymbolTableSection

    with elf.open("rb") as stream:
        table = ELFFile(stream).get_section_by_name(".symtab")
        assert isinstance(table, SymbolTableSection)
        return next(int(s["st_value"]) for s in table.iter_symbols() if s.name == name)
