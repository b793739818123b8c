# SPDX-License-Identifier: Apache-2.0
"""How fast the crash watch is, in this process's own CPU time: other load doesn't count."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from hilagent.console.watch import Crash, CrashWatch
from tests.console.corpus import log

SIZE, CHUNK = 8 << 20, 16 << 10
LEAST_MB_S = 50.0
QUIET = "".join(
    f"[{n:5}.123456] usb 1-{n}: new high-speed USB device number {n} using xhci_hcd\r\n"
    for n in range(5000)
).encode()
BUSY = b"".join(each.text for each in log.logs() if not each.expected)
"""All that sounds like a crash and is none."""


class LineByLine(CrashWatch):
    """The mutant: it looks at each line for itself."""

    def feed(self, chunk: bytes) -> list[Crash]:
        found: list[Crash] = []
        for line in chunk.splitlines(keepends=True):
            found += super().feed(line)
        return found


def best_mb_s(data: bytes, make: type[CrashWatch] = CrashWatch) -> float:
    """Return how many MB of ``data``, repeated, a second of CPU is enough for; best of three."""
    text = (data * (SIZE // len(data) + 1))[:SIZE]
    took = []
    for _ in range(3):
        watch, began = make(), time.process_time()
        for at in range(0, len(text), CHUNK):
            watch.feed(text[at : at + CHUNK])
        took.append(time.process_time() - began)
    return len(text) / min(took) / 1e6


@pytest.mark.parametrize(("name", "data"), [("quiet", QUIET), ("busy", BUSY)])
def test_it_keeps_up_with_any_console(
    name: str, data: bytes, record_property: Callable[[str, object], None]
) -> None:
    found = best_mb_s(data)
    record_property(f"crash watch, a {name} log", f"{found:.0f} MB/s")
    assert found > LEAST_MB_S


def test_a_watch_that_judges_each_line_would_miss_it() -> None:
    assert best_mb_s(QUIET, LineByLine) < LEAST_MB_S
