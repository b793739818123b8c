# SPDX-License-Identifier: Apache-2.0
"""How one soft restart ended: the judge of what was seen of it.

The order is that of blame: what the kernel refused, what died, who came instead, and
only then silence, which accuses nobody before the board was started from power again
and the host is known to have been awake.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from hilagent import errors
from hilagent.console.watch import Crash, CrashWatch
from hilagent.console.watch import Kind as CrashKind
from hilagent.result import Finding, Verdict
from hilagent.text import scrub, scrub_line

from . import entry, leftovers, lpi, received
from .arrival import Arrival, blamed
from .received import Received
from .restart import Kind, Leg, Receiver, Row, Times
from .ruling import Ruling, State

MOST_STALL_S = 1.0
"""A host or emulator that stood still longer than this can't tell silence from slowness."""
_LEFT = re.compile(rb"(?:^|\] |\n)Bye!\r?\n")
_ENTERED = re.compile(rb"HIL: payload at EL\d, entered at EL(\d)")
_BOOTING = re.compile(rb"Booting Linux on physical CPU 0x")
_STARTS = (_ENTERED, _BOOTING)


@dataclass(frozen=True)
class Seen:
    """What was seen of one restart.

    Attributes:
        console: everything since the restart was asked for.
        refused: what loading or starting it was refused with.
        run_id: that whoever answers proved; empty if nobody answers.
        dmesg: of the kernel that answers; ``arrival``: of the payload that does.
        waited_s: for an answer; ``stalled_s``: the longest that this host or the
            emulator stood still meanwhile.
        powered: whether the board has power; None where that can't be told.
        boots: whether it came up from power afterwards; None if that wasn't tried.
        trouble: why the payload or kernel that runs can't be asked, where that is known.
    """

    console: bytes = b""
    refused: errors.HilagentError | None = None
    run_id: str = ""
    dmesg: str = ""
    arrival: Arrival | None = None
    times: Times = field(default_factory=Times)
    waited_s: float = 0.0
    stalled_s: float = 0.0
    powered: bool | None = None
    boots: bool | None = None
    trouble: str = ""

    @property
    def left(self) -> int:
        """Where on the console the sending kernel said its last word; -1 if it didn't."""
        if found := _LEFT.search(self.console):
            return found.end()
        starts = (found.start() for sign in _STARTS if (found := sign.search(self.console)))
        return min(starts, default=-1)


@dataclass(frozen=True)
class Ended:
    """How it ended.

    Attributes:
        verdict: PASS only for one that arrived right.
        message: one line; names the server. ``hint``: what to do next.
        notes: what is worth telling and accuses nobody.
        named: a known fault that it was recognised as, e.g. `lpi.NAME`.
        available_bytes: memory that the kernel which arrived could still hand out.
    """

    leg: Leg
    verdict: Verdict
    message: str
    hint: str = ""
    findings: tuple[Finding, ...] = ()
    rulings: tuple[Ruling[Arrival] | Ruling[Received], ...] = ()
    notes: tuple[str, ...] = ()
    named: str = ""
    seen_server: str = ""
    el: int = 0
    available_bytes: int = 0
    times: Times = field(default_factory=Times)

    @property
    def row(self) -> Row:
        """Return its line of the report's table."""
        served = self.leg.served
        return Row(
            self.leg.kind.value, self.leg.sender.kernel, self.leg.sender.mode,
            self.leg.receiver.value, served.server, served.reason, self.seen_server,
            f"EL{self.el}" if self.el else "", self.times, 1, self.verdict.value,
        )  # fmt: skip


def judge(leg: Leg, seen: Seen) -> Ended:
    """Return how ``leg`` ended by what was seen of it."""
    for judged in (_refused, _crashed, _came_back, _stalled, _silent, _stranger):
        ended = judged(leg, seen)
        if ended is not None:
            return replace(ended, times=seen.times)
    ended = _arrived(leg, seen)
    notes = (f"on its way: {each.title}" for each in _stalls(seen))
    return replace(ended, times=seen.times, notes=(*ended.notes, *notes))


