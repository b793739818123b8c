# SPDX-License-Identifier: Apache-2.0
"""The handlers of the reference vectors and of their mutants, followed and judged."""

from pathlib import Path

import pytest

from hilagent import abi
from hilagent.audit import handlers, judge
from hilagent.audit.handlers import Served
from hilagent.audit.judge import Broken
from hilagent.build import vectors
from hilagent.build.mutants import ANY, MUTANTS, Mutant
from hilagent.elf import Elf, open_elf
from tests.audit.code import NOTHING_PATCHED, assembled

_OTHERWISE = {
    # SPSR_EL2 is made of what nobody can know, so that it can't be told which bits differ.
    **dict.fromkeys(
        ("clobbers_nzcv", "clears_daif", "sets_daif", "returns_at_el2", "returns_el1t"),
        ("pstate", ANY, "SPSR_EL2"),
    ),
    "call_at_el1": ("dispatch", "HVC_CALL_FUNC", "effect"),  # it leaves, and doesn't call
    "by_value": ("dispatch", "HVC_SET_VECTORS", "effect"),  # seen where an immediate is ignored
    "hangs": ("dispatch", "unknown", "effect"),
    "get_hangs": ("dispatch", "HVC_GET_VECTORS", "effect"),
    "leaks_esr": ("clobber", "unknown", "x1"),
    "leaks_vbar": ("clobber", "unknown", "x9"),
}
"""What code shows of a mutant where that isn't what is measured of it."""


def followed(name: str, profile: str) -> tuple[Elf, list[Served], list[Broken]]:
    built = vectors.build(name, abi.load(profile))
    elf = open_elf(built.elf)
    table = handlers.tables(elf)["hyp-stub"]  # both flavours stand at vectors_start
    served = list(handlers.serve(elf, NOTHING_PATCHED, abi.load(profile), built.server, table))
    broken = [found for each in served for found in judge.judge(elf, each, ours=True)]
    return elf, served, broken


@pytest.mark.parametrize("profile", ["iss-2015", "iss-6.12", "iss-6.12-scs"])
@pytest.mark.parametrize("name", vectors.REFERENCES)
def test_the_reference_vectors_break_nothing(name: str, profile: str) -> None:
    _, served, broken = followed(name, profile)
    assert broken == []
    assert [each.unproven for each in served if each.unproven] == []
    server = vectors.REFERENCES[name]
    named = {each.contract.hcall for each in served}
    assert named == {each.hcall for each in abi.load(profile).hcalls(server)}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mutant_is_seen_in_its_code(mutant: Mutant) -> None:
    _, _, broken = followed(f"mutant:{mutant.name}", mutant.profile)
    default = (mutant.rule, mutant.hcall, mutant.what)
    rule, hcall, what = _OTHERWISE.get(mutant.name, default)
    found = [
        each
        for each in broken
        if (each.rule, each.what) == (rule, what) and hcall in (ANY, each.hcall)
    ]
    assert found, [str(each) for each in broken]


def test_what_code_can_write_is_told_by_register_and_instruction() -> None:
    elf, served, _ = followed("reference-stub", "iss-2015")
    get = next(each for each in served if each.contract.hcall == "HVC_GET_VECTORS")
    assert list(get.writes) == ["x0", "x17", "x18"]
    assert get.writes["x0"].value == "VBAR_EL2"
    assert handlers.name_of(elf, get.writes["x0"].at) == "get_vectors"
    assert get.results == ("VBAR_EL2",)
    assert all(write.sure for write in get.writes.values())
    assert not get.needs_stack


def test_a_path_that_depends_on_something_says_on_what() -> None:
    _, _, broken = followed("mutant:cpu1_only", "iss-2015")
    assert all(each.forks for each in broken)
    _, _, always = followed("mutant:get_clobbers_x19", "iss-2015")
    assert not any(each.forks for each in always)


def test_one_immediate_of_all_is_found_by_what_the_code_compares_with() -> None:
    _, _, broken = followed("mutant:one_misrouted", "iss-2015")
    assert {each.number for each in broken} == {0xBEEF}


def test_each_entry_of_a_table() -> None:
    elf, _, _ = followed("reference-stub", "iss-2015")
    table = handlers.tables(elf)["hyp-stub"]
    found = {
        each.offset: each for each in handlers.entries(elf, NOTHING_PATCHED, "hyp-stub", table)
    }
    assert sorted(found) == [n * 0x80 for n in range(16)]
    assert found[0x000].endings == ("loop",)
    assert "eret" in found[0x400].endings
    assert {"x17", "x18", "VBAR_EL2"} <= set(found[0x400].writes)


_RESTART = """
	mov x17, #0x3c9
	msr spsr_el2, x17
	msr elr_el2, x0
	mov x0, x1
	mov x1, x2
	mov x2, x3
	{}
	eret
"""


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("nop", "left as it was"),
        ("mov x17, #1; msr sctlr_el2, x17", "SCTLR_EL2 = 0x1"),
        ("msr sctlr_el2, xzr", ""),
    ],
)
def test_a_restart_out_of_kvm_turns_the_mmu_off(tmp_path: Path, text: str, found: str) -> None:
    elf, profile = assembled(_RESTART.format(text), tmp_path), abi.load("iss-6.12")
    contract = profile.named("HVC_SOFT_RESTART", "kvm")
    served = handlers.serve_number(elf, NOTHING_PATCHED, profile, 0, contract, 4)
    said = [each.found for each in judge.judge(elf, served) if each.rule == "entry-mmu"]
    assert [each for each in said if found in each] == said
    assert bool(said) is bool(found)


def test_what_a_kernel_has_to_do_is_not_asked_of_our_vectors(tmp_path: Path) -> None:
    elf, profile = assembled(_RESTART.format("nop"), tmp_path), abi.load("iss-6.12")
    contract = profile.named("HVC_SOFT_RESTART", "kvm")
    served = handlers.serve_number(elf, NOTHING_PATCHED, profile, 0, contract, 4)
    assert judge.judge(elf, served, ours=True) == ()
