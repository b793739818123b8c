# SPDX-License-Identifier: Apache-2.0
"""Many boards in one report: journal and process must both say that a board passed."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from hilagent.journal import Journal
from hilagent.report import many
from hilagent.report import write as write_one
from hilagent.result import Outcome, Verdict, worst_exit


def parent(
    folder: Path, names: Sequence[str], end: dict[str, str] | None = None, **codes: int
) -> None:
    """Write a parent's journal: the code that each board's process ended with."""
    folder.mkdir(exist_ok=True)
    log = Journal(folder)
    log.run(boards=[{"name": name, "emulated": False} for name in names])
    for name, code in codes.items():
        log.write("child", board=name, phase="begin", pid=1)
        used = {"took_s": 1.0, "cpu_s": 0.5, "rss_kib": 1000}
        log.write("child", board=name, phase="end", code=code, said=f"{name} spoke", **used)
    if end is not None:
        log.write("end", **end)
    log.close()


def child(folder: Path, *verdicts: Verdict, ends: bool = True, planned: int = 0) -> None:
    folder.mkdir(parents=True)
    log = Journal(folder)
    log.run(board=folder.name)
    log.plan([f"t{n}" for n in range(max(planned, len(verdicts)))])
    for number, verdict in enumerate(verdicts):
        log.outcome(Outcome(f"t{number}", verdict, f"was {verdict.value}"))
    if ends:
        log.write("end")
    log.close()


PASS, FAIL, BUG, INFRA = Verdict.PASS, Verdict.FAIL, Verdict.BUG, Verdict.INFRA
UNFINISHED = Verdict.UNFINISHED


@pytest.mark.parametrize(
    ("of", "ends", "code", "verdict", "exit_code", "why"),
    [
        ((PASS,), True, 0, PASS, 0, ""),
        ((PASS, FAIL), True, 1, FAIL, 1, "t1: was fail"),
        ((INFRA,), True, 125, INFRA, 125, "t0: was infra"),
        ((PASS,), True, -9, UNFINISHED, 125, "was killed by signal 9"),
        ((PASS,), False, -9, UNFINISHED, 125, "was killed by signal 9"),
        ((PASS,), False, 0, UNFINISHED, 125, "left a journal without an end"),
        ((FAIL,), False, -9, FAIL, 1, "t0: was fail; then it was killed by signal 9"),
        ((BUG,), False, -11, BUG, 3, "t0: was bug; then it was killed by signal 11"),
        ((PASS,), True, 3, BUG, 3, "ended with 3, and its journal says 0"),
        ((PASS,), True, 125, INFRA, 125, "ended with 125, and its journal says 0"),
        ((FAIL,), True, 0, FAIL, 1, "ended with 0, and its journal says 1: t0: was fail"),
        ((PASS,), True, 2, UNFINISHED, 2, "ended with 2, and its journal says 0"),
        ((PASS,), True, 143, UNFINISHED, 125, "was interrupted"),
        ((), True, 125, UNFINISHED, 125, ""),
    ],
)
def test_it_passed_if_journal_and_process_say_so(
    tmp_path: Path, of: tuple[Verdict, ...], ends: bool, code: int, verdict: Verdict,
    exit_code: int, why: str,
) -> None:  # fmt: skip
    child(tmp_path / "a", *of, ends=ends)
    parent(tmp_path, "a", {}, a=code)
    done = many.read(tmp_path)
    (board,) = done.boards
    assert (board.verdict, board.exit_code, board.why) == (verdict, exit_code, why)
    assert (done.verdict, done.exit_code) == (verdict, exit_code)
    root = ET.fromstring(many.junit(done))
    bad = [case for case in root.iter("testcase") if len(case)]
    assert bool(bad) is (verdict is not PASS), "what reads the XML alone sees it, too"


@pytest.mark.parametrize(
    ("code", "verdict", "exit_code", "why"),
    [
        (0, BUG, 3, "ended with 0 and left no journal"),
        (1, FAIL, 1, "a spoke"),
        (2, UNFINISHED, 2, "a spoke"),
        (3, BUG, 3, "a spoke"),
        (125, INFRA, 125, "a spoke"),
        (130, UNFINISHED, 125, "was interrupted before it began"),
        (-9, UNFINISHED, 125, "was killed by signal 9, and left no journal"),
        (77, BUG, 3, "ended with 77 and left no journal"),
    ],
)
def test_without_a_journal_its_process_alone_says_what_it_was(
    tmp_path: Path, code: int, verdict: Verdict, exit_code: int, why: str
) -> None:
    parent(tmp_path, "a", {}, a=code)
    (board,) = many.read(tmp_path).boards
    assert (board.verdict, board.exit_code, board.why) == (verdict, exit_code, why)


def test_who_never_began_and_who_was_left_behind_did_not_finish(tmp_path: Path) -> None:
    child(tmp_path / "b", PASS, ends=False, planned=2)
    parent(tmp_path, "ab")
    with (tmp_path / "journal.jsonl").open("a") as log:
        log.write('{"kind":"child","t":1,"board":"b","phase":"begin","pid":1}\n')
    done = many.read(tmp_path)
    assert [board.why for board in done.boards] == [
        "was not started",
        "was still running when this report was made",
    ]
    assert {board.verdict for board in done.boards} == {UNFINISHED}
    assert done.exit_code == 125


def test_a_signal_decides_the_exit_code_and_no_verdict(tmp_path: Path) -> None:
    child(tmp_path / "a", FAIL)
    for number, code in (("SIGINT", 130), ("SIGTERM", 143)):
        parent(tmp_path / number, "a", {"signal": number}, a=1)
        (tmp_path / number / "a").symlink_to(tmp_path / "a")
        done = many.read(tmp_path / number)
        assert (done.exit_code, done.verdict) == (code, FAIL)


def test_the_reports_of_a_child_that_wrote_none_are_written(tmp_path: Path) -> None:
    child(tmp_path / "a", PASS, ends=False)
    child(tmp_path / "b", PASS)
    write_one(tmp_path / "b")
    before = (tmp_path / "b" / "results.json").stat().st_mtime_ns
    parent(tmp_path, "ab", {}, a=-9, b=0)
    many.write(tmp_path)
    assert json.loads((tmp_path / "a" / "results.json").read_text())["finished"] is False
    assert (tmp_path / "b" / "results.json").stat().st_mtime_ns == before
    found = json.loads((tmp_path / "results.json").read_text())
    assert found["schema"] == "hilagent-many-results"
    assert found["counts"]["pass"] == found["counts"]["unfinished"] == 1
    assert [board["process"]["code"] for board in found["boards"]] == [-9, 0]


def test_the_summary_is_narrow_and_drives_no_terminal(tmp_path: Path) -> None:
    log: dict[str, Any] = {}
    child(tmp_path / "a", PASS)
    parent(tmp_path, "ab", log, a=0, b=125)
    raw = (tmp_path / "journal.jsonl").read_text().replace("b spoke", "\\u001b[2J" + "long " * 60)
    (tmp_path / "journal.jsonl").write_text(raw)
    text = many.summary(many.read(tmp_path))
    assert "\x1b" not in text
    assert max(len(line) for line in text.splitlines() if str(tmp_path) not in line) <= 80
    assert text.startswith("INFRA 2 boards, ")
    assert "\x1b[1;32m" in many.summary(many.read(tmp_path), colour=True)


@pytest.mark.parametrize(
    ("codes", "worst"),
    [((0, 0), 0), ((0, 125, 1, 3), 1), ((125, 3, 0), 3), ((2, 125), 125), ((0, 2), 2), ((), 125)],
)
def test_the_worst_exit_code(codes: tuple[int, ...], worst: int) -> None:
    assert worst_exit(codes) == worst
