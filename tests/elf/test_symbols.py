# SPDX-License-Identifier: Apache-2.0
"""Symbols, functions, units, and data that stands in code."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilagent.build import compile
from hilagent.elf import Function, Symbol, Symbols, open_elf

from .objects import assembled, linked

ONE = """
	.text
	.globl	shared
	.type	shared, %function
shared:	nop
	ret
	.type	mine, %function
mine:	ret
	.word	0x12345678
	.text
.Llabel:
	ret
"""
TWO = ONE.replace("shared", "other")


@pytest.fixture
def symbols(tmp_path: Path) -> Symbols:
    keep = "-Wa,-L"  # labels that the assembler would drop
    one = assembled(tmp_path, ONE, "one.S", keep)
    two = assembled(tmp_path, TWO, "two.S", keep)
    return open_elf(linked(tmp_path, one, two)).symbols


def _function(symbols: Symbols, name: str) -> Function:
    symbol = symbols.named(name)
    assert symbol is not None
    function = symbols.function_at(symbol.address)
    assert function is not None
    return function


def test_functions_end_where_the_next_begins(symbols: Symbols) -> None:
    shared, other = _function(symbols, "shared"), _function(symbols, "other")
    assert (shared.end - shared.address, shared.is_global) == (8, True)
    assert symbols.function_at(other.address - 4) == symbols.function_at(shared.end)
    assert symbols.function_at(shared.address + 4) == shared
    assert symbols.function_at(shared.address - 1) is None
    assert shared.address in shared
    assert shared.end not in shared


def test_every_function_has_the_unit_that_it_comes_from(symbols: Symbols) -> None:
    units = {each.name: each.unit for each in symbols.functions}
    assert units["shared"] == "one.o"
    assert units["other"] == "two.o"
    assert [each.unit for each in symbols if each.name == "mine"] == ["one.o", "two.o"]


def test_without_mapping_symbols_no_unit_is_guessed(tmp_path: Path) -> None:
    path = linked(tmp_path, assembled(tmp_path, ONE, "one.S"))
    tool = compile.toolchain().tool("objcopy")
    compile.run([tool, "-w", "-N", "$*", path.name], tmp_path)
    function = _function(open_elf(path).symbols, "shared")
    assert function.unit == ""


def test_a_literal_pool_is_data(symbols: Symbols) -> None:
    assert len(symbols.data) == 2
    for (first, end), after in zip(symbols.data, ("shared", "other"), strict=True):
        assert end - first == 4
        assert first == _function(symbols, after).address + 12
        assert [symbols.is_data(first + by) for by in (-1, 0, 3, 4)] == [False, True, True, False]


def test_prefixed_objects_keep_their_mapping_symbols(tmp_path: Path) -> None:
    path = assembled(tmp_path, ONE, "one.S", "-Wa,-L")
    tool = compile.toolchain().tool("objcopy")
    compile.run([tool, "--prefix-symbols=__kvm_nvhe_", path.name], tmp_path)
    symbols = open_elf(linked(tmp_path, path)).symbols
    assert symbols.named("__kvm_nvhe_.Llabel") is not None
    function = _function(symbols, "__kvm_nvhe_shared")
    assert function.unit == "one.o"
    assert symbols.data == ((function.address + 12, function.address + 16),)
    assert [each.name for each in symbols.functions] == ["__kvm_nvhe_shared", "__kvm_nvhe_mine"]


def test_a_function_is_called_by_what_a_person_would_say() -> None:
    at = [
        Symbol("__text_start", 0, 0, "none", is_global=True, section=1),
        Symbol("sized", 0, 8, "none", is_global=True, section=1),
        Symbol("alias", 0, 8, "func", is_global=False, section=1, unit="a.c"),
    ]
    function = Symbols(at, [(0, 8)]).functions[0]
    assert function.name == "alias"
    assert function.names == ("alias", "sized", "__text_start")
    assert (function.is_global, function.unit) == (True, "a.c")


def test_a_section_without_mapping_symbols_has_no_unit() -> None:
    mark = Symbol("$x", 0, 0, "none", is_global=False, section=1, unit="a.c")
    symbols = Symbols([mark], [(0, 8), (16, 24)])
    assert [symbols.unit_at(at) for at in (0, 4, 16, 20)] == ["a.c", "a.c", "", ""]


def test_the_global_one_of_two_symbols_is_found_by_name() -> None:
    local = Symbol("x", 0, 0, "func", is_global=False, section=1)
    known = Symbol("x", 8, 0, "func", is_global=True, section=1)
    undefined = Symbol("y", 0, 0, "none", is_global=True, section=0)
    for order in ([local, known], [known, local]):
        assert Symbols([*order, undefined], [(0, 16)]).named("x") == known
    assert Symbols([undefined], []).named("y") is None


@given(st.lists(st.tuples(st.integers(0, 64), st.sampled_from(["a", ".Lb", "$x", "$d"]))))
def test_functions_cover_all_code_once(marks: list[tuple[int, str]]) -> None:
    code = [(4, 20), (32, 60)]
    made = [Symbol(name, at, 0, "func", is_global=False, section=1) for at, name in marks]
    symbols = Symbols(made, code)
    covered = [at for each in symbols.functions for at in range(each.address, each.end)]
    assert covered == [at for first, end in code for at in range(first, end)]
    for at in range(70):
        function = symbols.function_at(at)
        assert (function is not None) == (at in covered)
        assert function is None or at in function
