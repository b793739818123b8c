# SPDX-License-Identifier: Apache-2.0
"""Which registers single instructions read and overwrite."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilagent.audit.registers import effect, kind_of, may_name, may_touch, target_of
from tests.audit.linked import program

CASES: dict[str, tuple[set[int], set[int]]] = {
    "mov x1, x2": ({2}, {1}),
    "mov w1, w2": ({2}, {1}),
    "mov x1, #5": (set(), {1}),
    "movk x1, #5": ({1}, set()),
    "add x1, x1, #1": ({1}, set()),
    "lsr w17, w0, #24": ({0}, {17}),
    "bfi x1, x2, #3, #4": ({1, 2}, set()),
    "extr x1, x2, x3, #4": ({2, 3}, {1}),
    "madd x1, x2, x3, x4": ({2, 3, 4}, {1}),
    "csel x1, x2, x3, eq": ({2, 3}, {1}),
    "ccmp x1, #17, #0, eq": ({1}, set()),
    "ccmp x1, x17, #0, eq": ({1, 17}, set()),
    "pacia x1, x2": ({1, 2}, set()),
    "adrp x1, .": (set(), {1}),
    "ldr x1, [x2], #8": ({2}, {1}),
    "ldr x1, [x2, x3]": ({2, 3}, {1}),
    "ldp x1, x2, [x3]": ({3}, {1, 2}),
    "stp x1, x2, [x3, #-16]!": ({1, 2, 3}, set()),
    "ldr x1, .": (set(), {1}),
    "ldaxr w17, [x4]": ({4}, {17}),
    "ldarb w1, [x1]": ({1}, set()),
    "str q17, [x2]": ({2}, set()),
    "fmov x1, d17": (set(), {1}),
    "mrs x1, currentel": (set(), {1}),
    "msr tpidr_el1, x1": ({1}, set()),
    "msr daifset, #15": (set(), set()),
    "dc civac, x1": ({1}, set()),
    "nop": (set(), set()),
    "pacia1716": ({16, 17}, set()),
    "bl .": (set(), {30}),
    "blr x1": ({1}, {30}),
    "br x1": ({1}, set()),
    "ret": ({30}, set()),
    "cbz x1, .": ({1}, set()),
    "tbz w1, #3, .": ({1}, set()),
    "hvc #1": (set(range(8)), set()),
    "ldr z17, [x1]": ({1}, set()),
}
AT_LEAST = {
    "ldadd x1, x2, [x3]": {1, 2, 3},
    "swp x1, x2, [x3]": {1, 2, 3},
    "cas x1, x2, [x3]": {1, 2, 3},
    "casp x2, x3, x4, x5, [x6]": {2, 3, 4, 5, 6},
    "stxr w1, x2, [x3]": {1, 2, 3},
    "ldxp x1, x2, [x3]": {1, 2, 3},
}


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    texts = [*CASES, *AT_LEAST]
    elf = program(tmp_path_factory.mktemp("words"), {"a.c": "\n".join(texts)})
    return {text: elf.word(0x10000 + 4 * index) for index, text in enumerate(texts)}


@pytest.mark.parametrize("text", CASES)
def test_what_an_instruction_reads_and_kills(words: dict[str, int], text: str) -> None:
    found = effect(words[text])
    assert (set(found.reads), set(found.kills), found.known) == (*CASES[text], True)


@pytest.mark.parametrize("text", AT_LEAST)
def test_of_atomics_and_exclusives_nothing_is_sure(words: dict[str, int], text: str) -> None:
    found = effect(words[text])
    assert found.reads >= AT_LEAST[text]
    assert not found.kills


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        (0x14000001, "branch"), (0x94000001, "call"), (0x54000020, "conditional"),
        (0x54000030, "conditional"), (0xB4000020, "conditional"), (0x37180020, "conditional"),
        (0xD61F0020, "jump"), (0xD71F0820, "jump"), (0xD63F0020, "indirect call"),
        (0xD65F03C0, "return"), (0xD65F0BFF, "return"), (0xD69F03E0, "eret"),
        (0xD4000002, "exception"), (0xD4000003, "exception"), (0xD4000001, "exception"),
        (0xD4200000, "brk"), (0xD4400000, "stop"), (0, "stop"), (0xD503201F, "next"),
        (0x91000000, "next"),
    ],
)  # fmt: skip
def test_how_an_instruction_goes_on(word: int, kind: str) -> None:
    assert kind_of(word) == kind


def test_where_a_branch_leads() -> None:
    assert target_of(0x14000001, 0x1000) == 0x1004
    assert target_of(0x97FFFFFF, 0x1000) == 0xFFC
    with pytest.raises(ValueError, match="no direct branch"):
        target_of(0xD503201F, 0)


def test_an_unknown_instruction_may_do_anything() -> None:
    found = effect(0x74000000)
    assert not found.known
    assert not found.kills


@given(st.lists(st.integers(0, (1 << 32) - 1), min_size=1, max_size=50), st.integers(0, 30))
def test_the_quick_look_misses_nothing(words: list[int], register: int) -> None:
    data = b"".join(word.to_bytes(4, "little") for word in words)
    for word, mark in zip(words, may_touch(register, data), strict=True):
        found = effect(word)
        if register in found.reads | found.kills or kind_of(word) != "next":
            assert mark, hex(word)
        if register in found.reads and kind_of(word) != "exception":
            assert may_name(word, register), hex(word)


def test_nor_does_it_of_real_instructions(tmp_path: Path) -> None:
    rng = random.Random(1)
    tops = (0x08, 0x48, 0x88, 0xC8, 0xF8, 0xB8, 0x38, 0xD5, 0xD6, 0xD7, 0xDA, 0xF9, 0xA9, 0x93)
    for _ in range(3000):
        word = rng.choice(tops) << 24 | rng.getrandbits(24)
        register = rng.randrange(31)
        found = effect(word)
        if register in found.reads | found.kills:
            assert may_touch(register, word.to_bytes(4, "little")) != b"\0", hex(word)
