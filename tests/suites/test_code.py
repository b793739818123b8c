# SPDX-License-Identifier: Apache-2.0
"""Who is accused where a board changes what the code of its vectors can't."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from hilagent import abi, errors, journal, probe
from hilagent import board as boards
from hilagent.elf import open_elf
from hilagent.probe import Judgement
from hilagent.report import subjects
from hilagent.report.results import results
from hilagent.report.summary import WIDTH, summary
from hilagent.result import Verdict
from hilagent.session.session import Session
from hilagent.session.settings import Request, Settings
from hilagent.session.subject import Subject, resolve
from hilagent.session.sweeps import Hung
from hilagent.session.verdict import Accusation, Unfinished, verdict_of
from hilagent.suites import clobber, code, observe
from hilagent.suites.code import CodeCase
from hilagent.suites.observe import Judged
from hilagent.suites.verdicts import Case
from tests.elf.kernels import ISS, kernel
from tests.probe import sim
from tests.probe.sim import Behaviour, Shot
from tests.session.fakes import FakeBench, session

GET = "HVC_GET_VECTORS"
PROFILE = abi.load("iss-6.12")
FORKS = "EVERY=cbz x5, 7f; mov x6, x17; 7:"


@pytest.fixture
def held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    held = session(tmp_path, FakeBench())
    monkeypatch.setattr(observe, "baseline", lambda *_: {})
    return held


def _subject(folder: Path, *defines: str) -> Subject:
    elf = kernel(folder, ISS, *defines)
    return Subject("vmlinux:v", "hyp-stub", profile=PROFILE, elf=partial(open_elf, elf))


def _settings(subject: Subject) -> Settings:
    return Settings(Request(), boards.load("qemu-virt"), PROFILE, (subject,), "tftp")


def _flips(*registers: int) -> Behaviour:
    """Do what the code does, and flip these registers at HVC_GET_VECTORS."""

    def behave(shot: Shot) -> None:
        for number in (16, 17, 18):
            shot.x[number] = shot.before.x[number]
        for register in registers if shot.imm == 1 else ():
            shot.x[register] ^= 1

    return behave


def _judged(subject: Subject, behave: Behaviour | None) -> Judged:
    judgement: Judgement = sim.judged(behave, profile=PROFILE, cpus=(0,))
    return Judged(subject, judgement, (), ())


def _conclude(held: Session, judged: Judged, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observe, "vectors", lambda *_: judged)
    case = CodeCase(judged.subject, GET)
    code.conclude(held, _settings(judged.subject), case)


def test_each_hcall_that_comes_home_has_a_case_where_the_code_is_known(tmp_path: Path) -> None:
    subject = _subject(tmp_path)
    named = [str(case) for case in code.cases_of(_settings(subject))]
    assert f"hyp-stub-{GET}" in named
    assert "hyp-stub-unknown" in named
    assert not [name for name in named if "RESTART" in name]
    blob = Subject("file:x", "hyp-stub")
    assert list(code.cases_of(_settings(blob))) == []


def test_vectors_that_are_built_bring_their_code(tmp_path: Path) -> None:
    profile = abi.load("iss-2015")
    for name in ("reference-stub", "reference-kvm", "mutant:get_clobbers_x19"):
        found = resolve(name, profile).code(profile)
        assert found is not None
        assert found.possible(profile.named(GET, found.server)).writes
    found = resolve(f"vmlinux:{kernel(tmp_path, ISS)}", profile, forced=False).code(PROFILE)
    assert found is not None
    assert found.vectors.address % 0x800 == 0


def test_what_the_code_does_too_passes(
    held: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _conclude(held, _judged(_subject(tmp_path), _flips(17)), monkeypatch)


def test_what_no_code_does_is_a_bug_that_names_silicon_too(
    held: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(errors.AgentBug) as seen:
        _conclude(held, _judged(_subject(tmp_path), _flips(18)), monkeypatch)
    assert verdict_of(seen.value) is Verdict.BUG
    assert seen.value.message.startswith(f"{GET}: the board changed x18 (at 0x1)")
    assert "CPU" in seen.value.message


def _doubts(held: Session, folder: Path, behave: Behaviour, *defines: str) -> str:
    subject = _subject(folder, *defines)
    case = Case(subject, GET, "clobber")
    return code.doubts(held, _settings(subject), case, _judged(subject, behave))


def test_an_accusation_says_that_no_code_does_it(held: Session, tmp_path: Path) -> None:
    assert "no path of these vectors changes x19" in _doubts(held, tmp_path, _flips(19))


def test_nobody_doubts_what_the_code_does(held: Session, tmp_path: Path) -> None:
    assert _doubts(held, tmp_path, _flips(19), "EVERY=mov x19, x17") == ""


def test_what_one_path_does_and_none_does_are_told_apart(held: Session, tmp_path: Path) -> None:
    said = _doubts(held, tmp_path, _flips(19, 20), "EVERY=mov x19, x17")
    assert "changes x20;" in said


def test_the_accusation_stands_with_the_doubt_in_its_details(
    held: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = _subject(tmp_path)
    judged = _judged(subject, _flips(19))
    monkeypatch.setattr(observe, "vectors", lambda *_: judged)
    with pytest.raises(Accusation, match="x19") as seen:
        clobber.test_clobber(held, _settings(subject), Case(subject, GET, "clobber"))
    assert "no path of these vectors changes x19" in seen.value.details


def test_firmware_may_change_what_it_likes(
    held: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = _subject(tmp_path, "EVERY=smc #0")
    _conclude(held, _judged(subject, _flips(1, 9, 17)), monkeypatch)


def test_code_with_too_many_ways_did_not_finish(
    held: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = "".join(f"tbz x5, #{n}, 7{n}f; add x16, x16, #{1 << n % 12}; 7{n}: " for n in range(20))
    subject = _subject(tmp_path, f"EVERY={many}")
    with pytest.raises(Unfinished, match="too many ways"):
        _conclude(held, _judged(subject, _flips(17)), monkeypatch)


def test_what_was_not_measured_did_not_finish(
    held: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = _subject(tmp_path)
    with pytest.raises(Unfinished, match="hang"):
        _conclude(held, Judged(subject, None, (), (Hung(0, 5, 0x4321, "x"),)), monkeypatch)
    nothing = probe.judge(PROFILE, "hyp-stub", [], sim.lab(), wanted=[])
    with pytest.raises(Unfinished, match="not measured"):
        _conclude(held, Judged(subject, nothing, (), ()), monkeypatch)


def test_what_was_neither_measured_nor_followed_did_not_finish(
    held: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = _subject(tmp_path, "EVERY=.inst 0x2518e3e0")
    nothing = probe.judge(PROFILE, "hyp-stub", [], sim.lab(), wanted=[])
    with pytest.raises(Unfinished, match="not measured"):
        _conclude(held, Judged(subject, nothing, (), ()), monkeypatch)


def test_code_that_can_not_be_followed_is_unsupported(
    held: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = _subject(tmp_path, "EVERY=.inst 0x2518e3e0")
    with pytest.raises(errors.Unsupported, match="elx_sync"):
        _conclude(held, _judged(subject, _flips(17)), monkeypatch)


def test_what_is_too_long_for_a_column_is_counted() -> None:
    every_other = [f"x{n}" for n in range(0, 13, 2)]
    assert subjects.registers(every_other) == "7 registers"
    assert subjects.registers(["x0", "x1", "x17", "VBAR_EL2"]) == "x0-x1 x17 VBAR_EL2"
    assert subjects.registers([]) == "-"
    assert subjects.registers(None) == "?"


def test_the_table_is_in_the_summary_and_in_the_results(
    held: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = _subject(tmp_path, FORKS)
    held.journal.run(board="qemu-virt", abi="iss-6.12", vectors=[subject.name])
    with pytest.raises(errors.AgentBug):
        _conclude(held, _judged(subject, _flips(17, 20)), monkeypatch)
    run = journal.read(held.run_dir)
    lines = summary(run).splitlines()
    assert all(len(line) <= WIDTH for line in lines)
    start = lines.index("Code      vmlinux:v")
    assert lines[start + 1].split() == ["contract", "lets", "code", "can", "board", "did"]
    (row,) = [line for line in lines[start:] if GET in line]
    assert row.split() == ["X", GET, "x0", "x17-x18", "x0", "x6", "x17", "x0", "x17", "x20"]
    said = " ".join(" ".join(lines[start:]).split())
    assert "x20: changed, and no path of the code changes it" in said
    assert "not taken: x6: elx_sync+0x20, where the CPU goes that way at elx_sync+0x1c" in said
    (record,) = json.loads(json.dumps(results(run)))["code"]
    (got,) = [each for each in record["rows"] if each["hcall"] == GET]
    assert got["beyond"] == {"x20": [1]}
    assert list(got["untaken"]) == ["x6"]
