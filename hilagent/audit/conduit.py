# SPDX-License-Identifier: Apache-2.0
"""What one ``hvc`` or ``smc`` asks for, by its immediate, its function and x0.

The number in x0 is looked for in the straight code before it: a constant that is moved
there counts, unless something else may write x0 in between.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass
from typing import Literal

from hilagent.abi import Profile
from hilagent.elf import Elf, Function, Section

from .instruction import Instruction, Operand, read
from .patches import Patches
from .tables import branches_to, goes_on

XEN = 0xEA1
"""XEN_IMM (arch/arm64/include/asm/xen/hypervisor.h and xen/hypercall.S)."""

HCALLS = frozenset(
    (
        "__hyp_set_vectors", "__hyp_get_vectors", "__hyp_reset_vectors", "cpu_soft_restart",
        "__cpu_soft_restart", "arm64_relocate_new_kernel", "swsusp_arch_suspend_exit",
        "finalise_el2", "switch_to_vhe", "mutate_to_vhe",
    )
)  # fmt: skip
"""Functions whose hvc is an hcall of the stub's, in kernels from 4.7 on."""

CONDUITS = frozenset(
    (
        "__arm_smccc_hvc", "__arm_smccc_smc", "arm_smccc_1_2_hvc", "arm_smccc_1_2_smc",
        "__sdei_asm_handler", "__sdei_asm_exit_trampoline",
        "__sdei_handler_exit", "__invoke_psci_fn_hvc", "__invoke_psci_fn_smc",
    )
)  # fmt: skip
"""Functions that pass on their caller's arguments (kernel/smccc-call.S, entry.S, psci-call.S)."""

_FARTHEST, _EXCEPTION = 48, 0xD4
"""How far before a site a constant is looked for; svc, hvc, smc and brk, which end that."""
_LONGEST = 4 * 4096
_FAST, _SMC64, _VENDOR_HYP = 1 << 31, 1 << 30, 6
_OWNERS = {
    0: "Arm architecture", 1: "CPU", 2: "SiP", 3: "OEM", 4: "standard secure (PSCI, TRNG)",
    5: "standard hypervisor", 6: "vendor hypervisor",
}  # fmt: skip


@dataclass(frozen=True)
class What:
    """See the attributes of :class:`hilagent.audit.sites.Site`."""

    kind: Literal["hcall", "smccc", "kvm", "xen", "unknown"]
    evidence: str
    number: int | None = None
    hcall: str = ""


@dataclass(frozen=True)
class Constant:
    """What x0 holds, set at ``at``; ``but``: where it may hold something else."""

    value: int
    at: int
    but: str


def classify(
    constants: Constants, profile: Profile, address: int, issues: str, immediate: int, function: str
) -> What:
    """Return what the site is, with the evidence."""
    name = function.removeprefix("__kvm_nvhe_")
    if issues == "hvc" and immediate == XEN:
        return What("xen", f"hvc #{XEN:#x} is Xen's")
    if immediate:
        return _by_immediate(profile, issues, immediate)
    if name in CONDUITS:
        return What("smccc", f"{name} passes on its caller's arguments: a conduit that is called")
    x0 = constants.x0(address)
    if x0 is not None:
        return _by_x0(profile, issues, name, x0)
    if issues != "hvc":
        return What("smccc", f"{issues} #0: a conduit; what is in x0 can't be told")
    if profile.selector == "immediate":
        return What("smccc", f"hvc #0 names no other hcall in {profile.name}: SMCCC, or KVM's "
                    "call of its own code; what is in x0 can't be told")  # fmt: skip
    if name in HCALLS:
        return What("hcall", f"{name} issues an hcall; which one can't be told from x0")
    return What("unknown", "hvc #0, and what is in x0 can't be told")


def _by_immediate(profile: Profile, issues: str, immediate: int) -> What:
    name = next((n for n, number in profile.numbers.items() if number == immediate), "")
    if issues == "hvc" and profile.selector == "immediate" and name:
        return What("hcall", f"hvc #{immediate} is {name} in {profile.name}", None, name)
    return What(
        "unknown", f"{issues} #{immediate:#x}: no immediate of {profile.name}, Xen or SMCCC"
    )


def _by_x0(profile: Profile, issues: str, function: str, x0: Constant) -> What:
    value = x0.value
    where = f"x0 is {value:#x} (set at {x0.at:#x}{x0.but})"
    name = next((n for n, number in profile.numbers.items() if number == value), "")
    if issues == "hvc" and profile.selector == "x0" and name:
        return What("hcall", f"{where}: {name} in {profile.name}", value, name)
    if value & _FAST and value < 1 << 32:
        owner = value >> 24 & 0x3F
        if issues == "hvc" and owner == _VENDOR_HYP and value & _SMC64 and "guest" not in function:
            return What("kvm", f"{where}: KVM's call {value & 0xFFFF} of its code at EL2", value)
        return What("smccc", f"{where}: {_OWNERS.get(owner, 'SMCCC')} call, inlined", value)
    if issues != "hvc":
        return What("smccc", f"{issues} #0: a conduit; {where}", value)
    return What("unknown", f"{where}: no hcall of {profile.name} and no SMCCC fast call", value)


