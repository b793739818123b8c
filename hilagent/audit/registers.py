# SPDX-License-Identifier: Apache-2.0
"""Which general registers one instruction reads and overwrites, and where it goes on.

By their fields for data processing; else what capstone says, where that is known to be
right. Elsewhere (loads and stores that are no plain ones, what it can't decode) every
number in a field that may name a register counts as read, and nothing as overwritten.
A write of ``w17`` is one of all of x17. Encodings: Arm ARM DDI 0487, C4.1.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from .tables import branches_to

Kind = Literal[
    "next", "branch", "conditional", "call", "jump", "indirect call", "return", "eret",
    "exception", "brk", "stop",
]  # fmt: skip
"""``exception``: svc, hvc, smc; ``stop``: hlt, udf, dcps and what else never goes on."""

ARGUMENTS = frozenset(range(8))
"""What an svc, hvc or smc hands over (Arm DEN0028, SMC Calling Convention)."""

_BY_REGISTER: dict[int, Kind] = {0: "jump", 1: "indirect call", 2: "return", 4: "eret"}
_HINTS = {
    **dict.fromkeys((0xD503211F, 0xD503215F, 0xD503219F, 0xD50321DF), (16, 17)),  # pacia1716, ...
    0xD503251F: (16,),  # chkfeat x16
}
_FIELDS = (0, 5, 10, 16)


@dataclass(frozen=True, slots=True)
class Effect:
    """What an instruction does with x0 to x30.

    Attributes:
        reads: what it may read; ``kills``: what it surely overwrites without reading it.
        known: the disassembler knows it; one that it doesn't may do anything.
    """

    reads: frozenset[int]
    kills: frozenset[int]
    known: bool = True


@functools.lru_cache(1 << 16)
def effect(word: int) -> Effect:
    """Return which registers the instruction ``word`` reads and kills."""
    if word & 0xFE00_0000 == 0xD600_0000:  # by a register; braa and blraa have a modifier
        reads = {word >> 5 & 31, word & 31 if word >> 24 & 1 else 31} - {31}
        return Effect(frozenset(reads), frozenset({30} if word >> 21 & 7 == 1 else ()) - reads)
    if kind_of(word) == "exception":
        return Effect(ARGUMENTS, frozenset())
    if word >> 26 & 7 == 0b100 or word >> 25 & 7 == 0b101:
        reads, kills = _processing(word)
        return Effect(frozenset(reads - {31}), frozenset(kills - reads - {31}))
    if word & 0xFFF0_0000 == 0xD530_0000:  # mrs
        return Effect(frozenset(), frozenset({word & 31} - {31}))
    if word & 0xFFC0_A000 == 0x8580_0000 or word & 0xFFC0_A000 == 0xE580_0000:  # SVE ldr, str
        return Effect(frozenset({word >> 5 & 31} - {31}), frozenset())
    if word & 0x3F60_0000 == 0x0840_0000:  # ldxr, ldaxr, ldar, ldlar
        return Effect(
            frozenset({word >> 5 & 31} - {31}), frozenset({word & 31} - {31, word >> 5 & 31})
        )
    found = next(_engine().disasm(word.to_bytes(4, "little"), 0, 1), None)
    if found is None:
        numbers = _named(word, _FIELDS) | _implied(word)
        return Effect(frozenset(numbers), frozenset(), known=word >> 16 == 0)
    read, written = (_numbers(found, each) for each in found.regs_access())
    read |= _implied(word)
    if _is_certain(word):
        kills = written - read
    else:
        kills = set()
        read |= _named(word, _may_name(word)) - (written if _is_system(word) else set())
    return Effect(frozenset(read - {31}), frozenset(kills - read))


def may_name(word: int, register: int) -> bool:
    """Whether a word may have an operand of that number; False is sure, without decoding it."""
    group = word >> 25 & 15
    fields: tuple[int, ...] = _FIELDS
    if group & 0b1110 == 0b1000:  # data processing with an immediate: extr alone has three
        fields = (0, 5, 16) if word >> 23 & 7 == 0b111 else (0, 5)
        fields = (0,) if word >> 23 & 7 in (0b000, 0b001, 0b101) else fields
    elif word >> 24 & 0x3F == 0x39 and word >> 22 & 3 != 3:
        fields = (0, 5)
    elif word & 0x7C00_0000 == 0x1400_0000:
        return register == 30
    elif word & 0xFF00_0010 == 0x5400_0000:
        return False
    elif group & 0b1111 == 0b1010 and word & 0x7C00_0000 == 0x3400_0000:
        fields = (0,)
    return register in _named(word, fields) | _implied(word)


def is_dumped(words: tuple[int, int, int]) -> bool:
    """Whether three instructions in a row store consecutive registers into one array.

    So C code writes down all registers of a crash (asm/kexec.h, crash_setup_regs).
    """
    first, second, third = words
    step = 2 << 15 | 2 | 2 << 10  # 16 bytes farther in imm7, and both registers
    is_pair = first & 0xFFC0_0000 == 0xA900_0000 and first >> 10 & 31 == (first & 31) + 1
    return is_pair and second - first == step and third - second == step


def kind_of(word: int) -> Kind:
    """Return how the instruction ``word`` goes on."""
    top = word >> 24
    if top & 0x7C == 0x14:
        return "call" if top & 0x80 else "branch"
    if top == 0x54 or top & 0x7C == 0x34:
        return "conditional"
    if top & 0xFE == 0xD6:
        return _BY_REGISTER.get(word >> 21 & 7, "stop")
    if top == 0xD4:
        if word >> 21 & 7 == 0 and word & 3:
            return "exception"
        return "brk" if word >> 21 & 7 == 1 else "stop"
    return "stop" if word >> 16 == 0 else "next"


def target_of(word: int, address: int) -> int:
    """Return where a direct branch or call leads. Raises ValueError for anything else."""
    target = branches_to(word, address)
    if target is None:
        raise ValueError(f"{word:#x} is no direct branch")
    return target


def may_touch(register: int, data: bytes, *, flow: bool = True) -> bytes:
    """Return a byte for each word of ``data``: not 0 where it may read or write a register.

    Also, with ``flow``, for every word that doesn't just go on, and for those with operands
    that no field names. All others leave the register as it is.
    """
    low, second, third, top = (data[at::4] for at in range(4))
    more = _either(top.translate(_NAMES_MORE),
                   _both(top.translate(_LOADS), third.translate(_NO_LOAD)))  # fmt: skip
    return _either(
        low.translate(_table(lambda byte: byte & 31 == register)),
        _both(
            low.translate(_table(lambda byte: byte >> 5 == register & 7)),
            second.translate(_table(lambda byte: byte & 3 == register >> 3)),
        ),
        _both(more, second.translate(_table(lambda byte: byte >> 2 & 31 == register))),
        _both(_either(more, top.translate(_EXTR)),
              third.translate(_table(lambda byte: byte & 31 == register))),
        top.translate(_LOOK if flow else _UNUSUAL),
        *(_both(*parts) for parts in _unusual(second, third, top)),
    )  # fmt: skip


def _unusual(second: bytes, third: bytes, top: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield what both marks words with operands that no field names: ld64b, sysp and hints."""
    yield (
        top.translate(_table(lambda byte: byte == 0xF8)),
        third.translate(_table(lambda byte: byte & 0xE0 == 0x20)),
    )
    system = top.translate(_table(lambda byte: byte == 0xD5))
    yield system, third.translate(_table(lambda byte: byte & 0xC0 == 0x40))
    yield system, _both(third.translate(_table(lambda byte: byte == 3)),
                        second.translate(_table(lambda byte: byte in (0x21, 0x25))))  # fmt: skip


