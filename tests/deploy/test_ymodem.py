# SPDX-License-Identifier: Apache-2.0
"""The YMODEM sender."""

from __future__ import annotations

import binascii
import random

import pytest

from hilagent.clock import Deadline
from hilagent.console import Line
from hilagent.deploy.ymodem import ACK, AGAIN, CAN, EOT, LARGE, SMALL, Sender, Ymodem, frame
from hilagent.errors import LabError
from hilagent.testing import Fault, Faults, ScriptedUBoot, UBootTraits
from hilagent.testing.uboot import LOAD_ADDR
from hilagent.testing.ymodem import YmodemReceiver
from tests.console.helper import FarEnd
from tests.console.scripted import scripted, soon

READY = UBootTraits(autoboot_s=0)
FAST = 4_000_000
DATA = random.Random(3).randbytes(5000)


class Receiver:
    """A line to a receiver in memory; ``spoil`` may change its answers."""

    def __init__(self, receiver: YmodemReceiver | None = None) -> None:
        self.receiver = receiver or YmodemReceiver()
        self.said = self.receiver.start()
        self.sent = b""
        self.position = 0

    def write(self, data: bytes, deadline: Deadline) -> None:
        self.sent += data
        self.said += self.receiver.feed(data)

    def read(self, deadline: Deadline) -> bytes:
        said, self.said = self.said, b""
        return said

    def expect(self, patterns: list[bytes], deadline: Deadline) -> object:
        assert patterns == [AGAIN]
        self.said = self.said.partition(AGAIN)[2]
        return object()


def send(line: object, data: bytes = DATA, size: int = LARGE) -> Sender:
    assert isinstance(line, (Line, Receiver))
    sender = Sender(line, 10 / FAST, size)  # type: ignore[arg-type]
    sender.send(data, soon(5), lambda done, total: None)
    return sender


def test_a_block_has_number_complement_and_crc16() -> None:
    block = frame(258, b"x" * SMALL)
    assert block[:3] == b"\x01\x02\xfd"
    assert block[-2:] == binascii.crc_hqx(b"x" * SMALL, 0).to_bytes(2, "big")
    assert frame(1, bytes(LARGE))[:1] == b"\x02"


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("length", [0, 1, 127, 128, 1024, 1025, 5000])
def test_what_arrives_is_what_was_sent_and_no_byte_more(size: int, length: int) -> None:
    line = Receiver()
    sender = send(line, DATA[:length], size)
    assert line.receiver.data == DATA[:length]
    assert line.receiver.done
    assert sender.resent == 0


def test_more_than_256_blocks_count_on_from_zero() -> None:
    line = Receiver()
    data = random.Random(4).randbytes(300 * SMALL)
    send(line, data, SMALL)
    assert line.receiver.data == data


def test_progress_ends_at_the_whole() -> None:
    seen: list[tuple[int, int]] = []
    Sender(Receiver(), 0.0).send(  # type: ignore[arg-type]
        DATA, soon(), lambda *each: seen.append(each)
    )
    assert seen[0] == (0, 5000)
    assert seen[-1] == (5000, 5000)
    assert seen == sorted(seen)


def test_a_receiver_that_cancels_ends_it_at_once() -> None:
    line = Receiver()
    line.receiver.feed = lambda data: CAN * 3  # type: ignore[method-assign]
    with pytest.raises(LabError, match="cancelled"):
        send(line)


def test_not_a_byte_is_sent_to_a_prompt() -> None:
    with FarEnd() as board:
        line = board.console.take("test")
        board.say(AGAIN)
        board.say(b"\r\nxyzModem - CRC mode, 0(SOH)/0(STX)/0(CAN) packets\r\n=> ")
        with pytest.raises(LabError, match="receiver has ended"):
            Sender(line, 10 / FAST).send(DATA, soon(), lambda done, total: None)
        sent = len(frame(0, bytes(SMALL)))
        board.heard(sent)
        board.far.settimeout(0.05)
        with pytest.raises(TimeoutError):
            board.far.recv(1)


def test_a_receiver_that_never_asks_is_told() -> None:
    with FarEnd() as board:
        sender = Sender(board.console.take("test"), 10 / FAST)
        with pytest.raises(LabError, match="doesn't ask for data"):
            sender.send(DATA, soon(0.1), lambda done, total: None)


def test_a_receiver_that_says_nothing_more_does_not_hold_us_up() -> None:
    with FarEnd() as board:
        board.say(AGAIN + ACK)
        sender = Sender(board.console.take("test"), 10 / FAST)
        with pytest.raises(LabError, match="block 1 wasn't acknowledged"):
            sender.send(DATA, soon(0.7), lambda done, total: None)


def test_the_end_is_sent_again_when_it_is_not_heard() -> None:
    line = Receiver()
    feed, ends = line.receiver.feed, [0]

    def deaf_once(data: bytes) -> bytes:
        ends[0] += data == EOT
        return AGAIN if data == EOT and ends[0] == 1 else feed(data)

    line.receiver.feed = deaf_once  # type: ignore[method-assign]
    send(line)
    assert ends[0] == 2
    assert line.receiver.done


@pytest.mark.parametrize("direction", ["to_board", "to_host"])
@pytest.mark.parametrize("fault", [Fault.DROP, Fault.FLIP, Fault.DOUBLE])
def test_one_fault_in_the_transfer_is_mended_within_it(direction: str, fault: Fault) -> None:
    machine = ScriptedUBoot(traits=READY)
    at = 3000 if direction == "to_board" else 3
    bad = Faults(at={at: fault}, arm_after=b"loady" if direction == "to_board" else b"bps...")
    with scripted(machine, seed=1, **{direction: bad}) as board:  # type: ignore[arg-type]
        board.uboot.attach(soon())
        Ymodem(FAST).load(board.uboot, LOAD_ADDR, DATA, soon(20), lambda done, total: None)
        assert board.uboot.matches(LOAD_ADDR, DATA)
