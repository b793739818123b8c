# SPDX-License-Identifier: Apache-2.0
"""A port of a console server that speaks telnet with serial settings (RFC 2217).

::

    console: {kind: rfc2217, host: lab7, port: 2001, baud: 115200}

The server sets its port to this baud rate, 8N1 without flow control, and says so, or
the console isn't opened. The protocol is ours (:mod:`hilagent.transport.telnet`):
pyserial's client has no descriptor to wait for, reads in a thread, and negotiates
all settings again each time its time-out is changed.
"""

from __future__ import annotations

import os
import select
import threading

from hilagent.clock import Deadline
from hilagent.errors import LabError, LinkError
from hilagent.text import scrub_line
from hilagent.transport import tcp, telnet
from hilagent.transport.base import FdStream

BREAK_S = 0.25
"""As long as POSIX's tcsendbreak at least."""
_ANSWER_S = 5.0
_PIECE = 4096
"""The most that one write takes: what doesn't fit the socket is kept here."""
_SAID = {
    telnet.SET_BAUDRATE: "{} baud",
    telnet.SET_DATASIZE: "{} data bits",
    telnet.SET_PARITY: "parity {} (of RFC 2217)",
    telnet.SET_STOPSIZE: "{} stop bits",
}
"""Settings that must be as they were asked; of flow control servers answer odd things."""


class Rfc2217Stream(FdStream):
    """A connected one; :func:`connect` makes it and agrees on the settings.

    A write takes what it can and keeps the rest of a piece that fits the socket by half;
    that leaves with the next read or write.
    """

    def __init__(self, fd: int, name: str) -> None:
        super().__init__(fd, name)
        self._codec = telnet.Codec()
        # Entered as a lock, for the reason that the console's own is.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._unsent = bytearray()
        self._early = b""
        self._ready = -1
        self._send(self._codec.hello())

    def fileno(self) -> int:
        """Return the socket, or one that is readable: what came with the settings waits."""
        return self._ready if self._ready >= 0 else super().fileno()

    @property
    def paused(self) -> bool:
        """Whether the server has said that it takes nothing at present."""
        return self._codec.suspended

    @property
    def said(self) -> str:
        """What came with the settings, for a person: some servers say why they close."""
        return scrub_line(self._early)

    def read(self) -> bytes:
        with self._lock:
            if self._early:
                early, self._early = self._early, b""
                self._shut_ready()
                return early
            data = self._codec.feed(super().read())
            self._send(self._codec.replies())
            self._changed.notify_all()
            return data

    def write(self, data: bytes) -> int:
        with self._lock:
            self._send(b"")
            if self._unsent or self._codec.suspended:
                return 0
            piece = data[:_PIECE]
            self._send(self._codec.encode(piece))
            return len(piece)

    def close(self) -> None:
        super().close()
        with self._lock:
            self._shut_ready()
            self._changed.notify_all()

    def send_break(self) -> None:
        """Send a break of a quarter second, while somebody reads; LabError if it is refused."""
        for state in (telnet.BREAK_ON, telnet.BREAK_OFF):
            with self._lock:
                self._send(self._codec.ask(telnet.SET_CONTROL, bytes([state])))
                answered = self._changed.wait_for(self._break_answered, _ANSWER_S)
                answer = self._codec.answers.get(telnet.SET_CONTROL, b"")
                if not answered or answer[0] not in (telnet.BREAK_ON, telnet.BREAK_OFF):
                    said = f"said {answer.hex()}" if answered else "did not answer"
                    raise LabError(f"the console server of {self._name} {said} to a break")
                if state == telnet.BREAK_ON:  # the time on the line is the break
                    self._changed.wait_for(lambda: self._fd < 0, BREAK_S)

    def agree(self, baud: int, deadline: Deadline) -> None:
        """Have the server set its port; raises LabError."""
        try:
            self._negotiate(baud, deadline)
        finally:
            if self._early:
                self._ready = os.eventfd(1, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def _negotiate(self, baud: int, deadline: Deadline) -> None:
        codec = self._codec
        while telnet.COM_PORT not in codec.ours:
            if telnet.COM_PORT in codec.refused:
                hint = "let the server set the port and use kind: tcp, or turn its rfc2217 on"
                raise LabError(f"{self._name} speaks telnet, but not RFC 2217", hint=hint)
            if not self._hear(deadline):
                what = "nothing of RFC 2217" if codec.spoke else "no telnet"
                hint = "is it a raw port? then kind: tcp; or does another client have it?"
                raise LabError(
                    f"{self._name} said {what} within {deadline.budget_s:g} s", hint=hint
                )
        wanted = {
            telnet.SET_BAUDRATE: baud.to_bytes(4, "big"),
            telnet.SET_DATASIZE: b"\x08",
            telnet.SET_PARITY: b"\x01",
            telnet.SET_STOPSIZE: b"\x01",
            telnet.SET_CONTROL: bytes([telnet.NO_FLOW_CONTROL]),
        }
        self._send(b"".join(codec.ask(command, value) for command, value in wanted.items()))
        for command, said in _SAID.items():
            asked = said.format(int.from_bytes(wanted[command], "big"))
            while command not in codec.answers:
                if not self._hear(deadline):
                    raise LabError(f"{self._name} did not answer when {asked} was asked of it")
            found = codec.answers[command][: len(wanted[command])]
            if found != wanted[command]:
                set_it = said.format(int.from_bytes(found, "big"))
                hint = "does its port, or its configuration, allow that?"
                raise LabError(f"{self._name} has set {set_it} where {asked} was asked", hint=hint)

    def _hear(self, deadline: Deadline) -> bool:
        """Take what comes next of the negotiation, and keep the board's data."""
        if not select.select([self._fd], [], [], deadline.left_s())[0]:
            return False
        self._early += self._codec.feed(super().read())
        self._send(self._codec.replies())
        return True

    def _send(self, data: bytes) -> None:
        self._unsent += data
        if self._unsent:
            del self._unsent[: super().write(bytes(self._unsent))]

    def _break_answered(self) -> bool:
        if self._fd < 0:
            raise self._lost("")
        return bool(self._codec.answers.get(telnet.SET_CONTROL))

    def _shut_ready(self) -> None:
        ready, self._ready = self._ready, -1
        if ready >= 0:
            os.close(ready)


def connect(host: str, port: int, baud: int, *, connect_s: float = tcp.CONNECT_S) -> Rfc2217Stream:
    """Connect and have the server set its port to ``baud``, 8N1; raises LabError."""
    sock = tcp.dial(host, port, "RFC 2217", connect_s)
    stream = Rfc2217Stream(sock.detach(), f"{host}:{port}")
    try:
        stream.agree(baud, Deadline.after(connect_s))
    except LinkError as error:
        stream.close()
        said = f": {stream.said}" if stream.said else ""
        hint = "does another client have the port?"
        raise LabError(f"{error.message}, before it was set up{said}", hint=hint) from error
    except BaseException:
        stream.close()
        raise
    return stream
