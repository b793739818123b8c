# SPDX-License-Identifier: Apache-2.0
"""One instruction, taken apart by capstone, for following a handler."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from hilagent.elf import Elf

Flow = Literal[
    "next", "branch", "conditional", "call", "indirect call", "jump", "return", "eret", "stop"
]
Kind = Literal["register", "number", "memory", "system", "other"]
_SP, _ZERO = 31, 32


@dataclass(frozen=True)
class Operand:
    """One operand.

    Attributes:
        register: 0-30, ``31`` the stack pointer, ``32`` zero; of memory its base.
        bits: width of the register.
        number: an immediate; of memory the displacement in bytes.
        shift: how it is shifted or extended: ``("lsl", 12)``; or empty.
        index: memory's index register, or None.
    """

    kind: Kind
    register: int = -1
    bits: int = 64
    number: int = 0
    shift: tuple[str, int] = ("", 0)
    index: int | None = None
    name: str = ""


@dataclass(frozen=True)
class Instruction:
    """One instruction.

    Attributes:
        target: of a direct branch; ``register``: of an indirect one.
        writes, vectors: numbers of the general and of the vector registers that it writes.
        writeback: the base register moves; ``post``: after the access.
    """

    address: int
    word: int
    name: str
    text: str
    operands: tuple[Operand, ...]
    flow: Flow
    condition: str = ""
    target: int = 0
    register: int = -1
    writes: tuple[int, ...] = ()
    vectors: tuple[int, ...] = ()
    writeback: bool = False
    post: bool = False


_FLOWS: dict[str, Flow] = {
    "b": "branch", "bc": "conditional", "bl": "call", "blr": "indirect call", "br": "jump",
    "ret": "return",
    "eret": "eret", "cbz": "conditional", "cbnz": "conditional", "tbz": "conditional",
    "tbnz": "conditional", "blraa": "indirect call", "blrab": "indirect call",
    "blraaz": "indirect call", "blrabz": "indirect call", "braa": "jump", "brab": "jump",
    "braaz": "jump", "brabz": "jump", "retaa": "return", "retab": "return", "eretaa": "eret",
    "eretab": "eret", "udf": "stop", "hlt": "stop", "brk": "stop", "dcps1": "stop",
}  # fmt: skip


_QUIET = frozenset(
    (
        "nop", "hint", "bti", "isb", "dsb", "dmb", "sb", "ssbb", "pssbb", "csdb", "esb", "psb",
        "tsb", "dgh", "clrex", "yield", "wfe", "wfi", "wfet", "wfit", "sev", "sevl", "prfm",
        "prfum", "tlbi", "dc", "ic", "at", "sys", "msr", "cmp", "cmn", "tst", "ccmp", "ccmn",
        "fcmp", "fcmpe", "fccmp", "fccmpe", "rmif", "setf8", "setf16", "cfinv", "axflag",
        "xaflag", "smc", "hvc", "svc",
    )
)  # fmt: skip
"""What writes no register that capstone could name. Of others it says nothing where it doesn't
know (of ``ldlar``, ``irg`` or ``sqrdmlah``, say): such are not followed."""
_MANY = re.compile(r"ld[1-4]r?")


def _unknown(name: str, flow: Flow, written: Sequence[object]) -> bool:
    """Whether it isn't known what an instruction writes; stores write memory."""
    if name in ("ld64b", "smstart", "smstop"):
        return True
    return flow == "next" and not written and name not in _QUIET and not name.startswith("st")


def _vectors_of_a_length(word: int) -> bool:
    """Whether it is SVE or SME (Arm ARM C4.1): capstone doesn't say what those write."""
    kind = word >> 25 & 15
    return kind == 2 or (kind == 0 and word >> 31 == 1)


_LSE, _CAS, _CASP, _LDRA = (
    (0x3F20_0C00, 0x3820_0000), (0x3FA0_7C00, 0x08A0_7C00), (0xBFA0_7C00, 0x0820_7C00),
    (0xFF20_0400, 0xF820_0400),
)  # fmt: skip


def _loaded(word: int) -> list[int]:
    """Return what an atomic or an authenticated load writes: capstone 5 leaves it out.

    Arm ARM C4.1.94: atomic memory operations, compare and swap (pair), loads with
    pointer authentication.
    """
    low, high = word & 31, word >> 16 & 31
    if word & _LSE[0] == _LSE[1] or word & _LDRA[0] == _LDRA[1]:
        found = [low]
    elif word & _CAS[0] == _CAS[1]:
        found = [high]
    elif word & _CASP[0] == _CASP[1]:
        found = [high, high + 1]
    else:
        return []
    return [number for number in found if number < 31]


