# SPDX-License-Identifier: Apache-2.0
"""What an incident is called: the same for the same bug, on every board and in every run.

The words are the kernel's own, in the forms that syzkaller made common, such as ``KASAN:
slab-use-after-free Read in FUNCTION``. Addresses, error codes and numbers of processes and
CPUs are no part of a title; a file and its line are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from hilagent.text import scrub_line

from .signs import Kind, Sign

_MOST_FRAMES = 24
_LIMIT = 120
_FUNCTION = rb"([A-Za-z_][\w.$]*)\+0x[0-9a-f]+/0x[0-9a-f]+"
_PC = re.compile(rb"(?:pc|PC is at) ?:? (?:\[<[0-9a-f]+>\] )?" + _FUNCTION)
_FRAME = re.compile(rb" +(?:\[<[0-9a-f]+>\] )?(?:\? )?" + _FUNCTION)
_CALLS = re.compile(rb"Call [Tt]race|call trace:")
_ACCESS = re.compile(rb"(Read|Write) (?:of|at) ")
_RANGE = re.compile(rb"KASAN: ([a-z -]+?) in range \[")
_SKIPPED = re.compile(
    rb"__switch_to|_*schedule|preempt_schedule|io_schedule|_*wait_for_|wait_|"
    rb"_raw_|__warn|warn_|_*refcount_|__list_|dump_|show_|_*might_|panic|kasan_|__kasan|"
    rb"print_|debug_|ct_|rcu_|arch_|queued_|do_raw|mutex_|__mutex|down_|rwsem_|__down|usleep"
)
_TOLD = re.compile(
    rb"refcount_t: .+|list_(?:add|del) corruption|ODEBUG: \w+ \w+ .*object type: \w+"
)
_VARYING = (
    (re.compile(rb"\s*\[#\d+\].*$"), b""),
    (re.compile(rb"\+0x[0-9a-f]+/0x[0-9a-f]+(?: \[\w+\])?"), b""),
    (re.compile(rb"[:,]? ?\b0x[0-9a-fA-F]+\b"), b""),
    (re.compile(rb"(?:: |\b)[0-9a-f]{8,16}\b"), b""),
    (re.compile(rb" ?\[[^\]]*:\d+\]"), b""),
    (re.compile(rb" on CPU#?\d+.*$| - CPU#\d+.*$"), b""),
    (re.compile(rb"\bCPU ?#?\d+\b"), b"CPU"),
    (re.compile(rb"\bexitcode=?$"), b""),
    (re.compile(rb"(?: in)? process \S+ *pfn.*$| for more than \d+ seconds.*$"), b""),
    (re.compile(rb"[\s!.:,]+$"), b""),
)


@dataclass
class Facts:
    """What the lines of an incident tell of it.

    Attributes:
        told: the lines between ``cut here`` and the first sign.
    """

    told: list[bytes] = field(default_factory=list)
    function: bytes = b""
    frames: list[bytes] = field(default_factory=list)
    access: bytes = b""
    in_range: bytes = b""
    calls: bool = False
    """Whether a call trace was begun."""

    def note(self, said: bytes) -> None:
        """Look for facts in one line, without its stamps."""
        self.calls = self.calls or _CALLS.search(said) is not None
        if not self.function and (found := _PC.match(said)):
            self.function = found[1]
        if self.calls and len(self.frames) < _MOST_FRAMES and (found := _FRAME.match(said)):
            self.frames.append(found[1])
        if not self.access and (found := _ACCESS.match(said)):
            self.access = found[1]
        if not self.in_range and (found := _RANGE.search(said)):
            self.in_range = found[1]

    def at_pc(self) -> bytes:
        """Return `` in FUNCTION`` where the CPU was; empty if nothing tells."""
        return b" in " + self.function if self.function else b""

    def where(self) -> bytes:
        """Return `` in FUNCTION`` where it happened; empty if nothing tells."""
        return self.at_pc() or (b" in " + self.frames[0] if self.frames else b"")

    def caller(self) -> bytes:
        """Return `` in FUNCTION`` that waited, or called what complains."""
        own = (each for each in self.frames if not _SKIPPED.match(each))
        function = next(own, self.function)
        return b" in " + function if function else b""


def title(sign: Sign, line: bytes, facts: Facts) -> str:
    """Return what the incident is called whose first sign is ``line``, from the sign on."""
    made = _kernel(sign, line, facts)
    return scrub_line(made.strip(), limit=_LIMIT)


def plain(text: bytes) -> bytes:
    """Return ``text`` without what differs from one run to the next."""
    text = text.strip()
    for pattern, instead in _VARYING:
        text = pattern.sub(instead, text)
    return text.strip()


def _kernel(sign: Sign, line: bytes, facts: Facts) -> bytes:
    if sign.kind is Kind.FIRMWARE:
        return _firmware(sign, line)
    for pattern, form in _FORMS:
        if found := pattern.match(line):
            return _filled(form, found, facts)
    return plain(line)


def _filled(form: str, found: re.Match[bytes], facts: Facts) -> bytes:
    """Return ``form`` with what was found on the line, and around it, in its places."""
    if form == "told":
        told = next((f for each in facts.told if (f := _TOLD.search(each))), None)
        if told is not None:
            return plain(told[0]) + facts.caller()
        form = "WARNING in \\1"
    if form == "oops":
        if facts.in_range and found[1] == b"paging request":  # else it only guesses
            return b"KASAN: " + facts.in_range + facts.where()
        return b"Unable to handle kernel " + found[1] + facts.where()
    made = found.expand(form.encode())
    made = made.replace(b"<access>", b" " + facts.access if facts.access else b"")
    places = ((b"<where>", facts.where), (b"<caller>", facts.caller), (b"<pc>", facts.at_pc))
    for place, instead in places:
        if place in made:
            return plain(made.replace(place, b"")) + instead()
    return plain(made)


_IN = rb" in (\S+?)(?:\+0x\S*)?(?: \[\w+\])?\s*$"
_FORMS: tuple[tuple[re.Pattern[bytes], str], ...] = tuple(
    (re.compile(pattern), form)
    for pattern, form in (
        (rb"BUG: (KASAN: [a-z -]+?)" + _IN, r"\1<access> in \2"),
        (rb"BUG: (K(?:FENCE|MSAN): [a-z -]+?)" + _IN, r"\1 in \2"),
        (rb"BUG: (KCSAN: .+?)\s*$", r"\1"),
        (rb"KASAN: ([a-z -]+?) in range", r"KASAN: \1<where>"),
        (rb"(UBSAN: .+? in \S+?:\d+)(?::\d+)?\s*$", r"\1"),
        (rb"(?:BUG: )?[Uu]nable to handle kernel (.+?)(?: at (?:virtual )?address.*)?\s*$", "oops"),
        (rb"Internal error: (.+?)(?:: [0-9a-f]+)?(?: \[#\d+\].*)?\s*$", r"\1<where>"),
        (rb"(Unexpected kernel \S+ exception)", r"\1<where>"),
        (rb"CFI failure at (\S+?)\+0x", r"CFI failure in \1"),
        (rb"kernel BUG at (\S+?:\d+)", r"kernel BUG at \1"),
        (rb"WARNING: CPU: \d+ PID: \d+ at \S+ (\S+?)\+0x", "told"),
        (rb"WARNING: (?:\[.{1,150}\] )?\S+:\d+ at (\S+?)\+0x", "told"),
        (rb"WARNING: (\S+:\d+) at 0x", r"WARNING<where>"),
        (
            rb"(?:kvm \[\d+\]: )?nVHE hyp (?:panic|CFI failure) at: (?:\[<\w+>\] )?(\S+?)\+0x",
            r"HYP panic in \1",
        ),
        (rb"nVHE hyp BUG at: (\S+?:\d+)", r"HYP BUG at \1"),
        (rb"nVHE hyp BUG at: (?:\[<\w+>\] )?(\S+?)\+0x", r"HYP BUG in \1"),
        (rb"Kernel panic - not syncing: HYP panic", "HYP panic<where>"),
        (rb"SError Interrupt", "SError<where>"),
        (rb"(?:rcu: )?INFO: \w+ (?:self-)?detected", "RCU stall<pc>"),
        (rb"(?:watchdog: )?BUG: soft lockup", "soft lockup<pc>"),
        (rb".*Watchdog detected hard LOCKUP", "hard lockup<pc>"),
        (rb"(?:watchdog: )?BUG: workqueue lockup", "workqueue lockup"),
        (rb"INFO: task ", "hung task<caller>"),
        (rb"(BUG: sleeping function called from invalid context at \S+:\d+)", r"\1"),
        (rb"BUG (\S+) \([^)]*\): (.+)", r"BUG \1: \2"),
        (rb"BUG: scheduling while atomic", "BUG: scheduling while atomic<caller>"),
        (rb"(BUG: using \S+\(\) in preemptible)", r"\1<caller>"),
        (rb"Unhandled \S+ \S+ (\w+) exception on CPU", r"Unhandled \1 exception<where>"),
        (rb"Insufficient stack space", "kernel stack overflow<where>"),
        (rb"(?:\[ )?((?:WARNING|BUG|INFO): [^\]]+?)(?: \])?\s*$", r"\1"),
    )
)
_FIRMWARE = (
    (re.compile(rb'"([\w ]+)" handler'), rb"\1"),
    (re.compile(rb"### ERROR ###"), rb"hang"),
    (re.compile(rb"BACKTRACE: START: (\w+)"), rb"panic in \1"),
    (re.compile(rb"BUG(?:: failure)? (at \S+:\d+)"), rb"BUG \1"),
    (re.compile(rb"(ASSERT) \[(\w+)\] (?:\S*/)?(\S+?\(\d+\))"), rb"\1 \3"),
    (re.compile(rb"(ASSERT: (?:File )?)(?:\S*/)?(\S+)"), rb"\1\2"),
    (re.compile(rb"(\w+ Exception) at 0x"), rb"\1"),
    (re.compile(rb"HIL: ([^\d]+?)(?: on CPU \d+)?\s*$"), rb"\1"),
)


def _firmware(sign: Sign, line: bytes) -> bytes:
    for pattern, form in _FIRMWARE:
        if found := pattern.match(line):
            return sign.type.encode() + b": " + found.expand(form)
    return sign.type.encode() + b": " + plain(line)
