# SPDX-License-Identifier: Apache-2.0
"""Runs sweeps so that a hang or a crash has an owner before anybody is accused.

**The hang protocol.** A CPU without progress (or a board gone silent, where one
CPU does everything) proves nothing by itself. The board is booted afresh and the
same recorded sequence is run again: if it stops again, the hcall is named, left
out, and the rest is measured; if it doesn't, nobody is accused (INFRA). With one
CPU, the repetition sends a heartbeat before each hvc of the block in which it
fell silent, so that the repetition also finds the immediate. A board that
restarts by itself twice in the same sequence is a CRASH, once is INFRA.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hilagent import errors
from hilagent.link import wire
from hilagent.payload import Hang, Payload, ResetInJob, Silence, SweepRequest
from hilagent.payload.alone import Vanished
from hilagent.payload.trouble import Place
from hilagent.result import CpuFacts, Exchange, Sig, SweepPass, Verdict
from hilagent.session.narrowing import BLOCK, begun_at, index_of, narrowed, next_imm
from hilagent.session.session import Session
from hilagent.session.subject import Subject

MOST_HANGS = 3
"""Confirmed hangs after which the rest of a subject is not measured."""
TRIES = 2
"""How often a sequence is begun anew after trouble that accuses nobody."""

Want = Callable[[Sig], bool]
Trouble = Silence | ResetInJob | Hang | errors.TargetCrash
_TROUBLE = (Silence, ResetInJob, Hang, errors.TargetCrash)


@dataclass(frozen=True)
class Hung:
    """An hvc that did not come home, twice, from fresh boots.

    Attributes:
        x0: what it held, where that was chosen; None for a pattern or a catch table.
    """

    cpu: int
    origin: int
    immediate: int
    message: str
    x0: int | None = None

    def __str__(self) -> str:
        return f"hvc #{self.immediate:#x}" + ("" if self.x0 is None else f" with x0 = {self.x0:#x}")


Make = Callable[[tuple[CpuFacts, ...], Sequence[Hung]], Sequence[SweepRequest]]
"""Returns the requests for (CPUs that started, what hung and is to be left out)."""


@dataclass(frozen=True)
class Sweep:
    """What was measured of one subject: passes, and what hung and was then left out."""

    requests: tuple[SweepRequest, ...]
    passes: tuple[SweepPass, ...]
    cpus: tuple[CpuFacts, ...]
    hung: tuple[Hung, ...] = ()


class ConfirmedHang(errors.TargetHang):
    """A hang that was seen twice from fresh boots. ``details``: the evidence."""

    details = ""
    measured = (Verdict.HANG, Verdict.HANG)


class ConfirmedCrash(errors.TargetCrash):
    """A crash that was seen twice from fresh boots."""

    measured = (Verdict.CRASH, Verdict.CRASH)


def sweep(
    session: Session,
    subject: Subject,
    make: Make,
    *,
    want: Callable[[tuple[CpuFacts, ...]], Want] | None = None,
    until_hang: bool = False,
) -> Sweep:
    """Return what the sequence that ``make`` gives shows of ``subject``.

    Args:
        want: gives for the started CPUs which signatures' frames to fetch as evidence.
        until_hang: return at the first confirmed hang, without the rest.

    Raises:
        ConfirmedCrash: the board died or restarted twice in this sequence.
        ConfirmedHang: it hung, but which hvc it was can't be told.
        errors.LabError: the lab's trouble, and what was tried against it.
    """
    runner = _Runner(session, subject, make, want)
    hung: list[Hung] = []
    failures = 0
    for attempt in itertools.count(1):
        try:
            return dataclasses.replace(runner.run(hung), hung=tuple(hung))
        except _TROUBLE as first:
            _power_was_kept(session, first)
            found = runner.again(hung, first)
            if found is not None:
                hung.append(found)
            if found is not None and (until_hang or len(hung) >= MOST_HANGS):
                return Sweep((), (), (), tuple(hung))
        except errors.LabError as first:
            session.taint(first.message)
            failures += 1
            if failures >= TRIES or session.lost_power():
                raise
            session.journal.note(f"from a fresh boot again: {first.message}", blame="infra")
        if attempt >= TRIES + MOST_HANGS:
            break
    raise errors.LabError(f"link or board failed again and again while {subject.name} was swept")


def _power_was_kept(session: Session, trouble: Trouble) -> None:
    """Raise LabError if the board lost power by itself: then it can't be accused."""
    if session.lost_power():
        session.taint(trouble.message)
        raise errors.LabError(f"the board lost its power: {trouble.message}") from trouble