def _table(holds: Any) -> bytes:
    return bytes(int(holds(byte)) for byte in range(256))


_UNUSUAL = _table(
    lambda top: top in (0x55, 0x74, 0x75, 0xF3, 0xF4, 0xF5, 8, 0x48, 0xC0, 0xC1, 0xE0, 0xE1)
)
"""Top bytes of branches newer than capstone, of casp, of SME."""
_LOADS, _NO_LOAD = _table(lambda top: top & 0x3F == 0x39), _table(lambda third: third >= 0xC0)
"""Loads and stores with an offset of 12 bits (and what is beside them isn't allocated)."""
_EXTR = _table(lambda top: top & 0x1F == 0x13)
_NAMES_MORE = _table(lambda top: top & 0x1C != 0x10 and top & 0x3F != 0x39)
"""Neither those nor data processing with an immediate: in these, two fields name registers,
and in extr three. See :func:`may_name`, which looks at all of a word."""
_LOOK = _table(
    lambda top: _UNUSUAL[top] or top & 0x7C in (0x14, 0x34) or top in (0, 0x54, 0xD4, 0xD6, 0xD7)
)


def _either(*parts: bytes) -> bytes:
    number = 0
    for each in parts:
        number |= int.from_bytes(each, "little")
    return number.to_bytes(len(parts[0]), "little")


