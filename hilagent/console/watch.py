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
        title: its line from the sign on, scrubbed: without timestamps or what else is before.
        start, end: absolute positions of that line on the console.
        type: what sort of death: ``oops``, ``panic``, ``BUG``, ``sanitizer``, ``SError``,
            ``hyp panic``, ``RCU stall``, ``lockup``, ``hung task``, ``banner``, or whose
            exception it was.
    """

    kind: Kind
    title: str
    start: int
    end: int
    type: str = ""

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


_U_BOOT = rb"U-Boot (?:SPL |TPL )?20\d\d\.\d\d"
_HUNG = rb"INFO: task .{1,40} blocked (?:in \S+ )?for more than \d+ seconds"
_SIGNS: tuple[tuple[Kind, str, tuple[bytes, ...]], ...] = (
    # Linux 6.12: kernel/rcu/tree_stall.h, watchdog.c, workqueue.c, hung_task.c
    (Kind.STALL, "RCU stall", (rb"rcu: INFO: ", rb"INFO: rcu_[a-z]+ (?:self-)?detected")),
    (Kind.STALL, "lockup", (
        rb"watchdog: (?:BUG|(?:CPU\d+: )?Watchdog detected)", rb"Watchdog detected hard LOCKUP",
        rb"BUG: (?:soft lockup|workqueue lockup)",
    )),
    (Kind.STALL, "hung task", (_HUNG,)),
    # mm/kasan, mm/kfence, kernel/kcsan, lib/ubsan.c
    (Kind.KERNEL, "sanitizer", (rb"BUG: K(?:ASAN|FENCE|CSAN|MSAN): ", rb"KASAN: ", rb"UBSAN: ")),
    # arch/arm64/kvm/handle_exit.c
    (Kind.KERNEL, "hyp panic", (
        rb"Kernel panic - not syncing: HYP panic", rb"HYP panic:", rb"nVHE hyp (?:BUG|panic)",
    )),
    (Kind.KERNEL, "panic", (rb"Kernel panic - not syncing",)),
    # arch/arm64/kernel/traps.c, entry-common.c, mm/fault.c
    (Kind.KERNEL, "SError", (rb"SError Interrupt on CPU", rb"Internal error: (?:Oops - )?SError")),
    (Kind.KERNEL, "oops", (
        rb"Internal error: ", rb"Unable to handle kernel ", rb"Bad mode in .{1,30} handler",
        rb"Unhandled \S+ \S+ (?:sync|irq|fiq|error) exception on CPU",
        rb"Insufficient stack space to handle exception",
    )),
    (Kind.KERNEL, "BUG", (rb"kernel BUG at ", rb"BUG: ")),
    # U-Boot: arch/arm/lib/interrupts_64.c, lib/hang.c
    (Kind.FIRMWARE, "U-Boot", (
        rb'"Synchronous Abort" handler', rb'"(?:Bad )?(?:Error|Irq|Fiq)" handler, esr',
        rb"### ERROR ### Please RESET",
    )),
    # TF-A: bl31/aarch64/crash_reporting.S, plat_panic_handler, lib/libc/assert.c
    (Kind.FIRMWARE, "TF-A", (
        rb"Unhandled [Ee]xception", rb"PANIC in EL3", rb"PANIC at PC *: *0x",
        rb"Unhandled External Abort received on", rb"ASSERT: (?:File )?\S+:\d+",
    )),
    # OP-TEE: core/kernel/abort.c, panic.c
    (Kind.FIRMWARE, "OP-TEE", (
        rb"Core (?:data|prefetch|undef|alignment)[ -]abort", rb"E/TC:.{0,40} Panic ",
        rb"User TA (?:data|prefetch|undef|alignment)[ -]abort",
    )),
    # EDK2: ArmPkg/Library/DefaultExceptionHandlerLib, MdePkg's DebugLib
    (Kind.FIRMWARE, "UEFI", (
        rb"Synchronous Exception at 0x", rb"SError Exception at 0x", rb"IRQ Exception at 0x",
        rb"FIQ Exception at 0x", rb"ASSERT(?:_[A-Z_]+)? (?:\[\w+\]|\(Status)",
    )),
    # ours: firmware/payload/fatal.c
    (Kind.FIRMWARE, "payload", (rb"HIL: an exception that nothing guards",)),
    (Kind.RESET, "banner", (_U_BOOT,)),
)  # fmt: skip
_CUES = (
    b"BUG", b"anic", b"rror", b"handle", b"INFO: ", b"Watchdog", b"SAN: ", b"U-Boot ",
    b"### ERROR", b"PANIC", b"ASSERT", b"abort", b"xception",
)  # fmt: skip
"""One of them is in whatever a sign is in: to look for these costs a tenth."""
_TRIGGER = re.compile(b"|".join(sign for *_, signs in _SIGNS for sign in signs))
_PATTERNS = tuple((kind, what, re.compile(b"|".join(signs))) for kind, what, signs in _SIGNS)
_BANNER_FOLLOWS = re.compile(rb"(?:DRAM|CPU|SoC|Model|Board) *: |Trying to boot from ")
_BANNER_LINES = 6


def _sign(text: bytes) -> re.Match[bytes] | None:
    """Return the first sign in ``text``."""
    return _TRIGGER.search(text) if any(cue in text for cue in _CUES) else None


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
        if self._banner is not None or _sign(whole):
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
        if match := _sign(line):
            kind, what = next(
                (kind, what)
                for kind, what, pattern in _PATTERNS
                if pattern.match(line, match.start())
            )
            title = scrub_line(line[match.start() :].strip(), limit=_TITLE)
            crash = Crash(kind, title, start, end, what)
            if kind is Kind.RESET:  # `version` prints that line too: what follows decides
                self._banner, self._banner_lines = crash, _BANNER_LINES
            else:
                found.append(crash)
        return found
