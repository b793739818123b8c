# SPDX-License-Identifier: Apache-2.0
"""The lines by which a console tells that something has died, stands still or complains.

A sign counts only where its speaker could have said it: at the beginning of a line, behind
a stamp, or behind a driver's own ``name: ``. In a command that somebody typed, in a kernel's
command line, in quotes and in the middle of a sentence it is text like any other.

Who is to blame is a kernel engineer's question. A kernel that says WARNING, what lockdep,
KCSAN and UBSAN report, and most of what follows ``BUG:`` are reports: the kernel goes on,
and if it doesn't, an oops or a panic follows. These are deaths, and so is corrupted memory,
though the kernel may totter on.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator
from typing import NamedTuple


class Kind(enum.Enum):
    """Who died; REPORT and STALL: nobody, the kernel complains, or a CPU made no progress."""

    REPORT = "report"
    STALL = "stall"
    KERNEL = "kernel"
    FIRMWARE = "firmware"
    RESET = "reset"

    @property
    def fatal(self) -> bool:
        """Whether nothing that was waited for can come after it."""
        return self not in (Kind.REPORT, Kind.STALL)


class Sign(NamedTuple):
    """A sign on a line: who died, what sort of death it is, and where on the line it begins."""

    kind: Kind
    type: str
    at: int


_U_BOOT = rb"U-Boot (?:SPL |TPL )?20\d\d\.\d\d"
_ADDRESS = rb"0x[0-9a-fA-F]"
_CYCLES = rb"possible (?:recursive|circular|irq lock)|inconsistent lock state|suspicious RCU usage"
_LOCKDEP = (
    rb"WARNING: (?:" + _CYCLES + rb"|bad (?:unlock balance|contention)|held lock freed|"
    rb"lock held when|[Nn]ested lock|chain_key collision|\S+-safe -> |\S+ still has locks held)",
    rb"INFO: (?:" + _CYCLES + rb"|trying to register non-static key)",
    rb"\[ (?:BUG|INFO): [^\]\n]{5,60} \](?:\s|$)",
)
_CORRUPT = (
    rb"BUG: (?:Bad page|spinlock |rwlock |mempool element|stack guard page|Dentry |"
    rb"unable to handle)"
)
_SIGNS: tuple[tuple[Kind, str, tuple[bytes, ...]], ...] = (
    # Linux 6.12: kernel/rcu/tree_stall.h, watchdog.c, workqueue.c, hung_task.c
    (Kind.STALL, "RCU stall", (
        rb"(?:rcu: )?INFO: \w+ (?:self-)?detected (?:expedited )?stalls? ",
    )),
    (Kind.STALL, "lockup", (
        rb"watchdog: BUG: ", rb"watchdog: (?:CPU\d+: )?Watchdog detected ",
        rb"Watchdog detected hard LOCKUP", rb"BUG: (?:soft lockup|workqueue lockup)",
        rb"BUG: .{1,80} stuck for \d+s!",
    )),
    (Kind.STALL, "hung task", (
        rb"INFO: task .{1,40} blocked (?:in .{1,20} )?for more than \d+ seconds",
    )),
    # kernel/locking/lockdep.c, kernel/rcu/update.c, kernel/panic.c
    (Kind.REPORT, "lockdep", _LOCKDEP),
    (Kind.REPORT, "WARNING", (
        rb"WARNING: CPU: \d+ PID: \d+ at ",
        rb"WARNING: (?:\[.{1,150}\] )?\S+\.[chS]:\d+ at (?:0x|\S+\+0x)",
    )),
    (Kind.REPORT, "sanitizer", (rb"BUG: KCSAN: ", rb"UBSAN: [A-Za-z -]+ in ")),
    # mm/kasan, mm/kfence, mm/kmsan, mm/slub.c
    (Kind.KERNEL, "sanitizer", (
        rb"BUG: K(?:ASAN|FENCE|MSAN): ", rb"KASAN: [a-z-]+(?: [a-z-]+)* in range \[",
        rb"BUG \S+ \((?:Not tainted|Tainted: [^)]{1,80})\): ",
    )),
    # arch/arm64/kvm/handle_exit.c
    (Kind.KERNEL, "hyp panic", (
        rb"Kernel panic - not syncing: HYP panic", rb"HYP panic:",
        rb"nVHE hyp (?:BUG|panic|CFI failure) at",
    )),
    (Kind.KERNEL, "panic", (rb"Kernel panic - not syncing",)),
    # arch/arm64/kernel/traps.c, entry-common.c, mm/fault.c
    (Kind.KERNEL, "SError", (rb"SError Interrupt on CPU", rb"Internal error: (?:Oops - )?SError")),
    (Kind.KERNEL, "oops", (
        rb"Internal error: (?=.{0,100}(?:Oops|\[#\d|\b[0-9a-f]{8}))",
        rb"(?:BUG: u|U)nable to handle (?:kernel|page fault) ",
        rb"Unexpected kernel (?:BRK|single-step) exception at EL1", rb"CFI failure at \S+\+0x",
        rb"Bad mode in .{1,30} handler detected", rb"Unhandled (?:prefetch abort|fault)[ :]",
        rb"Unhandled \S+ \S+ (?:sync|irq|fiq|error) exception on CPU",
        rb"Insufficient stack space to handle exception",
    )),
    # U-Boot: arch/arm/lib/interrupts_64.c, lib/hang.c, lib/panic.c, common/stackprot.c
    (Kind.FIRMWARE, "U-Boot", (
        rb'"Synchronous Abort" handler', rb'"(?:Bad )?(?:Error|Irq|Fiq)" handler, esr',
        rb"### ERROR ### Please RESET", rb"BUG(?:: failure)? at \S+:\d+/\S+\(\)!",
        rb"Stack smashing detected in function",
    )),
    (Kind.KERNEL, "BUG", (rb"kernel BUG at ", _CORRUPT)),
    (Kind.REPORT, "BUG", (rb"BUG: ",)),
    # TF-A: bl31/aarch64/crash_reporting.S, plat_panic_handler, lib/libc/assert.c
    (Kind.FIRMWARE, "TF-A", (
        rb"Unhandled (?:Interrupt )?Exception (?:in|from|at) (?:lower )?EL",
        rb"PANIC in EL3", rb"PANIC at PC *: *0x", rb"Unhandled External Abort received on",
        rb"ASSERT: (?:File )?\S+(?::| <| Line )\d+", rb"BACKTRACE: START: ",
    )),
    # OP-TEE: core/kernel/abort.c, panic.c
    (Kind.FIRMWARE, "OP-TEE", (
        rb"Core (?:data|prefetch|undef|alignment)[ -]abort", rb"E/TC:.{0,40} Panic ",
        rb"User (?:TA|mode) (?:data|prefetch|undef|alignment)[ -]abort",
    )),
    # EDK2: ArmPkg/Library/DefaultExceptionHandlerLib, MdePkg's DebugLib
    (Kind.FIRMWARE, "UEFI", (
        *(what + rb" Exception at " + _ADDRESS
          for what in (b"Synchronous", b"SError", b"IRQ", b"FIQ")),
        rb"ASSERT(?:_[A-Z_]+)? (?:\[\w+\]|\(Status)",
    )),
    # ours: firmware/payload/fatal.c
    (Kind.FIRMWARE, "payload", (rb"HIL: an exception that nothing guards",)),
    (Kind.RESET, "banner", (_U_BOOT,)),
)  # fmt: skip
_CUE = re.compile(
    rb"BUG[: ]|BACKTRACE: |Kernel panic - |INFO: |WARNING: |Internal error: |"
    rb"Un(?:able to handle |handled |expected kernel )|CFI failure at |"
    rb"KASAN: |UBSAN: |HYP panic:|VHE hyp |SError |Bad mode in |Insufficient stack |"
    rb'"(?:Synch|Bad |Err|Irq|Fiq)|### ERROR |Stack smash|PANIC |ASSERT|Core |E/TC:|User |'
    rb"Synchronous Ex|IRQ Ex|FIQ Ex|HIL: an |Watchdog det|U-Boot "
)
"""In each sign there is one of these. They begin with letters that are rare: it's looked for
in every byte."""
_LEAD = re.compile(rb"(?:rcu: |watchdog: (?:CPU\d+: )?|kernel |n|\[ )$")
"""What may come before such a cue and is part of the sign."""
_LONGEST_LEAD = 24
_ANY = re.compile(b"|".join(sign for *_, signs in _SIGNS for sign in signs))
_PATTERNS = tuple((kind, what, re.compile(b"|".join(signs))) for kind, what, signs in _SIGNS)

STAMP = re.compile(rb"\[ *\d+\.\d{3,9}\](?:\[ *([CT]\d+)\])?:? ?")
"""printk's, with the caller's id where the kernel was built to tell it."""
_COMMAND_LINE = re.compile(rb"ommand line|bootargs|append=|console=|root=")
_TYPED = re.compile(
    rb"(?:=>|(?<![-=])[#$%>]) +[^\s<\[].*\s\S*$|^\s*(?:#|//|;|\*|--|\+) ", re.DOTALL
)
_QUOTE = re.compile(rb"[\"'`]$")
_QUOTED = re.compile(rb"[\"'`=(/*A-Z_]$")
"""What a sign is no beginning of its own behind; a letter: ODEBUG is not BUG."""
_SENTENCE = re.compile(rb"(?:^|[\s(])[a-z]{1,20}[,;.]? +$")


def next_sign(text: bytes, position: int) -> int:
    """Return where in ``text`` there may be a sign, from ``position`` on; -1: nowhere."""
    return next(_candidates(text, position), -1)


def sign(line: bytes) -> Sign | None:
    """Return the first sign on ``line`` that its speaker has said, not quoted."""
    for at in _candidates(line, 0):
        if _said(line[:at]):
            found = (each for each in _PATTERNS if each[2].match(line, at))
            return next((Sign(kind, what, at) for kind, what, _ in found), None)
    return None


def _candidates(text: bytes, position: int) -> Iterator[int]:
    for cue in _CUE.finditer(text, position):
        at = cue.start()
        lead = _LEAD.search(text, max(position, at - _LONGEST_LEAD), at)
        for start in (lead.start(), at) if lead else (at,):
            if _ANY.match(text, start):
                yield start
                break


def _said(before: bytes) -> bool:
    """Return whether what stands before a sign lets it be a message of its own."""
    *_, stamp = None, *STAMP.finditer(before)
    if stamp is None:
        own = before
        if _TYPED.search(before):
            return False
    else:
        own = before[stamp.end() :]
        if _QUOTE.search(before[: stamp.start()]):
            return False
    if _COMMAND_LINE.search(own) or _QUOTED.search(own):
        return False
    return not _SENTENCE.search(own)
