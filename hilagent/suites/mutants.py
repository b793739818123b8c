# SPDX-License-Identifier: Apache-2.0
"""Mutants: vectors broken on purpose must be caught, each for the right reason.

A mutant that isn't caught is a defect of this program (BUG), not of the board.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass

from hilagent import abi, errors
from hilagent.build.mutants import ANY, MUTANTS, Mutant
from hilagent.result import Finding
from hilagent.session import subject as subjects
from hilagent.session.session import Session
from hilagent.session.settings import Settings
from hilagent.suites import code, observe, verdicts
from hilagent.suites.cases import cases
from hilagent.suites.observe import Judged

HANG = "hang"
CPUS = 2
"""A mutant is swept on two CPUs: one that is wrong on CPU 1 alone needs no more."""


@dataclass(frozen=True)
class Broken:
    """One mutant, and what must be said of it."""

    mutant: Mutant

    def __str__(self) -> str:
        return self.mutant.name


@dataclass(frozen=True)
class Clean:
    """Reference vectors, which must not be accused after all the mutants."""

    name: str

    def __str__(self) -> str:
        return self.name


def _mutants(settings: Settings) -> Iterable[Broken]:
    return [Broken(mutant) for mutant in sorted(MUTANTS, key=lambda each: each.rule == HANG)]


def _references(settings: Settings) -> Iterable[Clean]:
    return [Clean(name) for name in subjects.REFERENCES]


@cases(_mutants)
def test_mutants(hilagent_session: Session, hilagent_settings: Settings, case: Broken) -> None:
    mutant = case.mutant
    if mutant.cpu is not None and mutant.cpu >= hilagent_settings.board.cpus:
        raise errors.Unsupported(f"the board has no CPU {mutant.cpu}")
    settings = dataclasses.replace(hilagent_settings, profile=abi.load(mutant.profile))
    subject = subjects.resolve(f"mutant:{mutant.name}", settings.profile)
    judged = observe.vectors(hilagent_session, settings, subject, until_hang=True, most_cpus=CPUS)
    hilagent_session.forget("vectors:mutant:")
    missing = _missing(settings.profile, mutant, judged)
    if missing:
        found = judged.judgement.findings if judged.judgement else ()
        shown = ", ".join(f"{f.rule} {f.hcall} {f.what}" for f in found) or "nothing"
        raise errors.AgentBug(f"not caught for the right reason: {missing}; found {shown}")
    for row in code.table(hilagent_session, settings, subject, judged):
        if row.beyond:
            raise code.beyond(row)
    hilagent_session.forget("code:mutant:")


def _missing(profile: abi.Profile, mutant: Mutant, judged: Judged) -> str:
    """Return what should have been said of ``mutant`` and wasn't; empty if all of it was."""
    if mutant.rule == HANG:
        at = {
            hung.immediate: profile.name_of(hung.immediate, mutant.server) for hung in judged.hung
        }
        right = mutant.hcall in at.values() and mutant.immediate in {None, *at}
        return "" if right else f"expected {mutant.hcall} to hang, found {at or 'no hang'}"
    if judged.judgement is None:
        return "nothing was measured"
    findings = judged.judgement.findings
    hcalls = [each.hcall for each in profile.hcalls(mutant.server) if each.sweep and each.returns]
    for hcall in hcalls if mutant.hcall == ANY else [mutant.hcall]:
        mine = [
            f for f in findings if (f.rule, f.hcall, f.what) == (mutant.rule, hcall, mutant.what)
        ]
        if not any(_names(finding, mutant) for finding in mine):
            return f"expected {mutant.rule} {hcall} {mutant.what}"
    return ""


def _names(finding: Finding, mutant: Mutant) -> bool:
    """Whether ``finding`` names the very immediate and CPU that the mutant is wrong on."""
    imm = mutant.immediate
    right = imm is None or any(first <= imm <= last for first, last in finding.immediates)
    return right and (mutant.cpu is None or finding.cpus == (mutant.cpu,))


@cases(_references)
def test_mutants_afterwards(
    hilagent_session: Session, hilagent_settings: Settings, case: Clean
) -> None:
    """After all that, reference vectors are still clean."""
    subject = subjects.resolve(case.name, hilagent_settings.profile)
    judged = observe.vectors(hilagent_session, hilagent_settings, subject)
    judgement = judged.judgement
    if judged.hung or judgement is None:
        raise errors.TargetHang(f"{case.name} hangs")
    if judgement.findings:
        verdicts.accuse(hilagent_session, judgement.findings, judged.passes)
    if not judgement.clean:
        raise errors.AgentBug("not everything of the reference vectors was observed")
