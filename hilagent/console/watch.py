# SPDX-License-Identifier: Apache-2.0
"""The crash watch: what a console says when something on the board has died.

The reader feeds it every chunk. It works line by line and only on lines that
hold a trigger, so that it costs next to nothing, and gives the same answer for
a stream in one piece and byte by byte. It knows U-Boot's exceptions and
restarts and the first lines of a dying kernel. A stall (RCU's, or a lockup's) is
no death: a host that stood still looks the same to the kernel, which then goes on.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

from hilagent.errors import BoardReset, LabError, TargetCrash, WorldError
from hilagent.text import scrub_line

MAX_LINE = 512
_TITLE = 120


class Kind(enum.Enum):
    """Who died; STALL: nobody, a CPU made no progress for long."""

    STALL = "stall"
    KERNEL = "kernel"
    FIRMWARE = "firmware"
    RESET = "reset"


@dataclass(frozen=True)
class Crash:
    """One event.

    Attributes:
        kind: who died.
        title: its line, scrubbed, without a timestamp.
        start, end: absolute positions of that line on the console.
    """

    kind: Kind
    title: str
    start: int
    end: int

    @property
    def fatal(self) -> bool:
        """Whether nothing that was waited for can come after it."""
        return self.kind is not Kind.STALL

    def error(self) -> WorldError:
        """Return the error that it stands for."""
        if self.kind in (Kind.KERNEL, Kind.STALL):
            return TargetCrash(f"the kernel crashed: {self.title}")
        if self.kind is Kind.RESET:
            return BoardReset(f"the board restarted by itself: {self.title}")
        return LabError(f"the board's firmware crashed: {self.title}")


_STALL = rb"rcu: INFO: |watchdog: (?:BUG|Watchdog detected)|BUG: (?:soft lockup|workqueue lockup)"
_KERNEL = (
    rb"Kernel panic - not syncing|Internal error: |Unable to handle kernel |BUG: |"
    rb"kernel BUG at |KASAN: |Oops - |SError Interrupt on CPU|Bad mode in |"
    rb"HYP panic:|nVHE hyp BUG"
)
_FIRMWARE = (
    rb'"Synchronous Abort" handler|"Error" handler, esr|Unhandled exception|'
    rb"### ERROR ### Please RESET"
)
_BANNER = rb"U-Boot (?:SPL |TPL )?20\d\d\.\d\d"
_SIGNS = (
    *((Kind.STALL, _STALL), (Kind.KERNEL, _KERNEL)),
    *((Kind.FIRMWARE, _FIRMWARE), (Kind.RESET, _BANNER)),
)
_TRIGGER = re.compile(b"|".join(signs for _, signs in _SIGNS))
_BANNER_FOLLOWS = re.compile(rb"(?:DRAM|CPU|SoC|Model|Board) *: |Trying to boot from ")
_BANNER_LINES = 6
_STAMP = re.compile(rb"(?:\[[ \d.TC]+\] *)*")


class CrashWatch:
    """Turns chunks into crashes. A pure state machine; not thread-safe.

    Args:
        position: of the first chunk.
    """

    def __init__(self, position: int = 0) -> None:
        self._line = b""  # the beginning of the line that is not yet complete
        self._at = position  # where it starts
        self._next = position  # where the next chunk starts
        self._banner: Crash | None = None
        self._banner_lines = 0

    def feed(self, chunk: bytes) -> list[Crash]:
        """Return what ``chunk`` completes."""
        at, self._next = self._next, self._next + len(chunk)
        last = chunk.rfind(b"\n") + 1
        if not last:
            self._line = (self._line + chunk)[:MAX_LINE]
            return []
        whole = self._line + chunk[:last]
        found: list[Crash] = []
        if self._banner is not None or _TRIGGER.search(whole):
            found = self._judge_all(chunk[:last], at)
        self._line, self._at = chunk[last:][:MAX_LINE], at + last
        return found

    def cut(self) -> None:
        """Forget the line that is not yet complete: what comes next may not belong to it."""
        self._line, self._at, self._banner = b"", self._next, None

    def _judge_all(self, chunk: bytes, at: int) -> list[Crash]:
        found: list[Crash] = []
        for line in chunk.split(b"\n")[:-1]:
            at += len(line) + 1
            found += self._judge((self._line + line)[:MAX_LINE], self._at, at)
            self._line, self._at = b"", at
        return found

    def _judge(self, line: bytes, start: int, end: int) -> list[Crash]:
        found = []
        if self._banner is not None:
            self._banner_lines -= 1
            if _BANNER_FOLLOWS.match(line):
                found.append(self._banner)
            if found or not self._banner_lines:
                self._banner = None
        if match := _TRIGGER.search(line):
            kind = next(kind for kind, signs in _SIGNS if re.match(signs, match.group()))
            stamp = _STAMP.match(line)
            title = scrub_line(line[stamp.end() if stamp else 0 :].strip(), limit=_TITLE)
            crash = Crash(kind, title, start, end)
            if kind is Kind.RESET:  # `version` prints that line too: what follows decides
                self._banner, self._banner_lines = crash, _BANNER_LINES
            else:
                found.append(crash)
        return found
