# SPDX-License-Identifier: Apache-2.0
"""The direct pass accuses nobody where the way there or home is known to be broken."""

from __future__ import annotations

from pathlib import Path

import pytest

from hilagent import abi
from hilagent import board as boards
from hilagent.link.wire import Seen
from hilagent.result import Finding
from hilagent.session.session import Session
from hilagent.session.settings import Request, Settings
from hilagent.session.subject import Subject
from hilagent.session.sweeps import Hung
from hilagent.session.verdict import Accusation, Unfinished
from hilagent.suites import direct, observe, verdicts
from hilagent.suites.direct import DirectCase
from hilagent.suites.observe import Judged
from tests.probe import sim
from tests.probe.sim import Behaviour, Shot
from tests.session.fakes import FakeBench, session

PROFILE = abi.load("iss-6.12")
STUB = Subject("vmlinux:v", "hyp-stub", profile=PROFILE)
GET, SET, RESTART = "HVC_GET_VECTORS", "HVC_SET_VECTORS", "HVC_SOFT_RESTART"


@pytest.fixture
def held(tmp_path: Path) -> Session:
    return session(tmp_path, FakeBench())


def _judged(behave: Behaviour | None, *hung: Hung) -> Judged:
    return Judged(STUB, sim.judged(behave, profile=PROFILE, cpus=(0,)), (), hung)


def _said(held: Session, monkeypatch: pytest.MonkeyPatch, judged: Judged, hcall: str) -> str:
    monkeypatch.setattr(observe, "vectors", lambda *_: judged)
    settings = Settings(Request(), boards.load("qemu-virt"), PROFILE, (STUB,), "tftp")
    with pytest.raises(Unfinished) as seen:
        direct.conclude(held, settings, DirectCase(STUB, hcall))
    return seen.value.message


def _set_ignored(shot: Shot) -> None:
    if shot.imm == 2:
        shot.seen, shot.catch = Seen.RETURNED, 0xFF


def _restart_at_el1(shot: Shot) -> None:
    if shot.imm == 4:
        shot.land(PROFILE.named(RESTART, "hyp-stub").callee, level=1)


def test_no_hcall_is_accused_of_a_way_home_that_is_broken(
    held: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = _said(held, monkeypatch, _judged(_set_ignored), GET)
    assert f"{SET} leads home, and it is accused itself (dispatch)" in said


def test_no_hcall_is_accused_of_a_way_home_that_hangs(
    held: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = _said(held, monkeypatch, _judged(None, Hung(0, 5, 2, "x")), GET)
    assert f"{SET} leads home, and it hangs" in said


def test_what_would_not_arrive_is_not_issued_again(
    held: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observe, "vectors", lambda *_: _judged(_restart_at_el1))
    settings = Settings(Request(), boards.load("qemu-virt"), PROFILE, (STUB,), "tftp")
    with pytest.raises(Accusation, match=f"callee-state: {RESTART} EL"):
        direct.conclude(held, settings, DirectCase(STUB, RESTART))


def test_the_evidence_of_a_finding_is_of_its_first_immediate(held: Session) -> None:
    """Of immediates that break a rule in different ways the first is described."""

    def behave(shot: Shot) -> None:
        if shot.imm in (0x101, 0x102):
            shot.x[0] = shot.imm

    passes, _ = sim.observe(behave, profile=PROFILE, cpus=(0,), odd=(0x101, 0x102, 0x103))
    shown = []
    for first in (0x102, 0x4321):
        finding = Finding("result", "unknown", "x0", "", "", (0,), ((first, 0xFFFF),), "EL1h")
        with pytest.raises(Accusation) as seen:
            verdicts.accuse(held, [finding], [p for p in passes if p.pass_no == 0])
        shown.append(seen.value.details)
    assert "0x0000000000000102" in shown[0]
    assert "0x0000000000000102" not in shown[1]
