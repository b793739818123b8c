# SPDX-License-Identifier: Apache-2.0
"""A recorded console: strict, and in the order of what was known."""

from __future__ import annotations

from pathlib import Path

import pytest

from hilagent import transport
from hilagent.board.model import Console as Config
from hilagent.clock import Deadline
from hilagent.console import Console, tape
from hilagent.console.tape import Tape
from hilagent.errors import InputError, LabError, LinkError
from hilagent.power.recorded import RecordedPower
from hilagent.transport import Stream, recorded
from tests.transport.helper import readable, soon


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two boots: a prompt, a key, an answer of which a part was known too late; a banner."""
    first = Tape(tmp_path)
    first.received(b"prompt ", 1)
    first.seen(7, 2)
    first.sent(b"key", 3)
    first.received(b"answer and an event", 4)
    first.seen(13, 5)
    first.sent(b"thanks", 6)
    first.close()
    second = Tape(tmp_path)
    second.received(b"banner", 7)
    second.close()
    return tmp_path


def opened(power: RecordedPower) -> Stream:
    return transport.open(Config(kind="recorded", path="x"), power)


def test_the_directions_are_those_of_the_tape() -> None:
    ours = (recorded.RX, recorded.TX, recorded.OPENED, recorded.SEEN)
    assert ours == (tape.RX, tape.TX, tape.OPENED, tape.SEEN)


def test_the_board_says_what_was_known_before_something_was_written(folder: Path) -> None:
    stream = opened(RecordedPower(folder))
    assert readable(stream, 0)
    assert stream.read() == b"prompt "
    assert not readable(stream, 0)
    assert stream.read() == b""
    assert stream.write(b"ke") == 2
    assert stream.read() == b""
    assert stream.write(b"y") == 1
    assert readable(stream, 0)
    assert stream.read() == b"answer"
    assert stream.write(b"thanks") == 6
    assert stream.read() == b" and an event"
    stream.close()
    with pytest.raises(LinkError, match="closed by this program"):
        stream.read()


def test_what_is_written_too_early_is_taken_all_the_same(folder: Path) -> None:
    """Who writes without having read knows no less than who wrote then."""
    stream = opened(RecordedPower(folder))
    assert stream.write(b"keythanks") == 9
    assert stream.read() == b"prompt answer and an event"
    stream.close()


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (b"kez", r"at byte 2 of its console\.tx expected b'y', found b'z'"),
        (b"keythanks!", r"at byte 9 of .* expected nothing more in this boot, found b'!'"),
    ],
)
def test_what_was_not_written_then_ends_it(folder: Path, written: bytes, said: str) -> None:
    power = RecordedPower(folder)
    stream = opened(power)
    with pytest.raises(LabError, match=said):
        stream.write(written)
    assert readable(stream, 0)
    for again in (stream.read, lambda: stream.write(b"y"), power.next_boot):
        with pytest.raises(LabError, match=said):
            again()
    stream.close()


def test_each_opening_is_the_next_boot_and_the_last_is_the_end(folder: Path) -> None:
    power = RecordedPower(folder)
    opened(power).close()
    stream = opened(power)
    assert stream.read() == b"banner"
    with pytest.raises(LabError, match="expected nothing more in this boot"):
        stream.write(b"key")
    stream.close()
    power = RecordedPower(folder)
    for _ in range(2):
        opened(power).close()
    with pytest.raises(LabError, match="the recording ends: its board was started 2 times"):
        opened(power)


def test_a_console_has_the_answer_before_any_time_passes(folder: Path) -> None:
    with Console(opened(RecordedPower(folder))) as console:
        line = console.take("test")
        assert line.expect([b"prompt "], soon())
        line.write(b"key", soon())
        assert line.read(Deadline.after(0)) == b"answer"


def test_it_switches_nothing_and_says_what_it_was_told(folder: Path) -> None:
    power = RecordedPower(folder)
    assert (power.state(), power.alive()) == (False, True)
    power.on()
    assert power.state()
    power.off()
    assert not power.state()
    power.cycle()
    assert power.state()


@pytest.mark.parametrize("index", [None, b"", bytes(24)], ids=["none", "empty", "never opened"])
def test_what_is_no_recording_says_so(tmp_path: Path, index: bytes | None) -> None:
    for name in ("raw", "tx"):
        (tmp_path / f"console.{name}").write_bytes(b"")
    if index is not None:
        (tmp_path / "console.idx").write_bytes(index)
    with pytest.raises(InputError, match="no recording: "):
        RecordedPower(tmp_path)
