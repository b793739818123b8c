# SPDX-License-Identifier: Apache-2.0
"""An emulated board with a Debian of its own, that Ansible reaches over SSH.

QEMU's process lives on over resets and while the board is "off", so that its disk and its port
do, too. Run as a program this is the board's switch: ``board_vm.py QMP-SOCKET on|off|cycle``.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hilagent.build import debian, keys
from hilagent.clock import Deadline
from hilagent.power.qmp import Qmp
from tests import tree

from .debian_disk import Disk

_START_S = 60.0
_MACHINE = "virt,virtualization=on,gic-version=3,its=off,acpi=off"
_CPUS = ("-cpu", "cortex-a57", "-smp", "2", "-m", "1024")
_CMDLINE = "root=/dev/vda2 ro net.ifnames=0 console=ttyAMA0 panic=10"
_FIRMWARE = "usr/share/qemu-efi-aarch64/QEMU_EFI.fd"
RESERVED = (0x6000_0000, 0x10_0000)
"""A region of RAM, and its size, that the device tree reserves for nobody."""


@dataclass(frozen=True)
class BoardVm:
    """One that runs.

    Attributes:
        port: of 127.0.0.1, for SSH.
        monitor: its QMP socket.
        console: the file that holds what it said.
    """

    name: str
    port: int
    monitor: Path
    console: Path

    @property
    def cycle(self) -> list[str]:
        """The command that switches it off and on."""
        return [*self.switch, "cycle"]

    @property
    def switch(self) -> list[str]:
        """Its switch, without what to do."""
        here = f"PYTHONPATH={tree.TOP}"  # whoever runs it is in a folder of its own
        return ["env", here, sys.executable, "-m", "tests.ansible.board_vm", str(self.monitor)]

    def said(self) -> str:
        """Return what its console has said so far."""
        return self.console.read_text(errors="replace")


@contextmanager
def running(folder: Path, name: str, disk: Disk, *, uefi: bool) -> Iterator[BoardVm]:
    """Start a board that boots from ``disk``, whose changes are lost at the end.

    Args:
        folder: a new one, for its sockets and its console.
        uefi: by UEFI and GRUB; else QEMU starts the disk's kernel, as U-Boot would.
    """
    folder.mkdir()
    monitor, console = folder / "qmp", folder / "console"
    argv: Sequence[str | Path] = [
        "setpriv", "--pdeathsig", "KILL", "--", "qemu-system-aarch64", "-name", name,
        *("-machine", _MACHINE, *_CPUS, *_first(disk, uefi), "-dtb", _with_reserved(folder)),
        *("-nodefaults", "-display", "none", "-serial", f"file:{console}"),
        *("-qmp", f"unix:{monitor},server=on,wait=off"),
        *("-drive", f"if=none,id=d0,format=raw,snapshot=on,file={disk.image}"),
        *("-device", "virtio-blk-pci,drive=d0", "-device", "virtio-net-pci,netdev=n0,romfile="),
        *("-netdev", "user,id=n0,restrict=on,hostfwd=tcp:127.0.0.1:0-:22"),
        *("-object", "rng-random,id=r0,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=r0"),
    ]  # fmt: skip
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL) as qemu:
        try:
            yield BoardVm(name, _port(_asked(monitor, "info usernet")), monitor, console)
        finally:
            qemu.kill()


def inventory(path: Path, boards: Sequence[BoardVm], known_hosts: Path) -> None:
    """Write an inventory with these boards, and the file with their pinned host keys."""
    own = keys.lab_keys()
    common = f"-o UserKnownHostsFile={known_hosts} -o GlobalKnownHostsFile=/dev/null"
    known_hosts.write_text(
        "".join(f"[127.0.0.1]:{each.port} {own.host_public}\n" for each in boards)
    )
    lines = ["boards:", "  vars:", "    ansible_host: 127.0.0.1", "    ansible_user: root",
             f"    ansible_ssh_private_key_file: {own.client}",
             f"    ansible_ssh_common_args: {common}", "  hosts:"]  # fmt: skip
    for each in boards:
        lines += [f"    {each.name}:", f"      ansible_port: {each.port}"]
    path.write_text("\n".join(lines) + "\n")


def _first(disk: Disk, uefi: bool) -> Sequence[str | Path]:
    """What QEMU starts."""
    if uefi:
        return ("-bios", debian.unpack(debian.fetch(["qemu-efi-aarch64"])) / _FIRMWARE)
    return ("-kernel", disk.kernel, "-initrd", disk.initrd, "-append", _CMDLINE)


def _with_reserved(folder: Path) -> Path:
    """Return QEMU's own device tree with :data:`RESERVED` in it."""
    own, source, tree = (folder / f"board.{kind}" for kind in ("own", "dts", "dtb"))
    dump = ["qemu-system-aarch64", "-machine", f"{_MACHINE},dumpdtb={own}", *_CPUS]
    subprocess.run([*dump, "-nodefaults", "-display", "none"], check=True, capture_output=True)
    subprocess.run(["dtc", "-q", "-I", "dtb", "-O", "dts", "-o", source, own], check=True)
    address, size = RESERVED
    node = f"""
/ {{
    reserved-memory {{
        #address-cells = <2>;
        #size-cells = <2>;
        ranges;
        log@{address:x} {{ reg = <0 {address:#x} 0 {size:#x}>; no-map; }};
    }};
}};
"""
    with source.open("a") as out:
        out.write(node)
    subprocess.run(["dtc", "-q", "-I", "dts", "-O", "dtb", "-o", tree, source], check=True)
    return tree


def _asked(monitor: Path, *lines: str) -> str:
    """Give the human monitor these commands; return what the last one said."""
    deadline = Deadline.after(_START_S)
    with socket.socket(socket.AF_UNIX) as sock:
        while sock.connect_ex(str(monitor)) != 0:  # QEMU makes it when it starts
            assert deadline.left_s() > 0, "QEMU didn't start"
        qmp = Qmp(sock)
        qmp.greet(deadline)
        said = ""
        for line in lines:
            said = str(qmp.execute("human-monitor-command", deadline, **{"command-line": line}))
        return said


def _port(said: str) -> int:
    rows = (line.split() for line in said.splitlines())
    return next(int(row[3]) for row in rows if row[:1] == ["TCP[HOST_FORWARD]"])


_DO = {"on": ["system_reset", "cont"], "off": ["stop"], "cycle": ["system_reset", "cont"]}

if __name__ == "__main__":
    _asked(Path(sys.argv[1]), *_DO[sys.argv[2]])
