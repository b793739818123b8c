# SPDX-License-Identifier: Apache-2.0
"""ESR_ELx, field by field (ARM DDI 0487, D24.2.40 ESR_EL1 and ESR_EL2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

EC_UNKNOWN, EC_HVC64, EC_SYSREG, EC_BRK64 = 0x00, 0x16, 0x18, 0x3C
EC_DATA_SAME = 0x25

EC_NAMES: Mapping[int, str] = {
    0x00: "unknown reason (undefined instruction)", 0x01: "trapped WFI or WFE",
    0x03: "trapped MCR or MRC (cp15)", 0x04: "trapped MCRR or MRRC (cp15)",
    0x05: "trapped MCR or MRC (cp14)", 0x06: "trapped LDC or STC",
    0x07: "trapped SVE, SIMD or FP", 0x08: "trapped VMRS", 0x09: "trapped PAuth",
    0x0A: "trapped LD64B or ST64B", 0x0C: "trapped MRRC (cp14)", 0x0D: "branch target",
    0x0E: "illegal execution state", 0x11: "SVC (AArch32)", 0x12: "HVC (AArch32)",
    0x13: "SMC (AArch32)", 0x15: "SVC", 0x16: "HVC", 0x17: "SMC",
    0x18: "trapped MSR, MRS or system instruction", 0x19: "trapped SVE", 0x1A: "trapped ERET",
    0x1C: "pointer authentication failure", 0x1D: "trapped SME",
    0x20: "instruction abort from a lower EL", 0x21: "instruction abort at the same EL",
    0x22: "PC alignment", 0x24: "data abort from a lower EL", 0x25: "data abort at the same EL",
    0x26: "SP alignment", 0x27: "memory operation", 0x28: "trapped FP (AArch32)",
    0x2C: "trapped FP", 0x2D: "guarded control stack", 0x2F: "SError",
    0x30: "breakpoint from a lower EL", 0x31: "breakpoint at the same EL",
    0x32: "step from a lower EL", 0x33: "step at the same EL",
    0x34: "watchpoint from a lower EL", 0x35: "watchpoint at the same EL",
    0x38: "BKPT (AArch32)", 0x3A: "vector catch (AArch32)", 0x3C: "BRK",
}  # fmt: skip

_FAULTS: Mapping[int, str] = {
    0b0000: "address size fault", 0b0001: "translation fault", 0b0010: "access flag fault",
    0b0011: "permission fault",
}  # fmt: skip
_OTHER_FAULTS: Mapping[int, str] = {
    0b010000: "synchronous external abort", 0b010001: "synchronous tag check fault",
    0b011000: "synchronous parity or ECC error", 0b100001: "alignment fault",
    0b110000: "TLB conflict abort", 0b110001: "unsupported atomic update",
    0b110100: "lockdown", 0b110101: "unsupported exclusive access",
}  # fmt: skip
_IMMEDIATE = {0x11, 0x12, 0x13, 0x15, 0x16, 0x17, 0x38, 0x3C}
_DATA, _FETCH = {0x24, 0x25}, {0x20, 0x21}


@dataclass(frozen=True)
class Esr:
    """A decoded ESR. ``fields`` are the ISS's, in words where there are any."""

    value: int
    ec: int
    il: int
    iss: int
    iss2: int
    fields: Mapping[str, str]

    @property
    def name(self) -> str:
        """What the exception class is called."""
        return EC_NAMES.get(self.ec, f"reserved class {self.ec:#04x}")

    def __str__(self) -> str:
        said = ", ".join(f"{key} {value}" for key, value in self.fields.items())
        head = f"{self.value:#x}: EC {self.ec:#04x} {self.name}, IL {self.il}, ISS {self.iss:#x}"
        return f"{head} ({said})" if said else head


def decode(value: int) -> Esr:
    """Return ``value`` field by field; every 64-bit value decodes to something."""
    ec, iss = value >> 26 & 0x3F, value & 0x1FFFFFF
    return Esr(value, ec, value >> 25 & 1, iss, value >> 32 & 0xFFFFFF, _fields(ec, iss))


def fault_status(code: int) -> str:
    """Return what a DFSC or IFSC (6 bits) says."""
    if code >> 2 in _FAULTS:
        return f"{_FAULTS[code >> 2]}, level {code & 3}"
    if 0b010100 <= code <= 0b010111:
        return f"synchronous external abort on walk, level {code & 3}"
    if 0b011100 <= code <= 0b011111:
        return f"parity or ECC error on walk, level {code & 3}"
    return _OTHER_FAULTS.get(code, f"reserved status {code:#04x}")


def system_register(iss: int) -> str:
    """Return the generic name of the register in the ISS of a trapped MSR or MRS."""
    op0, op2, op1 = iss >> 20 & 3, iss >> 17 & 7, iss >> 14 & 7
    return f"S{op0}_{op1}_C{iss >> 10 & 15}_C{iss >> 1 & 15}_{op2}"


def _fields(ec: int, iss: int) -> dict[str, str]:
    if ec in _IMMEDIATE:
        return {"immediate": f"{iss & 0xFFFF:#x}"}
    if ec in _DATA:
        return _data_abort(iss)
    if ec in _FETCH:
        return {"IFSC": fault_status(iss & 0x3F), **_bits(iss, {"FnV": 10, "EA": 9, "S1PTW": 7})}
    if ec == EC_SYSREG:
        way = "read" if iss & 1 else "write"
        return {"register": system_register(iss), "access": way, "Rt": f"x{iss >> 5 & 31}"}
    if ec in {0x30, 0x31, 0x32, 0x33, 0x34, 0x35}:
        return {"status": f"{iss & 0x3F:#x}"}
    if ec == 0x2F:
        return {"IDS": str(iss >> 24 & 1), "AET": str(iss >> 10 & 7), "DFSC": f"{iss & 0x3F:#x}"}
    if ec == 0x01:
        return {"instruction": ("WFI", "WFE", "WFIT", "WFET")[iss & 3]}
    return {}


def _data_abort(iss: int) -> dict[str, str]:
    out = {"DFSC": fault_status(iss & 0x3F), "access": "write" if iss >> 6 & 1 else "read"}
    out |= _bits(iss, {"FnV": 10, "EA": 9, "CM": 8, "S1PTW": 7})
    if iss >> 24 & 1:
        out |= {"bytes": str(1 << (iss >> 22 & 3)), "register": f"x{iss >> 16 & 31}"}
    return out


def _bits(iss: int, places: Mapping[str, int]) -> dict[str, str]:
    return {name: "1" for name, place in places.items() if iss >> place & 1}
