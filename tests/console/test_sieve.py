# SPDX-License-Identifier: Apache-2.0
"""Nothing that a board says can drive a person's terminal."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilagent.console.sieve import MAX_STRING, REPLACEMENT, Sieve
from hilagent.text import is_printable

COLOURS = re.compile(r"\x1b\[[0-9;]{0,30}m")
PIECES = st.sampled_from(
    [b"\x1b", b"\x1b[", b"\x1b]", b"\x1bP", b"\x9b", b"\x9d", b"\xc2\x9b", b"\xc2", b"\xe2\x80\xae",
     b"31", b";", b"m", b"6n", b"0;", b"\x07", b"\x1b\\", b"\r\n", b"\n", b"?25h", b"=> ", b"\0",
     b"(0", b"\x0e", b"\x05", b"c", "é".encode(), "\U0001f600".encode(), b"\xff", b"\x7f", b"\b"]
)  # fmt: skip
STREAMS = st.lists(PIECES | st.binary(max_size=8), max_size=40).map(b"".join)
OPTIONS = st.fixed_dictionaries({"colours": st.booleans(), "ascii_only": st.booleans()})


def sieved(data: bytes, **options: bool) -> str:
    return Sieve(**options).feed(data)


def in_pieces(data: bytes, cuts: list[int], **options: bool) -> str:
    sieve, ends = Sieve(**options), sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return "".join(sieve.feed(data[a:b]) for a, b in itertools.pairwise(ends))


@given(data=STREAMS, cuts=st.lists(st.integers(0, 500), max_size=8), options=OPTIONS)
def test_only_what_is_allowed_comes_out_however_the_stream_is_cut(
    data: bytes, cuts: list[int], options: dict[str, bool]
) -> None:
    out = in_pieces(data, cuts, **options)
    bare = COLOURS.sub("", out) if options["colours"] else out
    assert all(c in "\r\n\t\b" or is_printable(c) for c in bare)
    assert not options["ascii_only"] or out.isascii()
    assert not re.search(rb"[\x00-\x07\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f]", out.encode())


@given(data=STREAMS, cuts=st.lists(st.integers(0, 500), max_size=8), options=OPTIONS)
def test_the_answer_is_the_same_whole_and_in_pieces(
    data: bytes, cuts: list[int], options: dict[str, bool]
) -> None:
    whole = sieved(data, **options)
    assert in_pieces(data, cuts, **options) == whole
    assert in_pieces(data, list(range(len(data))), **options) == whole


@given(data=STREAMS, options=OPTIONS)
def test_what_has_passed_passes_again(data: bytes, options: dict[str, bool]) -> None:
    once = sieved(data, **options)
    assert sieved(once.encode(), **options) == once


@given(text=st.text(alphabet=st.sampled_from("ab1;[]\\ é€\U0001f600\r\n\t\b")))
def test_plain_text_passes_as_it_is(text: str) -> None:
    assert sieved(text.encode()) == text


@pytest.mark.parametrize(
    ("data", "seen"),
    [
        (b"a\x1b[6nb\x1b[cb", "abb"),  # status and device attributes: they are answered
        (b"a\x05\x07\0\x0e\x0fb", "ab"),
        (b"\x1b[2J\x1b[3;4Ha\x1bcb\x1b(0q\x1b#8", "abq"),
        (b"\x1b]52;c;cm0gLXJm\x07a\x1b]0;title\x1b\\b", "ab"),
        (b"\x1bP$q\"p\x1b\\a\x1b_x\x1b\\b", "ab"),
        (b"\x1b]0;no end\r\nnext", "\r\nnext"),
        (b"\x1b[1\r\nnext", "\r\nnext"),
        (b"\x9b2Ja", REPLACEMENT + "2Ja"),  # C1 in 8 bits is no UTF-8
        (b"\xc2\x9b2Ja", REPLACEMENT + "2Ja"),  # and C1 in UTF-8 is no character
        (b"\xe2\x80\xae\xff", REPLACEMENT * 2),
        (b"\x1b[31mred\x1b[0m", "red"),
    ],
)  # fmt: skip
def test_what_drives_a_terminal_is_dropped(data: bytes, seen: str) -> None:
    assert sieved(data) == seen


@pytest.mark.parametrize("code", ["", "0", "1;31", "01;97;104", "39;49", "7"])
def test_colours_pass_where_they_are_wanted(code: str) -> None:
    assert sieved(f"\x1b[{code}mx".encode(), colours=True) == f"\x1b[{code}mx"


@pytest.mark.parametrize("code", ["8", "5", "38;5;1", "?1", ">4;2", ";", "1;", "1" * 40, "0 "])
def test_what_hides_blinks_or_is_no_plain_colour_does_not(code: str) -> None:
    assert sieved(f"\x1b[{code}mx".encode(), colours=True).lstrip("1m") == "x"


def test_a_string_without_an_end_swallows_no_more_than_its_bound() -> None:
    out = sieved(b"\x1bP" + b"a" * 1000)
    assert out == "a" * (1000 - MAX_STRING + 1)


def test_without_utf_8_a_second_byte_can_not_be_a_control_byte() -> None:
    assert sieved("ě".encode(), ascii_only=True) == "?"
