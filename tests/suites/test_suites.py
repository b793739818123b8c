# SPDX-License-Identifier: Apache-2.0
"""Suites: an id a rule and hcall, and each judged cell ends its test as the table says."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, cast

import pytest

from hilagent import abi, errors, probe
from hilagent import board as boards
from hilagent.build.mutants import ANY, MUTANTS, Mutant
from hilagent.payload import Hello
from hilagent.probe import Cell, Judgement, State, clobber, dispatch
from hilagent.result import CpuFacts, Exchange, Finding, Frame, Sig, SweepPass, Verdict
from hilagent.session.session import Session, cpu_name
from hilagent.session.settings import Request, Settings
from hilagent.session.subject import Subject
from hilagent.session.sweeps import ConfirmedHang, Hung
from hilagent.session.verdict import Accusation, Unfinished, verdict_of
from hilagent.suites import architecture, mutants, tables, verdicts
from hilagent.suites import direct as direct_suite
from hilagent.suites.observe import Judged
from hilagent.suites.verdicts import Case
from tests.session.fakes import FakeBench, session

STUB = Subject("reference-stub", "hyp-stub")
KVM = Subject("reference-kvm", "kvm")
GET = "HVC_GET_VECTORS"


def _settings(profile: str = "iss-2015") -> Settings:
    board = boards.load("qemu-virt")
    return Settings(Request(), board, abi.load(profile), (STUB, KVM), "tftp")


def _cpus(count: int) -> tuple[CpuFacts, ...]:
    return tuple(CpuFacts(n, n, 0x411FD070, 0x1000, 0, 0, 0, 0, 0, 0, {}, {}) for n in range(count))


@pytest.fixture
def held(tmp_path: Path) -> Session:
    held = session(tmp_path, FakeBench())
    held.cpus = _cpus(4)
    return held


def _judged(*cells: Cell, hung: tuple[Hung, ...] = ()) -> Judged:
    by_name = {(cell.hcall, cell.rule): cell for cell in cells}
    judgement = Judgement("iss-2015", "hyp-stub", by_name, {}, {}, (), ())
    return Judged(STUB, judgement, (), hung)


FINDING = Finding("result", GET, "x0", "VBAR_EL2", "0x0", (0,), ((1, 1),), "EL1h")


@pytest.mark.parametrize(
    ("state", "verdict"),
    [
        (State.HELD, None),
        (State.BROKEN, Verdict.FAIL),
        (State.UNFINISHED, Verdict.UNFINISHED),
        (State.VOID, Verdict.UNFINISHED),
        (State.NOT_APPLICABLE, Verdict.UNSUPPORTED),
    ],
)
def test_a_cell_ends_its_test(held: Session, state: State, verdict: Verdict | None) -> None:
    cell = Cell(GET, "result", state, (FINDING,) if state is State.BROKEN else (), "why")
    case = Case(STUB, GET, "result")
    if verdict is None:
        verdicts.conclude(held, _settings(), case, _judged(cell))
        return
    with pytest.raises(errors.HilagentError) as seen:
        verdicts.conclude(held, _settings(), case, _judged(cell))
    assert verdict_of(seen.value) is verdict


def test_every_state_of_a_cell_is_in_that_table() -> None:
    assert len(State) == 5


def test_an_accusation_shows_everything_and_where_the_raw_log_is(held: Session) -> None:
    frame = Frame((0,) * 31, 0, 0x40000000, 0x3C5, 0, 0, 1, 1, {"SP_EL0": 1}, (0,) * 32)
    after = dataclasses.replace(frame, x=(7, *frame.x[1:]))
    sig = Sig(5, 4, 255, 2, 1, 0, 0, 7, 0, 0, 0x02000000, 0, 1, (255,) * 8, 0, 0, 0)
    swept = SweepPass(
        0, 5, 0, 0, 4, 0, (sig,), ((0, 4, 0),), 0, 0, {0: Exchange(frame, after, sig)}
    )
    with pytest.raises(Accusation) as seen:
        verdicts.accuse(held, [FINDING], [swept])
    assert seen.value.findings == (FINDING,)
    assert str(seen.value) == f"result: {GET} x0: expected VBAR_EL2, found 0x0"
    details = seen.value.details
    for text in (
        "expected  VBAR_EL2",
        "found     0x0",
        "hvc #0x1 from EL1h on CPU 0",
        "x0          0x0000000000000000 -> 0x0000000000000007",
        "EC 0x00 unknown reason",
        str(held.raw_log),
    ):
        assert text in details


def test_a_missing_cpu_turns_a_pass_into_a_precondition(held: Session) -> None:
    held.cpus = _cpus(2)
    cell = Cell(GET, "result", State.HELD)
    with pytest.raises(errors.PreconditionError, match="declares 4 CPUs, and CPU 2, 3 did not"):
        verdicts.conclude(held, _settings(), Case(STUB, GET, "result"), _judged(cell))


def test_a_missing_cpu_does_not_hide_an_accusation(held: Session) -> None:
    held.cpus = _cpus(2)
    cell = Cell(GET, "result", State.BROKEN, (FINDING,))
    with pytest.raises(Accusation):
        verdicts.conclude(held, _settings(), Case(STUB, GET, "result"), _judged(cell))


def test_a_hang_accuses_its_own_hcall_only(held: Session) -> None:
    hung = (Hung(1, 5, 1, "no progress"),)
    held_cell, other = (
        Cell(GET, "result", State.HELD),
        Cell("HVC_SET_VECTORS", "result", State.HELD),
    )
    judged = _judged(held_cell, other, hung=hung)
    with pytest.raises(ConfirmedHang, match=r"hvc #0x1 from EL1h on CPU 1 does not come home") as e:
        verdicts.conclude(held, _settings(), Case(STUB, GET, "result"), judged)
    assert e.value.measured == (Verdict.HANG, Verdict.HANG)
    assert "console.raw" in e.value.details
    verdicts.conclude(held, _settings(), Case(STUB, "HVC_SET_VECTORS", "result"), judged)


def test_what_was_not_measured_for_hangs_elsewhere_did_not_finish(held: Session) -> None:
    judged = Judged(STUB, None, (), (Hung(0, 5, 1, "x"),))
    with pytest.raises(Unfinished, match="too many other hvcs"):
        verdicts.conclude(held, _settings(), Case(STUB, "unknown", "dispatch"), judged)


@pytest.mark.parametrize("profile", ["iss-2015", "iss-6.12", "iss-6.12-scs"])
def test_every_hcall_and_rule_has_one_id_and_immediates_have_none(profile: str) -> None:
    settings = _settings(profile)
    cases = [*verdicts.cases_of(settings, dispatch), *verdicts.cases_of(settings, clobber)]
    ids = [str(case) for case in cases]
    assert len(ids) == len(set(ids)) < 400
    for subject in settings.subjects:
        for contract in settings.profile.hcalls(subject.server):
            mine = {c.rule for c in cases if (c.subject, c.hcall) == (subject, contract.hcall)}
            assert "dispatch" in mine
            assert not contract.returns or {"clobber", "leak", "pstate"} <= mine
            assert mine <= set(probe.RULES)
    assert "hyp-stub-unknown-dispatch" in ids


def test_the_architecture_is_asked_of_every_declared_cpu_and_origin() -> None:
    places = [str(place) for place in architecture._places(_settings())]
    assert len(places) == 12
    assert places[0] == "cpu0-EL1h"
    assert places[-1].startswith("cpu3-")


def test_the_direct_pass_has_an_id_an_hcall() -> None:
    ids = [str(case) for case in direct_suite.cases_of(_settings())]
    assert f"hyp-stub-{GET}" in ids
    assert "kvm-HVC_CALL_HYP" in ids


def _says(mutant: Mutant, **changes: Any) -> Judged:
    hcalls = [c.hcall for c in abi.load(mutant.profile).hcalls(mutant.server)]
    imm = mutant.immediate if mutant.immediate is not None else 1
    cpus = (mutant.cpu,) if mutant.cpu is not None else (0, 1)
    cells = []
    for hcall in hcalls if mutant.hcall == ANY else [mutant.hcall]:
        finding = Finding(mutant.rule, hcall, mutant.what, "", "", cpus, ((imm, imm),))
        finding = dataclasses.replace(finding, **changes)
        cells.append(Cell(hcall, finding.rule, State.BROKEN, (finding,)))
    return _judged(*cells)


SWEPT = [mutant for mutant in MUTANTS if mutant.rule != mutants.HANG]


@pytest.mark.parametrize("mutant", SWEPT, ids=lambda m: m.name)
def test_a_mutant_is_caught_only_for_the_right_reason(mutant: Mutant) -> None:
    profile = abi.load(mutant.profile)
    assert mutants._missing(profile, mutant, _says(mutant)) == ""
    for change in ({"rule": "other"}, {"what": "x27"}, {"hcall": "HVC_OTHER"}):
        assert mutants._missing(profile, mutant, _says(mutant, **change))
    if mutant.immediate is not None:
        assert mutants._missing(profile, mutant, _says(mutant, immediates=((0, 0),)))
    if mutant.cpu is not None:
        assert mutants._missing(profile, mutant, _says(mutant, cpus=(0, 1)))


def test_a_mutant_that_hangs_is_caught_by_its_hcall_and_immediate() -> None:
    profile = abi.load("iss-2015")
    hanging = [mutant for mutant in MUTANTS if mutant.rule == mutants.HANG]
    assert hanging
    for mutant in hanging:
        imm = mutant.immediate if mutant.immediate is not None else profile.numbers[mutant.hcall]
        right = Judged(STUB, None, (), (Hung(0, 5, imm, ""),))
        wrong = Judged(STUB, None, (), (Hung(0, 5, imm ^ 3, ""),))
        assert mutants._missing(profile, mutant, right) == ""
        assert mutants._missing(profile, mutant, wrong)
        assert mutants._missing(profile, mutant, _judged())


def test_every_rule_has_a_mutant_that_breaks_it() -> None:
    assert set(probe.RULES) <= {mutant.rule for mutant in MUTANTS}


def test_hangs_come_last_so_that_they_cost_the_least() -> None:
    rules = [case.mutant.rule for case in mutants._mutants(_settings())]
    assert len(rules) >= 15
    first = rules.index(mutants.HANG)
    assert set(rules[first:]) == {mutants.HANG}


def test_a_row_of_the_matrix_says_what_is_allowed_prescribed_and_broken() -> None:
    contract = abi.load("iss-2015").named(GET, "hyp-stub")
    changes = {"x0": "allowed", "x17": "allowed", "x19": "breach", "x20": "leak", "v7": "breach",
               "TPIDR_EL1": "breach", "HCR_EL2": "breach"}  # fmt: skip
    cell = Cell(GET, "clobber", State.BROKEN, (FINDING,))
    judgement = Judgement("", "", {(GET, "clobber"): cell}, {}, {GET: changes}, (), ())
    row = dict(zip(tables.REGISTERS, tables.cells(contract, judgement), strict=True))
    shown = {name: mark for name, mark in row.items() if mark != "."}
    assert shown == {
        "x0": "=", "x17": "c", "x19": "X", "x20": "L", "v": "X", "EL1": "X", "EL2": "X",
    }  # fmt: skip
    assert set(tables.cells(contract, judgement, known=False)) == {"?", "X", "L"}
    cell = Cell(GET, "clobber", State.NOT_APPLICABLE)
    judgement = dataclasses.replace(judgement, cells={(GET, "clobber"): cell})
    assert set(tables.cells(contract, judgement)) == {"-"}


@pytest.mark.parametrize(
    ("register", "column"),
    [
        ("x3", "x3"), ("v31", "v"), ("z3", "v"), ("P or FFR", "v"), ("NZCV", "NZCV"),
        ("DAIF", "DAIF"), ("SP", "SP"), ("SP_EL0", "SP0"), ("SP_EL1", "EL1"), ("FPCR", "EL1"),
        ("TPIDRRO_EL0", "EL1"), ("PAR_EL1", "EL1"), ("VBAR_EL2", "EL2"), ("SP_EL2", "EL2"),
        ("PAN", "NZCV"),
    ],
)  # fmt: skip
def test_each_register_has_a_column(register: str, column: str) -> None:
    assert tables.column(register) == column


def test_a_cpu_is_called_by_its_name() -> None:
    assert cpu_name(0x411FD070) == "Cortex-A57"
    assert cpu_name(0x000F0510) == "QEMU max"
    assert cpu_name(0x12345678) == "MIDR 0x12345678"


def test_more_cpus_than_declared_are_said(held: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hilagent.suites.observe.recorder", lambda *_: None)
    held.hello = cast(Hello, type("H", (), {"cpus": 6}))
    with pytest.raises(errors.PreconditionError, match="its device tree has 6"):
        architecture.test_architecture_cpus(held, _settings())
