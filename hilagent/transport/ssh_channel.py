# SPDX-License-Identifier: Apache-2.0
"""One command on one SSH channel: bytes in, bytes out, and how it ended.

Private to the transport: what goes wrong is told by exceptions of this file,
and :mod:`hilagent.transport.ssh_connection` makes errors of them that name the
board. Nothing here polls: what arrives sets an event, and where paramiko waits for the
other side without a time-out, a timer closes its transport.

The channel's own descriptor (``Channel.fileno()``) is not used: closing the channel
closes it while the transport's thread may still write to it, which ends the connection,
or writes into whatever has its number by then (paramiko 5.1, Channel.close).
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hilagent.clock import Deadline

if TYPE_CHECKING:
    import paramiko

Progress = Callable[[int, int], None]
"""Called with the bytes done and the bytes in all; from a thread of the transport."""
CHUNK_BYTES = 1 << 15
_NO_STATUS = -1
_CLOSE_S = 2.0


@dataclass(frozen=True)
class Done:
    """A command that ended.

    Attributes:
        status: its exit status; of a command killed by a signal, the shell's 128 + n.
    """

    status: int
    out: bytes
    err: bytes
    took_s: float


class Trouble(Exception):
    """A command did not end as one does."""


class Refused(Trouble):
    """The server takes no command."""


class Deaf(Trouble):
    """The server did not even say that it takes the command; its transport is closed."""


class Late(Trouble):
    """The command had not ended at the deadline; its channel is closed."""


class Lost(Trouble):
    """The connection ended first."""


class NoStatus(Trouble):
    """The channel was closed without an exit status, and the connection lives."""


class TooMuch(Trouble):
    """More output than was asked for; the rest was not read."""


class _News(threading.Event):
    """Set by whatever arrives; only who looks clears it, and looks after that."""

    def clear(self) -> None:
        """Do nothing: paramiko means one stream by it, and this event is for both."""

    def look(self) -> None:
        """Clear it."""
        super().clear()


def silent(done: int, total: int) -> None:
    """Be a progress callback that does nothing."""


class Command:
    """A command that the server has taken.

    Attributes:
        sent: bytes of its input that are on their way, or there.

    Raises:
        Refused, Deaf, Lost: from the constructor.
    """

    def __init__(self, transport: paramiko.Transport, command: str, deadline: Deadline) -> None:
        self.sent = 0
        self._transport = transport
        self._feeder: threading.Thread | None = None
        self._feeding: BaseException | None = None
        with closed_at(deadline, transport), _translated(transport, deadline):
            self._channel = transport.open_session(timeout=deadline.left_s())
            self._channel.exec_command(command.encode())
        self._news = _News()
        for stream in (self._channel.in_buffer, self._channel.in_stderr_buffer):
            stream.set_event(self._news)

    def feed(self, data: bytes, progress: Progress = silent) -> None:
        """Begin to send ``data`` as the command's input, then its end."""
        self._feeder = threading.Thread(
            target=self._feed, args=(data, progress), name="ssh upload", daemon=True
        )
        self._feeder.start()

    def end_input(self) -> None:
        """Say that no input comes (any more)."""
        with contextlib.suppress(OSError, EOFError):  # whoever reads tells that it is gone
            self._channel.shutdown_write()

    def collect(self, deadline: Deadline, limit: int) -> tuple[int, bytes, bytes]:
        """Return status, output and errors once the command has ended.

        Raises:
            Late, Lost, NoStatus, TooMuch.
        """
        out, err, had = bytearray(), bytearray(), 0
        while not self._take(out, err):
            if self._feeding is not None:
                raise self._feeding
            if len(out) + len(err) > limit:
                raise TooMuch
            if deadline.expired():
                raise Late
            if len(out) + len(err) == had:  # else there may be more
                self._news.wait(deadline.left_s())
            had = len(out) + len(err)
        if not self._channel.status_event.wait(deadline.left_s()):
            raise Late
        if self._feeding is not None:
            raise self._feeding
        if self._channel.exit_status == _NO_STATUS:
            raise NoStatus if self._transport.is_active() else Lost
        if len(out) + len(err) > limit:
            raise TooMuch
        return self._channel.exit_status, bytes(out), bytes(err)

    def expect(self, wanted: bytes, deadline: Deadline) -> None:
        """Wait until the command has printed ``wanted`` and nothing else.

        Raises:
            Late, Lost, NoStatus: NoStatus also for other output.
        """
        seen = b""
        while seen != wanted:
            self._channel.settimeout(max(deadline.left_s(), 0.001))
            try:
                piece = self._channel.recv(len(wanted) - len(seen))
            except TimeoutError:
                raise Late from None
            seen += piece
            if not piece or not wanted.startswith(seen):
                raise NoStatus if self._transport.is_active() else Lost

    def ended(self, deadline: Deadline) -> bool:
        """Wait for the exit status, or for the end of everything."""
        return self._channel.status_event.wait(deadline.left_s())

    def close(self) -> None:
        """Give the channel up, and the connection if even that can't be sent."""
        with closed_at(Deadline.after(_CLOSE_S), self._transport):
            with contextlib.suppress(OSError, EOFError):
                self._channel.close()
            if self._feeder is not None:
                self._feeder.join()

    def _take(self, out: bytearray, err: bytearray) -> bool:
        """Read what is there; return whether that was the last of it."""
        channel = self._channel
        self._news.look()
        # asked before reading, so that no byte can come in between
        over = bool(channel.eof_received or channel.closed)
        while channel.recv_ready() and (piece := channel.recv(CHUNK_BYTES)):
            out += piece
            if not over:
                break
        while channel.recv_stderr_ready() and (piece := channel.recv_stderr(CHUNK_BYTES)):
            err += piece
            if not over:
                break
        return over

    def _feed(self, data: bytes, progress: Progress) -> None:
        view = memoryview(data)
        try:
            while view:
                taken = self._channel.send(bytes(view[:CHUNK_BYTES]))
                if not taken:
                    return
                view = view[taken:]
                self.sent += taken
                progress(self.sent, len(data))
            self._channel.shutdown_write()
        except (OSError, EOFError):
            return  # the command takes no more, or the line is gone: the reader tells which
        except BaseException as exc:  # of the progress callback: raised where the command is
            self._feeding = exc
            self._news.set()


@contextlib.contextmanager
def closed_at(deadline: Deadline, transport: paramiko.Transport) -> Iterator[None]:
    """Close ``transport`` at the deadline if the ``with`` block is still busy by then."""
    timer = threading.Timer(deadline.left_s(), transport.close)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextlib.contextmanager
def _translated(transport: paramiko.Transport, deadline: Deadline) -> Iterator[None]:
    import paramiko

    try:
        yield
    except (paramiko.SSHException, EOFError, OSError) as exc:
        if deadline.expired():
            transport.close()
            raise Deaf from exc
        # at the end of the stream the transport takes a moment to know that it is over
        lost = isinstance(exc, EOFError) or not transport.is_active()
        raise (Lost(str(exc)) if lost else Refused(str(exc))) from exc
