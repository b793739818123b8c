# SPDX-License-Identifier: Apache-2.0
"""What the suites judge: each thing is measured once a run (and once more if it accuses)."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from hilagent import errors, probe
from hilagent.payload import SweepRequest
from hilagent.probe import Judgement, Lab
from hilagent.result import CpuFacts, SweepPass
from hilagent.session.session import Session
from hilagent.session.settings import Settings
from hilagent.session.subject import RECORDER, Subject
from hilagent.session.sweeps import Hung, Sweep, sweep
from hilagent.suites import tables


@dataclass(frozen=True)
class Judged:
    """One subject, swept and judged. ``judgement`` is None where too much of it hangs."""

    subject: Subject
    judgement: Judgement | None
    passes: tuple[SweepPass, ...]
    hung: tuple[Hung, ...]


def recorder(session: Session, settings: Settings) -> Sweep:
    """Return the sweeps of the payload's own recording vectors, on every CPU and origin."""

    def make(cpus: tuple[CpuFacts, ...], skip: tuple[int, ...]) -> Sequence[SweepRequest]:
        numbers = [cpu.cpu for cpu in cpus]
        return probe.requests(settings.profile, "", "recorder", numbers, skip=skip)

    return session.observe("recorder", lambda: sweep(session, RECORDER, make))


def baseline(session: Session, settings: Settings, server: str) -> probe.Withheld:
    """Return what the recorder shows changed too, so that no vectors are accused of it.

    Raises:
        errors.PreconditionError: hvc doesn't reach EL2 at all on this board.
    """
    if session.seen("recorder"):
        passes = recorder(session, settings).passes
    else:

        def make(cpus: tuple[CpuFacts, ...], skip: tuple[int, ...]) -> Sequence[SweepRequest]:
            return probe.baseline(settings.profile, server, [cpu.cpu for cpu in cpus])

        key = f"baseline:{server}"
        passes = session.observe(key, lambda: sweep(session, RECORDER, make)).passes
    if why := probe.architecture.refusal(passes):
        raise errors.PreconditionError(why)
    return probe.architecture.withheld(passes)


def vectors(
    session: Session,
    settings: Settings,
    subject: Subject,
    *,
    until_hang: bool = False,
    most_cpus: int | None = None,
) -> Judged:
    """Return ``subject``, swept on every CPU and judged against its contract.

    Args:
        until_hang: what hangs is all that the caller wants to know.
        most_cpus: sweep only so many.
    """
    return session.observe(
        f"vectors:{subject.name}",
        lambda: _vectors(session, settings, subject, until_hang, most_cpus),
    )


def _vectors(
    session: Session,
    settings: Settings,
    subject: Subject,
    until_hang: bool,
    most_cpus: int | None,
) -> Judged:
    profile, server = settings.profile, subject.server
    withheld = baseline(session, settings, server)

    def make(cpus: tuple[CpuFacts, ...], skip: tuple[int, ...]) -> Sequence[SweepRequest]:
        numbers = [cpu.cpu for cpu in cpus][:most_cpus]
        return probe.requests(profile, server, "vectors", numbers, skip=skip)

    done = sweep(
        session,
        subject,
        make,
        want=lambda cpus: probe.wanted_frames(profile, server, lab(session, cpus)),
        until_hang=until_hang,
    )
    if not done.passes:
        return Judged(subject, None, (), done.hung)
    here = lab(session, done.cpus)

    def judge(passes: Sequence[SweepPass], requests: Sequence[SweepRequest]) -> Judgement:
        crc = zlib.crc32(subject.blob)
        return probe.judge(
            profile, server, passes, here, wanted=requests, withheld=withheld, vectors_crc=crc
        )

    judgement, passes = judge(done.passes, done.requests), done.passes
    if judgement.clean and not done.hung:  # only then is no CPU at risk
        more = _closer(session, settings, subject)
        passes = (*passes, *more.passes)
        judgement = judge(passes, (*done.requests, *more.requests))
        done = dataclasses.replace(done, passes=passes, hung=more.hung)
    if session.measurement == 1:
        tables.write(session.journal, subject, profile, judgement, done)
    return Judged(subject, judgement, passes, done.hung)


def _closer(session: Session, settings: Settings, subject: Subject) -> Sweep:
    """Return short sweeps by other values than addresses, on the first CPU alone."""
    profile, server = settings.profile, subject.server

    def make(cpus: tuple[CpuFacts, ...], skip: tuple[int, ...]) -> Sequence[SweepRequest]:
        first = cpus[0].cpu
        return (
            *probe.narrow(profile, server, [first]),
            *probe.by_value(profile, server, first),
        )

    done = sweep(
        session,
        subject,
        make,
        want=lambda cpus: probe.wanted_frames(profile, server, lab(session, cpus)),
    )
    passes = [
        each
        for swept, request in zip(done.passes, done.requests, strict=False)
        for each in (probe.as_passes(swept, request) if request.swept == "x0" else [swept])
    ]
    asked = tuple(probe.as_asked(request) for request in done.requests)
    return dataclasses.replace(done, passes=tuple(passes), requests=asked)


def lab(session: Session, cpus: tuple[CpuFacts, ...]) -> Lab:
    """Return what the judges must know of the payload's laboratory."""
    hello = session.hello
    assert hello is not None  # it was started, or there would be no CPUs
    regions = (
        ("the payload", hello.image, hello.image + hello.image_size - 1),
        ("the vectors under test", hello.slot, hello.slot + hello.slot_size - 1),
    )
    return Lab({cpu.cpu: cpu for cpu in cpus}, regions=regions)
