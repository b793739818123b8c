# SPDX-License-Identifier: Apache-2.0
"""A YMODEM receiver as U-Boot's ``loady`` is one: a machine that is fed bytes."""

from __future__ import annotations

import binascii

_SOH, _STX, _EOT, _ACK, _NAK, _CAN, _C = 0x01, 0x02, 0x04, 0x06, 0x15, 0x18, 0x43
_SIZES = {_SOH: 128, _STX: 1024}
_ASK = bytes([_C])


class YmodemReceiver:
    """Takes one file, CRC-16, blocks of 128 or 1024 bytes.

    Attributes:
        data: what has arrived; cut to the size that block 0 told.
        name: of the file.
        done: whether the sender has ended the batch.
        cancelled: whether it was stopped (two CAN, or Ctrl-C).
    """

    def __init__(self) -> None:
        self.data, self.name = b"", ""
        self.done = self.cancelled = False
        self._buffer = b""
        self._expected = 0
        self._size: int | None = None
        self._ended = False

    def start(self) -> bytes:
        """Return what asks the sender to begin; repeated while nothing comes."""
        return _ASK

    def silence(self) -> bytes:
        """Return what is said after a while of silence, and forget half a block."""
        if self._buffer:
            self._buffer = b""
            return bytes([_NAK])
        begun = self._expected or self.data
        return bytes([_NAK]) if begun and not self._ended else _ASK

    def feed(self, data: bytes) -> bytes:
        """Take bytes, return the answers."""
        self._buffer += data
        out = b""
        while self._buffer and not (self.done or self.cancelled):
            answer = self._one()
            if answer is None:
                break
            out += answer
        return out

    def rest(self) -> bytes:
        """Return what came behind the end."""
        rest, self._buffer = self._buffer, b""
        return rest

    def _one(self) -> bytes | None:
        """Take one block or control byte; None where more must come first."""
        kind = self._buffer[0]
        if kind == 0x03 or self._buffer[:2] == bytes([_CAN, _CAN]):
            self.cancelled = True
            self._buffer = self._buffer.lstrip(bytes([_CAN, 0x03]))
            return b""
        if kind == _EOT:
            self._buffer = self._buffer[1:]
            self._ended = True
            self._expected = 0
            return bytes([_ACK]) + _ASK
        if kind not in _SIZES:
            if kind == _CAN and len(self._buffer) < 2:
                return None
            self._buffer = self._buffer[1:]
            return b""
        size = 3 + _SIZES[kind] + 2
        if len(self._buffer) < size:
            return None
        block, self._buffer = self._buffer[:size], self._buffer[size:]
        return self._block(block)

    def _block(self, block: bytes) -> bytes:
        number, body = block[1], block[3:-2]
        if number ^ block[2] != 0xFF or binascii.crc_hqx(body, 0) != int.from_bytes(block[-2:]):
            return bytes([_NAK])
        if number == (self._expected - 1) & 0xFF and (self._expected or self.data):
            return bytes([_ACK])  # repeated: its ACK was lost
        if number != self._expected & 0xFF:
            return bytes([_CAN, _CAN])
        if self._ended:
            self.done = not body.rstrip(b"\0")
            return bytes([_ACK])
        if self._expected == 0 and self._size is None:
            return self._header(body)
        self.data += body
        if self._size is not None:
            self.data = self.data[: self._size]
        self._expected += 1
        return bytes([_ACK])

    def _header(self, body: bytes) -> bytes:
        name, _, rest = body.partition(b"\0")
        self.name = name.decode("latin-1")
        size = rest.split(b"\0")[0].split(b" ")[0]
        self._size = int(size) if size.isdigit() else -1
        self._expected = 1
        return bytes([_ACK]) + _ASK
