# SPDX-License-Identifier: Apache-2.0
"""Incidents: the lines of one death, from its first to its last, under one title.

A kernel that dies says so more than once: what KASAN saw, the oops that came of it, the
panic in which it ends. That is one incident. Its block begins at the rule or at ``cut
here`` above the first sign, and ends where the dump does, or the panic that it led to.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from hilagent.text import scrub_line

from .signs import STAMP, Kind, Sign, sign
from .title import Facts, title

MOST_LINES, MOST_BYTES = 600, 64 << 10
"""A block that is longer is cut; the dumps of 96 CPUs are."""
_MOST_KEPT = 1000
_GAP = 6
"""So many lines of others in a row end a dump that doesn't say where it ends."""
_LINGER = 32
"""So many lines later, a panic still is that of the dump before."""
_BACK_BYTES, _BACK_LINES = 2048, 10
_RULE_WITHIN = 2
_MOST_ENDING = 5
_STAMP_WITHIN = 96
_RAW = 160
_GRAVITY = (Kind.REPORT, Kind.STALL, Kind.FIRMWARE, Kind.KERNEL)
_PANICS = ("panic", "hyp panic")

_CUT_HERE = re.compile(rb"-{4,}\[ cut here \]")
_RULE = re.compile(rb"={10,}\s*$")
_RULED = re.compile(rb"BUG: K[A-Z]{2,4}: |INFO: task ")
"""What ends with a rule, too."""
_END_TRACE = re.compile(rb"---\[ end trace |Rebooting in \d+ seconds|Bye!\s*$")
_END_PANIC = re.compile(rb"---\[ end Kernel panic")
_END = re.compile(
    rb"---\[ end Kernel panic|### ERROR ### Please RESET|Resetting CPU|HIL: (?:resetting|stopped)"
)
_NEXT_BOOT = re.compile(
    rb"Booting Linux on physical CPU|EFI stub: Booting Linux|UEFI firmware \(version|"
    rb"NOTICE:  BL(?:1|2|31): v\d|HIL: payload at EL"
)
_LED_TO = re.compile(
    rb"panic_on_warn|warned too often|hung.?task|hung tasks|softlockup|LOCKUP|[Ss]tall|"
    rb"blocked tasks|Fatal exception|lockup|panic set"
)
_LED_DEAD_TO = re.compile(rb"Attempted to kill|Aiee|Oops|Fatal|HYP")
_MEMBER = re.compile(
    rb"[ \t]+\S|[-=~^]{3,}|\[[0-9a-f]{8,16}\]|\{\d+\}|\d+: EL\d: 0x|-> #\d|"
    rb"\[<[0-9a-f]+>\]|0x[0-9a-f]+:|"
    rb"(?:[xXwqv]\d{1,2}|pc|lr|sp|pstate|elr|esr|ELR|ESR|FAR|far|PC|PS|VCPU|\w+_el\d)\s*[:=]|"
    rb"(?:CPU|Hardware name|Modules linked in|Code|Call [Tt]race|Workqueue|Tainted|Process|Stack|"
    rb"Backtrace|BACKTRACE|Unloaded tainted modules|Preemption disabled at|Mem abort info|"
    rb"Data abort info|Task stack|IRQ stack|Overflow stack|Exception stack|Kernel Offset|"
    rb"PHYS_OFFSET|CPU features|Memory Limit|irq event stamp|Stack dump|stack backtrace|rcu|task|"
    rb"page|flags|raw|Object|Redzone|Padding|Slab|FIX \S+|Bytes b4|nVHE)\b.{0,30}[:<]|"
    rb"(?:user|swapper) pgtable|SMP: |hardirqs last|softirqs last|\d+ locks? held|no locks held|"
    rb"Showing |INFO: |Sending NMI|NMI backtrace|Task dump|other info|stack backtrace|page dumped|"
    rb"(?:Read|Write|Free) (?:of|at) |Allocated by|Freed by|The buggy|Memory state|kfence-#|"
    rb"Starting crashdump|Disabling lock debugging|Kernel panic|Internal error|Kernel text|"
    rb"\w+: .{0,40}(?:kthread (?:starved|timer)|RCU grace-period)|resetting \.\.\.|"
    rb"PC 0x|Recursive exception|ASSERT|kvm \[\d+\]: |"
    rb"[DEFIM]/(?:TC|LD|TA):|Pointer tag|(?:but|which|and this|and that) |"
    rb"\S+/\d+ (?:is|just|\[) |[0-9a-f]{16} \(|Chain exists|"
    rb"the (?:existing|shortest|first|second) |(?:other|locks|\w+) .{0,30}dependen|"
    rb"context-\{|(?:Allocated|Freed) in |Workqueue|pool \d+|pwq \d+|workqueue \w+:"
)
_STAMPED_ELSEWHERE = re.compile(
    rb"[\[(]?(?:[A-Z][a-z]{2},? +)?(?:[A-Z][a-z]{2} +\d{1,2} +)?(?:\d{4}[-/]\d\d[-/]\d\d[T ])?"
    rb"\d\d:\d\d:\d\d(?:[.,]\d+)?(?: \d{4})?(?:Z|[+-]\d\d:?\d\d)?[\])]?[:>|]?(?: (?=\S)|(?= ))"
    rb"|\d{10}\.\d{3,9} |<\d>"
)


