# SPDX-License-Identifier: Apache-2.0
"""How the payload was entered: what it saved, and what is known of who sent it here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hilagent.abi import Profile
from hilagent.result import CpuFacts

from .names import Span, merge_spans

MMU, DCACHE, ICACHE, WXN, EE = 1 << 0, 1 << 2, 1 << 12, 1 << 19, 1 << 25
"""SCTLR_ELx.M, C, I, WXN and EE (ARM DDI 0487, SCTLR_EL2)."""

FIRMWARE, NO_HVC = "firmware", "none"
"""Servers that are none: no kernel was before us; a kernel that issued no hvc (VHE)."""


@dataclass(frozen=True)
class Tree:
    """The device tree at x0, as the host read it through the payload.

    Attributes:
        magic, size: the first two big-endian words.
        ram: (first, last) byte of each range of /memory.
        initrd: (first, last) byte of what /chosen names.
    """

    magic: int
    size: int
    ram: tuple[Span, ...] = ()
    initrd: Span | None = None


@dataclass(frozen=True)
class Arrival:
    """One entry into the payload.

    Attributes:
        cpus: every CPU's facts; CPU 0 is the one that was entered.
        image, image_size: where the payload stands, with its BSS.
        text_offset: of the payload's header.
        tree: None where it could not be read.
        server: who served the hvc: ``trans-pgd``, ``kvm``, ``hyp-stub``; ``none``
            where the sending kernel issues none; ``firmware`` where there was none.
        sender_el: what the sending kernel said that all its CPUs started at; 0 unknown.
        profile: the sending kernel's ABI.
        stub_vectors: physical address of the sending kernel's hyp-stub vectors.
    """

    cpus: tuple[CpuFacts, ...]
    image: int
    image_size: int
    text_offset: int = 0
    tree: Tree | None = None
    server: str = FIRMWARE
    sender_el: int = 0
    profile: Profile | None = None
    stub_vectors: int | None = None

    @property
    def entry(self) -> Mapping[str, int]:
        """What the entered CPU saved."""
        return self.cpus[0].entry

    @property
    def by_hvc(self) -> bool:
        """Whether an hvc brought us here, so that its contract holds too."""
        return self.server not in {FIRMWARE, NO_HVC}

    @property
    def seen(self) -> tuple[CpuFacts, ...]:
        """The CPUs whose entry was saved: those that were started."""
        return tuple(cpu for cpu in self.cpus if cpu.entry.get("CurrentEL"))

    @property
    def span(self) -> Span:
        """First and last byte of the image."""
        return self.image, self.image + self.image_size - 1


def blamed(server: str) -> str:
    """Return whose name a breach bears: what brought the first CPU here."""
    return {FIRMWARE: "boot", NO_HVC: "soft restart without an hvc"}.get(server, "HVC_SOFT_RESTART")


def level(cpu: CpuFacts) -> int:
    """Return the exception level that ``cpu`` was entered at."""
    return cpu.entry["CurrentEL"] >> 2 & 3


def sctlr(cpu: CpuFacts) -> int | None:
    """Return SCTLR of the entered level; None where it was not saved (EL3)."""
    name = {1: "SCTLR_EL1", 2: "SCTLR_EL2"}.get(level(cpu))
    return cpu.entry[name] if name else None


def inside(inner: Span, ranges: tuple[Span, ...]) -> bool:
    """Whether ``inner`` lies in ``ranges``; neighbours count as one."""
    return any(first <= inner[0] and inner[1] <= last for first, last in merge_spans(ranges))


def overlap(one: Span, two: Span) -> bool:
    """Whether two ranges share a byte."""
    return one[0] <= two[1] and two[0] <= one[1]
