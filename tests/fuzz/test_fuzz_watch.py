# SPDX-License-Identifier: Apache-2.0
"""Console logs of real systems, spoilt: the crash watch says the same however they come."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from hilagent.console.watch import CrashWatch, incidents
from hilagent.text import is_printable
from tests.console.corpus import log
from tests.fuzz.mutate import fuzz, mutated

SEEDS = [each.text for each in log.logs()]
WORDS = [b"\n", b"BUG: ", b"[    1.5] ", b"\r\n=> ", b"Kernel panic - not syncing: ", b"-" * 12]
SPOILT = mutated(SEEDS) | st.builds(
    lambda one, word, two: one + word + two, mutated(SEEDS), st.sampled_from(WORDS), mutated(SEEDS)
)


@fuzz(500)
@given(SPOILT, st.lists(st.integers(1, 900), min_size=1, max_size=8))
def test_a_log(text: bytes, sizes: list[int]) -> None:
    whole = incidents(text)
    watch, found, at = CrashWatch(), [], 0
    for size in itertools.cycle(sizes):
        watch.feed(text[at : at + size])
        found += watch.incidents()
        at += size
        if at >= len(text):
            break
    watch.end()
    assert found + watch.incidents() == whole
    for before, after in itertools.pairwise(whole):
        assert before.end <= after.start
    for each in whole:
        assert 0 <= each.start < each.end <= len(text)
        assert all(map(is_printable, each.title))
        again = incidents(text[each.start :], each.start)
        assert again[0] == each, "it is another one when it is read from its start"
