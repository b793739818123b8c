# SPDX-License-Identifier: Apache-2.0
"""What vectors are swept by: the immediate, or the number in x0 with the immediate beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from hilagent import probe
from hilagent.abi import Profile
from hilagent.payload import SweepRequest
from hilagent.probe import Lab, by_x0, said
from hilagent.probe.by_x0 import Numbered
from hilagent.probe.plan import EVERYTHING, SAMPLE
from hilagent.result import CpuFacts, Sig, SweepPass
from hilagent.session.subject import Subject
from hilagent.session.sweeps import Hung, Sweep


@dataclass(frozen=True)
class Asked:
    """What was asked for and seen, in the numbers that hcalls are known by.

    Attributes:
        numbered: likewise, sweep by sweep, where x0 names the hcall.
    """

    wanted: tuple[SweepRequest, ...]
    passes: tuple[SweepPass, ...]
    numbered: tuple[tuple[Numbered, tuple[SweepPass, ...]], ...] = ()

    def and_(self, more: Asked) -> Asked:
        """Return both together; the numbers of ``more`` were asked for in another way."""
        return Asked(
            (*self.wanted, *more.wanted),
            by_x0.in_order([*self.passes, *more.passes]),
            self.numbered,
        )


class Sweeps(Protocol):
    """How vectors of an ABI are swept."""

    def requests(
        self, cpus: tuple[CpuFacts, ...], hung: Sequence[Hung]
    ) -> Sequence[SweepRequest]: ...

    def closer(
        self, cpus: tuple[CpuFacts, ...], hung: Sequence[Hung]
    ) -> Sequence[SweepRequest]: ...

    def asked(self, done: Sweep) -> Asked: ...

    def asked_closer(self, done: Sweep) -> Asked: ...

    def wanted_frames(self, lab: Lab) -> Callable[[Sig], bool]: ...

    def told(self, asked: Asked, lab: Lab) -> dict[str, object]: ...


def sweeps_of(profile: Profile, subject: Subject, most_cpus: int | None = None) -> Sweeps:
    """Return how ``subject`` is swept."""
    if profile.selector == "x0":
        return _Numbers(profile, subject, most_cpus)
    return _Immediates(profile, subject, most_cpus)


def _alias(number: int, bits: int) -> int:
    """Return the next immediate that has these bits of a number."""
    return next(
        (imm for imm in range(number + 1, EVERYTHING) if imm & bits == number & bits),
        EVERYTHING,
    )


def immediates(hung: Sequence[Hung], *others: int) -> tuple[int, ...]:
    """Return the immediates that are left out."""
    return tuple(sorted({*others, *(each.immediate for each in hung)}))


@dataclass(frozen=True)
class _Immediates:
    profile: Profile
    subject: Subject
    most_cpus: int | None

    def _wanted(self, cpus: Sequence[CpuFacts], hung: Sequence[Hung]) -> tuple[SweepRequest, ...]:
        numbers = [cpu.cpu for cpu in cpus][: self.most_cpus]
        return probe.requests(
            self.profile, self.subject.server, "vectors", numbers,
            skip=immediates(hung, *self.subject.skip), sampled=self.subject.origin is not None,
        )  # fmt: skip

    def requests(self, cpus: tuple[CpuFacts, ...], hung: Sequence[Hung]) -> Sequence[SweepRequest]:
        """What is wanted, without what may leave the vectors: up to its first alias."""
        origin = self.subject.origin
        wanted = self._wanted(cpus, hung)
        if origin is None:
            return wanted
        end = min((_alias(*each) for each in origin.aliases), default=EVERYTHING)
        return [
            replace(each, count=min(each.count, end), skip=tuple({*each.skip, *origin.undecided}))
            for each in wanted
        ]

    def closer(self, cpus: tuple[CpuFacts, ...], hung: Sequence[Hung]) -> Sequence[SweepRequest]:
        """Short sweeps by other values than addresses, on the first CPU alone."""
        first = cpus[0].cpu
        server, origin = self.subject.server, self.subject.origin
        unnamed = origin.unnamed if origin else ()
        return (
            *probe.narrow(self.profile, server, [first], skip=self.subject.skip),
            *probe.by_value(self.profile, server, first, skip=unnamed),
        )

    def asked(self, done: Sweep) -> Asked:
        return Asked(self._wanted(done.cpus, done.hung), done.passes)

    def asked_closer(self, done: Sweep) -> Asked:
        passes = [
            each
            for swept, request in zip(done.passes, done.requests, strict=False)
            for each in (probe.as_passes(swept, request) if request.swept == "x0" else [swept])
        ]
        wanted = tuple(probe.as_asked(request) for request in done.requests)
        return Asked(wanted, tuple(passes))

    def wanted_frames(self, lab: Lab) -> Callable[[Sig], bool]:
        return probe.wanted_frames(self.profile, self.subject.server, lab)

    def told(self, asked: Asked, lab: Lab) -> dict[str, object]:
        if self.subject.origin is None:
            return {}
        return {"asked": said.immediates([e for e in asked.wanted if e.count >= SAMPLE])}


@dataclass(frozen=True)
class _Numbers:
    profile: Profile
    subject: Subject
    most_cpus: int | None

    def _plan(self, cpus: Sequence[CpuFacts], hung: Sequence[Hung]) -> tuple[Numbered, ...]:
        origin = self.subject.origin
        unnamed = origin.unnamed if origin else ()
        lost = [each for each in hung if each.x0 is None]
        return by_x0.plan(
            self.profile, self.subject.server, [cpu.cpu for cpu in cpus][: self.most_cpus],
            skip=self._skip(hung), skip_imms=immediates(lost, *unnamed),
            aliases=origin.aliases if origin else (),
        )  # fmt: skip

    def _skip(self, hung: Sequence[Hung]) -> tuple[int, ...]:
        lost = {each.x0 for each in hung if each.x0 is not None}
        return tuple(sorted(lost | set(self.subject.unissued)))

    def _undecided(self) -> tuple[int, ...]:
        return self.subject.origin.undecided if self.subject.origin else ()

    def _closer(self, cpus: Sequence[CpuFacts], hung: Sequence[Hung]) -> tuple[Numbered, ...]:
        skip = self._skip(hung)
        return by_x0.closer(self.profile, self.subject.server, cpus[0].cpu, skip=skip)

    def requests(self, cpus: tuple[CpuFacts, ...], hung: Sequence[Hung]) -> Sequence[SweepRequest]:
        return [each.request for each in self._plan(cpus, hung)]

    def closer(self, cpus: tuple[CpuFacts, ...], hung: Sequence[Hung]) -> Sequence[SweepRequest]:
        return [each.request for each in self._closer(cpus, hung)]

    def asked(self, done: Sweep) -> Asked:
        return self._asked(self._plan(done.cpus, done.hung), done)

    def asked_closer(self, done: Sweep) -> Asked:
        return self._asked(self._closer(done.cpus, done.hung), done)

    def _asked(self, plan: Sequence[Numbered], done: Sweep) -> Asked:
        numbered = tuple(self._pairs(plan, done)) if done.passes else ()
        passes = by_x0.in_order([swept for _, each in numbered for swept in each])
        wanted = [by_x0.as_asked(each) for each, _ in numbered]
        for number in self._undecided() if wanted else ():
            wanted.append(replace(wanted[0], first=number, count=1, skip=()))
        return Asked(tuple(wanted), passes, numbered)

    def _pairs(
        self, plan: Sequence[Numbered], done: Sweep
    ) -> Iterator[tuple[Numbered, tuple[SweepPass, ...]]]:
        for each, swept in zip(plan, done.passes, strict=True):
            passes = by_x0.as_passes(self.profile, self.subject.server, each, swept)
            yield each, tuple(passes)

    def wanted_frames(self, lab: Lab) -> Callable[[Sig], bool]:
        return by_x0.wanted_frames(self.profile, self.subject.server, lab)

    def told(self, asked: Asked, lab: Lab) -> dict[str, object]:
        server = self.subject.server
        return {
            "asked": said.numbers([each for each, _ in asked.numbered]),
            "immediate": said.immediate(self.profile, server, asked.numbered, lab),
        }