def _end(leg: Leg, verdict: Verdict, message: str, *, hint: str = "") -> Ended:
    server = leg.served.server
    return Ended(leg, verdict, f"{leg}, served by {server}: {message}", hint)


def _refused(leg: Leg, seen: Seen) -> Ended | None:
    must, why = leg.served.refused, seen.refused
    if why is None:
        if must and seen.left >= 0:
            return _end(leg, Verdict.FAIL, f"it was let through, although {must}")
        return None
    if must and isinstance(why, errors.Unsupported):
        return _end(leg, Verdict.PASS, f"refused, as it must be: {why.message}")
    kinds = {
        errors.Unsupported: Verdict.UNSUPPORTED,
        errors.PreconditionError: Verdict.PRECONDITION,
        errors.TargetError: Verdict.FAIL,
    }
    verdict = next((v for kind, v in kinds.items() if isinstance(why, kind)), Verdict.INFRA)
    return _end(leg, verdict, f"refused: {why.message}", hint=why.hint)


def _crashed(leg: Leg, seen: Seen) -> Ended | None:
    kernel = [each for each in _crashes(seen) if each.kind is CrashKind.KERNEL]
    after = [each for each in kernel if each.start >= max(seen.left, 0)]
    if seen.left < 0 and kernel and leg.kind is not Kind.CRASH:
        said = f"the sending kernel died before it left: {kernel[0].title}"
        return _end(leg, Verdict.CRASH, said)
    if not after or seen.left < 0:
        return None
    text = scrub(seen.console[seen.left :])
    evidence = lpi.corruption(text, leg.sender.interrupts, leg.image)
    if evidence and leg.kind is not Kind.CRASH:
        said = (
            "the new kernel was overwritten by the GICv3's LPI tables, which the old kernel "
            f"left in memory that the new one believes free: {'; '.join(evidence)}"
        )
        ended = _end(leg, Verdict.CRASH, said, hint=lpi.ADVICE)
        return replace(ended, named=lpi.NAME, notes=(f"it died of: {after[0].title}",))
    ended = _end(leg, Verdict.CRASH, f"{_who(leg, seen)} died: {after[0].title}")
    return _with_last_words(ended, seen)


def _with_last_words(ended: Ended, seen: Seen) -> Ended:
    """Return ``ended`` with what a kernel that is no more had said of its entry."""
    if ended.leg.receiver is not Receiver.KERNEL:
        return ended
    rulings = received.judge(_received(ended.leg, scrub(seen.console[max(seen.left, 0) :])))
    found = tuple(each for ruling in rulings for each in ruling.findings if _of_entry(each))
    said = "".join(f"; before that, {each.rule}: {each.found}" for each in found)
    return replace(ended, findings=found, rulings=tuple(rulings), message=ended.message + said)


def _of_entry(finding: Finding) -> bool:
    return finding.rule.startswith("entry-")


def _crashes(seen: Seen) -> Sequence[Crash]:
    return CrashWatch().feed(seen.console + b"\n")


def _who(leg: Leg, seen: Seen) -> str:
    if leg.receiver is Receiver.PAYLOAD:
        return "the payload" if _ENTERED.search(seen.console, seen.left) else "what was entered"
    return "the new kernel" if _BOOTING.search(seen.console, seen.left) else "what was entered"


def _stalls(seen: Seen) -> list[Crash]:
    """Return what the new kernel says of CPUs that made no progress."""
    stalls = [each for each in _crashes(seen) if each.kind is CrashKind.STALL]
    return [each for each in stalls if 0 <= seen.left <= each.start]


def _stalled(leg: Leg, seen: Seen) -> Ended | None:
    """A stall of a kernel that arrived all the same is only told."""
    stalls = _stalls(seen)
    if not stalls or _answers(seen) or seen.powered is False:
        return None
    if seen.stalled_s > MOST_STALL_S:
        return None
    return _with_last_words(
        _end(leg, Verdict.CRASH, f"{_who(leg, seen)} died: {stalls[0].title}"), seen
    )


def _answers(seen: Seen) -> bool:
    return bool(seen.run_id) or seen.arrival is not None or bool(_entered(seen))


