# SPDX-License-Identifier: Apache-2.0
"""A handle on a console: who holds it may talk to the board, everybody else is stale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hilagent.clock import Deadline
from hilagent.console.match import Match, Matcher, Pattern
from hilagent.errors import HilagentError, StateError

if TYPE_CHECKING:
    from hilagent.console.console import Console
    from hilagent.console.watch import Crash

_READ_BYTES = 1 << 16


class Line:
    """One owner's view of a console; made by ``Console.take``.

    Attributes:
        owner: who took it, for messages.
        position: where this owner reads on.
    """

    def __init__(self, console: Console, owner: str, position: int) -> None:
        self.owner = owner
        self.position = position
        self._console = console
        self._since = position

    @property
    def console(self) -> Console:
        """The console, as long as this handle is valid."""
        self._check()
        return self._console

    def write(self, data: bytes, deadline: Deadline) -> None:
        """Write all of ``data``; raises LinkError."""
        self.console.write(data, deadline)

    def read(self, deadline: Deadline) -> bytes:
        """Return what has arrived since the last read, ``b""`` at the deadline.

        Raises LinkError at the end of the stream, after the last byte was
        returned. Doesn't ask the crash watch: what is read here may be binary.
        """
        if not self.console.wait(self.position, deadline):
            return b""
        self._check()
        start, data = self._console.cut(self.position, _READ_BYTES)
        self.position = start + len(data)
        return data

    def skip(self) -> None:
        """Pass over what has arrived and was not read."""
        self.position = self.console.position()

    def expect(
        self,
        patterns: Sequence[Pattern],
        deadline: Deadline,
        since: int | None = None,
        *,
        crashes: bool = True,
    ) -> Match | None:
        """Wait for the first of ``patterns`` and go on reading after it.

        Args:
            patterns: of bounded length, see :mod:`hilagent.console.match`.
            deadline: until when.
            since: the position to search from; by default where this owner reads.
            crashes: False where the board is made to crash on purpose: then what
                the crash watch sees is no news (:meth:`forgive` it afterwards).

        Returns:
            The match, None at the deadline. A crash of the board that was seen
            before the match was complete is raised, also instead of a lost
            line or a silence.
        """
        matcher = Matcher(patterns, self.position if since is None else since)
        while True:
            end = self.console.position()
            match = matcher.search(self._console.cut, end)
            crash = self.crash() if crashes else None
            if crash is not None and (match is None or crash.end < match.end):
                raise crash.error()
            if match is not None:
                self.position = match.end
                return match
            try:
                more = self._console.wait(end, deadline)
            except HilagentError:
                crash = self.crash() if crashes else None
                if crash is not None:
                    raise crash.error() from None
                raise
            if not more:
                return None

    def forgive(self, until: int | None = None) -> None:
        """Forget the crashes so far, or those before a position: a new boot begins."""
        self._since = self.console.position() if until is None else until

    def crash(self) -> Crash | None:
        """Return the first crash since this handle was taken."""
        return self._console.crash(self._since)

    def _check(self) -> None:
        if not self._console.owns(self):
            raise StateError(
                f"the console handle of {self.owner} is stale",
                hint="the board has left that state; ask the session for the present one",
            )
