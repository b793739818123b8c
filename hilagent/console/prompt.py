# SPDX-License-Identifier: Apache-2.0
"""One command line to U-Boot over a line that may lose, flip or double bytes.

A UART has a FIFO of 16 bytes and U-Boot reads it only when it gets round to
it, so no more bytes are in flight than fit there: the rest waits for the echo.
The carriage return is sent only after the whole line was echoed exactly; else
Ctrl-C and again. So a damaged command is never run.

Every line ends in ``;echo NON''CE $? $? NON``: the output ``NONCE 0 0 NON`` is
the only end of a command that counts, and the quotes keep the echo of the line
itself from looking like it. Text that looks like a prompt (``crc32 ... ==> ``)
or that another CPU prints in the middle can't fake it. Status and half of the
nonce are there twice: a damaged mark is no mark, and the command is run again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random, SystemRandom
from typing import TypeVar

from hilagent.clock import Deadline
from hilagent.console.line import Line
from hilagent.console.match import Pattern
from hilagent.errors import LabError, PreconditionError
from hilagent.text import scrub_line

INTERRUPT = b"\x03"
ABORT = b"\x18\x18\x18" + INTERRUPT  # a YMODEM receiver listens to CAN alone
MAX_LINE = 250
"""Characters of a line; U-Boot's smallest buffer has 256."""

_FIRST_ECHO_S, _LEAST_ECHO_S, _MOST_ECHO_S = 0.3, 0.06, 4.0
_LEAST_QUIET_S, _MOST_QUIET_S = 0.005, 0.5
_MOST_SILENCE_S = 60.0
_ECHOES = 6
T = TypeVar("T")
CHANCE = SystemRandom()


class Garbled(Exception):
    """This attempt failed; the same line may be sent again."""


class Refused(Garbled):
    """The prompt is back after a command that shouldn't come back; holds what it said."""


@dataclass(frozen=True)
class Output:
    """What a command printed, and its status (0 is success)."""

    text: str
    status: int

    @property
    def ok(self) -> bool:
        """Return whether the command succeeded."""
        return self.status == 0


