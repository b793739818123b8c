# SPDX-License-Identifier: Apache-2.0
"""Entries into the payload as they were measured, by who sent it there."""

from __future__ import annotations

import functools
from dataclasses import replace

from hilagent import abi
from hilagent.link import wire
from hilagent.probe.arrival import FIRMWARE, NO_HVC, Arrival, Tree
from hilagent.result import CpuFacts

IMAGE, SIZE, DTB = 0x4040_0000, 0x10_0000, 0x4060_0000
STUB, COPY = 0x4081_0800, 0x4700_0000
RAM = ((0x4000_0000, 0x7FFF_FFFF),)
TREE = Tree(0xD00DFEED, 0x2000, RAM, (0x4800_0000, 0x48FF_FFFF))

load = functools.cache(abi.load)

_CLEAN = {
    "x0": DTB, "CurrentEL": 2 << 2, "DAIF": 0x3C0, "SPSel": 1, "SCTLR_EL2": 0x30C50830,
    "HCR_EL2": 0x80000000, "CNTPCT": 1000, "CNTFRQ": 62_500_000, "PC": IMAGE,
    "SCTLR_EL1": 0x30500800, "VBAR_EL2": STUB, "ESR_EL2": 0x5A000004, "SPSR_EL2": 0x3C5,
    "ELR_EL2": 0x4123_0010,
}  # fmt: skip


def cpu(number: int = 0, **changes: int) -> CpuFacts:
    """Return the facts of a CPU that was entered as the soft restart promises."""
    entry = dict.fromkeys(wire.ENTRY_REGS, 0) | _CLEAN
    if number:
        entry |= {"x0": 0, "ESR_EL2": 0, "VBAR_EL2": 0, "SPSR_EL2": 0, "ELR_EL2": 0}
        entry |= {"PC": IMAGE + 0x800, "SCTLR_EL2": 0}
    return CpuFacts(
        cpu=number, mpidr=number, midr=0x411FD070, front=0, base_vectors=0, catch=0,
        catch_size=0x800, catch_count=8, stack_page=0, bad_sp=0, ids={},
        entry=entry | changes,
    )  # fmt: skip


def arrival(server: str = "trans-pgd", *cpus: CpuFacts, **changes: int) -> Arrival:
    """Return an entry by ``server``; ``changes`` are CPU 0's registers."""
    first = cpu(0, **changes)
    return Arrival(
        cpus=(first, *(cpus or (cpu(1),))), image=IMAGE, image_size=SIZE, tree=TREE,
        server=server, sender_el=2, profile=load("iss-6.12-scs"), stub_vectors=STUB,
    )  # fmt: skip


def kinds() -> dict[str, Arrival]:
    """Return a clean entry of each kind that was measured, by its name."""
    x0 = load("x0-mainline")
    return {
        "firmware": replace(
            arrival(FIRMWARE, SCTLR_EL2=0, HCR_EL2=0, ESR_EL2=0, VBAR_EL2=0, SPSR_EL2=0),
            sender_el=0, profile=None, stub_vectors=None,
        ),
        "kexec": arrival("trans-pgd", VBAR_EL2=COPY),
        "kexec of a stock kernel": replace(
            arrival("trans-pgd", VBAR_EL2=COPY, ESR_EL2=0x5A000000), profile=x0
        ),
        "kexec with VHE": arrival(
            NO_HVC, SCTLR_EL2=0x30500800, HCR_EL2=0x488000000, ESR_EL2=0x56000000, SPSR_EL2=0
        ),
        "crash, KVM off": arrival("hyp-stub"),
        "crash under nVHE": arrival("kvm", SPSR_EL2=0x3C9, ELR_EL2=IMAGE),
        "crash of a stock kernel": replace(
            arrival("kvm", SPSR_EL2=0x3C9, ELR_EL2=IMAGE, ESR_EL2=0x5A000000), profile=x0
        ),
    }  # fmt: skip
