# SPDX-License-Identifier: Apache-2.0
"""Architecture: the payload's own recording vectors take every hvc, from each origin.

A failure accuses the CPU or the emulator, not the vectors under test.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hilagent import errors, probe
from hilagent.link import wire
from hilagent.probe import names
from hilagent.session.session import Session
from hilagent.session.settings import Settings
from hilagent.session.verdict import Unfinished
from hilagent.suites import observe, verdicts
from hilagent.suites.cases import cases


@dataclass(frozen=True)
class Place:
    """Where the hvcs are issued."""

    cpu: int
    origin: int

    def __str__(self) -> str:
        return f"cpu{self.cpu}-{names.origin(self.origin)}"


def _places(settings: Settings) -> Iterable[Place]:
    for cpu in range(settings.board.cpus):
        for origin in wire.Origin:
            yield Place(cpu, origin)


@cases(_places)
def test_architecture(hilagent_session: Session, hilagent_settings: Settings, case: Place) -> None:
    done = observe.recorder(hilagent_session, hilagent_settings)
    if case.cpu not in [cpu.cpu for cpu in done.cpus] and not done.hung:
        verdicts.check_cpus(hilagent_session)
        raise Unfinished(f"CPU {case.cpu} was not swept")
    for hung in done.hung:
        if (hung.cpu, hung.origin) == (case.cpu, case.origin):
            raise verdicts.hang(hilagent_session, "recorder", hung)
    if not done.passes:
        raise Unfinished("not measured: too many hvcs hang under the payload's own vectors")
    mine = [p for p in done.passes if (p.cpu, p.origin) == (case.cpu, case.origin)]
    wanted = [r for r in done.requests if (r.cpu, r.origin) == (case.cpu, case.origin)]
    findings, gaps = probe.architecture.judge(mine, wanted)
    if findings:
        verdicts.accuse(hilagent_session, findings, mine)
    if gaps or not mine:
        raise Unfinished("; ".join(map(str, gaps)) or "not observed")


def test_architecture_cpus(hilagent_session: Session, hilagent_settings: Settings) -> None:
    """The CPUs of the board's own device tree are those that the board's file declares."""
    observe.recorder(hilagent_session, hilagent_settings)
    verdicts.check_cpus(hilagent_session)
    hello = hilagent_session.hello
    declared = hilagent_session.board.cpus
    if hello is not None and hello.cpus != declared:
        raise errors.PreconditionError(
            f"the board declares {declared} CPUs, its device tree has {hello.cpus}",
            hint="correct 'cpus' in the board's file: the others are not tested",
        )
