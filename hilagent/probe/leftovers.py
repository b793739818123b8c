# SPDX-License-Identifier: Apache-2.0
"""What the sender left in EL2's registers: nobody promises anything, so these are notes.

They also say who served the restart, by other means than what should have served it:

* KVM's vectors return to the new image by ``eret`` (hyp-init.S,
  ``__kvm_handle_stub_hvc``): SPSR_EL2 says EL2h, and ELR_EL2 is the entry (or that of
  a purgatory, which runs before the image where kexec_load was used);
* the hyp-stub and its copy (trans_pgd) branch there: SPSR_EL2 is still the caller's,
  from EL1, and VBAR_EL2 tells the two apart;
* where ESR_EL2 holds no hvc, nobody issued one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hilagent.link.wire import Origin

from . import esr, names
from .arrival import Arrival, level

HCR_BITS: Mapping[str, int] = {
    "VM": 0, "FMO": 3, "IMO": 4, "AMO": 5, "TID3": 18, "TSC": 19, "TGE": 27, "HCD": 29, "RW": 31,
    "E2H": 34, "TLOR": 35, "APK": 40, "API": 41, "NV": 42, "FWB": 46, "ATA": 56,
}  # fmt: skip
"""HCR_EL2 (ARM DDI 0487), the bits that a kernel sets or that change what names mean."""


@dataclass(frozen=True)
class Leftover:
    """One register as it was found; ``value`` None where it can't be read."""

    register: str
    value: int | None
    text: str


@dataclass(frozen=True)
class Served:
    """Who served the restart, by what was found. Empty: no hvc."""

    servers: tuple[str, ...]
    why: str


def leftovers(arrival: Arrival) -> tuple[Leftover, ...]:
    """Return a line for each EL2 register that was saved."""
    if level(arrival.cpus[0]) < 2:
        return (Leftover("EL2", None, "entered at EL1: no register of EL2 can be read"),)
    return tuple(
        Leftover(register, arrival.entry[register], describe(arrival))
        if register in arrival.entry
        else Leftover(register, None, "not saved")
        for register, describe in _DESCRIBE.items()
    )


def served_by(arrival: Arrival) -> Served:
    """Return who can have served the hvc that brought us here."""
    if level(arrival.cpus[0]) < 2:
        return Served((), "entered at EL1: nothing of EL2 can be read")
    syndrome = esr.decode(arrival.entry["ESR_EL2"])
    if syndrome.ec != esr.EC_HVC64:
        return Served((), f"ESR_EL2 holds no hvc: {syndrome.name}")
    spsr, elr = arrival.entry["SPSR_EL2"], arrival.entry["ELR_EL2"]
    if spsr & 0x1F == Origin.EL2H:
        first = "the entry" if elr == arrival.entry["PC"] else f"{elr:#x}, which came before us"
        return Served(("kvm",), f"entered by an eret: SPSR_EL2 says EL2h, ELR_EL2 is {first}")
    vbar, stub = arrival.entry["VBAR_EL2"], arrival.stub_vectors
    if stub is None:
        why = f"branched to, from {names.mode(spsr)}; which vectors VBAR_EL2 {vbar:#x} is, unknown"
        return Served(("hyp-stub", "trans-pgd"), why)
    if vbar == stub:
        return Served(("hyp-stub",), f"branched to; VBAR_EL2 is the hyp-stub, {vbar:#x}")
    return Served(("trans-pgd",), f"branched to; VBAR_EL2 {vbar:#x} is not the hyp-stub {stub:#x}")


def _esr(arrival: Arrival) -> str:
    value = esr.decode(arrival.entry["ESR_EL2"])
    if value.ec != esr.EC_HVC64:
        return f"no hvc: {value}"
    immediate = value.iss & 0xFFFF
    profile = arrival.profile
    if profile is None:
        return f"hvc #{immediate:#x}"
    wanted = profile.numbers.get("HVC_SOFT_RESTART")
    if profile.selector == "x0":
        right = "" if immediate == 0 else ", though its kernel issues hvc #0 alone"
        return f"hvc #{immediate:#x}: {profile.name} names its hcalls by x0{right}"
    name = "HVC_SOFT_RESTART" if immediate == wanted else "not its HVC_SOFT_RESTART"
    return f"hvc #{immediate:#x}: {name} of {profile.name}"


def _hcr(arrival: Arrival) -> str:
    value = arrival.entry["HCR_EL2"]
    known = [name for name, bit in HCR_BITS.items() if value >> bit & 1]
    rest = value & ~sum(1 << bit for bit in HCR_BITS.values())
    said = " ".join(known + ([f"bits {rest:#x}"] if rest else [])) or "0"
    vhe = {"E2H", "TGE"} <= set(known)
    return f"{said} (as VHE leaves it)" if vhe else said


def _spsr(arrival: Arrival) -> str:
    return names.mode(arrival.entry["SPSR_EL2"])


def _elr(arrival: Arrival) -> str:
    return "the entry itself" if arrival.entry["ELR_EL2"] == arrival.entry["PC"] else "stale"


def _vbar(arrival: Arrival) -> str:
    vbar = arrival.entry["VBAR_EL2"]
    if vbar == 0:
        return "never set"
    if vbar == arrival.stub_vectors:
        return "the sending kernel's hyp-stub"
    return "in the new image" if arrival.span[0] <= vbar <= arrival.span[1] else "stale"


def _vttbr(arrival: Arrival) -> str:
    value = arrival.entry["VTTBR_EL2"]
    return f"a guest's stage 2, VMID {value >> 48 & 0xFF}" if value else "0"


def _cntvoff(arrival: Arrival) -> str:
    return "a guest's offset" if arrival.entry["CNTVOFF_EL2"] else "0"


def _sctlr_el1(arrival: Arrival) -> str:
    return "EL1's MMU is still on" if arrival.entry["SCTLR_EL1"] & 1 else "EL1's MMU is off"


def _sre(arrival: Arrival) -> str:
    return "GICv3's registers" if arrival.entry["ICC_SRE_EL2"] & 1 else "0"


def _plain(register: str) -> Callable[[Arrival], str]:
    return lambda arrival: "stale" if arrival.entry[register] else "0"


_DESCRIBE: Mapping[str, Callable[[Arrival], str]] = {
    "ESR_EL2": _esr, "ELR_EL2": _elr, "SPSR_EL2": _spsr, "VBAR_EL2": _vbar, "HCR_EL2": _hcr,
    "CPTR_EL2": _plain("CPTR_EL2"), "MDCR_EL2": _plain("MDCR_EL2"),
    "CNTHCTL_EL2": _plain("CNTHCTL_EL2"), "CNTVOFF_EL2": _cntvoff, "VTTBR_EL2": _vttbr,
    "TCR_EL2": _plain("TCR_EL2"), "TTBR0_EL2": _plain("TTBR0_EL2"),
    "TCR2_EL2": _plain("TCR2_EL2"), "ICC_SRE_EL2": _sre,
    "SCTLR_EL1": _sctlr_el1,
}  # fmt: skip
