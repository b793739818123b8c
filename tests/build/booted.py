# SPDX-License-Identifier: Apache-2.0
"""A kernel under QEMU with our root file system, reached over SSH: for tests of both."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hilagent.build.kernel import Kernel
from hilagent.build.keys import lab_keys
from hilagent.build.rootfs import Rootfs
from hilagent.clock import Deadline
from hilagent.transport import known, ssh

IP = "hilagent.ip=10.0.2.15::10.0.2.2:255.255.255.0::eth0:off"
READY = "hilagent-rootfs ready RUN="
_BOOT_S = 120


class Booted:
    """The machine: its console's lines so far, and connections to it."""

    def __init__(self, folder: Path, kernel: Kernel, rootfs: Rootfs, *words: str) -> None:
        self.kernel, self.rootfs = kernel, rootfs
        self._pinned = folder / "known_hosts"
        known.pin(self._pinned, "test/rootfs", known.HostKey.parse(lab_keys().host_public))
        self._port = _free_port()
        self.lines: list[str] = []
        self._said = threading.Condition()
        argv = [
            *("qemu-system-aarch64", "-M", "virt,virtualization=on", "-cpu", "cortex-a57"),
            *("-smp", "2", "-m", "1G", "-display", "none", "-serial", "stdio"),
            *("-monitor", "none", "-no-reboot", "-kernel", str(kernel.image)),
            *("-initrd", str(rootfs.archive), "-append", cmdline("first", *words)),
            *("-netdev", f"user,id=n0,hostfwd=tcp:127.0.0.1:{self._port}-:22"),
            *("-device", "virtio-net-pci,netdev=n0,romfile="),
        ]
        pipe = subprocess.PIPE
        self.qemu = subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.qemu.stdout is not None
        for raw in self.qemu.stdout:
            with self._said:
                self.lines.append(raw.decode(errors="replace").rstrip())
                self._said.notify_all()

    def ready(self, run: str) -> None:
        """Wait until the boot with this run id says that it is ready."""
        with self._said:
            there = self._said.wait_for(lambda: f"{READY}{run}" in self.lines, _BOOT_S)
        assert there, "\n".join(self.lines[-30:])

    def connect(self) -> ssh.Connection:
        """Connect; the host key is pinned to the lab's."""
        target = ssh.Target(
            "127.0.0.1", self._port, "root", lab_keys().client, "test/rootfs", self._pinned
        )
        return ssh.connect(target, Deadline.after(60))

    def end(self) -> None:
        """Switch it off."""
        self.qemu.kill()
        self.qemu.wait()
        self._reader.join(10)
        for pipe in (self.qemu.stdin, self.qemu.stdout):
            if pipe:
                pipe.close()


def cmdline(run: str, *words: str) -> str:
    """A command line for a boot with this run id."""
    return " ".join(["console=ttyAMA0 panic=-1", IP, f"hilagent.run={run}", *words])


@contextmanager
def booted(folder: Path, kernel: Kernel, rootfs: Rootfs, *words: str) -> Iterator[Booted]:
    """Boot, wait for the first word of the root file system, and switch off in the end."""
    machine = Booted(folder, kernel, rootfs, *words)
    try:
        machine.ready("first")
        yield machine
    finally:
        machine.end()


def run(board: ssh.Connection, *argv: str) -> str:
    """Run a command that must succeed; return what it said."""
    done = board.run(argv, deadline=Deadline.after(60))
    assert done.status == 0, (argv, done)
    return done.out.decode() + done.err.decode()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
