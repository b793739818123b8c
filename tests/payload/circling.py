# SPDX-License-Identifier: Apache-2.0
"""An emulated board that boots a kernel by itself, kexecs it, and talks to the payload.

Payload and bundle reach the kernel as disks, so that no network is needed here.
"""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Sequence
from pathlib import Path

from hilagent import abi, probe
from hilagent.clock import Deadline
from hilagent.console import Console
from hilagent.console.match import Match
from hilagent.payload import Payload, connect
from hilagent.payload.cargo import Cargo
from hilagent.payload.mover import Mover
from hilagent.probe.judgement import Judgement
from hilagent.session.subject import Subject
from hilagent.transport.base import FdStream
from tests.emulator import Emulator

PROFILE = abi.load("iss-6.12")
_SECTOR = 512
_FILES = ("payload", "bundle")
_START_S, _ENTRY_S = 60.0, 30.0


class Board(Emulator):
    """QEMU's virt, its console, and two disks: the payload and the bundle."""

    def __init__(self, folder: Path, arguments: Sequence[str | Path], disks: Sequence[bytes]):
        self._folder, self._sizes = folder, [len(disk) for disk in disks]
        for number, disk in enumerate(disks):
            (folder / f"disk{number}").write_bytes(disk + bytes(-len(disk) % _SECTOR))
        super().__init__(folder, "-nodefaults", *arguments, *self._drives(len(disks)))
        self.console = Console(FdStream(self.serial.detach(), "QEMU"), folder)
        self.line = self.console.take("kernel")

    def _drives(self, count: int) -> list[str]:
        out = []
        for number in range(count):
            file = self._folder / f"disk{number}"
            out += ["-drive", f"if=none,id=d{number},format=raw,readonly=on,file={file}"]
            out += ["-device", f"virtio-blk-device,drive=d{number},serial=disk{number}"]
        return out

    def end(self) -> None:
        """Switch it off, and close the console."""
        super().end()
        self.console.close()

    def ready(self, run: str) -> None:
        """Wait until the root file system says that it is up, for this run."""
        pattern = rb"hilagent-rootfs ready RUN=" + run.encode()
        assert self.expect(pattern, _START_S), self.console.tail(30)

    def expect(self, pattern: bytes, seconds: float) -> Match | None:
        """Wait for a pattern on the console."""
        return self.line.expect([pattern], Deadline.after(seconds))

    def shell(self, command: str) -> None:
        """Type a command that must succeed; returns when it has."""
        mark = secrets.token_hex(4)
        self.line.write(f"{command} && echo did-''{mark}\n".encode(), Deadline.after(5))
        assert self.expect(b"did-" + mark.encode(), 60), self.console.tail(30)

    def load(self, cmdline: str = "x", *options: str) -> None:
        """Load the payload as the next kernel, the bundle as its initrd."""
        for number, (name, size) in enumerate(zip(_FILES, self._sizes, strict=True)):
            self.shell(f"cd /sys/block && disk=$(dirname $(grep -lx disk{number} vd*/serial))")
            self.shell(f"cd / && head -c {size} /dev/$disk > /tmp/{name}")
        extra = shlex.join([*options, "--cmdline", cmdline])
        self.shell(f"hilkexec load /tmp/payload --initrd /tmp/bundle {extra}")

    def leap(self, command: str) -> Payload:
        """Type what leaves the kernel, and wait for the payload on the same console."""
        self.line.write(command.encode() + b"\n", Deadline.after(5))
        return connect(
            self.console.take("payload"), run_id=secrets.randbelow(1 << 32) or 1,
            deadline=Deadline.after(_ENTRY_S), emulated=True, alive=lambda: True, unasked=True,
        )  # fmt: skip

    def back(self) -> None:
        """The payload has left for a kernel: its console is the kernel's again."""
        self.line = self.console.take("kernel")
        self.line.forgive()


def swept(payload: Payload, cargo: Cargo, subject: Subject, cpus: Sequence[int]) -> Judgement:
    """Sweep every immediate over the vectors that came along, on these CPUs, and judge it."""
    where = cargo.member("vectors")
    Mover(payload).into_slot(where.start, where.size)
    payload.vectors(subject.target, subject.blob, subject.offset,
                    serves_el2=subject.serves_el2, there=True)  # fmt: skip
    wanted = probe.requests(PROFILE, subject.server, "vectors", cpus)
    lab = probe.Lab({cpu.cpu: cpu for cpu in payload.cpus()})
    passes = payload.sweep(wanted, want=probe.wanted_frames(PROFILE, subject.server, lab))
    return probe.judge(PROFILE, subject.server, passes, lab, wanted=wanted)
