# SPDX-License-Identifier: Apache-2.0
"""Reports say the same as the journal, harmlessly, also of a run that was killed."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilagent import journal, report
from hilagent.report.junit import junit, split
from hilagent.report.results import results, verdict
from hilagent.report.summary import WIDTH, cpus, immediates, summary
from hilagent.result import RENDERINGS, Finding, Outcome, Verdict

FINDING = Finding(
    "clobber", "HVC_GET_VECTORS", "x19", "unchanged", "changed", (0, 1, 2, 3), ((1, 1),), "EL1h"
)
REGISTERS = [*(f"x{n}" for n in range(31)), "v", "SP", "NZCV", "DAIF", "SP0", "EL1", "EL2"]


def _run(tmp_path: Path, *outcomes: Outcome, plan: list[str] | None = None) -> journal.Run:
    log = journal.Journal(tmp_path)
    log.run(board="qemu-virt", emulated=True, cpu_model="cortex-a57", abi="iss-2015",
            vectors=["reference-stub"])  # fmt: skip
    log.plan(plan or [outcome.test for outcome in outcomes])
    ranges = [[0, 0, "HVC_CALL_HYP", "called x0", True], [1, 0xFFFF, "unknown", "x0 kept", True]]
    log.observation("dispatch", subject="reference-stub", origin="EL1h", ranges=ranges)
    rows = [{"hcall": "HVC_GET_VECTORS", "cells": list("=" + "." * 16 + "cc" + "X" + "." * 18)}]
    log.observation(
        "clobber", subject="reference-stub", origin="EL1h", registers=REGISTERS, rows=rows
    )
    for outcome in outcomes:
        log.outcome(outcome)
    log.write("end")
    log.close()
    return journal.read(tmp_path)


@pytest.mark.parametrize("found", list(Verdict), ids=lambda v: v.name)
def test_the_junit_element_is_the_tables(tmp_path: Path, found: Verdict) -> None:
    run = _run(tmp_path, Outcome("dispatch[a-b]", found, "why", "details"))
    suite = ET.fromstring(junit(run)).find("testsuite")
    assert suite is not None
    (case,) = suite.iter("testcase")
    wanted = RENDERINGS[found].junit
    told = [child.tag for child in case if child.tag != "system-out"]
    assert told == ([wanted] if wanted else [])
    counts = {"failure": "failures", "error": "errors", "skipped": "skipped"}
    for tag, count in counts.items():
        assert suite.get(count) == str(int(tag == wanted))
    if wanted:
        assert case[0].get("message") == f"{found.name}: why"
        assert case[0].text == "details"


def test_what_did_not_finish_is_an_error_and_never_missing(tmp_path: Path) -> None:
    run = _run(tmp_path, Outcome("a", Verdict.PASS), plan=["a", "b"])
    (error,) = ET.fromstring(junit(run)).iter("error")
    assert error.get("message") == "UNFINISHED: did not finish"
    assert results(run)["counts"]["unfinished"] == 1
    assert verdict(run) is Verdict.UNFINISHED


def test_the_run_says_the_same_in_word_and_exit_code(tmp_path: Path) -> None:
    for number, found in enumerate(Verdict):
        folder = tmp_path / str(number)
        folder.mkdir()
        run = _run(folder, Outcome("a", found), Outcome("b", Verdict.PASS))
        said = verdict(run)
        assert RENDERINGS[said].exit_code == run.exit_code
        assert summary(run).split()[0] == said.name


def test_a_killed_run_says_so(tmp_path: Path) -> None:
    log = journal.Journal(tmp_path)
    log.run(board="x")
    log.plan(["a"])
    log.close()
    run = journal.read(tmp_path)
    assert "did not end by itself" in summary(run)
    assert results(run)["finished"] is False
    assert results(run)["exit_code"] == 125


def test_a_run_without_any_record_is_still_reported(tmp_path: Path) -> None:
    (tmp_path / journal.NAME).touch()
    run = journal.read(tmp_path)
    assert summary(run).startswith("UNFINISHED")
    assert ET.fromstring(junit(run)).tag == "testsuites"
    assert results(run)["verdict"] == "unfinished"


def test_the_summary_begins_with_the_verdict_then_what_is_accused(tmp_path: Path) -> None:
    outcome = Outcome(
        "clobber[hyp-stub-HVC_GET_VECTORS-clobber]", Verdict.FAIL, "x", "", (FINDING,),
        (Verdict.FAIL, Verdict.FAIL),
    )  # fmt: skip
    lines = summary(_run(tmp_path, outcome)).splitlines()
    assert lines[0].startswith("FAIL  qemu-virt (emulated, cortex-a57), ")
    accused = lines[lines.index("Accused") + 1 :]
    assert accused[0] == "  clobber[hyp-stub-HVC_GET_VECTORS-clobber]  FAIL 2 of 2"
    said = " ".join(" ".join(accused).split())
    assert "x19: expected unchanged, found changed (EL1h, CPUs 0, 1, 2, 3, hvc #0x1)" in said


def test_matrix_and_map_are_there_and_fit(tmp_path: Path) -> None:
    text = summary(_run(tmp_path, Outcome("a", Verdict.PASS)))
    assert "0x0001-0xffff" in text
    row = next(line for line in text.splitlines() if "HVC_GET_VECTORS" in line)
    assert "=................ccX..........." in row
    assert all(len(line) <= WIDTH for line in text.splitlines() if not line.startswith("Evidence"))


def test_the_summary_says_the_same_without_colour(tmp_path: Path) -> None:
    run = _run(tmp_path, Outcome("a", Verdict.FAIL, "m", "", (FINDING,)))
    plain, coloured = summary(run), summary(run, colour=True)
    assert "\x1b" not in plain
    assert coloured.replace("\x1b[1;31m", "").replace("\x1b[0m", "") == plain


HOSTILE = "\x1b[2J\x1b]0;title\x07<script>&\u202e\x00\ud800 ]]>\r\n"


def test_hostile_text_is_harmless_everywhere(tmp_path: Path) -> None:
    finding = Finding("r", HOSTILE, HOSTILE, HOSTILE, HOSTILE, (), (), HOSTILE)
    outcome = Outcome(f"a[{HOSTILE}]", Verdict.FAIL, HOSTILE, HOSTILE * 3, (finding,))
    run = _run(tmp_path, outcome)
    run.facts["board"] = HOSTILE
    for text in (summary(run), junit(run), json.dumps(results(run), ensure_ascii=False)):
        assert not set(text) & set("\x1b\x07\x00\u202e\ud800")
        text.encode()
    ET.fromstring(junit(run))
    assert "<script>" not in junit(run)


@given(st.text(), st.text(), st.sampled_from(list(Verdict)))
@settings(max_examples=150, deadline=None)
def test_any_text_makes_well_formed_reports(
    tmp_path_factory: pytest.TempPathFactory, name: str, message: str, found: Verdict
) -> None:
    run = _run(tmp_path_factory.mktemp("r"), Outcome(name, found, message, message))
    ET.fromstring(junit(run))
    json.dumps(results(run)).encode()
    assert summary(run).isprintable() or "\n" in summary(run)


def test_both_files_are_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _run(tmp_path, Outcome("a", Verdict.PASS))
    report.write(tmp_path)
    before = (tmp_path / "junit.xml").read_text()
    data = json.loads((tmp_path / "results.json").read_text())
    assert data["verdict"] == "pass"

    def full(self: Path, *args: object, **kw: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(Exception, match="No space left"):
        report.write(tmp_path)
    monkeypatch.undo()
    assert (tmp_path / "junit.xml").read_text() == before


def test_a_test_id_is_split_for_tools_that_group() -> None:
    assert split("dispatch[hyp-stub-X-result]") == (
        "hilagent.dispatch", "dispatch[hyp-stub-X-result]",
    )  # fmt: skip
    assert split("tests/test_mine.py::TestA::test_b[1]") == ("tests.test_mine.TestA", "test_b[1]")


def test_ranges_and_cpus_are_written_for_people() -> None:
    assert immediates(((1, 1), (4, 0xFFFF))) == "hvc #0x1, #0x4-0xffff"
    assert immediates(tuple((n, n) for n in range(9))).endswith("5 more ranges")
    assert (cpus(()), cpus((3,)), cpus((0, 1))) == ("", "CPU 3", "CPUs 0, 1")


def test_a_run_at_a_place_says_at_which(tmp_path: Path) -> None:
    log = journal.Journal(tmp_path)
    log.run(board="rock-pi-4", emulated=False)
    log.write("facts", place="rock-a", coordinator="lab0:20408", exporters=["lab1\x1b[2J", "lab2"])
    log.write("end")
    log.close()
    run = journal.read(tmp_path)
    said = " ".join(summary(run).split())
    assert "At place rock-a of lab0:20408, by exporter lab1, lab2." in said
    assert results(run)["run"]["place"] == "rock-a"
