# SPDX-License-Identifier: Apache-2.0
"""Where an instruction goes, against a disassembler; what a path knows, against numbers."""

from __future__ import annotations

from typing import Any

import capstone
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilagent.elf.fields import Field, State
from hilagent.elf.flow import flow

AT = 0x4000_1000
MASK = (1 << 64) - 1
BRANCHES = {"b", "bc", "bl", "cbz", "cbnz", "tbz", "tbnz"}
CONDITIONS = ("eq", "ne", "hs", "lo", "hi", "ls")


def _disassembler() -> Any:
    found = capstone.Cs(capstone.CS_ARCH_ARM64, capstone.CS_MODE_ARM)
    found.detail = True
    return found


DISASSEMBLER = _disassembler()
WORDS = st.one_of(
    st.integers(0, 0xFFFFFFFF),
    st.tuples(
        st.sampled_from([
            0x14000000, 0x94000000, 0x54000000, 0x34000000, 0xB5000000, 0x36000000, 0xB7000000,
            0x10000000, 0x90000000, 0x18000000, 0x58000000, 0x9C000000, 0xD61F0000, 0xD63F0000,
            0xD65F0000, 0xD69F03E0,
        ]),
        st.integers(0, 0x3FFFFFF),
    ).map(lambda parts: parts[0] | parts[1] if parts[0] < 0xD6000000 else parts[0]),
)  # fmt: skip


@given(WORDS)
def test_targets_are_those_of_a_disassembler(word: int) -> None:
    found = next(DISASSEMBLER.disasm(word.to_bytes(4, "little"), AT), None)
    if found is None:
        return
    where = flow(word, AT)
    last = found.operands[-1].imm if found.operands else 0
    name = found.mnemonic.partition(".")[0]
    if name in BRANCHES:
        assert where.targets == (last & MASK,)
        always = found.mnemonic in ("b", "b.al", "b.nv", "bc.al", "bc.nv")
        assert where.falls is not always
    elif name in ("adr", "adrp"):
        assert where.data is not None
        assert where.data[0] & MASK == last & MASK
        assert where.page is (name == "adrp")
    elif name in ("ldr", "ldrsw") and found.operands[-1].type == capstone.arm64.ARM64_OP_IMM:
        assert where.data is not None
        assert where.data[0] & MASK == last & MASK
    elif name in ("br", "ret", "eret"):
        assert (where.ends, where.falls) == (name, False)
    else:
        assert where.targets == ()
        if name not in ("udf", "prfm") and not name.startswith(("braa", "brab", "ret", "eret")):
            assert where.falls or where.ends


@pytest.mark.parametrize("word", [0x54000010, 0x5400000E, 0x5400000F])
def test_what_is_always_taken_falls_only_where_it_may(word: int) -> None:
    assert flow(word, AT).falls is (word & 0xE != 0xE)


@given(
    st.integers(0, 40),
    st.lists(st.tuples(st.sampled_from(CONDITIONS), st.integers(0, 40)), max_size=12),
)
def test_a_path_that_a_number_takes_is_never_lost(
    number: int, compares: list[tuple[str, int]]
) -> None:
    """Follow the branches that ``number`` would take: what is known must still admit it."""
    field = Field("x0")
    state = State({0: field})
    truth = {
        "eq": int.__eq__, "ne": int.__ne__, "hs": int.__ge__, "lo": int.__lt__,
        "hi": int.__gt__, "ls": int.__le__,
    }  # fmt: skip
    for condition, other in compares:
        compared = State(state.registers, (field, other), state.known)
        taken, fallen = compared.split(condition)
        chosen = taken if truth[condition](number, other) else fallen
        assert chosen is not None
        assert chosen.of(field).admits(number)
        state = chosen


@given(st.integers(0, 63), st.integers(-2, 70))
def test_a_field_less_a_constant_is_compared_as_what_it_is(number: int, other: int) -> None:
    minus = 0x16
    state = State({}, (Field("esr", 26, 6, minus), other & 0x3F))
    taken, fallen = state.split("eq")
    chosen = taken if (number - minus) & 0x3F == other & 0x3F else fallen
    assert chosen is not None
    assert chosen.of(Field("esr", 26, 6)).admits(number)
