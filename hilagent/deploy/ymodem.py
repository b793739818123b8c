# SPDX-License-Identifier: Apache-2.0
"""Load over the console alone: a YMODEM-1K sender for U-Boot's ``loady``.

::

    transfers: [ymodem]

The PyPI package ``ymodem`` 1.5.3 does not hold up: measured with 32 KiB to
U-Boot 2023.01 in QEMU, it takes 5 to 6 s on a perfect line (this sender: 0.9 s),
and with 0.01 % of the bytes lost, flipped or doubled 0 of 10 transfers arrived
(this sender: 20 of 20, 2.3 s in the middle, and 8 of 8 at 0.1 %).

What U-Boot's receiver does, and standard senders don't expect:

* it asks for a block again by ``C``, never by NAK;
* a byte lost in a block costs it 2 s of waiting, so after a short silence a few
  filler bytes complete the block and its CRC fails at once;
* after the first header it sends ACK without a ``C``;
* EOT counts only as the first byte after a block. After noise it takes over
  4 s until the next ``C``, and then EOT has to be sent again.

Every block that was sent twice may be acknowledged twice: late replies are
drained before the next one. What has arrived is verified by its CRC-32
afterwards, by the caller.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterator
from contextlib import suppress

from hilagent.clock import Deadline
from hilagent.console.line import Line
from hilagent.console.uboot import UBoot
from hilagent.deploy.base import Progress
from hilagent.errors import LabError

SOH, STX, EOT, ACK, NAK, CAN, AGAIN = b"\x01", b"\x02", b"\x04", b"\x06", b"\x15", b"\x18", b"C"
SMALL, LARGE = 128, 1024
_REPLIES = ACK + NAK + CAN + AGAIN
_FILLER = b"\xff" * 4  # no single flipped bit makes a control byte of it
_TRIES = 10
_REPLY_S = 0.15
_RECEIVER_S = 6.0  # the longest that U-Boot's receiver thinks before it asks again
_TEXT = 3  # so many bytes in a row that are no replies: the receiver has ended and U-Boot speaks


class Ymodem:
    """Loads over the console.

    Args:
        baud: of the console: how long a block is on its way.
    """

    name = "ymodem"

    def __init__(self, baud: int) -> None:
        self._byte_s = 10 / baud
        self._size = LARGE

    def load(
        self, uboot: UBoot, addr: int, image: bytes, deadline: Deadline, progress: Progress
    ) -> None:
        """Send the image; a later attempt uses small blocks, which fare better on a bad line."""
        size, self._size = self._size, SMALL
        line = uboot.converse("loady", addr, deadline=deadline)
        try:
            sender = Sender(line, self._byte_s, size)
            sender.send(image, deadline, progress)
            line.expect([rb"## Total Size"], deadline.sooner(_RECEIVER_S), sender.ended)
        except LabError:
            with suppress(LabError):  # of the two errors the first one counts
                uboot.resume(deadline)
            raise
        uboot.resume(deadline)
        self._size = LARGE


class Sender:
    """Sends one file to a receiver that has just been started.

    Args:
        line: the console.
        byte_s: the time that a byte takes on it.
        size: of a block, :data:`SMALL` or :data:`LARGE`.

    Attributes:
        resent: how many blocks were sent more than once.
        ended: the position on the console where the receiver's own words begin.
    """

    def __init__(self, line: Line, byte_s: float, size: int = LARGE) -> None:
        self._line = line
        self._byte_s = byte_s
        self._size = size
        self._waiting = b""
        self._text = 0
        self.resent = 0
        self.ended = 0

    def send(self, image: bytes, deadline: Deadline, progress: Progress) -> None:
        """Send ``image``; LabError when the receiver gave up or the time is over."""
        progress(0, len(image))
        if self._line.expect([AGAIN], deadline.sooner(2 * _RECEIVER_S)) is None:
            raise LabError("U-Boot's loady doesn't ask for data")
        self._block(0, _header(len(image)), deadline)
        for number, at in enumerate(range(0, len(image), self._size), 1):
            part = image[at : at + self._size]
            self._block(number, part.ljust(self._size, b"\x1a"), deadline)
            progress(at + len(part), len(image))
        self._end(deadline)

    def _block(self, number: int, data: bytes, deadline: Deadline) -> None:
        """Send one block until it is acknowledged."""
        packet = frame(number, data)
        travel_s = len(packet) * self._byte_s
        for attempt in range(_TRIES):
            self._line.write(packet, deadline)
            reply = self._reply(deadline, travel_s + _REPLY_S)
            if reply == AGAIN and number == 1 and not attempt:
                reply = self._reply(deadline, travel_s + _REPLY_S)  # most send one after the header
            if not reply:
                self._line.write(_FILLER, deadline)
                reply = self._reply(deadline, _REPLY_S)
            if not reply and attempt:  # it may be waiting for the line to fall silent
                reply = self._reply(deadline, _RECEIVER_S)
            if reply == ACK:
                if attempt:
                    self.resent += 1
                    self._drain(deadline, travel_s + _REPLY_S)
                return
            if deadline.expired():
                break
        raise LabError(f"YMODEM: block {number} wasn't acknowledged")

    def _end(self, deadline: Deadline) -> None:
        for _ in range(_TRIES):
            self._line.write(EOT, deadline)
            if self._reply(deadline, _RECEIVER_S) == ACK:
                break
        else:
            raise LabError("YMODEM: the end of the file wasn't acknowledged")
        while self._reply(deadline, _REPLY_S) == ACK:  # ACK twice, then C for the next file
            pass
        self.ended = self._line.position
        self._line.write(frame(0, bytes(SMALL)), deadline)  # there is none; nobody minds its ACK

    def _reply(self, deadline: Deadline, seconds: float) -> bytes:
        """Return the next reply, ``b""`` for none within ``seconds``."""
        until = deadline.sooner(seconds)
        while True:
            for reply in self._replies():
                return reply
            more = self._line.read(until)
            if not more:
                return b""
            self._waiting += more

    def _replies(self) -> Iterator[bytes]:
        while self._waiting:
            byte, self._waiting = self._waiting[:1], self._waiting[1:]
            if byte in _REPLIES and self._text < _TEXT:
                self._text = 0
                if byte == CAN:
                    raise LabError("YMODEM: the receiver cancelled")
                yield byte
            else:
                self._text += 1
            if self._text >= _TEXT:
                # Not a byte more: what is meant as data would be typed at a prompt.
                raise LabError("YMODEM: the receiver has ended")

    def _drain(self, deadline: Deadline, seconds: float) -> None:
        while self._reply(deadline, seconds):
            pass


def frame(number: int, data: bytes) -> bytes:
    """Return a block on the wire; ``data`` has one of the two sizes."""
    start = STX if len(data) == LARGE else SOH
    check = binascii.crc_hqx(data, 0)
    return start + bytes((number & 0xFF, ~number & 0xFF)) + data + check.to_bytes(2, "big")


def _header(size: int) -> bytes:
    return b"image\0" + f"{size} ".encode().ljust(SMALL - 6, b"\0")
