# SPDX-License-Identifier: Apache-2.0
"""Which ABI a kernel speaks is told by safe hcalls, also where it is broken."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hilagent.link.wire import Seen
from hilagent.probe import asks, recognise
from hilagent.probe.recognise import Recognised
from hilagent.result import Verdict
from tests.probe.livesim import ISS, OLD, SCS, VBAR, X0, Kernel, profile_of
from tests.probe.sim import Shot

ALL = tuple(asks.refusing(profile_of(name)) for name in (SCS, ISS, OLD, X0))


def _recognised(name: str, server: str, behave: Callable[[Shot], None] | None = None) -> Recognised:
    kernel = Kernel(profile_of(name, server), server, behave)
    seen = [kernel.hvc(request) for request in recognise.requests(ALL)]
    servers = (server,) if server == asks.PKVM else ("hyp-stub", "kvm")
    return recognise.recognise(seen, ALL, servers)


@pytest.mark.parametrize(
    ("name", "server"),
    [(name, server) for name in (SCS, ISS, OLD, X0) for server in ("hyp-stub", "kvm")],
)
def test_a_kernel_that_keeps_its_contract_is_recognised(name: str, server: str) -> None:
    found = _recognised(name, server)
    assert (found.profile.name, found.server) == (name.partition("@")[0], server)
    assert found.certain
    assert len(found.evidence) == found.asked == 6


def test_protected_kvm_hides_the_abi_and_is_recognised_itself() -> None:
    found = _recognised(SCS, "pkvm")
    assert found.server == "pkvm"
    assert len({each.profile.name for each in found.equals}) == 4
    assert not found.certain


def _x(register: int, value: int) -> Callable[[Shot], None]:
    return lambda shot: shot.x.__setitem__(register, value)


def _get_in_x1(shot: Shot) -> None:
    if shot.imm == 1:
        shot.x[0], shot.x[1] = shot.before.x[0], VBAR


def _unknown_answers_0(shot: Shot) -> None:
    if shot.imm > 6:
        shot.x[0] = 0


def _faults(shot: Shot) -> None:
    if shot.imm > 6:
        shot.seen = Seen.EL1_FAULT


@pytest.mark.parametrize("server", ["hyp-stub", "kvm"])
@pytest.mark.parametrize("behave", [_get_in_x1, _unknown_answers_0, _faults])
def test_a_kernel_broken_in_one_place_is_still_recognised(
    server: str, behave: Callable[[Shot], None]
) -> None:
    found = _recognised(SCS, server, behave)
    assert found.profile.name == SCS
    assert not found.certain
    assert any("not as iss-6.12-scs" in line for line in found.evidence)


def _unknown_takes_x9(shot: Shot) -> None:
    if shot.imm > 6 or not shot.imm:
        shot.x[9] = 0


def _get_takes_x18(shot: Shot) -> None:
    if shot.imm == 1:
        shot.x[18] = 0


@pytest.mark.parametrize("server", ["hyp-stub", "kvm"])
@pytest.mark.parametrize("behave", [_unknown_takes_x9, _get_takes_x18])
def test_a_clobber_is_no_other_abi_than_was_declared(
    server: str, behave: Callable[[Shot], None]
) -> None:
    found = _recognised(SCS, server, behave)
    assert recognise.contradiction(found, profile_of(SCS), by="the build") is None
    assert recognise.contradiction(found, profile_of(X0), by="the build") is not None


def test_answers_count_before_what_is_clobbered() -> None:
    found = _recognised(ISS, "hyp-stub", _unknown_takes_x9)
    assert found.profile.name == ISS
    assert not found.certain


def test_neither_x16_nor_x18_leaves_both_variants_possible() -> None:
    def gentle(shot: Shot) -> None:
        shot.x[16:19] = shot.before.x[16:19]

    found = _recognised(ISS, "hyp-stub", gentle)
    assert {each.profile.name for each in found.equals} >= {SCS, ISS}
    assert recognise.contradiction(found, profile_of(ISS), by="the build") is None


def test_a_contradiction_accuses_only_what_somebody_declared() -> None:
    found = _recognised(X0, "kvm")
    assert recognise.contradiction(found, None) is None
    assert recognise.contradiction(found, profile_of(X0), by="the lab") is None
    declared = recognise.contradiction(found, profile_of(SCS), by="the build")
    assert declared is not None
    assert declared.verdict is Verdict.FAIL
    assert declared.message == (
        "the kernel speaks x0-mainline, not iss-6.12-scs, as the build says"
    )
    assert [each.rule for each in declared.findings] == ["abi"]
    assumed = recognise.contradiction(found, profile_of(SCS))
    assert assumed is not None
    assert (assumed.verdict, assumed.findings) == (Verdict.PRECONDITION, ())


def test_the_evidence_names_what_was_answered() -> None:
    lines = _recognised(SCS, "hyp-stub").evidence
    assert f"hvc #0x1, x0 0x68696c0000000000: x0 = {VBAR:#x}, x16 x17 changed" in lines[4]
    assert "(HVC_GET_VECTORS: as iss-6.12-scs by hyp-stub)" in lines[4]
    assert "0xbadca11" in lines[2]


def test_nothing_that_is_asked_is_a_number_or_an_smccc_id() -> None:
    for request in recognise.requests(ALL):
        assert request.fixed[0] >> 32
        assert request.imm in {0, 1, 0xFFF1}
        assert not request.catch_mask


def test_without_candidates_there_is_nothing_to_recognise() -> None:
    with pytest.raises(ValueError, match="no profile"):
        recognise.recognise([], [])
