# SPDX-License-Identifier: Apache-2.0
"""Sums of what isn't known, and conditions over them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilagent.audit.values import Flags, Value, constant, symbol

WORDS = st.integers(0, (1 << 64) - 1)
SP, X0 = symbol("SP_EL2"), symbol("x0")


@given(WORDS, WORDS)
def test_sums_are_those_of_the_cpu(one: int, two: int) -> None:
    assert (constant(one) + constant(two)).known == (one + two) % (1 << 64)
    assert (constant(one) - constant(two)).known == (one - two) % (1 << 64)


@given(WORDS)
def test_what_was_added_and_taken_away_is_gone(number: int) -> None:
    moved = SP + X0 + constant(number)
    assert moved.symbols == {"SP_EL2", "x0"}
    assert moved.known is None
    assert moved - X0 - constant(number) == SP
    assert (SP - SP).known == 0


def test_the_stack_check_of_kvm_keeps_both_registers() -> None:
    """kvm/hyp/nvhe/host.S, invalid_host_el2_vect: four additions, and nothing has changed."""
    sp = SP + X0
    x0 = sp - X0
    assert x0 == SP
    x0 = sp - x0
    assert (sp - x0, x0) == (SP, X0)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (constant(0), "0x0"),
        (X0, "x0"),
        (X0 + constant(16), "x0 + 0x10"),
        (constant(0) - X0, "-1*x0"),
        (SP + X0, "SP_EL2 + x0"),
    ],
)
def test_a_value_is_shown_as_a_sum(value: Value, said: str) -> None:
    assert str(value) == said


def test_only_a_register_itself_is_its_symbol() -> None:
    assert X0.symbol == "x0"
    assert (X0 + constant(1)).symbol == ""
    assert (X0 + X0).symbol == ""


@given(st.integers(0, 7), st.integers(0, 7))
def test_conditions_of_small_numbers(one: int, two: int) -> None:
    flags = Flags("sub", constant(one), constant(two))
    wanted = {
        "eq": one == two, "ne": one != two, "hi": one > two, "ls": one <= two,
        "hs": one >= two, "lo": one < two, "gt": one > two, "le": one <= two, "al": True,
    }  # fmt: skip
    assert {name: flags.holds(name) for name in wanted} == wanted


@given(WORDS, WORDS)
def test_signed_and_unsigned_conditions(one: int, two: int) -> None:
    flags = Flags("sub", constant(one), constant(two))
    signed = [value - (value >> 63 << 64) for value in (one, two)]
    assert flags.holds("lt") == (signed[0] < signed[1])
    assert flags.holds("lo") == (one < two)
    narrow = Flags("sub", constant(one), constant(two), 32)
    assert narrow.holds("eq") == (one & 0xFFFFFFFF == two & 0xFFFFFFFF)


@given(WORDS, WORDS)
def test_a_test_of_bits(one: int, two: int) -> None:
    flags = Flags("and", constant(one), constant(two))
    assert flags.holds("eq") == (one & two == 0)
    assert flags.holds("mi") == bool(one & two & 1 << 63)


def test_what_differs_by_a_number_is_never_equal() -> None:
    assert Flags("sub", X0 + constant(4), X0).holds("eq") is False
    assert Flags("sub", X0, X0).holds("ne") is False


def test_what_is_not_known_is_not_decided() -> None:
    assert Flags("sub", X0, constant(1)).holds("eq") is None
    assert Flags("sub", X0, constant(1)).holds("hi") is None
    assert Flags().holds("eq") is None
    assert Flags("sub", X0 + constant(4), X0, 32).holds("eq") is None
