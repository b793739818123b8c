# SPDX-License-Identifier: Apache-2.0
"""From a contract to what the module is asked: nothing that could lose the CPU."""

from __future__ import annotations

import pytest

from hilagent.abi import UNKNOWN, Profile, load
from hilagent.abi.contract import ADDRESS_KINDS
from hilagent.errors import UsageError
from hilagent.linux import wire
from hilagent.linux.request import (
    ALL_CAUGHT,
    UNKNOWN_IMM,
    UNKNOWN_X0,
    Request,
    for_contract,
)
from hilagent.linux.wire import Effect, Flag

PROFILES = [
    load("iss-6.12"),
    load("iss-6.12-scs"),
    load("iss-2015"),
    load("x0-mainline", kernel="6.12"),
]
EVERY = [
    pytest.param(profile, server, contract.hcall, id=f"{profile.name}-{server}-{contract.hcall}")
    for profile in PROFILES
    for server in profile.servers
    for contract in profile.hcalls(server)
]


def _asked(profile: Profile, server: str, hcall: str) -> Request:
    return for_contract(profile, profile.contracts[hcall, server], cpu=1, pass_no=1)


@pytest.mark.parametrize(("profile", "server", "hcall"), EVERY)
def test_each_address_of_each_hcall_is_a_catch_table(
    profile: Profile, server: str, hcall: str
) -> None:
    asked, contract = _asked(profile, server, hcall), profile.contracts[hcall, server]
    for register, kind in contract.args.items():
        if kind in ADDRESS_KINDS:
            assert asked.catch_mask >> int(register[1:]) & 1
    assert (asked.cpu, asked.pass_no) == (1, 1)
    assert wire.REQUEST.unpack(asked.packed())["cpu"] == 1


@pytest.mark.parametrize(("profile", "server", "hcall"), EVERY)
def test_the_number_stands_where_the_abi_looks(profile: Profile, server: str, hcall: str) -> None:
    asked, contract = _asked(profile, server, hcall), profile.contracts[hcall, server]
    if profile.selector == "immediate":
        assert asked.imm == (UNKNOWN_IMM if contract.number is None else contract.number)
        assert 0 not in asked.fixed
    else:
        assert asked.imm == 0
        assert asked.fixed[0] == (UNKNOWN_X0 if contract.number is None else contract.number)
        assert not asked.catch_mask & 1


@pytest.mark.parametrize(("profile", "server", "hcall"), EVERY)
def test_only_what_a_contract_knows_is_declared(profile: Profile, server: str, hcall: str) -> None:
    asked, contract = _asked(profile, server, hcall), profile.contracts[hcall, server]
    assert (asked.effect == Effect.UNDECLARED) == (contract.number is None)
    assert (Flag.STUB in asked.flags) == (server == "hyp-stub")
    assert Flag.DANGEROUS not in asked.flags


def test_vectors_that_the_stub_sets_are_asked_for_and_given_back() -> None:
    profile = PROFILES[0]
    assert Flag.ASK in _asked(profile, "hyp-stub", "HVC_SET_VECTORS").flags
    assert Flag.ASK not in _asked(profile, "kvm", "HVC_SET_VECTORS").flags


def test_a_register_that_is_an_address_to_another_server_is_caught_too() -> None:
    asked = _asked(PROFILES[3], "kvm", "HVC_SET_VECTORS")
    assert asked.catch_mask >> 1 & 1


def test_a_plain_argument_holds_a_pattern_and_the_rest_catches() -> None:
    asked = _asked(PROFILES[0], "kvm", "HVC_CALL_HYP")
    assert asked.catch_mask == 0
    assert _asked(PROFILES[0], "kvm", UNKNOWN).catch_mask == ALL_CAUGHT


def test_unknown_is_unknown_in_every_profile() -> None:
    for profile in PROFILES:
        assert UNKNOWN_IMM not in profile.numbers.values()
        assert UNKNOWN_X0 not in profile.numbers.values()


def test_a_request_is_packed_field_by_field() -> None:
    asked = Request(
        cpu=2, imm=7, fixed={0: 5, 30: 6}, skip=(2, 3), swept="x0", x0_first=9, x0_step=4, count=3
    )
    fields = wire.REQUEST.unpack(asked.packed())
    assert fields["fixed_mask"] == 1 << 30 | 1
    x, skip = fields["x"], fields["skip"]
    assert isinstance(x, tuple)
    assert isinstance(skip, tuple)
    assert (x[0], x[30], skip[:2], fields["skip_count"]) == (5, 6, (2, 3), 2)
    assert (fields["first"], fields["count"], fields["x0_first"], fields["x0_step"]) == (7, 3, 9, 4)
    assert fields["flags"] == Flag.SWEEP_X0


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (Request(swept="pc"), "swept is imm or x0"),
        (Request(imm=0x10000), "16 bits"),
        (Request(imm=0xFFFF, count=2), "16 bits"),
        (Request(count=0), "16 bits"),
        (Request(fixed={31: 0}), "x0 to x30"),
        (Request(skip=tuple(range(8))), "at most 7"),
        (Request(pass_no=2), "pass 0 or 1"),
        (Request(catch_mask=16), "x0 to x3 only"),
    ],
)
def test_what_cannot_be_asked_is_said_before_anything_runs(asked: Request, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        asked.packed()
