# SPDX-License-Identifier: Apache-2.0
"""A virtual CPU that the host did not let run is told apart from one that only shares."""

import os
import threading
from pathlib import Path

from hilagent.session.starved import Starvation


class _Clock:
    def __init__(self) -> None:
        self.at_s = 100.0

    def now_s(self) -> float:
        return self.at_s


def _set(proc: Path, tid: int, ran_s: float, waited_s: float) -> None:
    path = proc / "7" / "task" / str(tid) / "schedstat"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{int(ran_s * 1e9)} {int(waited_s * 1e9)} 12\n")


def _watch(proc: Path, clock: _Clock) -> Starvation:
    _set(proc, 1, 1, 0)
    _set(proc, 2, 1, 0)
    watch = Starvation(7, lambda: [1, 2], proc=proc, clock=clock, start=False)
    watch.sample()
    clock.at_s += 5
    return watch


def test_a_thread_that_waited_and_did_not_run_was_starved(tmp_path: Path) -> None:
    clock = _Clock()
    watch = _watch(tmp_path, clock)
    _set(tmp_path, 2, 1.1, 4.5)
    assert watch.worst_s(100.0) == 4.5


def test_a_thread_that_ran_a_little_was_not(tmp_path: Path) -> None:
    clock = _Clock()
    watch = _watch(tmp_path, clock)
    _set(tmp_path, 2, 1.5, 4.5)
    assert watch.worst_s(100.0) == 0


def test_a_thread_that_sleeps_was_not(tmp_path: Path) -> None:
    clock = _Clock()
    assert _watch(tmp_path, clock).worst_s(100.0) == 0


def test_what_was_before_the_wait_does_not_count(tmp_path: Path) -> None:
    clock = _Clock()
    watch = _watch(tmp_path, clock)
    _set(tmp_path, 2, 1.0, 4.5)
    watch.sample()
    clock.at_s += 5
    _set(tmp_path, 2, 5.0, 4.6)
    assert watch.worst_s(105.0) == 0


def test_a_process_that_is_gone_starves_nobody(tmp_path: Path) -> None:
    watch = Starvation(7, lambda: [1], proc=tmp_path, clock=_Clock(), start=False)
    assert watch.worst_s(0.0) == 0


def test_it_reads_this_very_process_and_ends_its_thread() -> None:
    watch = Starvation(os.getpid(), lambda: [threading.get_native_id()])
    assert watch.worst_s(0.0) >= 0
    watch.close()
    assert "starvation" not in [thread.name for thread in threading.enumerate()]
