# SPDX-License-Identifier: Apache-2.0
"""A folder that stands for a booted board: the files of 6.12 under QEMU, and small programs."""

from __future__ import annotations

from pathlib import Path

LOG = """\
<6>[    0.000000] Booting Linux on physical CPU 0x0000000000 [0x411fd070]
<5>[    0.000000] Linux version 6.12.117-hilagent (x@y) (gcc) #1 SMP PREEMPT
<6>[    0.000000] psci: probing for conduit method from DT.
<6>[    0.000000] psci: PSCIv1.1 detected in firmware.
<6>[    0.034512] CPU: All CPU(s) started at EL2
<6>[    0.071234] kvm [1]: nv: 477 coarse grained trap handlers
<6>[    0.080321] kvm [1]: IPA Size Limit: 44 bits
<6>[    0.081234] kvm [1]: Hyp nVHE mode initialized successfully
"""
FILES = {
    "proc/cmdline": "console=ttyAMA0 hilagent.run=0123456789abcdef crashkernel=160M\n",
    "proc/sys/kernel/osrelease": "6.12.117-hilagent\n",
    "proc/sys/kernel/version": "#1 SMP PREEMPT\n",
    "proc/sys/kernel/random/boot_id": "9f2e6c9e-5c3d-4a5c-8f0e-000000000001\n",
    "proc/meminfo": "MemTotal:        1000000 kB\nMemFree: 1 kB\nMemAvailable:     900000 kB\n",
    "proc/device-tree/psci/method": "smc\0",
    "proc/sysrq-trigger": "",
    "proc/sys/kernel/panic": "0\n",
    "proc/sys/kernel/panic_on_oops": "0\n",
    "sys/devices/system/cpu/online": "0-1\n",
    "sys/devices/system/cpu/possible": "0-1\n",
    "sys/devices/system/cpu/cpu1/online": "1\n",
    "sys/kernel/kexec_loaded": "0\n",
    "sys/kernel/kexec_crash_loaded": "0\n",
    "sys/kernel/kexec_crash_size": "167772160\n",
    "log": LOG,
}
DMESG = '[ "$1" = -r ] && exec cat "$HOME/log"'
LOADS = """\
echo "$@" >>"$HOME/calls"
case "$*" in
load*--crash*) echo 1 >"$HOME/sys/kernel/kexec_crash_loaded" ;;
load*) echo 1 >"$HOME/sys/kernel/kexec_loaded" ;;
unload) echo 0 >"$HOME/sys/kernel/kexec_loaded" ;;
esac
"""


def make(root: Path) -> Path:
    """Lay the files out below ``root`` and return it."""
    for name, text in FILES.items():
        write(root / name, text)
    program(root / "bin/dmesg", DMESG)
    program(root / "sbin/hilkexec", LOADS)
    program(root / "sbin/hilkvm", "echo kvm ok")
    return root


def write(path: Path, text: str) -> None:
    """Write a file and its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def program(path: Path, script: str) -> None:
    """Write a program; ``$HOME`` in it is the board's root."""
    write(path, f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def refuses(root: Path, why: str, log: str = "") -> None:
    """Make the loader fail as hilkexec does, and the kernel say ``log`` meanwhile."""
    say = f"printf '%s\\n' '{log}' >>\"$HOME/log\"\n" if log else ""
    program(root / "sbin/hilkexec", f"{say}echo 'hilkexec: kexec_file_load: {why}' >&2\nexit 1")
