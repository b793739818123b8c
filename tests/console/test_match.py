# SPDX-License-Identifier: Apache-2.0
"""Bounded patterns on a growing stream."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilagent.console.match import MAX_WIDTH, PIECE_BYTES, Match, Matcher, bounded
from hilagent.errors import AgentBug


class Growing:
    """A stream of which more is seen with each call of ``grow``."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.end = 0
        self.cuts = 0

    def cut(self, start: int, size: int) -> tuple[int, bytes]:
        piece = self.data[start : min(start + size, self.end)]
        self.cuts += len(piece)
        return start, piece

    def feed(self, matcher: Matcher, sizes: list[int]) -> Match | None:
        for size in [*sizes, len(self.data)]:
            self.end = min(len(self.data), self.end + size)
            if match := matcher.search(self.cut, self.end):
                return match
        return None


@pytest.mark.parametrize(
    "pattern", [rb"a+", rb"a*b", rb"x{3,}", rb"(?:ab)+c", rb".*", b"x{5000}", rb"(a|b.*?)c"]
)
def test_a_pattern_without_a_bound_is_refused(pattern: bytes) -> None:
    with pytest.raises(AgentBug, match="matches"):
        bounded(pattern)


@pytest.mark.parametrize("pattern", [rb"a?", b"", rb"x{0,3}"])
def test_a_pattern_that_matches_nothing_at_all_is_refused(pattern: bytes) -> None:
    with pytest.raises(AgentBug, match="matches 0"):
        bounded(pattern)


@pytest.mark.parametrize(
    "pattern", [rb"=> $", rb"^=> ", rb"a\b", rb"a(?=b)", rb"(?<!x)a", rb"(?:(a$)|b)", rb"a\Z"]
)
def test_a_pattern_that_looks_beyond_itself_is_refused(pattern: bytes) -> None:
    with pytest.raises(AgentBug, match="looks beyond itself"):
        bounded(pattern)


def test_the_width_of_a_pattern_is_its_longest_match() -> None:
    assert bounded(rb"[\r\n]=> ")[1] == 4
    assert bounded(rb"(?:ab|cde)\d{1,4}x?")[1] == 8
    assert bounded(re.compile(b"HELLO", re.IGNORECASE))[1] == 5
    assert bounded(b"x{%d}" % MAX_WIDTH)[1] == MAX_WIDTH


def test_a_match_tells_where_and_what() -> None:
    stream = Growing(b"kernel_addr_r=0x40400000\r\n")
    match = stream.feed(Matcher([b"nothing", rb"=0x([0-9a-f]{1,16})\r"], 0), [])
    assert match == Match(1, 13, 25, b"=0x40400000\r", (b"40400000",))


def test_the_search_starts_where_it_is_told_and_not_before() -> None:
    data = b"=> first => second"
    stream = Growing(data)
    match = stream.feed(Matcher([b"=> "], 1), [])
    assert match is not None
    assert match.start == 9


def test_of_two_patterns_the_one_that_is_complete_first_wins() -> None:
    stream = Growing(b"abcdefgh")
    match = stream.feed(Matcher([b"abcdefgh", b"cd"], 0), [])
    assert match is not None
    assert match.index == 1


def test_a_match_across_the_edge_of_a_piece_is_found() -> None:
    data = b"x" * (PIECE_BYTES + 5) + b"needle" + b"x" * 100
    for shift in range(12):
        stream = Growing(data[shift:])
        match = stream.feed(Matcher([b"needle"], 0), [])
        assert match is not None
        assert match.start == PIECE_BYTES + 5 - shift


def test_the_work_is_linear_in_the_stream() -> None:
    stream = Growing(b"y" * 20_000)
    assert stream.feed(Matcher([b"z{10}"], 0), [1] * 20_000) is None
    assert stream.cuts <= 20_000 * 10


WORDS = st.sampled_from([b"=> ", b"ab", b"aab", b"\r\n", b"stop", b"a", b"b", b"=", b">"])


@given(
    data=st.lists(WORDS, max_size=40).map(b"".join),
    patterns=st.lists(
        st.sampled_from([b"=> ", b"aab", rb"[\r\n]=> ", rb"st.p", b"ab", rb"a{1,3}b\r"]),
        min_size=1,
        max_size=3,
    ),
    sizes=st.lists(st.integers(1, 9), max_size=40),
    start=st.integers(0, 10),
)
def test_the_answer_is_the_same_whole_in_pieces_and_byte_by_byte(
    data: bytes, patterns: list[bytes], sizes: list[int], start: int
) -> None:
    whole = Growing(data).feed(Matcher(patterns, start), [])
    assert Growing(data).feed(Matcher(patterns, start), sizes) == whole
    assert Growing(data).feed(Matcher(patterns, start), [1] * len(data)) == whole