class Spoken(NamedTuple):
    """One line, and the absolute positions of its start and its end."""

    text: bytes
    start: int
    end: int


@dataclass(frozen=True)
class Incident:
    """What belongs to one death, stall or complaint.

    Attributes:
        kind: who died; of several signs, the gravest.
        type: what sort it is, by its first sign: see :class:`~hilagent.console.watch.Crash`.
        title: without what differs from one run to the next: addresses, numbers of processes.
        line: its first sign, as the console has it, scrubbed.
        start, end: absolute positions of its block on the console, in bytes.
        panic: what the panic said in which it ended; empty if it didn't.
    """

    kind: Kind
    type: str
    title: str
    line: str
    start: int
    end: int
    panic: str = ""

    @property
    def fatal(self) -> bool:
        """Whether nothing that was waited for can come after it."""
        return self.kind.fatal

    def record(self) -> dict[str, object]:
        """Return it as plain data, for journal and report."""
        return {
            "title": self.title, "who": self.kind.value, "type": self.type, "fatal": self.fatal,
            "start": self.start, "end": self.end, "line": self.line, "panic": self.panic,
        }  # fmt: skip


def said(text: bytes) -> tuple[bytes, bytes | None]:
    """Return what a line says behind its stamps, and the id of its caller; None: no stamp."""
    if found := STAMP.search(text, 0, _STAMP_WITHIN):
        return text[found.end() :], found[1] or b""
    if found := _STAMPED_ELSEWHERE.match(text):
        return text[found.end() :], None
    return text, None


@dataclass
class _Block:
    """The incident whose lines are coming in."""

    sign: Sign
    kind: Kind
    line: bytes
    start: int
    end: int
    caller: bytes | None
    facts: Facts
    panic: bytes = b""
    lines: int = 0
    gap: int = 0
    complete: bool = False
    ending: int = 0  # so many lines ago began the last one, which is a panic's of several lines

    def take(self, line: Spoken, seen: Sign | None) -> None:
        """Take in a line that belongs to it."""
        self.end, self.gap = line.end, 0
        text, caller = said(line.text)
        if seen is not None:
            self.kind = max(self.kind, seen.kind, key=_GRAVITY.index)
            if line.text.startswith(b"Kernel panic", seen.at) and not self.panic:
                self.panic = line.text[seen.at :]
        if self.kind is Kind.STALL or caller == self.caller:
            self.facts.note(text)
        if _END_TRACE.search(text) or _RULE.match(text):
            self.complete = True

    def belongs(self, line: Spoken) -> bool:
        """Return whether a line without a sign is one of its dump."""
        text, caller = said(line.text)
        if self.ending:
            return True
        if self.complete or (caller is None) != (self.caller is None):
            return False
        if _RULE.match(text):  # of another kind of report, it is the next one's first line
            return _RULED.match(self.line, self.sign.at) is not None
        return any((_MEMBER.match(text), _END_TRACE.search(text), _END.search(text)))

    def goes_on_with(self, seen: Sign) -> bool:
        """Return whether a sign is one more of the same incident."""
        if self.kind is Kind.FIRMWARE or seen.kind is Kind.FIRMWARE:
            return self.kind is seen.kind
        dead = self.kind is Kind.KERNEL
        if seen.kind is not Kind.KERNEL:
            return not self.complete and (dead or not self.facts.frames)
        if seen.type in _PANICS:
            return not self.complete
        if self.sign.type == seen.type == "sanitizer":
            return not self.complete and not self.facts.frames
        return dead and (not self.complete or self.sign.type == "sanitizer")

    def incident(self) -> Incident:
        """Return what it has become."""
        raw = self.line[self.sign.at :]
        first = raw if self.sign.type not in _PANICS else raw.replace(b"---[ end ", b"")
        return Incident(
            self.kind, self.sign.type, title(self.sign, first, self.facts),
            scrub_line(raw.strip(), limit=_RAW), self.start, self.end,
            scrub_line(self.panic.strip(), limit=_RAW),
        )  # fmt: skip


