# SPDX-License-Identifier: Apache-2.0
"""How fast the crash watch is, beside one regular expression over the same bytes.

Both are measured in this process's own CPU time, one after the other: neither other load nor
a slow machine counts. On an idle 2-core host the watch does 170 MB/s of a quiet log and 80 of
one where all sounds like a crash.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest

from hilagent.console.watch import Crash, CrashWatch
from tests.console.corpus import log

SIZE, CHUNK = 8 << 20, 16 << 10
LEAST = 0.2
"""Of the speed of the peer; seen: 0.46 to 0.76 quiet, 0.36 to 0.45 busy."""
PEER = re.compile(
    rb"Kernel panic|Oops|BUG:|WARNING:|Unable to handle|Internal error|stall|KASAN|Call trace"
)
"""What a lab that looks for words alone does: finds them, and judges nothing."""
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


class WordsAlone:
    """The peer."""

    def feed(self, chunk: bytes) -> list[object]:
        return [*PEER.finditer(chunk)]


def best_mb_s(data: bytes, make: type[CrashWatch | WordsAlone] = CrashWatch) -> float:
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
def test_it_keeps_up_with_a_search_for_words_alone(
    name: str, data: bytes, record_property: Callable[[str, object], None]
) -> None:
    ours, peer = best_mb_s(data), best_mb_s(data, WordsAlone)
    record_property(f"crash watch, a {name} log", f"{ours:.0f} MB/s, {ours / peer:.2f} of words")
    assert ours > LEAST * peer


def test_a_watch_that_judges_each_line_would_miss_it() -> None:
    assert best_mb_s(QUIET, LineByLine) < LEAST * best_mb_s(QUIET, WordsAlone)
