# SPDX-License-Identifier: Apache-2.0
"""The crash watch."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilagent.console.watch import MAX_LINE, Crash, CrashWatch, Kind
from hilagent.errors import BoardReset, LabError, TargetCrash

BANNER = b"\r\n\r\nU-Boot 2023.01+dfsg-2 (Jun 22 2026 - 08:38:07 +0000)\r\n\r\nDRAM:  512 MiB\r\n"
VERSION = (
    b"=> version\r\nU-Boot 2023.01+dfsg-2 (Jun 22 2026)\r\n\r\n"
    b"aarch64-linux-gnu-gcc (Debian 12.2.0-14) 12.2.0\r\nGNU ld 2.40\r\n=> "
)
PANIC = b"[    1.234567] Kernel panic - not syncing: VFS: Unable to mount root fs\r\n"
STALL = b"[   21.000000] rcu: INFO: rcu_preempt self-detected stall on CPU\r\n"
ABORT = (
    b'"Synchronous Abort" handler, esr 0x96000010\r\nelr: 0000000040213a4c lr : 00000000\r\n'
    b"### ERROR ### Please RESET the board ###\r\n"
)
QUIET = b"Starting kernel ...\r\n\r\n[    0.000000] Booting Linux on physical CPU 0x0\r\n"


def feed(data: bytes, sizes: list[int] | None = None) -> list[Crash]:
    watch, found, at = CrashWatch(), [], 0
    for size in [*(sizes or []), len(data)]:
        found += watch.feed(data[at : at + size])
        at += size
    return found


@pytest.mark.parametrize(
    ("text", "kind", "title"),
    [
        (PANIC, Kind.KERNEL, "Kernel panic - not syncing: VFS: Unable to mount root fs"),
        (ABORT, Kind.FIRMWARE, '"Synchronous Abort" handler, esr 0x96000010'),
        (BANNER, Kind.RESET, "U-Boot 2023.01+dfsg-2 (Jun 22 2026 - 08:38:07 +0000)"),
        (b"[ 2.0] Internal error: Oops: 96000004 [#1]\n", Kind.KERNEL, "Internal error: Oops"),
        (b"[ 2.0][    T1] BUG: spinlock bad magic on CPU#0\n", Kind.KERNEL, "BUG: spinlock"),
        (STALL, Kind.STALL, "rcu: INFO: rcu_preempt self-detected stall on CPU"),
        (
            b"[ 9.0] watchdog: BUG: soft lockup - CPU#1 stuck for 23s!\n",
            Kind.STALL,
            "watchdog: BUG",
        ),
        (b"[ 9.0] BUG: workqueue lockup - pool cpus=0 stuck!\n", Kind.STALL, "BUG: workqueue"),
        (b"U-Boot SPL 2022.04 (x)\r\nTrying to boot from MMC1\r\n", Kind.RESET, "U-Boot SPL"),
    ],
)
def test_a_death_is_named_by_kind_and_title(text: bytes, kind: Kind, title: str) -> None:
    crash = feed(QUIET + text)[0]
    assert crash.kind is kind
    assert crash.title.startswith(title)
    assert (QUIET + text)[crash.start : crash.end].rstrip().endswith(crash.title.encode())


@pytest.mark.parametrize(
    "text",
    [
        QUIET,
        VERSION,
        b"debug: BUG reports go to the list\n",
        b"PANIC=1 panic_on_oops\r\n",
        b"\x00\xff" * 400,
        b"",
    ],
)
def test_what_is_no_death_yields_nothing(text: bytes) -> None:
    assert feed(text * 3) == []


def test_a_timestamp_is_no_part_of_the_title_and_control_bytes_never_get_out() -> None:
    crash = feed(b"[   12.000001] Internal error: \x1b[31mevil\x07\n")[0]
    assert crash.title == "Internal error: evil\\x07"


def test_each_kind_accuses_whom_it_should() -> None:
    kinds = {crash.kind: crash.error() for crash in feed(STALL + PANIC + ABORT + BANNER)}
    assert set(kinds) == set(Kind)
    assert [crash.kind for crash in feed(STALL + PANIC) if not crash.fatal] == [Kind.STALL]
    assert isinstance(kinds[Kind.KERNEL], TargetCrash)
    assert type(kinds[Kind.FIRMWARE]) is LabError
    assert isinstance(kinds[Kind.RESET], BoardReset)


def test_an_endless_line_costs_no_memory_and_no_answer() -> None:
    watch = CrashWatch()
    for _ in range(1000):
        assert watch.feed(b"x" * 1000) == []
    assert len(watch._line) <= MAX_LINE
    assert [crash.kind for crash in watch.feed(b"\n" + PANIC)] == [Kind.KERNEL]


@given(
    parts=st.lists(
        st.sampled_from([PANIC, STALL, ABORT, BANNER, VERSION, QUIET, b"\n", b"junk"]), max_size=6
    ),
    sizes=st.lists(st.integers(1, 60), max_size=40),
)
def test_the_answer_is_the_same_whole_in_pieces_and_byte_by_byte(
    parts: list[bytes], sizes: list[int]
) -> None:
    data = b"".join(parts)
    whole = feed(data)
    assert feed(data, sizes) == whole
    assert feed(data, [1] * len(data)) == whole


@given(st.binary(max_size=3000))
def test_no_input_makes_it_fail(data: bytes) -> None:
    for crash in feed(data):
        assert 0 <= crash.start < crash.end <= len(data)
