# SPDX-License-Identifier: Apache-2.0
"""From a judged cell to how its test ends, with everything that a person needs to see."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Protocol

from hilagent import errors
from hilagent.link import wire
from hilagent.probe import State, by_x0, esr, names
from hilagent.result import Exchange, Finding, SweepPass
from hilagent.session.session import Session
from hilagent.session.settings import Settings
from hilagent.session.subject import Subject
from hilagent.session.sweeps import ConfirmedHang, Hung
from hilagent.session.verdict import Accusation, Unfinished
from hilagent.suites import tables
from hilagent.suites.observe import Judged

MOST_SHOWN = 5


@dataclass(frozen=True)
class Case:
    """One rule for one hcall of one subject: one test id."""

    subject: Subject
    hcall: str
    rule: str

    def __str__(self) -> str:
        return f"{self.subject.server}-{self.hcall}-{self.rule}"


class HasHcall(Protocol):
    """A case about one hcall of one subject."""

    @property
    def subject(self) -> Subject: ...

    @property
    def hcall(self) -> str: ...


def cases_of(settings: Settings, suite: ModuleType) -> Iterable[Case]:
    """Return the cases of ``suite``, without those that the contract alone rules out."""
    for subject in settings.subjects:
        for contract in settings.profile_of(subject).hcalls(subject.server):
            for rule in suite.RULES:
                if not contract.sweep or not suite.not_applicable(contract, rule):
                    yield Case(subject, contract.hcall, rule)


def conclude(session: Session, settings: Settings, case: Case, judged: Judged) -> None:
    """Return if ``case`` holds; else raise what stands for its verdict."""
    check_hangs(session, settings, case, judged)
    if judged.judgement is None:
        raise Unfinished("not measured: too many other hvcs of these vectors hang")
    cell = judged.judgement.cell(case.hcall, case.rule)
    if cell.state is State.BROKEN:
        accuse(session, cell.findings, judged.passes, settings.profile_of(case.subject).selector)
    if cell.state is State.NOT_APPLICABLE:
        raise errors.Unsupported(cell.reason)
    if cell.state is not State.HELD:
        raise Unfinished(cell.reason)
    check_cpus(session)


def check_hangs(session: Session, settings: Settings, case: HasHcall, judged: Judged) -> None:
    """Raise the hang of the case's own hcall, if it was seen."""
    profile = settings.profile_of(case.subject)
    for hung in judged.hung:
        if tables.hcall_of(hung, profile, case.subject.server) == case.hcall:
            raise hang(session, case.hcall, hung)


def hang(session: Session, hcall: str, hung: Hung) -> ConfirmedHang:
    """Return the accusation of an hvc that hung twice."""
    exc = ConfirmedHang(
        f"hang: {hcall}: {hung} from {names.origin(hung.origin)} on CPU {hung.cpu} does "
        "not come home, twice from fresh boots"
    )
    exc.details = f"the second time  {hung.message}\nraw log          {session.raw_log}"
    return exc


def check_cpus(session: Session) -> None:
    """Raise PreconditionError unless the CPUs that the board declares were all tested."""
    declared = session.board.cpus
    started = [cpu.cpu for cpu in session.cpus]
    missing = [str(cpu) for cpu in range(declared) if cpu not in started]
    if missing:
        raise errors.PreconditionError(
            f"the board declares {declared} CPUs, and CPU {', '.join(missing)} did not start",
            hint="correct 'cpus' in the board's file, or see why by the payload's log",
        )


def accuse(
    session: Session,
    found: Sequence[Finding],
    passes: Sequence[SweepPass],
    selector: str = "immediate",
) -> None:
    """Raise the accusation that findings are.

    Args:
        selector: what names hcalls in ``passes``, and in the findings' ranges.
    """
    findings = [by_x0.told(each) if selector == "x0" else each for each in found]
    first = findings[0]
    more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
    message = (
        f"{first.rule}: {first.hcall} {first.what}: expected {first.expected}, "
        f"found {first.found}{more}"
    )
    parts = [
        _story(finding, _exchange_of(raw, passes))
        for finding, raw in zip(findings[:MOST_SHOWN], found, strict=False)
    ]
    if len(findings) > MOST_SHOWN:
        parts.append(f"... and {len(findings) - MOST_SHOWN} more findings, see results.json")
    parts.append(f"raw log   {session.raw_log}")
    raise Accusation(message, findings, details="\n\n".join(parts))


def _story(finding: Finding, exchange: Exchange | None) -> str:
    immediates, cpus = names.show_spans(finding.immediates), ", ".join(map(str, finding.cpus))
    x0 = f", x0 = {names.show_spans(finding.x0)}" if finding.x0 else ""
    lines = [
        f"rule      {finding.rule}: {finding.hcall}, {finding.what}",
        f"expected  {finding.expected}",
        f"found     {finding.found}",
        f"issued    hvc #{immediates}{x0} from {finding.origin} on CPU {cpus}",
    ]
    if finding.evidence:
        lines.append(f"evidence  {finding.evidence}")
    if exchange is not None:
        lines += registers(exchange)
    return "\n".join(lines)


def _exchange_of(finding: Finding, passes: Sequence[SweepPass]) -> Exchange | None:
    """Return whole register files that show ``finding`` at its first immediate, if fetched."""
    if not finding.immediates:
        return None
    shown = finding.immediates[0][0]
    for swept in passes:
        if swept.cpu not in finding.cpus or names.origin(swept.origin) != finding.origin:
            continue
        for first, count, index in swept.runs:
            if first <= shown < first + count and index in swept.frames:
                return swept.frames[index]
    return None


def registers(exchange: Exchange) -> list[str]:
    """Return what changed in the register file, one line a register; and the ESR decoded."""
    before, after = exchange.before, exchange.after
    lines = [f"exchange  hvc #{after.imm:#x}, came home as {_seen(exchange.sig.seen)}"]
    pairs = [(f"x{n}", before.x[n], after.x[n]) for n in range(31)]
    pairs += [("SP", before.sp, after.sp), ("PSTATE", before.pstate, after.pstate)]
    pairs += [(name, before.sys[name], after.sys.get(name, 0)) for name in before.sys]
    pairs += [(f"v{n}", before.v[n], after.v[n]) for n in range(len(before.v))]
    lines += [f"  {name:<12}{old:#018x} -> {new:#018x}" for name, old, new in pairs if old != new]
    if exchange.sig.seen in (wire.Seen.EL2_FAULT, wire.Seen.EL1_FAULT, wire.Seen.RECORDED):
        lines.append(f"  ESR         {esr.decode(exchange.sig.esr or after.esr)}")
    return lines


def _seen(value: int) -> str:
    return wire.Seen(value).name if value in set(wire.Seen) else str(value)


__all__ = ["Case", "accuse", "cases_of", "check_cpus", "conclude", "registers"]
