# SPDX-License-Identifier: Apache-2.0
"""What a board says last: crashes without an end of line, late ones, and incidents."""

from __future__ import annotations

import socket
import threading

import pytest

from hilagent.clock import Deadline
from hilagent.console import Console
from hilagent.errors import LabError, TargetCrash
from hilagent.transport.base import FdStream
from tests.console.helper import FarEnd
from tests.console.test_watch import PANIC


def soon() -> Deadline:
    return Deadline.after(5.0)


def test_a_crash_whose_line_never_ends_beats_the_end_of_the_line() -> None:
    with FarEnd() as board:
        line = board.console.take("test")
        board.say(PANIC.rstrip())
        board.far.shutdown(socket.SHUT_WR)
        with pytest.raises(TargetCrash, match="VFS: Unable to mount"):
            line.expect([b"never"], soon())


def test_a_crash_that_comes_after_a_connection_ended_is_waited_for() -> None:
    with FarEnd() as board:
        later = threading.Thread(target=board.say_slowly, args=[b"a\n" + PANIC])
        later.start()
        crash = board.console.crash_by(soon())
        later.join()
        assert crash is not None
        assert crash == board.console.crash_by(Deadline.after(0))
        assert board.console.crash_by(Deadline.after(0), crash.end) is None
        board.far.shutdown(socket.SHUT_WR)
        assert board.console.crash_by(soon(), crash.end) is None


def test_an_incident_is_told_once_it_is_over_or_the_console_is_closed() -> None:
    with FarEnd() as board:
        line = board.console.take("test")
        board.say(PANIC + b"---[ end Kernel panic - not syncing ]---\r\nx\r\n" + PANIC + b"y")
        line.expect([b"y"], soon(), crashes=False)
        (first,) = board.incidents
        assert (first.type, first.start) == ("panic", 0)
    assert [each.start < each.end for each in board.incidents] == [True, True]


def test_a_journal_that_takes_no_incident_ends_no_reader() -> None:
    def full(incident: object) -> None:
        raise LabError("the disk is full")

    near, far = socket.socketpair()
    with Console(FdStream(near.detach(), "under test"), happened=full) as console:
        far.sendall(PANIC + b"---[ end Kernel panic ]---\nafter")
        line = console.take("test")
        assert line.expect([b"after"], soon(), crashes=False) is not None
        assert console.lost is None
    far.close()
