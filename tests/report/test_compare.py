# SPDX-License-Identifier: Apache-2.0
"""What changed between two runs is told: all of it, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilagent import cli, journal
from hilagent.journal import Journal
from hilagent.report import compare, compared
from hilagent.report.compare import Change, Diff
from hilagent.result import Finding, Outcome, Verdict
from tests.report import made
from tests.report.test_hostile import BAD, hostile, inert
from tests.report.test_many import child, parent

PASS, FAIL, INFRA, HANG = Verdict.PASS, Verdict.FAIL, Verdict.INFRA, Verdict.HANG
UNSUPPORTED, UNFINISHED = Verdict.UNSUPPORTED, Verdict.UNFINISHED


def pair(folder: Path, before: dict[str, Verdict], after: dict[str, Verdict]) -> Diff:
    old = made.run(folder / "old", *(Outcome(name, found) for name, found in before.items()))
    new = made.run(folder / "new", *(Outcome(name, found) for name, found in after.items()))
    return compare.compare(old, new)


@pytest.mark.parametrize(
    ("before", "after", "part", "code"),
    [
        (PASS, PASS, "", 0),
        (PASS, FAIL, "began", 1),
        (INFRA, FAIL, "began", 1),
        (UNSUPPORTED, HANG, "began", 1),
        (UNFINISHED, FAIL, "began", 1),
        (None, FAIL, "began", 1),
        (FAIL, FAIL, "", 0),
        (FAIL, HANG, "otherwise", 1),
        (FAIL, PASS, "stopped", 0),
        (FAIL, INFRA, "lab", 125),
        (PASS, INFRA, "lab", 125),
        (PASS, UNFINISHED, "lab", 125),
        (INFRA, PASS, "lab", 0),
        (PASS, UNSUPPORTED, "plan", 125),
        (UNSUPPORTED, PASS, "plan", 0),
        (None, PASS, "plan", 0),
        (PASS, None, "plan", 125),
        (INFRA, INFRA, "", 125),
    ],
)
def test_each_change_has_its_place(
    tmp_path: Path, before: Verdict | None, after: Verdict | None, part: str, code: int
) -> None:
    diff = pair(tmp_path, {"a": before} if before else {}, {"a": after} if after else {})
    found = {
        name: [each.test for each in getattr(diff, name)]
        for name in ("began", "stopped", "otherwise", "lab", "plan")
    }
    for name, tests in found.items():
        assert ("a" in tests) is (name == part), name
    assert diff.exit_code == code


VERDICTS = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from(list(Verdict)), min_size=1)


@given(before=VERDICTS, after=VERDICTS)
def test_every_test_is_in_one_place_at_most_and_only_accusations_begin(
    tmp_path_factory: pytest.TempPathFactory,
    before: dict[str, Verdict],
    after: dict[str, Verdict],
) -> None:
    diff = pair(tmp_path_factory.mktemp("pair"), before, after)
    told = [
        each for name in ("began", "stopped", "otherwise", "lab", "plan")
        for each in getattr(diff, name)
    ]  # fmt: skip
    names = [each.test for each in told]
    assert len(names) == len(set(names))
    changed = {name for name in {*before, *after} if before.get(name) is not after.get(name)}
    assert set(names) == changed
    began = {n for n, v in after.items() if v.accuses and not (n in before and before[n].accuses)}
    assert {each.test for each in diff.began} == began
    worse = any(
        v.accuses and n in before and before[n].accuses and before[n] is not v
        for n, v in after.items()
    )
    assert (diff.exit_code == 1) is (bool(began) or worse)


def test_a_test_that_fails_of_something_else_is_told(tmp_path: Path) -> None:
    def run(name: str, register: str, found: str) -> journal.Run:
        finding = Finding("clobber", "HVC_GET_VECTORS", register, "kept", found)
        return made.run(
            tmp_path / name, Outcome("a", FAIL, f"{register} clobbered", "", (finding,))
        )

    old = run("old", "x19", "0x13")
    assert compare.compare(old, run("same", "x19", "0x77")).otherwise == ()
    (other,) = compare.compare(old, run("other", "x20", "0x13")).otherwise
    assert (other.message, other.worse) == ("x20 clobbered", True)
    assert compare.compare(old, run("other2", "x20", "0x13")).exit_code == 1


def test_a_test_that_fails_of_less_is_no_worse(tmp_path: Path) -> None:
    x19, x20 = (Finding("clobber", "HVC_GET_VECTORS", name, "kept", "0") for name in ("x19", "x20"))
    old = made.run(tmp_path / "old", Outcome("a", FAIL, "", "", (x19, x20)))
    new = made.run(tmp_path / "new", Outcome("a", FAIL, "", "", (x19,)))
    diff = compare.compare(old, new)
    assert ([each.worse for each in diff.otherwise], diff.exit_code) == ([False], 0)


def observed(folder: Path, ranges: list[Any], cells: str, ready_s: float, **facts: object) -> Any:
    facts = {"emulated": False, "vectors": ["vmlinux:a"], **facts}

    def more(log: Journal) -> None:
        about = {"subject": "vmlinux:a", "server": "hyp-stub", "origin": "EL1h"}
        log.observation("dispatch", **about, ranges=ranges)
        rows = [{"hcall": "HVC_GET_VECTORS", "cells": list(cells)}]
        log.observation("clobber", **about, registers=["x0", "x1", "x2"], rows=rows)
        for _ in range(3):
            log.observation("leg", way="crash", boot="patched", receiver="kernel",
                            times={"ready_s": ready_s})  # fmt: skip

    return made.run(folder, Outcome("a", PASS), more=more, other=facts)


KEPT, SETS = "returns, x0 unchanged", "sets VBAR_EL2 from x0"


def test_what_was_measured_is_compared(tmp_path: Path) -> None:
    before = [[0, 4, "unknown", KEPT, True], [5, 5, "HVC_X", SETS, True],
              [6, 0xFFFF, "unknown", KEPT, True]]  # fmt: skip
    after = [[0, 5, "unknown", KEPT, True], [6, 6, "HVC_X", SETS, True],
             [7, 0xFFFF, "unknown", KEPT, True]]  # fmt: skip
    old = observed(tmp_path / "old", before, "=..", 1.0, uboot="2023.01", kernel_build_id="aa")
    new = observed(tmp_path / "new", after, "=c.", 2.0, uboot="2025.01", kernel_build_id="aa")
    diff = compare.compare(old, new)
    about = "vmlinux:a from EL1h: "
    assert diff.dispatch == [
        Change(f"{about}0x0005", f"HVC_X: {SETS}", f"unknown: {KEPT}"),
        Change(f"{about}0x0006", f"unknown: {KEPT}", f"HVC_X: {SETS}"),
    ]
    assert diff.clobber == [Change(f"{about}HVC_GET_VECTORS", "x1 .", "x1 c")]
    assert diff.times == [Change("crash from patched into kernel", "1.0 s", "2.0 s")]
    assert diff.facts == [Change("uboot", "2023.01", "2025.01")]
    assert diff.exit_code == 0


@pytest.mark.parametrize(("was", "now"), [(1.0, 1.0), (0.1, 0.5), (10.0, 14.0), (14.0, 10.0)])
def test_what_is_within_the_noise_has_not_changed(tmp_path: Path, was: float, now: float) -> None:
    ranges = [[0, 0xFFFF, "unknown", KEPT, True]]
    old, new = (observed(tmp_path / str(n), ranges, "...", s) for n, s in enumerate((was, now)))
    diff = compare.compare(old, new)
    assert (diff.dispatch, diff.clobber, diff.times) == ([], [], [])


def test_an_emulated_boards_times_are_the_hosts(tmp_path: Path) -> None:
    ranges = [[0, 0xFFFF, "unknown", KEPT, True]]
    old, new, slow = (
        observed(tmp_path / str(s), ranges, "...", s, emulated=True) for s in (1.0, 3.0, 5.0)
    )
    assert compare.compare(old, new).times == []
    assert len(compare.compare(old, slow).times) == 1


def test_what_was_not_measured_has_not_changed(tmp_path: Path) -> None:
    ranges = [[0, 0xFFFF, "unknown", KEPT, True]]
    old = observed(tmp_path / "old", ranges, "?.-", 1.0)
    new = observed(tmp_path / "new", ranges, "c?.", 1.0)
    assert compare.compare(old, new).clobber == []


def test_a_range_without_an_end_is_compared(tmp_path: Path) -> None:
    before, after = ([[0, 9, "a", KEPT, True], [10, -1, "b", did, True]] for did in (KEPT, SETS))
    diff = compare.compare(
        observed(tmp_path / "old", before, "...", 1.0),
        observed(tmp_path / "new", after, "...", 1.0),
    )
    assert diff.dispatch == [Change("vmlinux:a from EL1h: 0x000a-...", f"b: {KEPT}", f"b: {SETS}")]


def test_it_is_told_by_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pair(tmp_path, {"a": PASS, "b": FAIL}, {"a": FAIL, "b": FAIL})
    old, new = str(tmp_path / "old"), str(tmp_path / "new")
    assert cli.main(["diff", old, new]) == 1
    said = capsys.readouterr().out
    assert said.startswith("1 test began to fail, or to fail worse\n")
    assert "  a  pass -> fail" in said
    assert cli.main(["diff", new, old, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [each["test"] for each in told["stopped"]] == ["a"]
    assert cli.main(["diff", old, str(tmp_path / "nothing")]) == 2


def test_many_boards_are_compared_one_by_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, found in (("old", PASS), ("new", FAIL)):
        child(tmp_path / name / "a", PASS)
        child(tmp_path / name / "b", found)
        parent(tmp_path / name, "ab", {}, a=0, b=0)
    assert cli.main(["diff", str(tmp_path / "old"), str(tmp_path / "new")]) == 1
    said = capsys.readouterr().out
    assert "Nothing began to fail" in said
    assert "1 test began to fail, or" in said
    assert cli.main(["diff", str(tmp_path / "old"), str(tmp_path / "new/a")]) == 2
    assert "many boards" in capsys.readouterr().err


@pytest.mark.parametrize("bad", range(len(BAD)))
def test_hostile_content_is_inert_and_fits(tmp_path: Path, bad: int) -> None:
    run = hostile(tmp_path / "bad", BAD[bad])
    good = made.run(tmp_path / "good", Outcome("a", PASS))
    for diff in (compare.compare(good, run), compare.compare(run, good)):
        text = compared.text(diff)
        inert(text)
        assert all(len(line) <= 80 for line in text.splitlines())
        inert(json.dumps(compare.as_json(diff), ensure_ascii=False))
