# SPDX-License-Identifier: Apache-2.0
"""The vectors under test: references and mutants, from one source."""

import zlib

import pytest

from hilagent import abi, probe
from hilagent.build import vectors
from hilagent.build.mutants import ANY, MUTANTS, Mutant
from hilagent.errors import UsageError

TABLE = 0x800
B_SELF = 0x14000000


def _word(blob: bytes, offset: int) -> int:
    return int.from_bytes(blob[offset : offset + 4], "little")


@pytest.mark.parametrize("profile", ["iss-2015", "iss-6.12", "iss-6.12-scs"])
@pytest.mark.parametrize("name", vectors.REFERENCES)
def test_a_reference_serves_the_origins_of_its_contract_and_no_others(
    name: str, profile: str
) -> None:
    contract = abi.load(profile)
    built = vectors.build(name, contract)
    served = [vector for vector in range(16) if _word(built.blob, vector * 0x80) != B_SELF]
    assert served == ([4, 8] if contract.serves_el2(built.server) else [8])


def test_a_reference_is_a_table_and_its_handlers() -> None:
    built = vectors.build("reference-stub")
    assert (built.offset, built.server, built.profile) == (0, "hyp-stub", "iss-2015")
    assert TABLE < len(built.blob) <= 2 * TABLE


def test_the_numbers_come_from_the_profile() -> None:
    profile = abi.load("iss-6.12")
    text = vectors.header(profile, "hyp-stub")
    assert f"#define HVC_SOFT_RESTART {profile.numbers['HVC_SOFT_RESTART']:#x}" in text
    assert "#define HVC_ERROR 0xbadca11" in text


def test_x18_is_left_alone_where_the_profile_says_so() -> None:
    assert "KEEP_X18" in vectors.header(abi.load("iss-6.12-scs"), "hyp-stub")
    assert "KEEP_X18" not in vectors.header(abi.load("iss-6.12"), "hyp-stub")


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda each: each.name)
def test_a_mutant_differs_from_the_reference_in_little(mutant: Mutant) -> None:
    reference = next(name for name, of in vectors.REFERENCES.items() if of == mutant.server)
    sound = vectors.build(reference, abi.load(mutant.profile)).blob
    broken = vectors.build(f"mutant:{mutant.name}").blob
    assert broken != sound
    assert broken[:TABLE] == sound[:TABLE]
    assert abs(len(broken) - len(sound)) <= 64


def test_every_mutant_has_a_name_of_its_own() -> None:
    assert len({each.name for each in MUTANTS}) == len(MUTANTS)


def test_every_mutant_expects_a_rule_and_an_hcall_that_exist() -> None:
    for each in MUTANTS:
        assert each.rule in (*probe.RULES, "hang")
        known = {contract.hcall for contract in abi.load(each.profile).hcalls(each.server)}
        assert each.hcall in {ANY, *known}


def test_every_rule_has_a_mutant_that_breaks_it() -> None:
    broken = {each.rule for each in MUTANTS}
    assert set(probe.RULES) <= broken


def test_a_mutant_of_another_profile_is_refused_with_the_option_to_add() -> None:
    with pytest.raises(UsageError) as raised:
        vectors.build("mutant:restart_returns", abi.load("iss-2015"))
    assert raised.value.hint == "add --abi iss-6.12"


@pytest.mark.parametrize("name", ["mutant:clobber_x16", "reference-stup"])
def test_an_unknown_name_is_answered_with_one_that_is_near(name: str) -> None:
    with pytest.raises(UsageError) as raised:
        vectors.build(name)
    assert "perhaps" in raised.value.hint


def test_an_abi_by_x0_has_no_reference_vectors() -> None:
    with pytest.raises(UsageError, match="names hcalls by x0"):
        vectors.build("reference-stub", abi.load("x0-mainline"))


def test_the_same_vectors_are_the_same_bytes() -> None:
    sums = {zlib.crc32(vectors.build("reference-kvm").blob) for _ in range(2)}
    assert len(sums) == 1
