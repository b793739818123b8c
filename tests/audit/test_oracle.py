# SPDX-License-Identifier: Apache-2.0
"""Random code, followed and executed: what the CPU does is one of the ways that were found."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import unicorn
from unicorn import arm64_const

from hilagent.audit.follow import Way, follow
from hilagent.audit.values import Value
from hilagent.elf import Elf

from .code import NOTHING_PATCHED, assembled

BLOCKS, LENGTH = 150, 8
CODE, STACK, TOP = 0x10000, 0x200000, 0x208000
MASK = (1 << 64) - 1
_TEMPLATES = (
    "mov {a}, {b}", "mov {wa}, {wb}", "movz {a}, #{i16}, lsl #16", "movk {a}, #{i16}",
    "movk {wa}, #{i16}, lsl #16", "mov {a}, #-2\n\tmovk {a}, #{i16}",
    "mov {a}, #{i12}\n\tadd {a}, {b}, {a}, lsr #{s}", "movn {a}, #{i16}",
    "movn {wa}, #{i16}", "mvn {a}, {b}",
    "add {a}, {b}, #{i12}", "sub {a}, {b}, #{i12}, lsl #12", "add {wa}, {wb}, #{i12}",
    "add {a}, {b}, {c}", "sub {a}, {b}, {c}", "add {a}, {b}, {c}, lsl #{s}",
    "sub {wa}, {wb}, {wc}", "add {a}, {b}, {c}, lsr #{s}", "add {a}, {b}, {wc}, uxtw",
    "add {a}, {b}, {wc}, sxtw", "adds {a}, {b}, {c}", "subs {a}, {b}, {c}", "neg {a}, {b}",
    "subs {wa}, {wb}, #{i12}", "cmp {a}, {b}", "cmp {a}, #{i12}", "cmp {wa}, {wb}",
    "cmn {a}, {b}", "tst {a}, {b}", "tst {a}, #0xff", "ands {a}, {b}, {c}", "ccmp {a}, {b}, #3, eq",
    "csel {a}, {b}, {c}, {cc}", "csinc {a}, {b}, {c}, {cc}", "cset {a}, {cc}",
    "and {a}, {b}, {c}", "orr {a}, {b}, {c}", "eor {a}, {b}, {c}", "bic {a}, {b}, {c}",
    "orr {a}, xzr, {b}", "and {a}, {b}, #0xffff", "orr {a}, {b}, #0xf0", "eor {wa}, {wb}, {wc}",
    "lsl {a}, {b}, #{s}", "lsr {a}, {b}, #{s}", "asr {a}, {b}, #{s}", "lsl {wa}, {wb}, #{s}",
    "ubfx {a}, {b}, #{s}, #8", "sbfx {a}, {b}, #{s}, #8", "bfi {a}, {b}, #{s}, #8",
    "rbit {a}, {b}", "clz {a}, {b}", "mul {a}, {b}, {c}", "udiv {a}, {b}, {c}",
    "extr {a}, {b}, {c}, #7", "rev {a}, {b}", "madd {a}, {b}, {c}, {a}",
    "stp {a}, {b}, [sp, #-16]!", "ldp {a}, {b}, [sp], #16", "str {a}, [sp, #{o}]",
    "ldr {a}, [sp, #{o}]", "str {wa}, [sp, #{o}]", "ldr {wa}, [sp, #{o}]",
    "strb {wa}, [sp, #{o}]", "ldrb {wa}, [sp, #{o}]", "stp {wa}, {wb}, [sp, #{o}]",
    "add {a}, sp, #{o}", "cbz {a}, 1f", "cbnz {wa}, 1f", "tbz {a}, #{s}, 1f",
    "tbnz {a}, #{s}, 1f", "b.{cc} 1f", "b 1f",
)  # fmt: skip
_CONDITIONS = ["eq", "ne", "hs", "lo", "mi", "pl", "vs", "vc", "hi", "ls", "ge", "lt", "gt", "le"]


def _line(rng: random.Random) -> str:
    """Return one instruction; a branch goes over the next."""
    numbers = [rng.randrange(6) for _ in range(3)]
    names = dict(zip("abc", (f"x{n}" for n in numbers), strict=True))
    names |= dict(zip(("wa", "wb", "wc"), (f"w{n}" for n in numbers), strict=True))
    template = rng.choice(_TEMPLATES)
    if template.startswith(("ldp", "stp")) and numbers[0] == numbers[1]:
        return "nop"  # loading one register twice is unpredictable
    text = template.format(
        **names, i16=rng.randrange(1 << 16), i12=rng.choice((0, 1, 4, 4095)), s=rng.randrange(1, 8),
        cc=rng.choice(_CONDITIONS), o=rng.choice((0, 8, 16, 24)),
    )  # fmt: skip
    return f"{text}\n\tnop\n1:" if "1f" in text else text


def _program(rng: random.Random) -> str:
    blocks = ("\n".join(_line(rng) for _ in range(LENGTH)) for _ in range(BLOCKS))
    return "\n".join(f".globl b{n}\nb{n}:\n{text}\n\teret" for n, text in enumerate(blocks))


def _executed(code: bytes, start: int, x: list[int]) -> tuple[list[int], int]:
    """Return x0-x30 and SP at the eret."""
    emulator: Any = unicorn
    cpu = emulator.Uc(unicorn.UC_ARCH_ARM64, unicorn.UC_MODE_ARM)
    cpu.mem_map(CODE, 0x20000)
    cpu.mem_write(CODE, code)
    cpu.mem_map(STACK, 0x10000)
    registers = [getattr(arm64_const, f"UC_ARM64_REG_X{n}") for n in range(31)]
    for register, value in zip(registers, x, strict=True):
        cpu.reg_write(register, value)
    cpu.reg_write(arm64_const.UC_ARM64_REG_SP, TOP)
    end = code.index((0xD69F03E0).to_bytes(4, "little"), start)
    cpu.emu_start(CODE + start, CODE + end)
    found: list[int] = [cpu.reg_read(register) for register in registers]
    return found, int(cpu.reg_read(arm64_const.UC_ARM64_REG_SP))


def _number(value: Value, x: list[int]) -> int | None:
    """Return what a value is for these registers; None where nobody can know."""
    text = str(value)
    if "?" in text or re.search(r"(asr|ror|extend)\d", text):
        return None
    names: dict[str, Any] = {f"x{n}": number for n, number in enumerate(x)} | {"SP_EL2": TOP}
    names["low32"] = lambda number: number & 0xFFFFFFFF
    for by in range(64):
        names[f"lsr{by}"] = lambda number, by=by: (number & MASK) >> by
    return int(eval(text, {"__builtins__": {}}, names)) & MASK


def _fits(way: Way, x: list[int], found: list[int], sp: int) -> bool:
    said = [_number(each, x) for each in (*way.x, way.sp)]
    return all(one in (None, two) for one, two in zip(said, [*found, sp], strict=True))


def _hex(x: list[int]) -> str:
    return " ".join(f"{number:#x}" for number in x[:6])


def _runs(elf: Elf, rng: random.Random) -> Iterator[tuple[int, Mapping[str, Any]]]:
    code = elf.read(0, elf.code[0].size)
    for number in range(BLOCKS):
        symbol = elf.symbols.named(f"b{number}")
        assert symbol is not None
        x = [rng.choice((0, 1, rng.getrandbits(64), MASK, 1 << 63)) for _ in range(31)]
        executed = _executed(code, symbol.address, x)
        ways = follow(elf, NOTHING_PATCHED, symbol.address).ways
        yield number, {"x": x, "found": executed[0], "sp": executed[1], "ways": ways}


@pytest.mark.parametrize("seed", range(4))
def test_what_the_cpu_does_is_one_of_the_ways(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    text = _program(rng)
    elf = assembled(text, tmp_path)
    known = total = 0
    for number, run in _runs(elf, rng):
        ways: list[Way] = run["ways"]
        fits = [each for each in ways if _fits(each, run["x"], run["found"], run["sp"])]
        block = text.split(".globl ")[number + 1]
        assert fits, f"{block}\n{_hex(run['x'])}\n{_hex(run['found'])}"
        assert all(each.ending == "eret" for each in ways)
        said = [_number(each, run["x"]) for each in fits[0].x[:6]]
        known, total = known + sum(each is not None for each in said), total + len(said)
    assert known / total > 0.4, "what can be known must not all be given up"