class _Runner:
    def __init__(
        self,
        session: Session,
        subject: Subject,
        make: Make,
        want: Callable[[tuple[CpuFacts, ...]], Want] | None,
    ) -> None:
        self._session, self._subject, self._make, self._want = session, subject, make, want
        self._asked: tuple[SweepRequest, ...] = ()

    def run(self, hung: Sequence[Hung], before: Silence | None = None) -> Sweep:
        """Run the sequence once, without what hung; ``before``: find where it fell silent."""
        payload = self._session.payload(self._subject)
        cpus = start(self._session, payload)
        requests = tuple(self._make(cpus, hung))
        if before is not None:
            requests = narrowed(requests, before)
        self._asked = requests
        what = f"sweep {self._subject.name} on {len(cpus)} CPU{'s' if len(cpus) > 1 else ''}"
        with self._session.journal.step(what) as progress:
            passes = payload.sweep(
                requests,
                progress=progress,
                arrived=self._arrived,
                want=self._wanted(payload) if self._want else None,
            )
        return Sweep(requests, tuple(passes), known(self._session, payload))

    def _wanted(self, payload: Payload) -> Want:
        """Return what asks once it has run: only then is it certain where it stands."""
        asked: dict[int, Want] = {}

        def want(sig: Sig) -> bool:
            boot = payload.hello.boot_id
            if boot not in asked and self._want is not None:
                asked[boot] = self._want(known(self._session, payload))
            return asked[boot](sig)

        return want

    def _arrived(self, index: int, swept: SweepPass) -> None:
        values = {"subject": self._subject.name, "measurement": self._session.measurement}
        self._session.journal.observation("sweep", **values, swept=swept)

    def again(self, hung: Sequence[Hung], first: Trouble, *, last: bool = False) -> Hung | None:
        """Run the same sequence from a fresh boot; return what hung again.

        Where it fails differently then, or by the lab, it is run once more (``last``), and
        only what was seen twice counts.

        None: trouble that accuses nobody did not come again. Raises what is
        certain, see :func:`sweep`.
        """
        asked = self._asked
        self._session.taint(first.message)
        self._session.journal.note(f"the same sequence again from a fresh boot: {first.message}")
        try:
            self.run(hung, first if isinstance(first, Silence) else None)
        except _TROUBLE as second:
            self._session.taint(second.message)
            if isinstance(first, Hang) and isinstance(second, Hang):
                return _hung_at(second, self._asked, second.imm)
            if isinstance(first, Vanished) and isinstance(second, Vanished):
                self._still_comes()
                raise ConfirmedHang(f"twice from fresh boots: {second.message}") from second
            if isinstance(first, Silence) and isinstance(second, Silence):
                return self._silent(asked, first, second)
            certain = _crashed(first, second, self._subject)
            if isinstance(certain, errors.LabError) and not last:
                return self.again(hung, first if isinstance(first, Hang) else second, last=True)
            raise certain from second
        except errors.LabError as fault:
            self._session.taint(fault.message)
            if last or self._session.lost_power():
                raise
            return self.again(hung, first, last=True)
        if isinstance(first, Hang):
            hint = "a hang must be seen twice before anybody is accused of it"
            raise errors.LabError(f"hung once, and not again: {first.message}", hint=hint)
        if isinstance(first, errors.TargetCrash):
            raise _owned(first, self._subject)
        return None

    def _still_comes(self) -> None:
        """Raise LabError unless an empty batch comes back, from a fresh boot once more."""
        start(self._session, self._session.payload(self._subject))

    def _silent(self, asked: Sequence[SweepRequest], first: Silence, second: Silence) -> Hung:
        """Return the hvc at which the board fell silent, both times in the same block."""
        at, imm = next_imm(asked, first), next_imm(self._asked, second)
        if at < 0 or imm < 0 or second.place is None or not second.place.reported:
            raise errors.LabError(f"silent twice, nobody knows where: {second.message}") from second
        assert first.place is not None  # or ``at`` would be -1
        begins = index_of(asked[first.place.request], self._asked[second.place.request])
        if not (first.cpu == second.cpu and at <= begins + imm < at + BLOCK):
            raise errors.LabError(
                f"silent twice, first after hvc #{at:#x} on CPU {first.cpu}, "
                f"then at hvc #{imm:#x} on CPU {second.cpu}"
            ) from second
        return _hung_at(second, self._asked, imm)