class Constants:
    """What is in x0 at the sites of one file; remembers what it read of the functions."""

    def __init__(self, elf: Elf, patches: Patches) -> None:
        self._elf, self._patches = elf, patches
        self._jumped = sorted(target for _, target in patches.jumps)
        self._kept: dict[tuple[int, int], int | None] = {}
        self._targets: dict[tuple[int, int], list[int]] = {}

    def x0(self, address: int) -> Constant | None:
        """Return the constant in x0 at ``address``; None where that can't be told."""
        parts: list[Instruction] = []
        function = self._elf.symbols.function_at(address)
        first = max(function.address if function else 0, address - 4 * _FARTHEST)
        for at in range(address - 4, first - 1, -4):
            word = self._elf.word(at)
            if not goes_on(word) or word >> 24 == _EXCEPTION:
                return None
            here = read(self._elf, at) if _may_write(word, 0) else None
            if here is None:
                continue
            if here.flow == "stop" or "call" in here.flow:
                return None  # not known to the disassembler, or a call
            if not _writes(here, 0):
                continue
            if here.name == "movk":
                parts.append(here)
                continue
            value = _moved(here)
            held = _source(here)
            if held is not None and function is not None:
                value = self._held(function, held)
            if value is None:
                return None
            for part in reversed(parts):
                value = _with(value, part)
            return Constant(value, at, self._but(at, address))
        return None

    def _but(self, first: int, end: int) -> str:
        """Say where a constant that is moved at ``first`` may not be the one at ``end``."""
        if any(self._patches.covering(place) for place in range(first, end, 4)):
            return ", if it isn't changed at boot"
        return ", on one path" if self._joined(first, end) else ""

    def _held(self, function: Function, register: int) -> int | None:
        """Return the one constant that a function has in a register that it saves."""
        key = function.address, register
        if key not in self._kept:
            self._kept[key] = self._only(function, register)
        return self._kept[key]

    def _only(self, function: Function, register: int) -> int | None:
        found: int | None = None
        if function.end - function.address > _LONGEST:
            return None
        for at in range(function.address, function.end - 3, 4):
            here = read(self._elf, at) if _may_write(self._elf.word(at), register) else None
            if here is None or not _writes(here, register):
                continue
            if here.name.startswith("ld") and any(_is_stack(each) for each in here.operands):
                continue  # the caller's value comes back
            if here.name == "movk" and found is not None:
                found = _with(found, here)
                continue
            value = _moved(here)
            if value is None or found is not None:
                return None
            found = value
        return found

    def _joined(self, first: int, end: int) -> bool:
        """Whether a branch near leads between ``first`` and ``end``, the latter included."""
        section, block = self._elf.at(end), end // _LONGEST
        if section is None:
            return True
        key = section.index, block
        if key not in self._targets:
            self._targets[key] = self._branches(section, block)
        return any(
            bisect.bisect_right(targets, first) < bisect.bisect_right(targets, end)
            for targets in (self._targets[key], self._jumped)
        )

    def _branches(self, section: Section, block: int) -> list[int]:
        """Return where branches in a block, and in those beside it, lead to; ascending."""
        start = max(section.address, (block - 1) * _LONGEST)
        end = min(section.address + len(section.data) & -4, (block + 2) * _LONGEST)
        words = memoryview(self._elf.read(start, end - start)).cast("I")
        places = range(start, start + 4 * len(words), 4)
        found = (branches_to(word, at) for word, at in zip(words, places, strict=True))
        return sorted(each for each in found if each is not None)


def _may_write(word: int, register: int) -> bool:
    """False for words that name ``register`` in no register field, and don't call."""
    if word >> 26 == 0b100101 or word & 0xFE00_0000 == 0xD600_0000:  # bl; by a register
        return True
    return any(word >> low & 31 == register for low in (0, 5, 10, 16))


def _writes(here: Instruction, register: int) -> bool:
    """Whether an instruction writes a register.

    Of those that load and store in one (Arm ARM C4.1.94: "Compare and swap", "Atomic memory
    operations") capstone doesn't always know it: they count as writing both registers.
    """
    word = here.word
    if word & 0x3F20_0C00 == 0x3820_0000 or word & 0x3F20_7C00 == 0x0820_7C00:
        return register in (word & 31, word >> 16 & 31)
    return register in here.writes


def _moved(here: Instruction) -> int | None:
    """Return the constant that an instruction moves to its register."""
    operands = here.operands
    if here.name not in ("mov", "movz", "movn") or len(operands) != 2:
        return None
    if operands[1].kind == "register":
        return 0 if operands[1].register == 32 else None
    value = operands[1].number << operands[1].shift[1]
    return (~value if here.name == "movn" else value) & (1 << operands[0].bits) - 1


def _source(here: Instruction) -> int | None:
    """Return the callee-saved register that an instruction copies from."""
    if here.name != "mov" or len(here.operands) != 2 or here.operands[1].kind != "register":
        return None
    register = here.operands[1].register
    return register if 19 <= register <= 28 else None


def _with(value: int, movk: Instruction) -> int:
    shift, part = movk.operands[-1].shift[1], movk.operands[-1].number
    return value & ~(0xFFFF << shift) | part << shift


def _is_stack(operand: Operand) -> bool:
    return operand.kind == "memory" and operand.register == 31
