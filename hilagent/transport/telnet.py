# SPDX-License-Identifier: Apache-2.0
"""Telnet as a serial console speaks it (RFC 854 to 858, 1143 and 2217); no I/O.

::

    codec = Codec()
    send(codec.hello())
    data = codec.feed(received)      # what the board said, without any telnet
    send(codec.replies())            # what the server is owed for it
    send(codec.encode(b"to the board"))

Fed in one piece or byte by byte it gives the same. A server that refuses the binary
mode is spoken to in the network's own terms: a CR is followed by a NUL.
"""

from __future__ import annotations

import enum

IAC = 0xFF
SE, SB, WILL, WONT, DO, DONT = 0xF0, 0xFA, 0xFB, 0xFC, 0xFD, 0xFE
BINARY, ECHO, SGA, COM_PORT = 0, 1, 3, 44
SET_BAUDRATE, SET_DATASIZE, SET_PARITY, SET_STOPSIZE, SET_CONTROL = range(1, 6)
SUSPEND, RESUME = 108, 109  # of the server to us
BREAK_ON, BREAK_OFF, NO_FLOW_CONTROL = 5, 6, 1
_ANSWER = 100
"""The server answers command n as n + 100."""
_LONGEST = 64
"""No answer that is wanted is longer; the rest of a longer one is dropped."""


class _State(enum.Enum):
    DATA = enum.auto()
    COMMAND = enum.auto()
    OPTION = enum.auto()
    SUB = enum.auto()
    SUB_COMMAND = enum.auto()


class Codec:
    """Both directions of one connection.

    Attributes:
        ours: the options that the server let us have.
        theirs: the options that the server has.
        refused: the options that the server refused us.
        answers: its last answer to each command of RFC 2217, by the command.
        suspended: whether it wants no data at present.
        spoke: whether anything but data has come.
    """

    def __init__(self) -> None:
        self.ours, self.theirs, self.refused = set[int](), set[int](), set[int]()
        self.answers: dict[int, bytes] = {}
        self.suspended = self.spoke = False
        self._state, self._verb = _State.DATA, 0
        self._sub = bytearray()
        self._replies = bytearray()
        self._asked, self._agreed = set(_WANTED), set(_AGREED)
        self._after_cr = False

    def hello(self) -> bytes:
        """Return our part of the negotiation; to be sent once."""
        return b"".join(bytes((IAC, verb, option)) for verb, option in _WANTED)

    def feed(self, chunk: bytes) -> bytes:
        """Take what the server sent; return the data in it."""
        out, at = bytearray(), 0
        while at < len(chunk):
            if self._state is _State.DATA:
                end = chunk.find(IAC, at)
                end = len(chunk) if end < 0 else end
                out += self._from_network(chunk[at:end])
                at = end + 1
                self._state = _State.COMMAND if end < len(chunk) else _State.DATA
            else:
                out += self._step(chunk[at])
                at += 1
        return bytes(out)

    def replies(self) -> bytes:
        """Return, once, what is to be sent to the server for what it asked."""
        replies, self._replies = bytes(self._replies), bytearray()
        return replies

    def encode(self, data: bytes) -> bytes:
        """Return ``data`` as it is sent."""
        data = data.replace(b"\xff", b"\xff\xff")
        return data if BINARY in self.ours else data.replace(b"\r", b"\r\0")

    def ask(self, command: int, value: bytes) -> bytes:
        """Return a command of RFC 2217 to be sent; its last answer is forgotten."""
        self.answers.pop(command, None)
        body = bytes((COM_PORT, command)) + value.replace(b"\xff", b"\xff\xff")
        return bytes((IAC, SB)) + body + bytes((IAC, SE))

    def _from_network(self, data: bytes) -> bytes:
        """Return ``data`` without the NUL behind a CR where there is no binary mode."""
        if BINARY in self.theirs or not data:
            self._after_cr = False
            return data
        if self._after_cr and data[0] == 0:
            data = data[1:]
        self._after_cr = data.endswith(b"\r")
        return data.replace(b"\r\0", b"\r")

    def _step(self, byte: int) -> bytes:
        """Take one byte of a command; return the data that it stands for."""
        match self._state:
            case _State.COMMAND:
                return self._command(byte)
            case _State.OPTION:
                self._state = _State.DATA
                self._negotiate(self._verb, byte)
            case _State.SUB if byte == IAC:
                self._state = _State.SUB_COMMAND
            case _State.SUB:
                self._gather(byte)
            case _State.SUB_COMMAND if byte == IAC:
                self._state = _State.SUB
                self._gather(byte)
            case _State.SUB_COMMAND:  # SE, or a server that forgot it
                self._answered(bytes(self._sub))
                self._state = _State.DATA
                return b"" if byte == SE else self._command(byte)
        return b""

    def _command(self, byte: int) -> bytes:
        self._state = _State.DATA
        if byte == IAC:
            self._after_cr = False
            return b"\xff"
        self.spoke = True
        if byte == SB:
            self._state, self._sub = _State.SUB, bytearray()
        elif byte in (WILL, WONT, DO, DONT):
            self._state, self._verb = _State.OPTION, byte
        return b""  # whatever else it is, there is nothing to it

    def _negotiate(self, verb: int, option: int) -> None:
        """Agree to what was wanted, refuse the rest; answer nothing that was an answer."""
        side = self.ours if verb in (DO, DONT) else self.theirs
        yes, no = (WILL, WONT) if verb in (DO, DONT) else (DO, DONT)
        asked = (yes, option) in self._asked
        self._asked.discard((yes, option))
        if verb in (DO, WILL):
            wanted = (yes, option) in self._agreed
            if not asked and option not in side:
                self._reply(yes if wanted else no, option)
            if wanted:
                side.add(option)
        else:
            if verb == DONT:
                self.refused.add(option)
            if option in side:
                side.remove(option)
                self._agreed.discard((yes, option))  # or two could go on about it for ever
                self._reply(no, option)

    def _reply(self, verb: int, option: int) -> None:
        self._replies += bytes((IAC, verb, option))

    def _gather(self, byte: int) -> None:
        if len(self._sub) < _LONGEST:
            self._sub.append(byte)

    def _answered(self, sub: bytes) -> None:
        if len(sub) < 2 or sub[0] != COM_PORT:
            return
        if sub[1] in (SUSPEND, RESUME):
            self.suspended = sub[1] == SUSPEND
        elif sub[1] > _ANSWER:
            self.answers[sub[1] - _ANSWER] = sub[2:]


_WANTED = ((WILL, COM_PORT), (WILL, BINARY), (DO, BINARY), (WILL, SGA), (DO, SGA))
"""What we ask for."""
_AGREED = frozenset({*_WANTED, (DO, ECHO), (DO, COM_PORT)})
"""What we agree to: the server's echo is the board's own, and costs us nothing."""
