# SPDX-License-Identifier: Apache-2.0
"""Whether an emulator's CPUs got to run: a CPU that the host starved doesn't hang.

The emulator's monitor answers and the reader's tick is on time even while one
virtual CPU waits for the host. The kernel knows: ``/proc/PID/task/TID/schedstat``
holds nanoseconds on a CPU and nanoseconds waiting for one (Documentation/
scheduler/sched-stats.rst). A thread that waited and did not run was starved; one
that ran for a quarter of a second could have issued thousands of hvcs.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path

from hilagent.clock import SYSTEM, Clock

EVERY_S = 0.5
KEEP_S = 120.0
RAN_S = 0.25
"""A thread that ran so long within a wait was not starved, however loaded the host."""

Threads = Callable[[], Iterable[int]]
_Times = dict[int, tuple[int, int]]


class Starvation:
    """Samples the threads ``threads`` of process ``pid`` until :meth:`close`."""

    def __init__(
        self,
        pid: int,
        threads: Threads,
        *,
        proc: Path = Path("/proc"),
        clock: Clock = SYSTEM,
        start: bool = True,
    ) -> None:
        self._pid, self._threads, self._proc, self._clock = pid, threads, proc, clock
        self._samples: deque[tuple[float, _Times]] = deque()
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="starvation", daemon=True)
        if start:
            self._thread.start()

    def close(self) -> None:
        """Stop sampling."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def sample(self) -> None:
        """Note how long each thread has run and waited so far."""
        times: _Times = {}
        for tid in self._threads():
            path = self._proc / str(self._pid) / "task" / str(tid) / "schedstat"
            try:
                ran, waited, *_ = path.read_text().split()
            except (OSError, ValueError):
                continue
            times[tid] = int(ran), int(waited)
        with self._lock:
            self._samples.append((self._clock.now_s(), times))
            while self._samples and self._samples[0][0] < self._clock.now_s() - KEEP_S:
                self._samples.popleft()

    def worst_s(self, since_s: float) -> float:
        """Return how long the worst starved thread has waited since ``since_s``, 0 for none."""
        self.sample()
        with self._lock:
            before = [times for at, times in self._samples if at <= since_s]
            first = before[-1] if before else self._samples[0][1]
            last = self._samples[-1][1]
        worst = 0.0
        for tid, (ran, waited) in last.items():
            ran_before, waited_before = first.get(tid, (ran, waited))
            ran_ns, waited_ns = ran - ran_before, waited - waited_before
            if ran_ns < RAN_S * 1e9:
                worst = max(worst, waited_ns / 1e9)
        return worst

    def _run(self) -> None:
        while not self._ended.wait(EVERY_S):
            self.sample()
