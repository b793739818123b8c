# SPDX-License-Identifier: Apache-2.0
"""Dispatch: does every immediate reach the right handler? Judged by effect alone."""

from __future__ import annotations

from collections.abc import Iterable

from hilagent.probe import dispatch
from hilagent.session.session import Session
from hilagent.session.settings import Settings
from hilagent.suites import direct, observe, verdicts
from hilagent.suites.cases import cases
from hilagent.suites.verdicts import Case


def _cases(settings: Settings) -> Iterable[Case]:
    return verdicts.cases_of(settings, dispatch)


@cases(_cases)
def test_dispatch(hilagent_session: Session, hilagent_settings: Settings, case: Case) -> None:
    judged = observe.vectors(hilagent_session, hilagent_settings, case.subject)
    verdicts.conclude(hilagent_session, hilagent_settings, case, judged)


@cases(direct.cases_of)
def test_direct(
    hilagent_session: Session, hilagent_settings: Settings, case: direct.DirectCase
) -> None:
    """Once each with VBAR_EL2 = the table under test: the payload's front table hides nothing."""
    direct.conclude(hilagent_session, hilagent_settings, case)