@functools.cache
def _engine() -> Any:
    import capstone

    engine = capstone.Cs(capstone.CS_ARCH_ARM64, capstone.CS_MODE_LITTLE_ENDIAN)
    engine.detail = True
    return engine


def read(elf: Elf, address: int) -> Instruction | None:
    """Return the instruction at ``address``; None where the file has no code there."""
    section = elf.at(address)
    start = address - section.address if section is not None else 0
    if section is None or not section.executable or len(section.data) < start + 4 or address % 4:
        return None
    return _decoded(bytes(section.data[start : start + 4]), address)


@functools.lru_cache(1 << 16)
def _decoded(code: bytes, address: int) -> Instruction:
    word = int.from_bytes(code, "little")
    found = next(_engine().disasm(code, address, 1), None)
    if found is None or _vectors_of_a_length(word):
        return Instruction(address, word, ".word", f".word {word:#010x}", (), "stop")
    name, _, condition = found.mnemonic.partition(".")
    flow = _FLOWS.get(name, "next")
    if flow == "branch" and condition:
        flow = "conditional"
    operands = tuple(_operand(found, each) for each in found.operands)
    indirect = flow in ("indirect call", "jump", "return")
    register = operands[0].register if indirect and operands else 30
    written = [str(found.reg_name(each)) for each in found.regs_access()[1]]
    text = f"{found.mnemonic} {found.op_str}".strip()
    if _unknown(name, flow, [*written, *_loaded(word)]):
        return Instruction(address, word, ".word", text, (), "stop")
    if _MANY.fullmatch(name):
        written += [str(found.reg_name(each.reg)) for each in found.operands if each.reg]
    direct = flow in ("branch", "conditional", "call")
    return Instruction(
        address, word, name, text, operands, flow,
        condition or _conditions(found), operands[-1].number % (1 << 64) if direct else 0, register,
        (*(_gpr(name)[0] for name in written), *_loaded(word)),
        tuple(int(name[1:]) for name in written if name[0] in "vqdshb" and name[1:].isdigit()),
        bool(found.writeback), "]," in found.op_str,
    )  # fmt: skip


def _conditions(found: Any) -> str:
    """Return the condition of a select or conditional compare, or empty."""
    import capstone.arm64 as arm64

    names = {
        getattr(arm64, f"ARM64_CC_{each.upper()}"): each
        for each in [
            "eq",
            "ne",
            "hs",
            "lo",
            "mi",
            "pl",
            "vs",
            "vc",
            "hi",
            "ls",
            "ge",
            "lt",
            "gt",
            "le",
            "al",
            "nv",
        ]
    }
    return names.get(found.cc, "")


def _gpr(name: str) -> tuple[int, int]:
    """Return number and bits of a register by its name; (-1, 0) for any other."""
    if name in ("sp", "wsp"):
        return _SP, 64
    if name in ("xzr", "wzr"):
        return _ZERO, 64 if name == "xzr" else 32
    named = {"fp": "x29", "lr": "x30"}.get(name, name)
    if named[:1] in ("x", "w") and named[1:].isdigit():
        return int(named[1:]), 64 if named[0] == "x" else 32
    return -1, 0


def _operand(found: Any, operand: Any) -> Operand:
    import capstone.arm64 as arm64

    shifts = {
        arm64.ARM64_SFT_LSL: "lsl", arm64.ARM64_SFT_LSR: "lsr", arm64.ARM64_SFT_ASR: "asr",
        arm64.ARM64_SFT_ROR: "ror",
    }  # fmt: skip
    shift = (shifts.get(operand.shift.type, ""), int(operand.shift.value))
    if operand.ext not in (0, arm64.ARM64_EXT_UXTX, arm64.ARM64_EXT_SXTX):
        shift = ("extend", 0)
    if operand.type == arm64.ARM64_OP_REG:
        number, bits = _gpr(found.reg_name(operand.reg))
        return Operand("register" if bits else "other", number, bits, shift=shift)
    if operand.type == arm64.ARM64_OP_IMM:
        return Operand("number", number=int(operand.imm), shift=shift)
    if operand.type == arm64.ARM64_OP_MEM:
        base = _gpr(found.reg_name(operand.mem.base))[0]
        index = _gpr(found.reg_name(operand.mem.index))[0] if operand.mem.index else None
        return Operand("memory", base, number=int(operand.mem.disp), index=index, shift=shift)
    if operand.type in (arm64.ARM64_OP_SYS, arm64.ARM64_OP_REG_MRS, arm64.ARM64_OP_REG_MSR):
        parts = [part.strip() for part in found.op_str.split(",")]
        name = parts[1] if found.mnemonic == "mrs" else parts[0]
        return Operand("system", name=name.upper())
    return Operand("other")
