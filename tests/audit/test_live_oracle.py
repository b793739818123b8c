# SPDX-License-Identifier: Apache-2.0
"""Random code, run twice with two values in one register: what differs was not dead."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import unicorn
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from hilagent.audit.live import after
from hilagent.audit.patches import Patches
from hilagent.audit.program import Program
from hilagent.elf import Elf
from tests.audit.linked import program

emulator: Any = unicorn

PAGE = 0x8000_0000
POOL = (0, 1, 2, 17, 18)
BASE = 20
TEMPLATES = (
    "add {x}, {y}, {z}", "sub {w}, {v}, #{i}", "eor {x}, {y}, {z}", "and {x}, {y}, #0xff",
    "mov {x}, {y}", "mov {w}, {v}", "movz {x}, #{i}", "movk {x}, #{i}", "movn {w}, #{i}",
    "bfi {x}, {y}, #3, #5", "ubfx {x}, {y}, #3, #5", "bfxil {w}, {v}, #3, #5", "lsr {w}, {v}, #7",
    "lsl {x}, {y}, {z}", "extr {x}, {y}, {z}, #9", "ror {x}, {y}, #3", "sxtw {x}, {v}",
    "madd {x}, {y}, {z}, {x}", "msub {x}, {z}, {y}, xzr", "udiv {x}, {y}, {z}", "rbit {x}, {y}",
    "clz {w}, {v}", "csel {x}, {y}, {z}, eq", "csinc {w}, {v}, wzr, ne", "cset {x}, lo",
    "adds {x}, {y}, {z}", "cmp {x}, {y}", "tst {x}, #1", "ccmp {x}, #3, #0, ne",
    "ccmp {x}, {y}, #0, eq", "adc {x}, {y}, {z}", "mrs {x}, nzcv", "adr {x}, .",
    "crc32b {w}, {v}, {v}",    "ldr {x}, [x20, #{o}]", "ldr {w}, [x20, #{o}]",
    "ldrsb {x}, [x20, #{o}]",
    "str {x}, [x20, #{o}]", "strb {w}, [x20, #{o}]", "ldp {x}, x5, [x20, #{o}]",
    "stp {x}, {y}, [x20, #{o}]",
    "fmov d0, {x}", "fmov {x}, d0", "mov v1.d[0], {x}", "umov {w}, v1.s[0]",
    "ldadd {x}, {y}, [x21]", "swp {x}, {y}, [x21]", "cas {x}, {y}, [x21]", "ldxr {x}, [x21]",
    "cbz {x}, 9f", "cbnz {w}, 9f", "tbz {x}, #2, 9f", "b.ne 9f", "b 9f", "bl g{n}",
)  # fmt: skip


def _line(rng: random.Random, number: int) -> str:
    a, b, c = (rng.choice(POOL) for _ in range(3))
    return rng.choice(TEMPLATES).format(
        x=f"x{a}", w=f"w{a}", y=f"x{b}", v=f"w{b}", z=f"x{c}", i=rng.choice((1, 17 << 5, 18, 0x11)),
        o=8 * rng.randrange(4), n=number,
    )  # fmt: skip


def _block(rng: random.Random, number: int, most: int, calls: bool) -> str:
    lines: list[str] = []
    while len(lines) < most:
        line = _line(rng, number)
        if calls or not line.startswith("bl "):
            lines.append(line)
        if rng.random() < 0.2:
            lines.append("9:")
    return "\n\t".join(lines) + "\n9:"


def _text(seed: int, count: int) -> str:
    rng = random.Random(seed)
    parts = []
    for number in range(count):
        parts.append(f"f{number}:\thvc #1\n\t{_block(rng, number, rng.randrange(1, 9), True)}")
        parts.append(f"end{number}:\twfi\n\tb end{number}")
        parts.append(f"g{number}:\t{_block(rng, number, rng.randrange(1, 4), False)}\n\tret")
    return "\n".join(parts) + "\n"


def _run(elf: Elf, first: int, end: int, register: int, value: int) -> tuple[object, ...]:
    """Return all that can be seen at the end, but for the register itself."""
    import unicorn.arm64_const as names

    (code,) = elf.code
    machine = emulator.Uc(emulator.UC_ARCH_ARM64, emulator.UC_MODE_ARM)
    machine.ctl_set_cpu_model(names.UC_CPU_ARM64_MAX)
    machine.mem_map(0x10000, 0x40000)
    machine.mem_write(code.address, bytes(code.data))
    machine.mem_map(PAGE, 0x1000)
    general = [getattr(names, f"UC_ARM64_REG_X{number}") for number in range(31)]
    machine.reg_write(names.UC_ARM64_REG_CPACR_EL1, 3 << 20)
    for number, name in enumerate(general):
        machine.reg_write(name, number * 0x0101_0101_0101)
    machine.reg_write(general[20], PAGE)
    machine.reg_write(general[21], PAGE + 64)
    machine.reg_write(general[register], value)
    machine.emu_start(first, end, count=200)
    seen = [machine.reg_read(name) for number, name in enumerate(general) if number != register]
    flags = machine.reg_read(names.UC_ARM64_REG_NZCV)
    vectors = [machine.reg_read(getattr(names, f"UC_ARM64_REG_V{n}")) for n in (0, 1)]
    ended = machine.reg_read(names.UC_ARM64_REG_PC)
    return seen, flags, vectors, ended, bytes(machine.mem_read(PAGE, 256))


def _address(elf: Elf, name: str) -> int:
    symbol = elf.symbols.named(name)
    assert symbol is not None
    return symbol.address


@given(st.integers(0, 1 << 32))
@settings(
    max_examples=4, deadline=None, derandomize=True, phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
def test_what_makes_a_difference_isnt_dead(tmp_path: Path, seed: int) -> None:
    count = 60
    elf = program(tmp_path, {"a.c": _text(seed, count)})
    code = Program(elf, Patches())
    answers, mattered = [], 0
    for number in range(count):
        site, end = _address(elf, f"f{number}"), _address(elf, f"end{number}")
        for register, found in after(code, site, (17, 18)).items():
            runs = [_run(elf, site + 4, end, register, value)
                    for value in (0, 0xFFFF_FFFF_FFFF_FFFF, 0x1234_5678_9ABC_DEF4)]  # fmt: skip
            assert runs[0][3] == end
            differ = runs.count(runs[0]) != len(runs)
            mattered += differ
            answers.append(found.state)
            assert not (differ and found.state == "dead"), (seed, number, register, found)
    assert mattered > count // 10
    assert answers.count("dead") > count // 10