def _came_back(leg: Leg, seen: Seen) -> Ended | None:
    old = bool(seen.run_id) and seen.run_id == leg.sender.run_id
    reset = next((each for each in _crashes(seen) if each.kind is CrashKind.RESET), None)
    if reset is not None:
        said = f"the board restarted from its firmware instead: {reset.title}"
        return _end(leg, Verdict.CRASH, said)
    if old and seen.left < 0:
        said = "nothing happened: the old kernel still answers, with its own run id"
        return _end(leg, Verdict.FAIL, said)
    if old:
        said = "it came back as the old boot: whoever answers has the sending kernel's run id"
        return _end(leg, Verdict.FAIL, said)
    return None


def _silent(leg: Leg, seen: Seen) -> Ended | None:
    if _answers(seen):
        return None
    last = _last_words(seen)
    if seen.powered is False:
        return _end(leg, Verdict.INFRA, f"the board lost its power; {last}")
    if seen.times.ready_s is not None:
        way = "SSH" if leg.receiver is Receiver.KERNEL else "the line to it"
        said = f"it was ready after {seen.times.ready_s:.1f} s, and then {way} was lost; {last}"
        return _end(leg, Verdict.INFRA, said)
    if seen.stalled_s > MOST_STALL_S:
        said = (
            f"silent for {seen.waited_s:.0f} s, but this host stood still for"
            f" {seen.stalled_s:.1f} s"
        )
        return _end(leg, Verdict.INFRA, said)
    if seen.boots is None:
        return _end(leg, Verdict.UNFINISHED, f"silent, and not started from power since; {last}")
    if not seen.boots:
        return _end(leg, Verdict.INFRA, f"silent, and it doesn't start from power either; {last}")
    if leg.receiver is Receiver.KERNEL and _BOOTING.search(seen.console, max(seen.left, 0)):
        ended = _end(leg, Verdict.HANG, f"the new kernel started and never got ready; {last}")
        return _with_last_words(ended, seen)
    if seen.left < 0:
        return _end(leg, Verdict.HANG, f"the sending kernel never left; {last}")
    return _never(leg, seen, last)


def _never(leg: Leg, seen: Seen, last: str) -> Ended:
    said = (
        f"never arrived: nothing for {seen.waited_s:.0f} s, and from power the board starts; {last}"
    )
    hint = "silence is what an MMU left on, a wrong entry address and a wrong device tree look like"
    if leg.sender.interrupts.exposed and leg.kind is not Kind.CRASH:
        hint += f"; or the GICv3's LPI tables lie in the new image ({lpi.ADVICE})"
    finding = Finding(
        "restart-arrives", blamed(leg.served.server), "entry", "the new image runs", "silence",
        evidence=f"served by {leg.served.server}; {last}",
    )  # fmt: skip
    tables = lpi.overlaps(leg.sender.interrupts, leg.image) if leg.kind is not Kind.CRASH else ()
    if tables:
        said = (
            f"never arrived: {tables[0]}; the GICv3 holds it there since the old kernel, and "
            f"the new one, booted by device tree, writes over itself; {last}"
        )
        ended = _end(leg, Verdict.HANG, said, hint=lpi.ADVICE)
        finding = replace(finding, found=tables[0], expected="memory that nobody else holds")
        return replace(ended, findings=(finding,), named=lpi.NAME)
    return replace(_end(leg, Verdict.HANG, said, hint=hint), findings=(finding,))


def _stranger(leg: Leg, seen: Seen) -> Ended | None:
    if leg.receiver is Receiver.KERNEL and seen.run_id and seen.run_id != leg.run_id:
        said = f"run id {scrub_line(seen.run_id, limit=32)} answers, not {leg.run_id}"
        return _end(leg, Verdict.INFRA, said, hint="is the address that of another board?")
    return None