def _both(one: bytes, other: bytes) -> bytes:
    number = int.from_bytes(one, "little") & int.from_bytes(other, "little")
    return number.to_bytes(len(one), "little")


@functools.cache
def _engine() -> Any:
    import capstone

    engine = capstone.Cs(capstone.CS_ARCH_ARM64, capstone.CS_MODE_LITTLE_ENDIAN)
    engine.detail = True
    return engine


def _numbers(found: Any, registers: Any) -> set[int]:
    names = [str(found.reg_name(each)) for each in registers]
    names = [{"fp": "x29", "lr": "x30"}.get(name, name) for name in names]
    return {int(name[1:]) for name in names if name[0] in "xw" and name[1:].isdigit()}


def _named(word: int, fields: tuple[int, ...]) -> set[int]:
    return {word >> low & 31 for low in fields} - {31}


def _is_certain(word: int) -> bool:
    """Whether capstone is right about an instruction's general registers.

    Direct branches, SIMD and floating point, and loads and stores of the plain kinds.
    """
    group = word >> 25 & 15
    if group in (0b0111, 0b1111):
        return True
    if group in (0b1010, 0b1011):
        return word >> 24 != 0xD5
    return bool(group & 0b0101 == 0b0100) and _is_plain(word)


def _is_plain(word: int) -> bool:
    """Loads and stores by a literal, in pairs, or with an offset (C4.1.94)."""
    kind = word >> 27 & 7
    if kind == 0b011:
        return word & 0x0120_0000 == 0 or bool(word >> 26 & 1)
    if kind == 0b101:
        return True
    if kind != 0b111 or word >> 24 == 0xD9:
        return False
    if word >> 24 & 1:
        return True
    return not word >> 21 & 1 or word >> 10 & 3 == 2


def _is_system(word: int) -> bool:
    return word >> 24 == 0xD5


def _may_name(word: int) -> tuple[int, ...]:
    return (0,) if _is_system(word) else _FIELDS


def _processing(word: int) -> tuple[set[int], set[int]]:
    """Return what data processing reads and writes (C4.1.92, C4.1.95), by its fields.

    capstone is wrong about some aliases, e.g. of ubfm.
    """
    rd, rn, rm, ra = (word >> low & 31 for low in (0, 5, 16, 10))
    if word >> 26 & 7 == 0b100:
        kind = word >> 23 & 7
        if kind in (0b000, 0b001):  # adr, adrp
            return set(), {rd}
        if kind == 0b101:
            return ({rd} if word >> 29 & 3 == 3 else set()), {rd}  # movk keeps a part
        if kind == 0b111:
            return {rn, rm}, {rd}
        return {rn} | ({rd} if kind == 0b110 and word >> 29 & 3 == 1 else set()), {rd}  # bfm
    if word >> 24 & 31 == 0b11011:
        return {rn, rm, ra}, {rd}
    if word >> 24 & 31 != 0b11010:
        return {rn, rm}, {rd}
    kind = word >> 21 & 7
    if kind == 0b010:  # ccmp, ccmn
        return {rn} | (set() if word >> 11 & 1 else {rm}), set()
    if kind == 0b110 and word >> 30 & 1:  # one source; pointer authentication keeps a part
        return {rn} | ({rd} if rm else set()), {rd}
    if kind == 0b000 and ra:  # rmif, setf
        return {rn}, set()
    return {rn, rm}, {rd}


def _implied(word: int) -> set[int]:
    """Return registers that no field of the word names.

    casp and sysp take the next one, ld64b and its kin eight; SME's slices are w8 to w15.
    """
    if word in _HINTS:
        return set(_HINTS[word])
    if word & 0xBFA0_7C00 == 0x0820_7C00:
        return {low + 1 for low in (word & 31, word >> 16 & 31) if low < 30}
    if word & 0xFFE0_0000 == 0xF820_0000 and word & 0x8C00 == 0x8000:
        return set(range(word & 31, min((word & 31) + 8, 31)))
    if word >> 22 == 0xD540_0000 >> 22:
        return {(word & 31) + 1} if word & 31 < 30 else set()
    return set(range(8, 16)) if word >> 24 in (0xC0, 0xC1, 0xE0, 0xE1) else set()
