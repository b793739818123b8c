# SPDX-License-Identifier: Apache-2.0
"""The direct pass: VBAR_EL2 is the table under test itself, each hcall once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hilagent.abi import Profile
from hilagent.payload import Payload
from hilagent.probe import Cell, State, direct
from hilagent.result import Exchange
from hilagent.session.session import Session
from hilagent.session.settings import Settings
from hilagent.session.subject import Subject
from hilagent.session.sweeps import exchange, known, start
from hilagent.session.verdict import Unfinished
from hilagent.suites import observe, tables, verdicts
from hilagent.suites.observe import Judged

_LEADS = frozenset({"dispatch", "return-pc", "return-el", "fault", "callee-state"})


@dataclass(frozen=True)
class DirectCase:
    """One hcall, issued directly."""

    subject: Subject
    hcall: str

    def __str__(self) -> str:
        return f"{self.subject.server}-{self.hcall}"


def cases_of(settings: Settings) -> Iterable[DirectCase]:
    """Return one case for each hcall that the direct pass can issue."""
    for subject in settings.subjects:
        profile = settings.profile_of(subject)
        for each in direct.plan(profile, subject.server, skip=subject.unissued):
            yield DirectCase(subject, each.hcall)


def conclude(session: Session, settings: Settings, case: DirectCase) -> None:
    """Issue the hcall, judge it by the rules of the sweep; raise what it comes to."""
    profile, server = settings.profile_of(case.subject), case.subject.server
    judged = observe.vectors(session, settings, case.subject)
    verdicts.check_hangs(session, settings, case, judged)
    planned = direct.plan(profile, server, skip=case.subject.unissued)
    chosen = next(each for each in planned if each.hcall == case.hcall)
    _check_home(chosen.home, profile, judged)
    _check_own(session, case.hcall, profile, judged)
    key = f"direct:{case.subject.name}:{case.hcall}"
    done = session.observe(key, lambda: _issue(session, case, chosen))
    assert session.hello is not None
    table = session.hello.slot + case.subject.offset
    lab = observe.lab(session, session.cpus)
    judgement = direct.judge_all(profile, server, [(chosen, done)], lab, table=table)
    cells = [cell for (hcall, _), cell in judgement.cells.items() if hcall == case.hcall]
    broken = [finding for cell in cells for finding in cell.findings]
    if broken:
        verdicts.accuse(session, broken, (), profile.selector)
    open_cells = [c for c in cells if c.state not in {State.HELD, State.NOT_APPLICABLE}]
    if open_cells:
        raise Unfinished(open_cells[0].reason)


def _check_home(home: str, profile: Profile, judged: Judged) -> None:
    """Raise Unfinished where the way home is broken: a silence would accuse others."""
    hung = {tables.hcall_of(each, profile, judged.subject.server) for each in judged.hung}
    broken = [cell.rule for cell in _broken(judged, home)]
    if home in hung or broken:
        why = "hangs" if home in hung else f"is accused itself ({broken[0]})"
        raise Unfinished(f"with their own table in VBAR_EL2 {home} leads home, and it {why}")


def _check_own(session: Session, hcall: str, profile: Profile, judged: Judged) -> None:
    """Raise the sweep's accusation where the hcall goes elsewhere: it might never be back."""
    found = [finding for cell in _broken(judged, hcall) for finding in cell.findings]
    if found:
        verdicts.accuse(session, found, judged.passes, profile.selector)


def _broken(judged: Judged, hcall: str) -> list[Cell]:
    cells = judged.judgement.cells.values() if judged.judgement else ()
    return [c for c in cells if c.hcall == hcall and c.rule in _LEADS and c.findings]


def _issue(session: Session, case: DirectCase, chosen: direct.Direct) -> Exchange:
    request = chosen.request

    def issue(payload: Payload) -> Exchange:
        start(session, payload)
        done = payload.hvc(
            request.first,
            cpu=request.cpu,
            origin=request.origin,
            x=request.fixed,
            catch_mask=request.catch_mask,
            stack_imms=request.stack_imms,
            direct=True,
            home_imm=chosen.home_imm,
            extra=chosen.extra,
        )
        known(session, payload)
        return done

    what = f"{case.hcall} with VBAR_EL2 = the table under test"
    done = exchange(session, case.subject, issue, what)
    session.journal.observation("direct", subject=case.subject.name, hcall=case.hcall, done=done)
    return done
