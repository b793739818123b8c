# SPDX-License-Identifier: Apache-2.0
"""Every ``hvc`` and ``smc`` of a kernel or module, and what can be told of each.

What a site is follows from its immediate, the function that it is in and the number in
x0, where that is a constant; nothing is claimed without saying on which evidence.
Encodings: Arm ARM C6.2 (HVC, SMC). Function identifiers: Arm DEN0028 (SMC Calling
Convention), section 2.5; KVM's own calls use those of its vendor range (asm/kvm_asm.h).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from hilagent.abi import Profile, load
from hilagent.elf import Elf, source_of
from hilagent.errors import InputError

from .conduit import HCALLS, Constants, classify
from .patches import ALIKE, CONDUIT, NOPS, Alternative, Patches

Kind = Literal["hcall", "smccc", "kvm", "xen", "unknown"]
Issues = Literal["hvc", "smc", "hvc or smc"]

MOST_SITES = 4096
"""A distribution's kernel has a few hundred."""

_BRANCHES = frozenset(("kvm_patch_vector_branch",))
"""Callbacks that write a branch and what it needs (Linux 6.12, kvm/va_layout.c)."""
_MASK, _HVC, _SMC = 0xFFE0_001F, 0xD400_0002, 0xD400_0003


@dataclass(frozen=True)
class Site:
    """One place that calls a higher exception level.

    Attributes:
        address: where it stands in the file; ``runs_at``: where it runs, another address
            for one in a replacement.
        issues: ``hvc or smc`` where the kernel decides it at boot.
        function, offset: what it is in, and how many bytes from its start.
        unit: source or object file that the linker knew, e.g. ``hyp-stub.o``; or empty.
        source: ``FILE:LINE`` by DWARF, or empty.
        kind: ``hcall`` of the ABI; ``smccc`` (firmware, a hypervisor); ``kvm`` (KVM's call
            of its own code at EL2); ``xen``; ``unknown``.
        number: what is in x0 (a function identifier), where that is a constant.
        hcall: its name, e.g. ``HVC_SET_VECTORS``.
        evidence: why it is that kind, a sentence.
        patched: how it depends on what the kernel writes at boot; or empty.
    """

    address: int
    runs_at: int
    issues: Issues
    immediate: int
    function: str
    offset: int
    unit: str = ""
    source: str = ""
    kind: Kind = "unknown"
    number: int | None = None
    hcall: str = ""
    evidence: str = ""
    patched: str = ""

    @property
    def place(self) -> str:
        """Function and offset."""
        return f"{self.function}+{self.offset:#x}" if self.offset else self.function


def find_sites(elf: Elf, patches: Patches, profile: Profile | None = None) -> tuple[Site, ...]:
    """Return every site, by address.

    Args:
        profile: the ABI whose hcalls are meant. Without: ``iss-6.12`` if a function that is
            known to issue one has an immediate, else ``x0-mainline``.

    Raises InputError.
    """
    every = itertools.chain(_written(elf), _at_boot(elf, patches))
    found = sorted(itertools.islice(every, MOST_SITES + 1), key=lambda site: site.address)
    if len(found) > MOST_SITES:
        raise InputError(elf.path, f"more than {MOST_SITES} hvc and smc: no kernel or module")
    abi, constants = profile or load(_assumed(found)), Constants(elf, patches)
    return tuple(_complete(elf, patches, abi, constants, site) for site in found)


def unaccounted(patches: Patches) -> tuple[Alternative, ...]:
    """Return the places where a callback that isn't known here may write an hvc or smc."""
    known = NOPS | ALIKE | CONDUIT | _BRANCHES
    return tuple(e for e in patches.alternatives if e.callback and not e.is_one_of(known))


def _written(elf: Elf) -> Iterator[Site]:
    """Yield what the file itself holds."""
    for section in elf.code:
        top = bytes(section.data[3::4])
        at = top.find(0xD4)
        while at >= 0:
            word = int.from_bytes(section.data[at * 4 : at * 4 + 4], "little")
            address = section.address + at * 4
            if word & _MASK in (_HVC, _SMC) and not elf.symbols.is_data(address):
                yield _site(elf, address, "hvc" if word & 1 == 0 else "smc", word >> 5 & 0xFFFF)
            at = top.find(0xD4, at + 1)


def _at_boot(elf: Elf, patches: Patches) -> Iterator[Site]:
    """Yield what a callback writes, by its name."""
    for place in sorted({e.original for e in patches.alternatives if e.is_one_of(CONDUIT)}):
        yield _site(elf, place, "hvc or smc", 0)


def _site(elf: Elf, address: int, issues: Issues, immediate: int) -> Site:
    function = elf.symbols.function_at(address)
    start = function.address if function and function.names else address
    return Site(
        address, address, issues, immediate, function.name if function else f"{address:#x}",
        address - start, function.unit if function else "",
    )  # fmt: skip


def _assumed(found: list[Site]) -> str:
    by_immediate = (e for e in found if e.immediate and e.function in HCALLS and e.issues == "hvc")
    return "iss-6.12" if any(by_immediate) else "x0-mainline"


def _complete(
    elf: Elf, patches: Patches, profile: Profile, constants: Constants, site: Site
) -> Site:
    runs_at = patches.replaces(site.address)
    if runs_at is not None:
        home = elf.symbols.function_at(runs_at)
        if home is not None and home.names:
            offset = runs_at - home.address
            site = replace(site, function=home.name, offset=offset, unit=home.unit)
    site = replace(
        site,
        runs_at=site.address if runs_at is None else runs_at,
        source=source_of(elf, site.address),
        patched=_patched(patches, site, runs_at),
    )
    what = classify(constants, profile, site.address, site.issues, site.immediate, site.function)
    return replace(
        site, kind=what.kind, number=what.number, hcall=what.hcall, evidence=what.evidence
    )


def _patched(patches: Patches, site: Site, runs_at: int | None) -> str:
    ways = []
    for each in patches.covering(site.address):
        if each.callback:
            names = each.callback[0].removeprefix("__kvm_nvhe_")
            ways.append(f"{_does(each)} {names}")
        elif runs_at is None:
            ways.append(f"replaced by {each.replacement:#x} with capability {each.capability}")
        elif each.replacement <= site.address < each.replacement + each.length:
            ways.append(f"replaces {runs_at:#x} with capability {each.capability}")
    return "; ".join(dict.fromkeys(ways))


def _does(alternative: Alternative) -> str:
    if alternative.is_one_of(CONDUIT):
        return "hvc #0, smc #0 or nothing, written at boot by"
    return "may become a nop, by" if alternative.is_one_of(NOPS) else "may be written over by"
