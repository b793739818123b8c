# SPDX-License-Identifier: Apache-2.0
"""Restart: a running kernel starts a kernel, or the payload, by each way that there is.

Which code serves a way is decided by the way and by how the kernel uses EL2: the
report's table says it, so that nobody believes more was tested than was. Each is
taken ``--chain`` times in a row; into the payload, each is a full circle.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from hilagent import errors
from hilagent.probe.ended import Ended
from hilagent.probe.restart import Kind, Receiver, served_by, summarise
from hilagent.probe.ruling import State
from hilagent.result import Verdict
from hilagent.session.session import Session
from hilagent.session.settings import Settings
from hilagent.suites import kernels, legs
from hilagent.suites.cases import cases

if TYPE_CHECKING:
    from hilagent.session.linux import Boot

_EL = {"EL1": 1, "EL2": 2}


@dataclass(frozen=True)
class Case:
    """One way of restarting one kernel."""

    boot: Boot
    kind: Kind
    receiver: Receiver

    def __str__(self) -> str:
        mode = self.boot.mode or "default"
        return f"{self.boot.kernel}-{mode}-{self.kind.value}-{self.receiver.value}"


def _cases(settings: Settings) -> Iterable[Case]:
    """Kernel to kernel first: after a crash, and after the payload's, boots are needed."""
    order = [(kind, receiver) for receiver in Receiver for kind in Kind]
    order.sort(key=lambda each: each[0] is Kind.CRASH)
    for boot in settings.boots:
        for kind, receiver in order:
            yield Case(boot, kind, receiver)


@cases(_cases)
def test_restart(hilagent_session: Session, hilagent_settings: Settings, case: Case) -> None:
    ends = hilagent_session.observe(
        f"restart:{case}", lambda: _chain(hilagent_session, hilagent_settings, case)
    )
    bad = next((each for each in ends if each.verdict is not Verdict.PASS), None)
    if bad is not None:
        _raise(hilagent_session, bad, len(ends))


def _chain(session: Session, settings: Settings, case: Case) -> tuple[Ended, ...]:
    facts = kernels.facts_of(session.linux(case.boot), session)
    kernels.need_el2(session, facts)
    served = served_by(case.kind, facts.kvm.value, _EL.get(facts.entry.value, 0))
    if served.never:
        raise errors.Unsupported(f"{served.reason}: {served.never}")
    ends: list[Ended] = []
    for number in range(1, max(1, settings.request.chain) + 1):
        ends.append(_leg(session, settings, case, number))
        if ends[-1].verdict is not Verdict.PASS or served.refused:
            break
    if ends[-1].verdict not in {Verdict.PASS, Verdict.UNSUPPORTED}:
        session.taint(f"nobody restarts from what arrived wrong: {ends[-1].message}")
    _record(session, case, ends)
    return tuple(ends)


def _leg(session: Session, settings: Settings, case: Case, number: int) -> Ended:
    if case.receiver is Receiver.KERNEL:
        return legs.into_kernel(session, case.boot, case.kind, number)
    return legs.into_payload(session, settings, case.boot, case.kind, number)


def _record(session: Session, case: Case, ends: list[Ended]) -> None:
    """Write the legs, and their line of the report's table."""
    for each in ends:
        session.journal.observation(
            "leg",
            boot=str(case.boot), way=case.kind.value, receiver=case.receiver.value,
            number=each.leg.number, verdict=each.verdict.value,
            message=each.message, notes=list(each.notes), named=each.named,
            times=asdict(each.times), el=each.el, server=each.leg.served.server,
            seen_server=each.seen_server, available_bytes=each.available_bytes,
            rules=[[r.rule.id, r.state.value, r.reason] for r in each.rulings],
        )  # fmt: skip
    rows = [asdict(row) for row in summarise([each.row for each in ends])]
    session.journal.observation("restarts", boot=str(case.boot), rows=rows)


def _raise(session: Session, bad: Ended, count: int) -> None:
    details = [f"leg       {bad.leg.number} of this chain; {count - 1} went well before it"]
    details += [f"note      {note}" for note in bad.notes]
    broken = [each for each in bad.rulings if each.state is State.BROKEN]
    details += [
        f"document  {each.rule.id}: {each.rule.text} ({each.rule.source})" for each in broken
    ]
    if bad.verdict is Verdict.FAIL and bad.findings:
        kernels.accuse(session, bad.leg.served.server, bad.findings, [str(bad.leg), *details])
    details.append(f"raw log   {session.raw_log}")
    kernels.end(
        bad.verdict, bad.message, hint=bad.hint, findings=bad.findings, details="\n".join(details)
    )
