# SPDX-License-Identifier: Apache-2.0
"""What was received and sent, on disk and in memory."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilagent.console.tape import GAP, OPENED, RX, SEEN, TX, Record, Tape, read_index
from hilagent.errors import LabError
from tests.console.helper import open_files


def exchanged(path: Path) -> list[Record]:
    """Return the records of what was read and written."""
    return [record for record in read_index(path) if record.direction in (RX, TX)]


def test_the_files_hold_exactly_the_bytes_and_an_index_of_every_read_and_write(
    tmp_path: Path,
) -> None:
    tape = Tape(tmp_path)
    tape.received(b"U-Boot\r\n", 100)
    tape.sent(b"\x03", 200)
    tape.received(b"=> \xff\x00", 300)
    tape.close()
    assert (tmp_path / "console.raw").read_bytes() == b"U-Boot\r\n=> \xff\x00"
    assert (tmp_path / "console.tx").read_bytes() == b"\x03"
    assert exchanged(tmp_path / "console.idx") == [
        Record(100, 0, RX, 8),
        Record(200, 0, TX, 1),
        Record(300, 8, RX, 5),
    ]


def test_a_torn_last_record_is_left_out(tmp_path: Path) -> None:
    tape = Tape(tmp_path)
    tape.received(b"ab", 1)
    tape.received(b"cd", 2)
    tape.close()
    index = tmp_path / "console.idx"
    index.write_bytes(index.read_bytes()[:-1])
    assert exchanged(index) == [Record(1, 0, RX, 2)]


def test_an_opening_a_gap_and_what_a_writer_had_looked_at_are_marked(tmp_path: Path) -> None:
    for number in range(2):
        tape = Tape(tmp_path)
        tape.received(b"abc", 1)
        tape.seen(2 + 3 * number, 2)
        tape.sent(b"x", 3)
        tape.seen(2 + 3 * number, 4)
        tape.gap(5)
        tape.close()
    marks = [each[1:] for each in read_index(tmp_path / "console.idx") if not each.size_bytes]
    assert marks == [
        *((0, OPENED, 0), (0, SEEN, 0), (2, SEEN, 0), (3, GAP, 0)),
        *((1, OPENED, 0), (3, SEEN, 0), (5, SEEN, 0), (6, GAP, 0)),
    ]


def test_the_next_boot_of_a_run_continues_the_files(tmp_path: Path) -> None:
    first = Tape(tmp_path)
    first.received(b"first", 1)
    first.sent(b"x", 2)
    first.close()
    second = Tape(tmp_path)
    assert second.end == 5
    second.received(b"second", 3)
    second.sent(b"y", 4)
    assert second.cut(3, 100) == (3, b"st")
    assert second.cut(5, 100) == (5, b"second")
    second.close()
    assert (tmp_path / "console.raw").read_bytes() == b"firstsecond"
    assert exchanged(tmp_path / "console.idx")[2:] == [
        Record(3, 5, RX, 6),
        Record(4, 1, TX, 1),
    ]


def test_what_has_left_the_memory_is_read_from_the_file(tmp_path: Path) -> None:
    tape = Tape(tmp_path, keep_bytes=10)
    for number in range(20):
        tape.received(b"%05d" % number, number)
    assert tape.cut(0, 10) == (0, b"0000000001")
    assert tape.cut(95, 10) == (95, b"00019")
    tape.close()


def test_without_a_file_the_true_start_is_told() -> None:
    tape = Tape(None, keep_bytes=10)
    for number in range(20):
        tape.received(b"%05d" % number, number)
    start, data = tape.cut(0, 5)
    assert start > 70
    assert data == b"".join(b"%05d" % number for number in range(20))[start : start + 5]


def test_a_full_disk_ends_the_writing_and_not_the_receiving(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tape = Tape(tmp_path, keep_bytes=100)
    tape.received(b"before", 1)

    def full(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    tape.received(b"after", 2)
    assert tape.broken is not None
    assert tape.broken.errno == errno.ENOSPC
    assert tape.cut(0, 100) == (0, b"beforeafter")
    tape.close()


def test_a_folder_that_is_not_there_is_the_labs_trouble(tmp_path: Path) -> None:
    before = open_files()
    with pytest.raises(LabError, match=r"console\.raw can't be written: No such file"):
        Tape(tmp_path / "none")
    assert open_files() == before


@given(chunks=st.lists(st.binary(min_size=1, max_size=30), max_size=30), keep=st.integers(1, 50))
def test_memory_is_bounded_and_holds_the_tail(chunks: list[bytes], keep: int) -> None:
    tape, everything = Tape(None, keep_bytes=keep), b""
    for chunk in chunks:
        tape.received(chunk, 0)
        everything += chunk
        start, data = tape.cut(0, len(everything))
        assert len(data) <= 2 * keep + len(chunk)
        assert len(data) >= min(keep, len(everything))
        assert everything[start:] == data
