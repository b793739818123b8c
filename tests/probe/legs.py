# SPDX-License-Identifier: Apache-2.0
"""Restarts as they were meant, and what a console says of them."""

from __future__ import annotations

from dataclasses import replace

from hilagent.probe.ended import Seen
from hilagent.probe.lpi import Interrupts
from hilagent.probe.restart import Kind, Leg, Receiver, Sender
from tests.probe import arrivals

OLD, NEW = "0123456789abcdef", "fedcba9876543210"
KVM, STUB = {0: "kvm", 1: "kvm"}, {0: "kvm", 1: "hyp-stub"}
BYE = b"[    4.2] kexec_core: Starting new kernel\r\n[    4.3] Bye!\r\n"
CRASHED = (
    b"[    9.0] sysrq: Trigger a crash\r\n"
    b"[    9.1] Kernel panic - not syncing: sysrq triggered crash\r\n"
    b"[    9.2] Starting crashdump kernel...\r\n[    9.3] Bye!\r\n"
)
DMESG = """\
[    0.000000] Booting Linux on physical CPU 0x0000000000 [0x411fd070]
[    0.000000] GICv2m: DT overriding V2M MSI_TYPER
[    0.010000] smp: Brought up 1 node, 2 CPUs
[    0.020000] CPU: All CPU(s) started at EL2
[    0.300000] kvm [1]: Hyp nVHE mode initialized successfully
"""
START = b"[    0.0] Booting Linux on physical CPU 0x0000000000 [0x411fd070]\r\n"
ITS = Interrupts(its=True, tables=(0x40C6_0000,))


def leg(kind: Kind = Kind.FILE, receiver: Receiver = Receiver.KERNEL, **changes: object) -> Leg:
    """Return a restart of the patched kernel under nVHE, of two CPUs."""
    sender = Sender(
        "patched", "nvhe", el=2, run_id=OLD, profile=arrivals.load("iss-6.12-scs"), servers=KVM
    )
    made = Leg(kind, sender, receiver, "patched", NEW, cpus=2, kvm="nvhe")
    return replace(made, **changes)  # type: ignore[arg-type]


def by(mode: str, el: int = 2) -> Sender:
    """Return the sender in another mode, which nobody asked who serves it."""
    return replace(leg().sender, mode=mode, el=el, servers={})


ARRIVED = Seen(BYE + START, run_id=NEW, dmesg=DMESG)
SILENT = Seen(BYE, waited_s=30, powered=True, boots=True)
PANIC = b"[    0.5] Kernel panic - not syncing: VFS: Unable to mount root fs\r\n"
