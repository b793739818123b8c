# SPDX-License-Identifier: Apache-2.0
"""What the suites judge: each thing is measured once a run (and once more if it accuses)."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hilagent import errors, probe
from hilagent.payload import SweepRequest
from hilagent.probe import Judgement, Lab
from hilagent.result import CpuFacts, Sig, SweepPass
from hilagent.session.session import Session
from hilagent.session.settings import Settings
from hilagent.session.subject import RECORDER, Subject
from hilagent.session.sweeps import Hung, Sweep, sweep
from hilagent.suites import tables
from hilagent.suites.sweeping import Asked, immediates, sweeps_of


@dataclass(frozen=True)
class Judged:
    """One subject, swept and judged. ``judgement`` is None where too much of it hangs."""

    subject: Subject
    judgement: Judgement | None
    passes: tuple[SweepPass, ...]
    hung: tuple[Hung, ...]


def recorder(session: Session, settings: Settings) -> Sweep:
    """Return the sweeps of the payload's own recording vectors, on every CPU and origin."""

    def make(cpus: tuple[CpuFacts, ...], hung: Sequence[Hung]) -> Sequence[SweepRequest]:
        numbers = [cpu.cpu for cpu in cpus]
        return probe.requests(settings.profile, "", "recorder", numbers, skip=immediates(hung))

    return session.observe("recorder", lambda: sweep(session, RECORDER, make))


def baseline(session: Session, settings: Settings, subject: Subject) -> probe.Withheld:
    """Return what the recorder shows changed too, so that no vectors are accused of it.

    Raises:
        errors.PreconditionError: hvc doesn't reach EL2 at all on this board.
    """
    if session.seen("recorder"):
        passes = recorder(session, settings).passes
    else:
        profile, server = settings.profile_of(subject), subject.server

        def make(cpus: tuple[CpuFacts, ...], hung: Sequence[Hung]) -> Sequence[SweepRequest]:
            return probe.baseline(profile, server, [cpu.cpu for cpu in cpus])

        key = f"baseline:{profile.name}:{server}"
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
    withheld = baseline(session, settings, subject)
    profile = settings.profile_of(subject)
    sweeps = sweeps_of(profile, subject, most_cpus)

    def want(cpus: tuple[CpuFacts, ...]) -> Callable[[Sig], bool]:
        return sweeps.wanted_frames(lab(session, cpus))

    done = sweep(session, subject, sweeps.requests, want=want, until_hang=until_hang)
    if not done.passes:
        return Judged(subject, None, (), done.hung)
    here = lab(session, done.cpus)

    def judge(seen: Asked) -> Judgement:
        judged = probe.judge(
            profile, subject.server, seen.passes, here, wanted=seen.wanted, withheld=withheld,
            vectors_crc=zlib.crc32(subject.blob),
        )  # fmt: skip
        return probe.with_findings(judged, subject.origin.findings if subject.origin else ())

    seen = sweeps.asked(done)
    judgement = judge(seen)
    if judgement.clean and not done.hung:  # only then is no CPU at risk
        more = sweep(session, subject, sweeps.closer, want=want)
        seen = seen.and_(sweeps.asked_closer(more))
        judgement = judge(seen)
        done = dataclasses.replace(done, hung=more.hung)
    if session.measurement == 1:
        tables.write(session.journal, subject, profile, judgement, done, sweeps.told(seen, here))
    return Judged(subject, judgement, seen.passes, done.hung)


def lab(session: Session, cpus: tuple[CpuFacts, ...]) -> Lab:
    """Return what the judges must know of the payload's laboratory."""
    hello = session.hello
    assert hello is not None  # it was started, or there would be no CPUs
    regions = (
        ("the payload", hello.image, hello.image + hello.image_size - 1),
        ("the vectors under test", hello.slot, hello.slot + hello.slot_size - 1),
    )
    return Lab({cpu.cpu: cpu for cpu in cpus}, regions=regions)