def _hung_at(hung: Hang | Silence, requests: Sequence[SweepRequest], at: int) -> Hung:
    """Return what hung: ``at`` is an immediate, or of a sweep over x0 an index."""
    place: Place | None = getattr(hung, "place", None)
    known = place is not None and 0 <= place.request < len(requests)
    request = requests[place.request] if place is not None and known else SweepRequest()
    if request.swept == "x0":
        x0 = begun_at(request, at).x0_first
        return Hung(hung.cpu, hung.origin, request.first, hung.message, x0)
    return Hung(hung.cpu, hung.origin, at, hung.message, request.fixed.get(0))


def _crashed(first: Trouble, second: Trouble, subject: Subject) -> errors.HilagentError:
    """Return what is certain after two failures that were not both a hang."""
    crashes = (ResetInJob, errors.TargetCrash)
    if isinstance(first, crashes) and isinstance(second, crashes):
        message = f"twice from fresh boots: {second.message}"
        return _owned(ConfirmedCrash(message), subject)
    if isinstance(first, errors.TargetCrash):
        return _owned(first, subject)
    return errors.LabError(f"failed twice, differently: {first.message}; then {second.message}")


def _owned(crash: errors.TargetCrash, subject: Subject) -> errors.HilagentError:
    """Return ``crash``, or our own bug if it was the payload's own vectors that ran."""
    if subject.target is wire.Target.RECORDER:
        return errors.AgentBug(f"the payload crashed under its own vectors: {crash.message}")
    return crash


def exchange(
    session: Session, subject: Subject, issue: Callable[[Payload], Exchange], what: str
) -> Exchange:
    """Return what ``issue`` measured of ``subject``; one that stops is tried again.

    Raises:
        ConfirmedHang: it did not come home, twice, from fresh boots.
        ConfirmedCrash: the board died or restarted of it, twice.
    """
    try:
        return issue(session.payload(subject))
    except _TROUBLE as exc:
        first: Trouble = exc
    _power_was_kept(session, first)
    session.taint(first.message)
    try:
        done = issue(session.payload(subject))
    except _TROUBLE as second:
        session.taint(second.message)
        if isinstance(second, Vanished):
            start(session, session.payload(subject))  # does an empty batch still come back?
        if isinstance(first, ResetInJob | errors.TargetCrash):
            message = f"{what}: twice from fresh boots: {second.message}"
            raise ConfirmedCrash(message) from second
        message = f"{what} does not come home, twice from fresh boots: {second.message}"
        raise ConfirmedHang(message) from second
    if isinstance(first, errors.TargetCrash):
        raise first
    if isinstance(first, Hang):
        raise errors.LabError(f"hung once, and not again: {first.message}")
    return done


def start(session: Session, payload: Payload) -> tuple[CpuFacts, ...]:
    """Start the CPUs that the board declares; return those that started.

    One that doesn't start is no reason to stop: the suites say which is missing.
    """
    try:
        payload.start_cpus()
    except (errors.LinkError, errors.BoardReset, errors.HostOverloaded):
        raise
    except errors.LabError as exc:
        session.journal.note(exc.message, blame="board")
    return known(session, payload)


def known(session: Session, payload: Payload) -> tuple[CpuFacts, ...]:
    """Return the CPUs that started, as they were when it last ran; the session learns them."""
    cpus = tuple(cpu for cpu in payload.cpus() if cpu.cpu < session.board.cpus)
    session.learn(payload.hello, cpus)
    return cpus
