# SPDX-License-Identifier: Apache-2.0
"""Every rule of an entry has a state that breaks it alone; measured ones break none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilagent import errors
from hilagent.link import wire
from hilagent.probe import entry, leftovers
from hilagent.probe.arrival import FIRMWARE, NO_HVC, Arrival
from hilagent.probe.ruling import Ruling, State, findings
from tests.probe import arrivals
from tests.probe.arrivals import IMAGE, SIZE, STUB, TREE, arrival, cpu

GIB = 1 << 30
KINDS = arrivals.kinds()


def _tree(**changes: object) -> Arrival:
    return replace(arrival(), tree=replace(TREE, **changes))  # type: ignore[arg-type]


def _moved(image: int) -> Arrival:
    return replace(
        arrival(PC=image), image=image, tree=replace(TREE, ram=((0, 1 << 52),), initrd=None)
    )


MUTANTS: tuple[tuple[str, str, Arrival], ...] = (
    ("entry-el", "CurrentEL", arrival("kvm", cpu(1, CurrentEL=4), CurrentEL=4)),
    ("entry-el-same", "CurrentEL", arrival("kvm", cpu(1, CurrentEL=4))),
    ("entry-mmu", "SCTLR.M", arrival(SCTLR_EL2=0x30C50831)),
    ("entry-mmu", "SCTLR.M", arrival("trans-pgd", cpu(1, SCTLR_EL2=1))),
    ("entry-dcache", "SCTLR.C", arrival(SCTLR_EL2=0x30C50834)),
    ("entry-daif", "DAIF", arrival(DAIF=0x340)),
    ("entry-dtb-align", "x0", arrival(x0=arrivals.DTB + 4)),
    ("entry-dtb", "x0", _tree(magic=0)),
    ("entry-dtb-size", "device tree", _tree(size=(2 << 20) + 1)),
    ("entry-dtb-ram", "device tree", arrival(x0=0x3FFF_F000)),
    ("entry-x1", "x1", arrival("kvm", x1=1)),
    ("entry-x2", "x2", arrival("hyp-stub", x2=1 << 63)),
    ("entry-x3", "x3", arrival(NO_HVC, x3=2)),
    ("entry-base", "image", _moved(IMAGE + 0x1000)),
    ("entry-image-48", "image", _moved(1 << 48)),
    ("entry-image-ram", "image", _tree(ram=((0x4060_0000, 0x7FFF_FFFF),))),
    ("entry-image-free", "device tree", arrival(x0=IMAGE + SIZE - 8)),
    ("entry-image-free", "initrd", _tree(initrd=(0x4000_0000, 0x4040_0000))),
    ("entry-initrd", "initrd", _tree(initrd=(34 * GIB, 34 * GIB + 1))),
    ("entry-cntfrq", "CNTFRQ", arrival("kvm", cpu(1, CNTFRQ=0), CNTFRQ=0)),
    ("entry-cntfrq", "CNTFRQ", arrival("kvm", cpu(1, CNTFRQ=1))),
    ("entry-cntvoff", "CNTVOFF_EL2", arrival("kvm", CNTVOFF_EL2=5)),
    ("entry-endian", "SCTLR.EE", arrival(SCTLR_EL2=0x30C50830 | 1 << 25)),
    ("entry-wxn", "SCTLR.WXN", arrival(SCTLR_EL2=0x30C50830 | 1 << 19)),
    ("entry-spsel", "SPSel", arrival(SPSel=0)),
)


@pytest.mark.parametrize(("rule", "what", "state"), MUTANTS, ids=lambda value: str(value)[:20])
def test_a_broken_entry_is_accused_of_exactly_that(rule: str, what: str, state: Arrival) -> None:
    found = findings(entry.judge(state))
    assert [(each.rule, each.what) for each in found] == [(rule, what)]
    assert found[0].expected
    assert found[0].found
    assert found[0].expected != found[0].found


def test_every_rule_has_a_mutant_or_is_never_observable() -> None:
    never = {
        ruling.rule.id
        for ruling in entry.judge(arrival())
        if ruling.state is State.NOT_OBSERVABLE and ruling.reason
    }
    assert {rule for rule, _, _ in MUTANTS} | never == {rule.id for rule in entry.RULES}
    assert not {rule for rule, _, _ in MUTANTS} & never


@pytest.mark.parametrize("name", KINDS)
def test_measured_entries_break_nothing(name: str) -> None:
    rulings = entry.judge(KINDS[name])
    assert findings(rulings) == ()
    assert {each.state for each in rulings} <= {State.HELD, State.NOT_OBSERVABLE}


def test_rules_have_an_id_a_text_and_a_source_each() -> None:
    assert len({rule.id for rule in entry.RULES}) == len(entry.RULES)
    assert all(rule.id.startswith("entry-") and rule.text and rule.source for rule in entry.RULES)


def _state(rulings: Sequence[Ruling[Arrival]], rule: str) -> State:
    return next(each.state for each in rulings if each.rule.id == rule)


@pytest.mark.parametrize(
    ("server", "sender_el", "entered", "state"),
    [
        ("trans-pgd", 2, 1, State.BROKEN),
        ("trans-pgd", 1, 1, State.PRECONDITION),
        ("trans-pgd", 0, 1, State.PRECONDITION),
        ("trans-pgd", 1, 3, State.BROKEN),
        (FIRMWARE, 0, 1, State.PRECONDITION),
        (FIRMWARE, 0, 3, State.NOTE),
        (NO_HVC, 2, 1, State.BROKEN),
        (NO_HVC, 2, 2, State.HELD),
    ],
)
def test_el1_accuses_only_where_el2_was_promised(
    server: str, sender_el: int, entered: int, state: State
) -> None:
    reached = arrival(server, cpu(1, CurrentEL=entered << 2), CurrentEL=entered << 2)
    assert _state(entry.judge(replace(reached, sender_el=sender_el)), "entry-el") is state


def test_at_el1_the_mmu_is_that_of_el1() -> None:
    at_el1 = arrival("kvm", cpu(1, CurrentEL=4), CurrentEL=4, SCTLR_EL1=0x30D00801, SCTLR_EL2=0)
    assert {each.rule for each in findings(entry.judge(at_el1))} == {"entry-el", "entry-mmu"}
    assert _state(entry.judge(at_el1), "entry-cntvoff") is State.NOT_OBSERVABLE


@pytest.mark.parametrize("change", [{"SPSel": 0}, {"SCTLR_EL2": 1 << 19}, {"SCTLR_EL2": 1 << 25}])
def test_what_only_the_soft_restart_promises_is_a_note_elsewhere(change: dict[str, int]) -> None:
    by_vhe = entry.judge(arrival(NO_HVC, **change))
    assert findings(by_vhe) == ()
    assert [each.reason for each in by_vhe if each.state is State.NOTE]
    assert findings(entry.judge(arrival("kvm", **change)))


def test_an_offset_that_firmware_left_is_nobodys_breach() -> None:
    others = entry.judge(arrival("kvm", cpu(1, CNTVOFF_EL2=5), cpu(2, CNTVOFF_EL2=7)))
    assert findings(others) == ()
    assert _state(others, "entry-cntvoff") is State.NOTE
    booted = entry.judge(arrival(FIRMWARE, cpu(1, CNTVOFF_EL2=7), CNTVOFF_EL2=5))
    assert _state(booted, "entry-cntvoff") is State.NOTE
    (found,) = findings(entry.judge(arrival("kvm", cpu(1, CNTVOFF_EL2=7), CNTVOFF_EL2=5)))
    assert (found.hcall, found.cpus) == ("HVC_SOFT_RESTART", (0,))


def test_the_icache_may_be_on() -> None:
    assert findings(entry.judge(arrival(SCTLR_EL2=0x30C51830))) == ()


@pytest.mark.parametrize(
    ("state", "blamed"),
    [
        (arrival("kvm", x1=1), "HVC_SOFT_RESTART"),
        (arrival(NO_HVC, x1=1), "soft restart without an hvc"),
        (arrival(FIRMWARE, x1=1), "boot"),
        (arrival("kvm", cpu(1, DAIF=0)), "CPU_ON"),
    ],
)
def test_who_is_blamed_is_who_did_it(state: Arrival, blamed: str) -> None:
    (found,) = findings(entry.judge(state))
    assert found.hcall == blamed
    assert ("served by kvm" in found.evidence) == (state.server == "kvm")


def test_the_same_breach_on_several_cpus_is_one_finding_and_firmware_is_apart() -> None:
    found = findings(entry.judge(arrival("kvm", cpu(1, DAIF=0), cpu(2, DAIF=0), DAIF=0)))
    assert [(each.hcall, each.cpus) for each in found] == [
        ("HVC_SOFT_RESTART", (0,)),
        ("CPU_ON", (1, 2)),
    ]


def test_what_was_not_read_is_not_held() -> None:
    rulings = entry.judge(replace(arrival(), tree=None, cpus=(cpu(), replace(cpu(1), entry={}))))
    assert _state(rulings, "entry-dtb") is State.NOT_OBSERVABLE
    assert _state(rulings, "entry-initrd") is State.NOT_OBSERVABLE
    assert _state(rulings, "entry-el-same") is State.NOT_OBSERVABLE
    assert _state(entry.judge(_tree(initrd=None)), "entry-initrd") is State.NOT_APPLICABLE
    assert _state(entry.judge(_tree(ram=())), "entry-image-ram") is State.NOT_OBSERVABLE


def test_ram_in_pieces_that_touch_is_one() -> None:
    middle = IMAGE + SIZE // 2
    pieces = ((0x4000_0000, middle - 1), (middle, 0x7FFF_FFFF))
    assert findings(entry.judge(_tree(ram=pieces))) == ()


def test_without_the_entry_state_nothing_is_judged() -> None:
    with pytest.raises(errors.AgentBug, match="was not read"):
        entry.judge(replace(arrival(), cpus=(replace(cpu(), entry={}),)))


@given(st.dictionaries(st.sampled_from(wire.ENTRY_REGS), st.integers(0, (1 << 64) - 1)))
def test_no_entry_state_makes_it_fall(changes: dict[str, int]) -> None:
    state = arrival("kvm", **{**changes, "CurrentEL": (changes.get("CurrentEL", 8) & 0xC) or 4})
    for ruling in entry.judge(state):
        assert bool(ruling.findings) == (ruling.state is State.BROKEN)
    assert leftovers.leftovers(state)
    assert leftovers.served_by(state).why


@pytest.mark.parametrize(
    ("kind", "servers"),
    [
        ("firmware", ()),
        ("kexec", ("trans-pgd",)),
        ("kexec with VHE", ()),
        ("crash, KVM off", ("hyp-stub",)),
        ("crash under nVHE", ("kvm",)),
        ("crash of a stock kernel", ("kvm",)),
    ],
)
def test_registers_tell_who_served(kind: str, servers: tuple[str, ...]) -> None:
    assert leftovers.served_by(KINDS[kind]).servers == servers


def test_without_the_stub_its_copy_can_not_be_told_from_it() -> None:
    found = leftovers.served_by(replace(KINDS["kexec"], stub_vectors=None))
    assert found.servers == ("hyp-stub", "trans-pgd")
    assert leftovers.served_by(arrival("kvm", CurrentEL=4)).servers == ()


def test_a_purgatory_that_ran_before_the_image_hides_nothing() -> None:
    found = leftovers.served_by(arrival("kvm", SPSR_EL2=0x3C9, ELR_EL2=0x4FFF_0000))
    assert found.servers == ("kvm",)
    assert "0x4fff0000, which came before us" in found.why


def test_what_an_older_payload_does_not_save_is_said_to_be_unknown() -> None:
    entry_state = {name: v for name, v in cpu().entry.items() if name != "TCR2_EL2"}
    old = replace(arrival(), cpus=(replace(cpu(), entry=entry_state),))
    assert _text(old, "TCR2_EL2") == "not saved"


def _text(state: Arrival, register: str) -> str:
    return next(each.text for each in leftovers.leftovers(state) if each.register == register)


@pytest.mark.parametrize(
    ("state", "register", "text"),
    [
        (KINDS["kexec"], "ESR_EL2", "hvc #0x4: HVC_SOFT_RESTART of iss-6.12-scs"),
        (arrival(ESR_EL2=0x5A000000), "ESR_EL2", "not its HVC_SOFT_RESTART of iss-6.12-scs"),
        (KINDS["crash of a stock kernel"], "ESR_EL2", "x0-mainline names its hcalls by x0"),
        (KINDS["kexec with VHE"], "ESR_EL2", "no hvc"),
        (KINDS["kexec with VHE"], "HCR_EL2", "TGE RW E2H (as VHE leaves it)"),
        (arrival(HCR_EL2=1 << 63), "HCR_EL2", "bits 0x8000000000000000"),
        (KINDS["crash, KVM off"], "VBAR_EL2", "the sending kernel's hyp-stub"),
        (KINDS["firmware"], "VBAR_EL2", "never set"),
        (arrival(VBAR_EL2=IMAGE), "VBAR_EL2", "in the new image"),
        (arrival(VBAR_EL2=STUB + 0x800), "VBAR_EL2", "stale"),
        (KINDS["crash under nVHE"], "ELR_EL2", "the entry itself"),
        (arrival(VTTBR_EL2=7 << 48), "VTTBR_EL2", "VMID 7"),
        (arrival(CNTVOFF_EL2=7), "CNTVOFF_EL2", "a guest's offset"),
        (arrival(SCTLR_EL1=1), "SCTLR_EL1", "still on"),
        (arrival(MDCR_EL2=6), "MDCR_EL2", "stale"),
        (arrival(ICC_SRE_EL2=0xF), "ICC_SRE_EL2", "GICv3's registers"),
        (arrival(CurrentEL=4), "EL2", "entered at EL1"),
    ],
)
def test_what_was_left_behind_is_told(state: Arrival, register: str, text: str) -> None:
    assert text in _text(state, register)