class Prompt:
    """Speaks to a U-Boot that is at its prompt.

    Args:
        line: the console.
        prompt: as U-Boot prints it.
        fifo_bytes: of the board's UART.
        chance: what the marks are drawn from.
    """

    def __init__(
        self, line: Line, prompt: str, fifo_bytes: int = 16, chance: Random = CHANCE
    ) -> None:
        self.line, self._chance = line, chance
        self._prompt = re.escape(prompt.encode())
        self._fifo_bytes = fifo_bytes
        self._echo_s = 0.0  # about the slowest echo of late, 0 for none so far
        self._sure = False  # whether U-Boot waits at an empty prompt, nothing on its way
        self.garbled = 0

    def run(self, command: bytes, deadline: Deadline, silence_s: float = 0.0) -> Output:
        """Run an idempotent command until one attempt went through undamaged.

        Args:
            command: quoted already.
            deadline: for all attempts.
            silence_s: how long the command may be silent for; by default a
                second, and with each attempt twice as long.
        """
        return self._retry(
            command,
            deadline,
            lambda number: self._attempt(command, deadline, number, silence_s),
        )

    def reach(self, deadline: Deadline) -> None:
        """Get to an empty prompt; LabError if none comes."""
        self._retry(b"Ctrl-C", deadline, lambda attempt: self.settle(deadline, attempt))

    def begin(self, line: bytes, deadline: Deadline) -> None:
        """Run a line whose output the caller reads, from right after the echo."""

        def attempt(number: int) -> None:
            self._enter(line, deadline, number)
            self._return(deadline, self._patience(number))

        self._retry(line, deadline, attempt)

    def leave(self, line: bytes, deadline: Deadline, signs: Sequence[Pattern]) -> int:
        """Run a line that leaves U-Boot; return where its output begins.

        The return itself may be lost, and its echo too, when nothing can be
        tried again: so it is repeated (to whatever runs now a stray return is
        noise), and any of ``signs`` since the first return settles the matter.
        """
        starts: list[int] = []
        refused = ""

        def attempt(number: int) -> None:
            nonlocal refused
            try:
                self._enter(line, deadline, number)
                starts.append(self.line.position)
                self._go(deadline, self._patience(number), signs)
            except Garbled as error:
                if starts and self.line.expect(signs, Deadline.after(0, deadline.clock), starts[0]):
                    return
                if isinstance(error, Refused):
                    if refused == str(error):
                        said = f"U-Boot came back from '{line.decode()}': {refused}"
                        raise LabError(said) from None
                    refused = str(error)
                raise

        self._retry(line, deadline, attempt)
        self.line.position = starts[-1]
        return starts[-1]

    def settle(self, deadline: Deadline, attempt: int = 0) -> None:
        """Get to an empty prompt with nothing on its way; Garbled if that fails."""
        if self._sure:
            return
        line, until = self.line, deadline.sooner(self._patience(attempt))
        quiet_s = min(max(_LEAST_QUIET_S, 2 * self._echo_s) * 2 ** (attempt // 2), _MOST_QUIET_S)
        line.skip()
        line.write(ABORT if attempt else INTERRUPT, until)
        if not line.expect([self._prompt], until):
            raise Garbled("no prompt after Ctrl-C")
        noise = deadline.sooner(_MOST_ECHO_S)
        while line.read(deadline.sooner(quiet_s)):
            if noise.expired():
                raise Garbled("the console doesn't fall silent")
        self._sure = True

    def doubt(self) -> None:
        """Note that something else than this class was said on the line."""
        self._sure = False

    def _mark(self) -> tuple[bytes, bytes]:
        """Return what to end a line with, and the pattern of what it prints."""
        one, two = (self._chance.randbytes(2).hex() for _ in range(2))
        said = f";echo {one}''{two} $? $? {one}".encode()
        status = r"(\d{1,3}|\$\?)"
        return said, f"{one}(?:'')?{two} {status} {status} {one}\r".encode()

    def _ending(
        self, mark: bytes, deadline: Deadline, silence_s: float, patience_s: float
    ) -> tuple[bytes, int]:
        """Return the output up to the mark, and the status; Garbled without one."""
        line, start = self.line, self.line.position
        lookalike = rb"[\r\n]" + self._prompt
        while True:
            before = line.console.position()
            match = line.expect([mark, lookalike], deadline.sooner(silence_s))
            if match is None:
                if deadline.expired() or line.console.position() == before:
                    raise Garbled("the command didn't come to its end")
                continue
            if match.index == 1:  # if nothing follows, the mark was lost before it
                if not line.console.wait(match.end, deadline.sooner(patience_s)):
                    raise Garbled("the mark at the end was lost")
                continue
            if match.groups[0] != match.groups[1]:
                raise Garbled("the mark at the end was damaged")
            if match.groups[0] == b"$?":
                raise PreconditionError("this U-Boot knows no $?: it was built without hush")
            return line.console.cut(start, match.start - start)[1], int(match.groups[0] or b"0")

    def _retry(self, what: bytes, deadline: Deadline, attempt: Callable[[int], T]) -> T:
        why = "no attempt"
        number = 0
        while not deadline.expired():
            try:
                return attempt(number)
            except Garbled as error:
                self.garbled += 1
                number, why = number + 1, str(error)
        raise LabError(
            f"U-Boot didn't do '{scrub_line(what, limit=80)}' within {deadline.budget_s:g} s "
            f"({number} attempts; the last: {why})",
            hint=f"the console's last lines:\n{self.line.console.tail()}",
        )

    def _enter(self, line: bytes, deadline: Deadline, attempt: int) -> None:
        self.settle(deadline, attempt)
        self._type(line, deadline, self._patience(attempt))

    def _go(self, deadline: Deadline, patience_s: float, signs: Sequence[Pattern]) -> None:
        """Run the line that was typed; return when it has left the prompt behind."""
        self._sure = False
        line, start = self.line, self.line.position
        while not deadline.expired():
            line.write(b"\r", deadline)
            if line.console.wait(start + 1, deadline.sooner(patience_s)):
                break
        if line.console.cut(start, 2)[1] != b"\r\n":
            raise Garbled("the return was damaged")
        match = line.expect([rb"\n" + self._prompt, *signs], deadline)
        if match is not None and match.index == 0:
            raise Refused(scrub_line(line.console.cut(start, match.start - start)[1].strip()))

    def _attempt(
        self, command: bytes, deadline: Deadline, attempt: int, silence_s: float
    ) -> Output:
        said, mark = self._mark()
        patience_s = self._patience(attempt)
        self._enter(command + said, deadline, attempt)
        self._return(deadline, patience_s)
        silence_s = silence_s or min(2.0**attempt, _MOST_SILENCE_S)
        raw, status = self._ending(mark, deadline, silence_s, patience_s)
        self._sure = bool(self.line.expect([rb"\n" + self._prompt], deadline.sooner(patience_s)))
        return Output(raw.decode("latin-1").replace("\r\n", "\n").removesuffix("\n"), status)

    def _type(self, line: bytes, deadline: Deadline, patience_s: float) -> None:
        """Send ``line`` without its end, at most a FIFO ahead of its echo."""
        if len(line) > MAX_LINE:
            raise LabError(f"too long for a U-Boot command line: {scrub_line(line)}")
        self._sure = False
        for at in range(0, len(line), self._fifo_bytes):
            piece = line[at : at + self._fifo_bytes]
            if self._echo(piece, deadline, patience_s) != piece:
                raise Garbled("the echo differs")

    def _echo(self, piece: bytes, deadline: Deadline, patience_s: float) -> bytes:
        """Send ``piece``; return as many bytes of what comes back, fewer if no more comes."""
        line = self.line
        start, sent_s = line.position, deadline.clock.now_s()
        line.write(piece, deadline)
        if line.console.wait(start + len(piece) - 1, deadline.sooner(patience_s)):
            self._echo_s = max(deadline.clock.now_s() - sent_s, 0.9 * self._echo_s)
        echo = line.console.cut(start, len(piece))[1]
        line.position = start + len(echo)
        return echo

    def _patience(self, attempt: int) -> float:
        """Return how long to wait for an echo; what is slower gets a later attempt."""
        usual_s = max(_LEAST_ECHO_S, _ECHOES * self._echo_s) if self._echo_s else _FIRST_ECHO_S
        return float(min(usual_s * 2 ** (attempt // 3), _MOST_ECHO_S))

    def _return(self, deadline: Deadline, patience_s: float) -> None:
        """Run the line that was typed."""
        start = self.line.position
        if self._echo(b"\r", deadline, patience_s) == b"\r":
            self.line.console.wait(start + 1, deadline.sooner(patience_s))
        if self.line.console.cut(start, 2)[1] != b"\r\n":
            raise Garbled("the return was lost or damaged")
        self.line.position = start + 2
