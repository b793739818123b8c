# SPDX-License-Identifier: Apache-2.0
"""The console: reader, waiters, ownership, ends."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from pathlib import Path

import pytest

from hilagent.clock import Deadline
from hilagent.console import Console, Kind
from hilagent.console.tape import OPENED, RX, SEEN, TX, read_index
from hilagent.errors import (
    AgentBug,
    BoardReset,
    LabError,
    LinkError,
    LinkStuck,
    StateError,
    TargetCrash,
    Unsupported,
)
from hilagent.transport.serial import SerialStream
from tests.console.helper import FarEnd, open_files
from tests.console.test_watch import BANNER, PANIC

SOON = 5.0


def soon(seconds: float = SOON) -> Deadline:
    return Deadline.after(seconds)


def test_a_break_is_sent_by_a_line_that_has_one_and_refused_by_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent: list[int] = []
    monkeypatch.setattr("termios.tcsendbreak", lambda fd, duration: sent.append(fd))
    near, far = os.openpty()
    with Console(SerialStream(os.dup(near), "a port")) as console:
        console.send_break()
    assert len(sent) == 1
    os.close(near)
    os.close(far)
    with FarEnd() as board, pytest.raises(Unsupported, match="can't send a break"):
        board.console.send_break()


def test_what_the_board_says_is_read_and_what_is_written_reaches_it(tmp_path: Path) -> None:
    with FarEnd(tmp_path) as board:
        line = board.console.take("test")
        board.say(b"hello")
        assert line.read(soon()) == b"hello"
        line.write(b"\x00\xffanswer", soon())
        assert board.heard(8) == b"\x00\xffanswer"
    assert (tmp_path / "console.raw").read_bytes() == b"hello"
    assert (tmp_path / "console.tx").read_bytes() == b"\x00\xffanswer"
    marks = [(each.direction, each.offset) for each in read_index(tmp_path / "console.idx")]
    assert marks == [(OPENED, 0), (SEEN, 0), (RX, 0), (SEEN, 5), (TX, 0)]


def test_what_came_and_nobody_looked_at_is_not_told_to_have_been_known(tmp_path: Path) -> None:
    with FarEnd(tmp_path) as board:
        line = board.console.take("test")
        board.say(b"one")
        assert line.read(soon()) == b"one"
        board.say(b"two")
        while board.console._tape.end < 6:
            board.console.tail()  # what a person is shown, the program doesn't know
        line.write(b"!", soon())
        line.read(soon())
        line.write(b"!", soon())
    seen = [each.offset for each in read_index(tmp_path / "console.idx") if each.direction == SEEN]
    assert seen == [0, 3, 6]


class _Signal(Exception):
    """What a signal of this test raises."""


def _raise(number: int, frame: object) -> None:
    raise _Signal


def test_a_signal_at_any_place_leaves_the_console_usable() -> None:
    """Ctrl-C is an exception between any two instructions of the main thread."""
    before = signal.signal(signal.SIGALRM, _raise)
    noise = random.Random(1)
    try:
        with FarEnd() as board:
            console = board.console
            for _ in range(1500):
                with contextlib.suppress(_Signal):
                    signal.setitimer(signal.ITIMER_REAL, noise.uniform(1e-5, 3e-4))
                    while True:
                        console.cut(0, 1)
            other = threading.Thread(target=lambda: console.cut(0, 1), daemon=True)
            other.start()
            other.join(SOON)
            assert not other.is_alive()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_read_returns_nothing_at_its_deadline() -> None:
    with FarEnd() as board:
        started = time.monotonic()
        assert board.console.take("test").read(soon(0.05)) == b""
        assert 0.04 < time.monotonic() - started < 2


def test_the_reader_drains_while_nobody_waits(tmp_path: Path) -> None:
    data = os.urandom(3 << 20)
    with FarEnd(tmp_path) as board:
        board.say(data)  # returns only because somebody reads
        assert board.console.wait(len(data) - 1, soon())
        line, got = board.console.take("test"), b""
        while len(got) < len(data):
            got += line.read(soon())
        assert got == data
    assert (tmp_path / "console.raw").read_bytes() == data


def test_what_came_before_the_memory_is_still_read_in_order(tmp_path: Path) -> None:
    data = os.urandom(100_000)
    with FarEnd(tmp_path, keep_bytes=1000) as board:
        board.say(data)
        assert board.console.wait(len(data) - 1, soon())
        line, got = board.console.take("test"), b""
        while len(got) < len(data):
            got += line.read(soon())
        assert got == data


def test_expect_finds_what_comes_byte_by_byte_and_goes_on_after_it() -> None:
    with FarEnd() as board:
        line = board.console.take("test")
        speaker = threading.Thread(target=board.say_slowly, args=(b"Net: eth0\r\n=> abc",))
        speaker.start()
        match = line.expect([b"nothing", rb"[\r\n]=> "], soon())
        speaker.join()
        assert match is not None
        assert (match.index, match.text) == (1, b"\n=> ")
        rest = b""
        while len(rest) < 3:
            rest += line.read(soon())
        assert rest == b"abc"


def test_expect_returns_none_at_its_deadline_and_has_consumed_nothing() -> None:
    with FarEnd() as board:
        line = board.console.take("test")
        board.say(b"half a pro")
        assert line.expect([b"prompt"], soon(0.1)) is None
        board.say(b"mpt")
        assert line.expect([b"prompt"], soon()) is not None


def test_an_older_position_can_be_searched_from() -> None:
    with FarEnd() as board:
        line = board.console.take("test")
        board.say(b"one two")
        assert line.expect([b"two"], soon()) is not None
        assert line.expect([b"one"], soon(0.0)) is None
        assert line.expect([b"one"], soon(0.0), since=0) is not None


def test_a_handle_is_stale_once_another_has_taken_the_console() -> None:
    with FarEnd() as board:
        old = board.console.take("U-Boot")
        board.say(b"abc")
        assert old.expect([b"a"], soon()) is not None
        new = board.console.take("payload")
        for use in (
            lambda: old.read(soon()),
            lambda: old.write(b"x", soon()),
            lambda: old.expect([b"b"], soon()),
        ):
            with pytest.raises(StateError, match="handle of U-Boot is stale"):
                use()
        assert new.read(soon()) == b"bc"  # it goes on where the one before stopped


def test_the_end_of_the_line_comes_after_its_last_bytes() -> None:
    with FarEnd() as board:
        line = board.console.take("test")
        board.say(b"last words")
        board.far.close()
        assert line.expect([b"words"], soon()) is not None
        with pytest.raises(LinkError, match="ended"):
            line.read(soon())
        with pytest.raises(LinkError):
            line.expect([b"more"], soon())
        with pytest.raises(LinkError):
            line.write(b"x" * 100, soon())


def test_a_waiter_is_woken_by_the_end_of_the_line() -> None:
    with FarEnd() as board:
        line = board.console.take("test")
        threading.Timer(0.05, board.far.close).start()
        started = time.monotonic()
        with pytest.raises(LinkError):
            line.read(soon(30))
        assert time.monotonic() - started < 5


def test_closing_ends_a_waiter_and_gives_everything_back(tmp_path: Path) -> None:
    before = open_files()
    threads = threading.active_count()
    for number in range(5):
        board = FarEnd(tmp_path)
        line = board.console.take("test")
        closer = threading.Timer(0.02, board.close)
        closer.start()
        with pytest.raises(LinkError):
            line.read(soon(30))
        closer.join()
        board.close()
        assert number < 5
    assert open_files() == before
    assert threading.active_count() == threads


def test_a_board_that_takes_no_bytes_is_a_stuck_link_at_the_deadline() -> None:
    with FarEnd() as board:
        line = board.console.take("test")
        with pytest.raises(LinkStuck, match=r"took no more bytes within 0\.1 s"):
            line.write(b"x" * (8 << 20), soon(0.1))


def test_a_slow_board_gets_all_bytes_in_order() -> None:
    data = os.urandom(1 << 20)
    with FarEnd() as board:
        line = board.console.take("test")
        writer = threading.Thread(target=line.write, args=(data, soon(20)))
        writer.start()
        assert board.heard(len(data)) == data
        writer.join()


def test_a_crash_beats_the_silence_after_it() -> None:
    with FarEnd() as board:
        line = board.console.take("Linux")
        board.say(b"[ 1.0] fine\r\n" + PANIC)
        with pytest.raises(TargetCrash, match="VFS: Unable to mount root"):
            line.expect([b"login: "], soon())
        crash = board.console.crash()
        assert crash is not None
        assert crash.kind is Kind.KERNEL
        assert line.crash() == crash


def test_a_crash_on_purpose_is_waited_through_and_then_forgiven() -> None:
    with FarEnd() as board:
        line = board.console.take("Linux")
        board.say(PANIC + b"Starting crashdump kernel...\r\n")
        assert line.expect([b"Starting crashdump kernel"], soon(), crashes=False) is not None
        board.say(b"second kernel\r\n")
        with pytest.raises(TargetCrash):
            line.expect([b"second kernel"], soon())
        line.forgive()
        board.say(b"login: ")
        assert line.expect([b"login: "], soon()) is not None


def test_a_crash_beats_the_end_of_the_line() -> None:
    with FarEnd() as board:
        line = board.console.take("Linux")
        board.say(PANIC)
        board.far.close()
        with pytest.raises(TargetCrash):
            line.expect([b"login: "], soon())


def test_what_was_found_before_a_crash_was_found() -> None:
    with FarEnd() as board:
        line = board.console.take("Linux")
        board.say(b"login: " + PANIC)
        assert board.console.wait(len(PANIC), soon())
        assert line.expect([b"login: "], soon()) is not None
        with pytest.raises(TargetCrash):
            line.expect([b"login: "], soon())


def test_a_crash_before_the_console_was_taken_is_not_the_new_owners() -> None:
    with FarEnd() as board:
        first = board.console.take("Linux")
        board.say(PANIC + b"next")
        with pytest.raises(TargetCrash):
            first.expect([b"login: "], soon())
        first.skip()
        second = board.console.take("U-Boot")
        board.say(b"=> ")
        assert second.expect([b"=> "], soon()) is not None


def test_a_banner_is_a_reset_only_where_none_should_be() -> None:
    with FarEnd() as board:
        line = board.console.take("U-Boot")
        board.say(BANNER)
        assert line.expect([b"DRAM"], soon()) is not None
        assert board.console.crash() is None
        board.console.expect_resets(expected=False)
        board.say(BANNER)
        with pytest.raises(BoardReset, match=r"restarted by itself: U-Boot 2023\.01"):
            line.expect([b"=> "], soon())


def test_binary_data_is_read_without_asking_the_crash_watch() -> None:
    with FarEnd() as board:
        line = board.console.take("payload")
        board.say(PANIC)
        assert line.read(soon()) == PANIC


def test_a_disk_that_is_full_is_the_labs_trouble_and_draining_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fd: int, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    with FarEnd(tmp_path) as board:
        line = board.console.take("test")
        monkeypatch.setattr("hilagent.console.tape._write_all", full)
        board.say(b"x" * 1000)
        with pytest.raises(LabError, match="log can't be written: No space left"):
            line.read(soon())
        board.say(b"y" * (1 << 20))
        assert board.console.tail().endswith("y")


def test_a_defect_of_a_stream_ends_the_waiters_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with FarEnd() as board:
        line = board.console.take("test")
        monkeypatch.setattr(board.console._stream, "read", lambda: 1 // 0)
        board.say(b"x")
        with pytest.raises(AgentBug, match="ZeroDivisionError"):
            line.read(soon())


def test_the_tail_is_scrubbed_and_short() -> None:
    with FarEnd() as board:
        board.console.take("test")
        board.say(b"one\r\n\x1b[2Jtwo\r\n\r\nthree\x07")
        assert board.console.wait(20, soon())
        assert board.console.tail(2) == "two\nthree\\x07"


def test_a_reader_that_is_held_up_is_late() -> None:
    with FarEnd() as board:
        started = time.monotonic()
        assert board.console.late_s(started) < 0.5
        with board.console._news:  # what holds this lock holds the reader up
            board.say(b"x")
            assert threading.Event().wait(0.5) is False
        assert board.console.late_s(started) > 0.2
