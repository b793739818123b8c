# SPDX-License-Identifier: Apache-2.0
"""The evidence of a late host."""

from __future__ import annotations

from hilagent.console.late import TICK_S, Lateness


def test_a_tick_in_time_is_no_lateness() -> None:
    late = Lateness(0.0)
    for _ in range(50):
        late.tick(late.due_s)
    assert late.worst_s(0.0, late.due_s - TICK_S) == 0.0


def test_a_wake_up_before_the_tick_is_due_changes_nothing() -> None:
    late = Lateness(0.0)
    late.tick(0.05)
    late.tick(0.1)
    assert late.due_s == 0.2


def test_the_worst_tick_since_a_time_is_remembered() -> None:
    late = Lateness(0.0)
    late.tick(3.1)  # 3 s late
    late.tick(3.2)
    late.tick(3.8)  # 0.5 s late
    assert round(late.worst_s(0.0, 3.8), 3) == 3.0
    assert round(late.worst_s(3.0, 3.8), 3) == 3.0  # it reaches into the time asked about
    assert round(late.worst_s(3.1, 3.8), 3) == 0.5
    assert late.worst_s(3.8, 3.8) == 0.0


def test_a_tick_that_is_late_right_now_counts() -> None:
    late = Lateness(0.0)
    assert round(late.worst_s(0.0, 8.1), 3) == 8.0


def test_what_is_remembered_is_bounded() -> None:
    late, now_s = Lateness(0.0), 0.0
    for _ in range(5000):
        now_s = late.due_s + 0.1
        late.tick(now_s)
    assert len(late._late) <= 1000