def _arrived(leg: Leg, seen: Seen) -> Ended:
    if (leg.receiver is Receiver.KERNEL and not seen.dmesg) or seen.trouble:
        said = seen.trouble or "its log was not read"
        return _end(leg, Verdict.UNFINISHED, f"it arrived, and can't be asked: {said}")
    if leg.receiver is Receiver.KERNEL:
        log = _received(leg, f"{seen.dmesg}\n{_said_since(seen)}")
        asked = leg.asks and leg.sender.servers
        by = f"{leg.served.server}, asked before" if asked else "not observable"
        rulings = received.judge(log)
        return _by_rules(leg, rulings, log.el, by, (), _unseen(rulings) or _untold(leg))
    if seen.arrival is None:
        return _at_el1(leg, seen)
    rulings_ = entry.judge(seen.arrival)
    served = leftovers.served_by(seen.arrival)
    notes = [f"who served it: {served.why}"]
    notes += [f"{each.register} {each.value:#x}: {each.text}" for each in
              leftovers.leftovers(seen.arrival) if each.value]  # fmt: skip
    by, other = " or ".join(served.servers) or "no hvc", ""
    expected = leg.served.server
    if expected not in (served.servers or ("none",)) and seen.arrival.by_hvc:
        other = f"served by {by}, by the registers; {expected} was expected"
        notes.insert(0, other)
    entered = seen.arrival.entry["CurrentEL"] >> 2 & 3
    return _by_rules(leg, rulings_, entered, by, notes, other)


def _unseen(rulings: Sequence[Ruling[Received]]) -> str:
    """Return the first rule that the new kernel's log tells nothing of, or empty."""
    unseen = (each for each in rulings if each.state is State.NOT_OBSERVABLE)
    return next((f"it arrived, and {each.rule.id}: {each.reason}" for each in unseen), "")


def _untold(leg: Leg) -> str:
    """Return why a kernel's arrival says nothing of the server that was meant, or empty."""
    if leg.asks and not leg.sender.servers:
        return "who served it was not asked before, and a kernel doesn't see it"
    return leg.misled


def _said_since(seen: Seen) -> str:
    """Return what the console showed of the new kernel, which its log may have lost."""
    return scrub(seen.console[seen.left :]) if seen.left >= 0 else ""


def _by_rules(
    leg: Leg,
    rulings: Sequence[Ruling[Arrival]] | Sequence[Ruling[Received]],
    el: int,
    by: str,
    notes: Sequence[str],
    why: str = "",
) -> Ended:
    """Return how it ended by the rules; ``why`` it doesn't pass although none is broken."""
    found = tuple(finding for each in rulings for finding in each.findings)
    conditions = [each for each in rulings if each.state is State.PRECONDITION]
    more = [f"{each.rule.id}: {each.reason}" for each in rulings if each.state is State.NOTE]
    ended = _end(leg, Verdict.PASS, f"arrived at EL{el}" if el else "arrived")
    if found:
        first = found[0]
        said = f"{first.rule}: {first.what}: expected {first.expected}, found {first.found}"
        more_said = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        ended = _end(leg, Verdict.FAIL, said + more_said)
    elif conditions:
        ended = _end(leg, Verdict.PRECONDITION, conditions[0].reason)
    elif why:
        ended = _end(leg, Verdict.UNFINISHED, why)
    return replace(
        ended, findings=found, rulings=tuple(rulings), notes=(*notes, *more), seen_server=by, el=el
    )


def _at_el1(leg: Leg, seen: Seen) -> Ended:
    """At EL1 the payload answers nothing that it saved: only where it was entered is known."""
    el = _entered(seen)
    if el != 1:
        return _end(leg, Verdict.UNFINISHED, "the payload runs, and its entry state was not read")
    rulings = [
        each for each in received.judge(_received(leg, "", el)) if each.rule.id == "entry-el"
    ]
    return _by_rules(leg, rulings, el, "not observable", ("at EL1 the payload judges no more",))


def _received(leg: Leg, dmesg: str, entered: int = 0) -> Received:
    return Received(dmesg, leg.served.server, leg.sender.el, leg.cpus, leg.kvm, entered)


def _entered(seen: Seen) -> int:
    found = _ENTERED.search(seen.console, max(seen.left, 0))
    return int(found[1]) if found else 0


def _last_words(seen: Seen) -> str:
    lines = [line for line in scrub(seen.console).splitlines() if line.strip()]
    if not lines:
        return "the console said nothing at all"
    return f"the console last said: {scrub_line(lines[-1], limit=120)}"