class Grouping:
    """Puts lines and the signs on them together. A pure state machine."""

    def __init__(self) -> None:
        self._block: _Block | None = None
        self._done: list[Incident] = []

    @property
    def open(self) -> bool:
        """Whether every line is wanted: an incident is not over yet."""
        return self._block is not None

    def line(self, line: Spoken, seen: Sign | None, before: Iterable[Spoken]) -> None:
        """Take in one line.

        Args:
            seen: the sign on it.
            before: the lines before it, the last one last.
        """
        if seen is not None and seen.kind is Kind.RESET:
            self.close()
        elif seen is not None:
            self._sign(line, seen, before)
        elif self._block is not None:
            self._other(self._block, line)

    def close(self) -> None:
        """No more lines will come."""
        block, self._block = self._block, None
        if block is not None and len(self._done) < _MOST_KEPT:
            self._done.append(block.incident())

    def take(self) -> list[Incident]:
        """Return what is over and was not yet returned."""
        done, self._done = self._done, []
        return done

    def _sign(self, line: Spoken, seen: Sign, before: Iterable[Spoken]) -> None:
        block = self._block
        if block is None or not (block.goes_on_with(seen) or _led_to(block, seen, line.text)):
            past = tuple(before) if block is None else [b for b in before if b.start >= block.end]
            self.close()
            block = self._block = _begin(line, seen, past)
        elif seen.kind is Kind.KERNEL:
            block.complete = False
        block.take(line, seen)
        self._count(block, line)

    def _other(self, block: _Block, line: Spoken) -> None:
        if _NEXT_BOOT.search(line.text):
            self.close()
            return
        if block.belongs(line):
            block.take(line, None)
        elif said(line.text)[0].strip():
            block.gap += 1
            block.complete = block.complete or block.gap >= _GAP
        self._count(block, line)

    def _count(self, block: _Block, line: Spoken) -> None:
        block.lines += 1
        long = block.lines >= MOST_LINES or line.end - block.start >= MOST_BYTES
        if block.ending or _END_PANIC.search(line.text):
            block.ending += 1
            over = line.text.rstrip().endswith(b"]---") or block.ending > _MOST_ENDING
        else:
            over = _END.search(line.text) is not None
        if long or over or block.gap >= _LINGER:
            self.close()


def _led_to(block: _Block, seen: Sign, text: bytes) -> bool:
    """Return whether a panic is the one that what was dumped before it ends in."""
    if seen.type not in _PANICS or block.kind is Kind.FIRMWARE:
        return False
    dead = block.kind is Kind.KERNEL and _LED_DEAD_TO.search(text)
    return bool(dead or _LED_TO.search(text))


def _begin(line: Spoken, seen: Sign, before: Sequence[Spoken]) -> _Block:
    """Return a block that begins with a sign, or with the rule or ``cut here`` above it."""
    facts, start, ruled = Facts(), line.start, True
    for number, each in enumerate(reversed(before)):
        if number >= _BACK_LINES or each.start < line.start - _BACK_BYTES:
            break
        text = said(each.text)[0]
        ruled = ruled and bool(text.strip())  # a rule above a blank line is the end of another
        if _CUT_HERE.search(text) or (ruled and number <= _RULE_WITHIN and _RULE.match(text)):
            start = each.start
            break
        if _END_TRACE.search(text) or _END.search(text) or sign(each.text) is not None:
            break
        facts.told.insert(0, text)
    if start == line.start:
        facts.told.clear()
    return _Block(seen, seen.kind, line.text, start, line.end, said(line.text)[1], facts)
