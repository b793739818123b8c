# SPDX-License-Identifier: Apache-2.0
"""Code against board: nothing changes that no path of the vectors' code can change."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hilagent import errors
from hilagent.audit.follow import TOO_MANY
from hilagent.probe import by_x0
from hilagent.probe.code import Row, rows
from hilagent.session.session import Session
from hilagent.session.settings import Settings
from hilagent.session.subject import Subject
from hilagent.session.verdict import Unfinished
from hilagent.suites import observe, tables, verdicts
from hilagent.suites.observe import Judged
from hilagent.suites.verdicts import Case


@dataclass(frozen=True)
class CodeCase:
    """One hcall that comes home, of vectors whose code is known."""

    subject: Subject
    hcall: str

    def __str__(self) -> str:
        return f"{self.subject.server}-{self.hcall}"


def cases_of(settings: Settings) -> Iterable[CodeCase]:
    """Return one case for each hcall that comes home, of vectors whose code is known."""
    for subject in settings.subjects:
        if subject.elf is None:
            continue
        for each in settings.profile_of(subject).hcalls(subject.server):
            if each.returns and each.sweep:
                yield CodeCase(subject, each.hcall)


def conclude(session: Session, settings: Settings, case: CodeCase) -> None:
    """Return if the board changed nothing that the code can't; raise what else it comes to.

    Raises:
        errors.AgentBug: it did: by this program's account that can't be.
        errors.Unsupported: the code can't be followed to its end.
        Unfinished: it was not measured.
    """
    judged = observe.vectors(session, settings, case.subject)
    verdicts.check_hangs(session, settings, case, judged)
    if judged.judgement is None:
        raise Unfinished("not measured: too many other hvcs of these vectors hang")
    row = _row(session, settings, case, judged)
    if row is None:
        raise errors.Unsupported("their code isn't in the file")
    if row.board is None or row.reason.startswith(TOO_MANY):
        raise Unfinished(row.reason)
    if row.code is None:
        raise errors.Unsupported(row.reason)
    if row.beyond:
        raise beyond(row)


def doubts(session: Session, settings: Settings, case: Case, judged: Judged) -> str:
    """Return what speaks against an accusation by ``case``: that no code does it, or empty."""
    if judged.judgement is None or case.subject.elf is None:
        return ""
    row = _row(session, settings, case, judged)
    found = {each.what for each in judged.judgement.cell(case.hcall, case.rule).findings}
    doubted = ", ".join(sorted(found & set(row.beyond or {}))) if row is not None else ""
    if not doubted:
        return ""
    return (
        f"but see the table of the code: followed without running it, no path of these vectors"
        f" changes {doubted}; the CPU, code that isn't theirs or this program may have"
    )


def beyond(row: Row) -> errors.AgentBug:
    """Return the accusation of whoever let a register change that no code does."""
    said = ", ".join(
        f"{name} (at {', '.join(map(_number, numbers))})"
        for name, numbers in (row.beyond or {}).items()
    )
    return errors.AgentBug(
        f"{row.hcall}: the board changed {said}, and no path through the code of the vectors"
        " does: the measurement is wrong, or this reading of the code, or the CPU, or code"
        " that isn't theirs ran",
        hint="compare `hilagent hvc` on another board, and `hilagent audit`, with objdump",
    )


def _number(number: int) -> str:
    """Return a number; one that stands for another kind of hvc (:mod:`by_x0`) says for which."""
    if number >= by_x0.IMMEDIATES:
        return f"hvc #{number - by_x0.IMMEDIATES:#x}"
    return "another x0" if number >= by_x0.OTHERS else f"{number:#x}"


def _row(
    session: Session, settings: Settings, case: verdicts.HasHcall, judged: Judged
) -> Row | None:
    found = table(session, settings, case.subject, judged)
    return next((each for each in found if each.hcall == case.hcall), None)


def table(
    session: Session, settings: Settings, subject: Subject, judged: Judged
) -> tuple[Row, ...]:
    """Return a row for each hcall, made once a measurement; the first is written.

    Empty where the code isn't known, or nothing was measured.
    """
    profile = settings.profile_of(subject)
    withheld = observe.baseline(session, settings, subject)

    def make() -> tuple[Row, ...]:
        code = subject.code(profile)
        if code is None or judged.judgement is None:
            return ()
        found = tuple(rows(profile, code, judged.judgement, withheld))
        if session.measurement == 1:
            tables.write_code(session.journal, subject, profile, found)
        return found

    return session.observe(f"code:{subject.name}", make)
