# SPDX-License-Identifier: Apache-2.0
"""The crash watch on logs of real kernels, U-Boot and firmware: see corpus/log.py."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

import pytest

from hilagent.console.watch import CrashWatch, Incident, incidents
from tests.console.corpus import log
from tests.console.corpus.log import Expected, Log

LOGS = log.logs()
MOST_BYTES = 1 << 20
_DEAD = re.compile(rb"Kernel panic - not syncing|Internal error: |Unable to handle kernel |"
                   rb"kernel BUG at |Unhandled Exception in EL3|Synchronous Abort|"
                   rb"Synchronous Exception at")  # fmt: skip
CHANGES: tuple[Callable[[bytes], bytes], ...] = (
    lambda line: line.rstrip(b"\r\n") + b"\n",
    lambda line: line.rstrip(b"\r\n") + b"\r\r\n",
    lambda line: b"2026-11-28T02:06:15.123456+00:00 " + line,
    lambda line: b"Nov 28 02:06:15 " + line,
    lambda line: b"[02:06:15.123] " + line,
    lambda line: b"[Fri Nov 28 02:06:15 2026] " + line,
    lambda line: b"1795831575.123456 " + line,
)
"""What consoles, ``ts``, tio, conserver and scripts make of a line."""
by_name = pytest.mark.parametrize("each", LOGS, ids=lambda each: each.name)


def fed(text: bytes, sizes: Callable[[], int]) -> list[Incident]:
    watch, found, at = CrashWatch(), [], 0
    while at < len(text):
        size = sizes()
        watch.feed(text[at : at + size])
        found += watch.incidents()
        at += size
    watch.end()
    return found + watch.incidents()


def moved(each: Log, change: Callable[[bytes], bytes]) -> tuple[bytes, list[Expected]]:
    """Return the log with each line changed, and where its incidents are then."""
    lines = each.text.splitlines(keepends=True)
    at, there, out = 0, {0: 0}, b""
    for line in lines:
        at += len(line)
        out += change(line)
        there[at] = len(out)
    return out, [
        Expected(e.title, e.type, e.fatal, there[e.start], there[e.end]) for e in each.expected
    ]


def said(text: bytes) -> list[Expected]:
    return [Expected.of(found) for found in incidents(text)]


def test_the_corpus_is_as_large_as_promised_and_no_larger() -> None:
    negatives = [each for each in LOGS if not each.expected]
    assert len(LOGS) >= 150
    assert len(negatives) / len(LOGS) >= 0.2
    assert sum(len(each.text) for each in LOGS) < MOST_BYTES
    kinds = {e.type for each in LOGS for e in each.expected}
    assert kinds >= {
        *("oops", "panic", "BUG", "sanitizer", "hyp panic", "RCU stall", "lockup", "hung task"),
        *("WARNING", "lockdep", "U-Boot", "TF-A", "UEFI"),
    }


@by_name
def test_what_is_in_a_log_is_found_and_nothing_else(each: Log) -> None:
    assert said(each.text) == list(each.expected)


@by_name
def test_what_says_that_something_died_is_within_an_incident(each: Log) -> None:
    """A crude check of the heads themselves, which knows nothing of the program."""
    quiet = bytearray(each.text)
    for e in each.expected:
        assert 0 <= e.start < e.end <= len(quiet)
        assert e.start == 0 or each.text[e.start - 1 : e.start] == b"\n"
        assert e.end == len(each.text) or each.text[e.end - 1 : e.end] == b"\n"
        quiet[e.start : e.end] = b"." * (e.end - e.start)
    for found in _DEAD.finditer(bytes(quiet)):
        line = bytes(quiet)[quiet.rfind(b"\n", 0, found.start()) + 1 : found.end()]
        assert re.search(rb"echo|Kernel command line|grep|some call it", line), line


@by_name
def test_the_answer_is_the_same_byte_by_byte_in_pieces_and_from_its_start_on(each: Log) -> None:
    whole = incidents(each.text)
    assert fed(each.text, lambda: 1) == whole
    pieces = random.Random(each.name)
    assert fed(each.text, lambda: pieces.randint(1, 200)) == whole
    for found in whole:
        assert incidents(each.text[found.start :], found.start)[0] == found


@by_name
def test_the_answer_is_the_same_whatever_ends_a_line_or_stands_before_it(each: Log) -> None:
    for change in CHANGES:
        text, expected = moved(each, change)
        assert said(text) == expected


@by_name
def test_another_cpu_that_talks_meanwhile_changes_no_title(each: Log) -> None:
    noise = random.Random(each.name)

    def change(line: bytes) -> bytes:
        if noise.random() < 0.3 and line.endswith(b"\n"):
            line += b"[    9.876543] usb 1-1: new high-speed USB device\r\n"
        return line

    found = said(moved(each, change)[0])
    assert [(e.title, e.type, e.fatal) for e in found] == [
        (e.title, e.type, e.fatal) for e in each.expected
    ]


@by_name
def test_a_byte_that_is_lost_makes_no_death_of_another_kind(each: Log) -> None:
    whose = {found.kind for found in incidents(each.text)}
    lost = random.Random(each.name)
    for _ in range(5):
        at = lost.randrange(len(each.text))
        kinds = {found.kind for found in incidents(each.text[:at] + each.text[at + 1 :])}
        assert not any(kind.fatal for kind in kinds - whose)
