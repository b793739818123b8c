# SPDX-License-Identifier: Apache-2.0
"""Clobber: which registers change, against the contract; leaks of EL2 state apart."""

from __future__ import annotations

from collections.abc import Iterable

from hilagent.probe import clobber
from hilagent.session.session import Session
from hilagent.session.settings import Settings
from hilagent.session.verdict import Accusation
from hilagent.suites import code, observe, verdicts
from hilagent.suites.cases import cases
from hilagent.suites.verdicts import Case


def _cases(settings: Settings) -> Iterable[Case]:
    return verdicts.cases_of(settings, clobber)


@cases(_cases)
def test_clobber(hilagent_session: Session, hilagent_settings: Settings, case: Case) -> None:
    judged = observe.vectors(hilagent_session, hilagent_settings, case.subject)
    try:
        verdicts.conclude(hilagent_session, hilagent_settings, case, judged)
    except Accusation as accusation:
        doubts = code.doubts(hilagent_session, hilagent_settings, case, judged)
        accusation.details = "\n\n".join(filter(None, [accusation.details, doubts]))
        raise


@cases(code.cases_of)
def test_code(hilagent_session: Session, hilagent_settings: Settings, case: code.CodeCase) -> None:
    """What changed on the board, the code of the vectors can change: else who is wrong?"""
    code.conclude(hilagent_session, hilagent_settings, case)
