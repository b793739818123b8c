# SPDX-License-Identifier: Apache-2.0
"""An open SSH connection to a board: commands, and files both ways.

A command is a list of arguments; it is quoted here and nowhere else. Input and
output are bytes. The exit status is data, never an error, except for :meth:`must`.
"""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hilagent.clock import Deadline
from hilagent.errors import HilagentError, LabError, LinkError
from hilagent.text import scrub_line
from hilagent.transport import ssh_channel as channel
from hilagent.transport import ssh_copy
from hilagent.transport.ssh_channel import Command, Done, Progress, silent

if TYPE_CHECKING:
    import paramiko

Means = Callable[[str], HilagentError]
"""What a time-out means: makes the error of its message."""
LIMIT_BYTES = 16 << 20
ALIVE_S = 3.0
_STARTED = b"started\n"
_START = 'echo started; cat >/dev/null; trap "" HUP PIPE; "$@" </dev/null >/dev/null 2>&1 &'
_GONE_S = 1.0


class Connection:
    """Made by :func:`hilagent.transport.ssh.connect`; may be used from several threads.

    Args:
        transport: authenticated, to a server whose key was checked.
        name: of the system at the other end, for messages.
        close: gives up everything that the connection holds.

    Attributes:
        name: of the system, e.g. ``my-board/rootfs``.
        transport: for a connection that goes on through this one.
    """

    def __init__(self, transport: paramiko.Transport, name: str, close: Callable[[], None]) -> None:
        self.name, self.transport, self._close = name, transport, close

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def run(
        self,
        argv: Sequence[str],
        *,
        deadline: Deadline,
        stdin: bytes = b"",
        late: Means = LabError,
        limit_bytes: int = LIMIT_BYTES,
        doing: str = "",
        progress: Progress = silent,
    ) -> Done:
        """Run a command and return how it ended.

        Args:
            argv: the command; no shell of ours looks at it.
            late: what it means if it hasn't ended at the deadline and the
                server still answers; the command may go on on the board.
            limit_bytes: of its output.
            doing: what it is, for messages; the command itself if not given.
            progress: told about the bytes of ``stdin``.

        Raises:
            LinkError: the connection is lost, or nothing answers any more.
            LabError: more output than ``limit_bytes``, or the server refuses.
        """
        began_s = deadline.clock.now_s()
        with self._command(argv, deadline, late, doing, len(stdin)) as command:
            if stdin:
                command.feed(stdin, progress)
            else:
                command.end_input()
            status, out, err = command.collect(deadline, limit_bytes)
        return Done(status, out, err, deadline.clock.now_s() - began_s)

    def must(
        self,
        argv: Sequence[str],
        *,
        deadline: Deadline,
        stdin: bytes = b"",
        late: Means = LabError,
        limit_bytes: int = LIMIT_BYTES,
        doing: str = "",
    ) -> bytes:
        """Run a command that has to succeed, and return its output; LabError if it fails."""
        done = self.run(
            argv, deadline=deadline, stdin=stdin, late=late, limit_bytes=limit_bytes, doing=doing
        )
        if done.status:
            raise self.failed(doing or shown(argv), done)
        return done.out

    def failed(self, what: str, done: Done) -> LabError:
        """Return the error for a command that ended with another status than 0."""
        said = scrub_line(done.err or done.out[-200:]) or "it said nothing"
        return LabError(f"{self.name}: {what} ended with {done.status}: {said}")

    def start(self, argv: Sequence[str], *, deadline: Deadline) -> None:
        """Start a command that goes on without us, e.g. one that ends this connection.

        When this returns, the board has what it needs to run the command, also
        if the connection should be gone by now. What it prints is lost.
        """
        what = f"starting {shown(argv)}"
        with self._command(["sh", "-c", _START, "sh", *argv], deadline, LabError, what) as command:
            command.expect(_STARTED, deadline)
            command.end_input()
            command.ended(deadline.sooner(_GONE_S))

    def put(
        self,
        data: bytes | Path,
        remote: str,
        deadline: Deadline,
        progress: Progress = silent,
        *,
        mode: int = 0o644,
        tail: tuple[str, int] = ("", 0),
    ) -> bool:
        """Upload to ``remote``, all or nothing; returns False if it was there already.

        Args:
            progress: told about the bytes that are sent, maybe compressed.
            tail: a file on the board that may hold the last so many bytes of ``data``;
                if it does, they aren't sent.

        Needs no more on the board than sh, cat, mv, chmod, mkdir and sha256sum.

        Raises:
            LinkError: lost on the way (says how far it was), or damaged.
            LabError: no space (names the file system), or can't be written.
        """
        return ssh_copy.put(self, data, remote, deadline, progress, mode, tail)

    def get(self, remote: str, deadline: Deadline, *, limit_bytes: int = 64 << 20) -> bytes:
        """Return the file ``remote``, as it was in one piece; LabError if it can't be read."""
        return ssh_copy.get(self, remote, deadline, limit_bytes)

    def alive(self, deadline: Deadline | None = None) -> bool:
        """Return whether the server answers by ``deadline`` (default: in 3 s).

        A connection that does not even take the question is closed.
        """
        left_s = deadline.left_s() if deadline else ALIVE_S
        if not self.transport.is_active():
            return False
        import paramiko

        try:
            with channel.closed_at(Deadline.after(left_s + _GONE_S), self.transport):
                self.transport.open_session(timeout=left_s).close()
        except paramiko.ChannelException:
            return True  # it refuses, so it answers
        except (paramiko.SSHException, EOFError, OSError):
            return False
        return True

    def close(self) -> None:
        """Close the connection; harmless a second time."""
        self._close()

    @contextlib.contextmanager
    def _command(
        self, argv: Sequence[str], deadline: Deadline, late: Means, doing: str, size: int = 0
    ) -> Iterator[Command]:
        """Run ``argv``, and make errors of this project from what goes wrong with it."""
        what, command = doing or shown(argv), None
        try:
            command = Command(self.transport, shlex.join(argv), deadline)
            yield command
        except channel.Trouble as exc:
            far = f", after {command.sent} of {size} bytes" if command and size else ""
            raise self._error(exc, what, far, deadline, late) from exc
        finally:
            if command is not None:
                command.close()

    def _error(
        self, exc: channel.Trouble, what: str, far: str, deadline: Deadline, late: Means
    ) -> HilagentError:
        budget = f"within {deadline.budget_s:g} s"
        match exc:
            case channel.Late() if self.alive():
                return late(f"{self.name}: {what} didn't end {budget}{far}")
            case channel.Late() | channel.Deaf():
                silence = f"{self.name}: {what} didn't end {budget}{far}, and SSH does not answer"
                return LinkError(silence, hint="did the board crash? its console may tell")
            case channel.Lost():
                hint = "is the network still there? did the board crash or restart?"
                return LinkError(f"{self.name}: the connection was lost in {what}{far}", hint=hint)
            case channel.TooMuch():
                return LabError(f"{self.name}: {what} printed more than it should have")
            case channel.NoStatus():
                return LinkError(
                    f"{self.name}: {what} was cut off without an exit status{far}",
                    hint="killed by a signal (out of memory?), or the server is going down",
                )
        return LabError(f"{self.name}: the SSH server refused {what}: {scrub_line(str(exc))}")


def shown(argv: Sequence[str]) -> str:
    """Return a command as a person wants to read it, shortened."""
    return scrub_line(shlex.join(argv), limit=80)
