# SPDX-License-Identifier: Apache-2.0
"""How long to wait and how much to send."""

import random

from hilagent.link.pace import SMALLEST_CHUNK, ChunkSize, Rtt


def test_the_first_wait_is_a_quarter_of_a_second_and_the_time_of_the_bytes() -> None:
    assert Rtt(115_200).timeout_s(0) == 0.25
    assert 0.25 + 0.08 < Rtt(115_200).timeout_s(1000) < 0.25 + 0.1


def test_a_quick_line_is_waited_for_8_ms() -> None:
    rtt = Rtt()
    for _ in range(50):
        rtt.measured(0.001, 40)
    assert 0.008 <= rtt.timeout_s(0) < 0.009


def test_a_slow_line_is_waited_for_longer_than_it_takes() -> None:
    rtt = Rtt()
    for _ in range(50):
        rtt.measured(0.8, 40)
    assert 0.8 < rtt.timeout_s(40) < 1.2


def test_repeats_that_proved_needless_are_forgotten_on_a_quick_line() -> None:
    rtt = Rtt()
    for _ in range(7):
        rtt.needless()
    assert rtt.timeout_s(0) >= 0.5
    for _ in range(50):
        rtt.measured(0.002, 0)
    assert rtt.timeout_s(0) < 0.03


def test_the_wait_has_a_ceiling() -> None:
    rtt = Rtt()
    for _ in range(50):
        rtt.missed()
    assert rtt.timeout_s(0) <= 4.0


def test_a_chunk_halves_when_it_fails_and_never_below_16() -> None:
    chunk = ChunkSize(1008)
    sizes = []
    for _ in range(8):
        chunk.failed()
        sizes.append(chunk.size)
    assert sizes == [504, 252, 126, 63, 31, SMALLEST_CHUNK, SMALLEST_CHUNK, SMALLEST_CHUNK]


def test_a_chunk_grows_back_slowly() -> None:
    chunk = ChunkSize(1008)
    for _ in range(8):
        chunk.failed()
    steps = 0
    while chunk.size < 1008:
        chunk.ok(chunk.size + 60)
        steps += 1
    assert 12 < steps < 40


def test_one_fault_on_a_good_line_costs_one_halving_at_most() -> None:
    chunk = ChunkSize(1008)
    for _ in range(50):
        chunk.ok(1068)
    chunk.failed()
    assert chunk.size >= 504


def test_with_losses_spread_evenly_chunks_stay_worth_their_heads() -> None:
    """At 1 % a byte the best chunk is about 100 bytes: 20 of them arrive an attempt."""
    rng, chunk, arrived, attempts = random.Random(1), ChunkSize(1008), 0, 5000
    for _ in range(attempts):
        line_bytes = chunk.size + 76
        if rng.random() < 0.99**line_bytes:
            arrived += chunk.size
            chunk.ok(line_bytes)
        else:
            chunk.failed()
    assert arrived / attempts > 12
