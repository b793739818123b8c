# SPDX-License-Identifier: Apache-2.0
"""U-Boot: stop its autoboot, run commands, know what they answered.

A U-Boot console has no checksum. What follows from that:

* a command is run only after its echo was right, and ended by a mark that a
  damaged line can't carry (:mod:`hilagent.console.prompt`); its *status* is
  thus safe;
* its *text* is not: :meth:`UBoot.ask` runs a command until it has printed the
  same twice in a row, and everything that matters is asked that way;
* every command may be run more than once, so only commands are sent for which
  that makes no difference.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from random import Random

from hilagent.board.model import UBootSpec
from hilagent.clock import Deadline
from hilagent.console.command import Argument, Var, command_line
from hilagent.console.console import Console
from hilagent.console.line import Line
from hilagent.console.match import Pattern
from hilagent.console.prompt import CHANCE, INTERRUPT, Garbled, Output, Prompt
from hilagent.errors import LabError, StateError

__all__ = ["Output", "UBoot", "Var"]

_POKE_S = 1.0
_ANSWER_S = 0.25
_LEFT = (rb"Starting kernel", rb"Starting appl", rb"ing kernel \.\.", rb"lication at 0x")
_VERSION = re.compile(r"^U-Boot (20\d\d\.\d\d\S*)", re.MULTILINE)
_CRC = re.compile(r"(?:crc32|CRC32) for ([0-9a-f]+) \.\.\. ([0-9a-f]+) ==> ([0-9a-f]{8})")
_BDINFO = re.compile(r"^(?:-> )?([A-Za-z][\w ]*?) *= (\S.*?)\s*$", re.MULTILINE)


class UBoot:
    """A board's U-Boot; takes the console.

    Args:
        console: an open one; nobody else may hold it afterwards.
        spec: what the board's description says of its U-Boot.
        fifo_bytes: of the board's UART.
        chance: what a run draws by chance; a replay draws the same.
    """

    def __init__(
        self, console: Console, spec: UBootSpec, fifo_bytes: int = 16, chance: Random = CHANCE
    ) -> None:
        self.spec = spec
        self.line: Line = console.take("U-Boot")
        self._prompt = Prompt(self.line, spec.prompt, fifo_bytes, chance)
        self._version = ""

    @property
    def version(self) -> str:
        """U-Boot's version, e.g. ``2023.01+dfsg-2``, as of :meth:`attach`."""
        if not self._version:
            raise StateError("U-Boot wasn't reached yet")
        return self._version

    @property
    def garbled(self) -> int:
        """How many attempts at a command failed because of the line."""
        return self._prompt.garbled

    def attach(self, deadline: Deadline | None = None) -> str:
        """Get to the prompt, from power-on or wherever U-Boot is; return its version.

        Stops the countdown. A console that is idle is poked with Ctrl-C, which
        harms nobody at a prompt. Raises LabError when no U-Boot shows itself.
        """
        deadline = deadline or self._after(self.spec.prompt_timeout_s)
        console = self.line.console
        console.expect_resets(expected=True)
        self.line.forgive()
        try:
            self._stop_autoboot(deadline)
            self._version = self._identify(deadline)
        finally:
            console.expect_resets(expected=False)
        return self._version

    def run(
        self, *argv: Argument, deadline: Deadline | None = None, silence_s: float = 0.0
    ) -> Output:
        """Run one command; return what it printed, unchecked, and its status.

        Args:
            argv: the command, see :mod:`hilagent.console.command`; numbers are
                written in hexadecimal.
            deadline: for all attempts; by default the board's command time.
            silence_s: how long the command may be silent; by default a second,
                and with each attempt twice as long.

        Raises:
            LabError: no undamaged attempt by the deadline, or the board
                restarted or crashed meanwhile.
        """
        deadline = deadline or self._after(self.spec.command_timeout_s)
        return self._prompt.run(command_line(argv), deadline, silence_s)

    def ask(self, *argv: Argument, deadline: Deadline | None = None) -> Output:
        """Run a command until it has answered the same twice in a row."""
        deadline = deadline or self._after(self.spec.command_timeout_s)
        last = self.run(*argv, deadline=deadline)
        while (again := self.run(*argv, deadline=deadline)) != last:
            last = again
        return last

    def env_get(self, name: str) -> str | None:
        """Return a variable's value, None if it isn't set."""
        output = self.ask("printenv", Var(name).name)
        found = re.search(rf"^{name}=(.*)\Z", output.text, re.MULTILINE | re.DOTALL)
        return found.group(1) if output.ok and found else None

    def env_set(self, name: str, value: str) -> None:
        """Set a variable, until the next reset: nothing is ever saved."""
        if not self.run("setenv", Var(name).name, value).ok:
            raise LabError(f"U-Boot didn't set {name}")

    def crc32(self, addr: int, size: int, deadline: Deadline | None = None) -> int:
        """Return the CRC-32 of memory as U-Boot computes it (zlib's)."""
        output = self.ask("crc32", addr, size, deadline=deadline)
        return _crc_in(output, addr, size)

    def matches(self, addr: int, data: bytes, deadline: Deadline | None = None) -> bool:
        """Return whether memory holds ``data``; True needs one reading, False two alike."""
        deadline = deadline or self._after(self.spec.command_timeout_s)
        want, last = zlib.crc32(data), None
        while True:
            output = self.run("crc32", addr, len(data), deadline=deadline)
            found = _CRC.search(output.text)
            if found and found.group(3) == f"{want:08x}":
                return True
            if output == last:
                _crc_in(output, addr, len(data))  # says so if that was no answer at all
                return False
            last = output

    def bdinfo(self) -> dict[str, str]:
        """Return what ``bdinfo`` prints, by its names; of equal names the first."""
        found: dict[str, str] = {}
        for name, value in _BDINFO.findall(self.ask("bdinfo").text):
            found.setdefault(name, value)
        return found

    def start(
        self, *argv: Argument, deadline: Deadline | None = None, signs: Sequence[Pattern] = ()
    ) -> int:
        """Run a command that doesn't come back (``booti``, ``go``).

        Better ``booti``: ``go`` of Debian 12's 2023.01 for QEMU waits for its
        own UART for ever before it jumps (seen with gdb).

        Returns the console's position where its output begins. From then on
        the board has left U-Boot: take the console for whatever runs now.

        Args:
            argv: the command.
            deadline: until U-Boot, or what runs then, gives a sign.
            signs: patterns, besides U-Boot's own words, that show what runs then.

        Raises:
            LabError: U-Boot printed its prompt again; the message says what it said.
        """
        deadline = deadline or self._after(self.spec.command_timeout_s)
        return self._prompt.leave(command_line(argv), deadline, [*_LEFT, *signs])

    def converse(self, *argv: Argument, deadline: Deadline | None = None) -> Line:
        """Start a command that speaks a protocol of its own (``loady``); return the line.

        After the conversation :meth:`resume` finds out how the command ended.
        """
        deadline = deadline or self._after(self.spec.command_timeout_s)
        self._prompt.begin(command_line(argv), deadline)
        return self.line

    def resume(self, deadline: Deadline) -> None:
        """Get back to the prompt after a conversation, whatever is left of it."""
        self._prompt.doubt()
        self._prompt.reach(deadline)

    def _after(self, seconds: float) -> Deadline:
        return Deadline.after(seconds, self.line.console.clock)

    def _stop_autoboot(self, deadline: Deadline) -> None:
        """Return once something looks like a prompt; a look-alike costs only time."""
        spec, line = self.spec, self.line
        prompt = re.escape(spec.prompt.encode())
        signs = [prompt, *_countdown_signs(spec.autoboot)]
        key = spec.interrupt.encode()
        wait_s = _POKE_S
        while not deadline.expired():
            before = line.console.position()
            sign = line.expect(signs, deadline.sooner(wait_s))
            if sign is not None and sign.index == 0:
                return
            if sign is not None:
                line.write(key, deadline)
                wait_s = _ANSWER_S  # if that key was lost, the countdown is still running
            elif line.console.position() == before:
                line.write(INTERRUPT, deadline)
                wait_s = _POKE_S
        raise self._never("no prompt")

    def _identify(self, deadline: Deadline) -> str:
        self._prompt.doubt()
        try:
            self._prompt.reach(deadline)
            found = _VERSION.search(self.ask("version", deadline=deadline).text)
        except Garbled as error:
            raise self._never(str(error)) from error
        if not found:
            raise self._never("what answers is no U-Boot")
        return found.group(1)

    def _never(self, why: str) -> LabError:
        tail = self.line.console.tail()
        seen = f"the console's last lines:\n{tail}" if tail else "the console is silent"
        return LabError(
            f"U-Boot never came to its prompt {self.spec.prompt!r}: {why}",
            hint=f"check power, the console's path and baud rate, prompt and autoboot; {seen}",
        )


def _countdown_signs(autoboot: str) -> list[bytes]:
    """Return patterns of the countdown: the board's own text, and pieces of it.

    On a line that loses bytes the whole text is often damaged; two thirds of it
    rarely are.
    """
    third = max(4, len(autoboot) // 3)
    pieces = [autoboot[i : i + third] for i in range(0, len(autoboot) - 3, third)]
    words = [re.escape(piece.encode()) for piece in pieces if len(piece.strip()) >= 4]
    return [*words, rb"\x08\x08\x08[ \d]\d"]  # the number, written over the one before


def _crc_in(output: Output, addr: int, size: int) -> int:
    found = _CRC.search(output.text)
    span = (addr, addr + size - 1)
    if not output.ok or not found or (int(found.group(1), 16), int(found.group(2), 16)) != span:
        raise LabError(f"U-Boot's crc32 of {size:#x} bytes at {addr:#x} failed: {output.text!r}")
    return int(found.group(3), 16)
