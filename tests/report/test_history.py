# SPDX-License-Identifier: Apache-2.0
"""Planted regressions and flakes are found in the kept runs, none are invented, and an index
that is missing, damaged, old or used by two costs nothing but time."""

from __future__ import annotations

import itertools
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilagent import cli, journal
from hilagent.journal import Journal
from hilagent.report import history, prune
from hilagent.report.history import Series, wilson
from hilagent.report.index import NAME, Index
from hilagent.result import RENDERINGS, Outcome, Verdict
from tests.report.test_hostile import BAD, inert
from tests.report.test_many import child, parent

LETTERS = {RENDERINGS[each].letter: each for each in Verdict}
DAY = prune.DAY_S


def run(
    runs: Path, number: int, tests: dict[str, str], board: str = "rock", ends: bool = True,
    vectors: str = "reference-stub", **facts: object,
) -> Path:  # fmt: skip
    """Write a run: letters by test; it is as old as its number says, a day each."""
    folder = runs / f"run-{number:04}"
    folder.mkdir(parents=True)
    log = Journal(folder)
    utc = f"2026-01-01T00:00:00.{number:06}+00:00"
    log.write("run", **{"version": 1, **facts}, board=board, vectors=[vectors], utc=utc)
    log.plan(list(tests))
    for name, letter in tests.items():
        log.outcome(Outcome(name, LETTERS[letter], "said"))
    if ends:
        log.write("end")
    log.close()
    os.utime(folder / journal.NAME, (number * DAY, number * DAY))
    return folder


def planted(runs: Path, **series: str) -> None:
    """Write a run for each letter; a space is a run in which the test is not planned."""
    for number in range(max(map(len, series.values()))):
        run(runs, number, {name: letters[number] for name, letters in series.items()
                           if letters[number] != " "})  # fmt: skip


def told(runs: Path, board: str = "rock") -> dict[str, Series]:
    with Index(runs) as index:
        return {each.name: each for each in history.series(index.of(board))}


def test_what_was_planted_is_found_and_nothing_else(tmp_path: Path) -> None:
    planted(
        tmp_path,
        steady="....................",
        broke=".............FFFFFFF",
        mended="FFFF................",
        flaky="......F.....F....F..",
        hangs="........HHCF........",
        always="FFFFFFFFFFFFFFFFFFFF",
        lab="....IIII..I....P.U..",
        never="IIIIIIIIIIIIIIIIIIII",
        skipped="ssssssssssssssssssss",
        young="               .....",
    )
    found = told(tmp_path)
    states = {name: each.state for name, each in found.items()}
    assert states == {
        "steady": "passes", "broke": "broke", "mended": "mended", "flaky": "flaky",
        "hangs": "flaky", "always": "fails", "lab": "passes", "never": "unjudged",
        "skipped": "unjudged", "young": "passes",
    }  # fmt: skip
    assert found["broke"].since == "run-0013"
    assert found["mended"].since == "run-0004"
    assert (found["flaky"].changes, found["flaky"].passes) == (6, 17)
    assert (found["lab"].lab, len(found["lab"].judged), found["skipped"].lab) == (7, 13, 0)
    assert len(found["young"].letters) == 5


def test_runs_of_different_plans_stand_in_the_order_of_time(tmp_path: Path) -> None:
    planted(tmp_path, a=".F.F.FFF", b=". . . . ")
    assert told(tmp_path)["a"].letters == ".F.F.FFF"
    assert told(tmp_path)["a"].since == "run-0005"


def test_other_vectors_are_another_series_and_a_replay_is_none(tmp_path: Path) -> None:
    run(tmp_path, 0, {"a": "."})
    run(tmp_path, 1, {"a": "F"}, vectors="mutant:x")
    run(tmp_path, 2, {"a": "F"}, replay_of="run-0000")
    run(tmp_path, 3, {"a": "F"}, options={"cpu": "max"}, abi="iss-6.12")
    with Index(tmp_path) as index:
        entries = index.of("rock")
    found = history.series(entries)
    assert [(each.subject, each.letters) for each in found] == [
        ("reference-stub", "."), ("mutant:x", "F"), ("reference-stub, iss-6.12, cpu=max", "F"),
    ]  # fmt: skip
    assert len(entries) == 3


@given(st.text("FHC.IPUsB", max_size=40))
def test_a_series_says_what_its_letters_say(letters: str) -> None:
    each = Series("a", "", letters, [str(n) for n in range(len(letters))])
    judged = [(n, c == ".") for n, c in enumerate(letters) if c in "FHC."]
    assert each.judged == "".join("." if passed else "F" for _, passed in judged)
    assert each.lab == sum(c in "IPUB" for c in letters)
    turns = [n for n, ((_, a), (_, b)) in enumerate(itertools.pairwise(judged)) if a != b]
    assert each.changes == len(turns)
    if judged:
        first = judged[turns[-1] + 1] if turns else judged[0]
        assert each.since == str(first[0])
        low, high = each.interval
        assert low - 1e-9 <= each.passes / len(judged) <= high + 1e-9


@pytest.mark.parametrize(
    ("passes", "count", "low", "high"),
    [(0, 0, 0, 1), (10, 10, 0.7225, 1), (0, 10, 0, 0.2775), (5, 10, 0.2366, 0.7634),
     (1, 1, 0.2065, 1), (98, 100, 0.9300, 0.9945)],
)  # fmt: skip
def test_the_interval_is_wilsons(passes: int, count: int, low: float, high: float) -> None:
    assert wilson(passes, count) == pytest.approx((low, high), abs=0.0001)


def test_a_run_that_was_killed_counts_as_the_labs_and_is_read_again_when_it_grew(
    tmp_path: Path,
) -> None:
    folder = run(tmp_path, 0, {"a": "."}, ends=False)
    with Index(tmp_path) as index:
        (entry,) = index.of("rock")
    assert (entry.verdict, entry.ended) == (Verdict.UNFINISHED, False)
    with (folder / journal.NAME).open("a") as log:
        log.write('{"kind":"end","t":9.0}\n')
    with Index(tmp_path) as index:
        (entry,) = index.of("rock")
    assert (entry.verdict, entry.ended) == (Verdict.PASS, True)


def test_a_run_that_was_removed_is_forgotten(tmp_path: Path) -> None:
    planted(tmp_path, a="...")
    assert len(told(tmp_path)["a"].letters) == 3
    list(prune.remove(tmp_path, [prune.Kept("run-0001", 0, 0, "")]))
    assert len(told(tmp_path)["a"].letters) == 2


DAMAGES: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "no database": lambda path: path.write_bytes(b"nonsense" * 1000),
    "torn": lambda path: path.write_bytes(path.read_bytes()[:5000]),
    "another version": lambda path: _sql(path, "PRAGMA user_version = 999"),
    "no table": lambda path: _sql(path, "DROP TABLE plans"),
    "another table": lambda path: _sql(path, "ALTER TABLE runs DROP COLUMN letters"),
}


def _sql(path: Path, text: str) -> None:
    db = sqlite3.connect(path)
    db.execute(text)
    db.commit()
    db.close()


@pytest.mark.parametrize("damage", DAMAGES)
def test_an_index_that_is_no_good_is_made_anew(tmp_path: Path, damage: str) -> None:
    planted(tmp_path, a="..FF" * 30)
    before = told(tmp_path)["a"].letters
    DAMAGES[damage](tmp_path / NAME)
    assert told(tmp_path)["a"].letters == before == "..FF" * 30
    assert told(tmp_path)["a"].letters == before


def test_every_byte_of_it_may_be_wrong(tmp_path: Path) -> None:
    planted(tmp_path, a="..FF")
    told(tmp_path)
    whole = (tmp_path / NAME).read_bytes()
    for at in range(0, len(whole), 97):
        (tmp_path / NAME).write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        with Index(tmp_path) as index:
            index.of("rock")


def test_a_letter_that_was_altered_in_the_index_is_no_pass(tmp_path: Path) -> None:
    planted(tmp_path, a="..FF")
    told(tmp_path)
    _sql(tmp_path / NAME, "UPDATE runs SET letters = '.'")
    assert told(tmp_path)["a"].letters == "..FF"


def test_where_no_index_can_be_kept_it_lives_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted(tmp_path, a="..")
    real = sqlite3.connect

    def connect(path: Any, **how: Any) -> Any:
        if path != ":memory:":
            raise sqlite3.OperationalError("unable to open database file")
        return real(path, **how)

    monkeypatch.setattr(sqlite3, "connect", connect)
    assert told(tmp_path)["a"].letters == ".."
    assert not (tmp_path / NAME).exists()


def test_a_full_disk_costs_the_index_and_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted(tmp_path, a="..F")
    real = Index._update
    kept: list[bool] = []

    def update(self: Index) -> None:
        (_, _, path) = self._db.execute("PRAGMA database_list").fetchone()
        kept.append(bool(path))
        if path:
            raise sqlite3.OperationalError("database or disk is full")
        real(self)

    monkeypatch.setattr(Index, "_update", update)
    assert told(tmp_path)["a"].letters == "..F"
    assert kept[-1] is False


def test_while_another_process_is_at_it_the_journals_are_read(tmp_path: Path) -> None:
    planted(tmp_path, a="..F")
    with Index(tmp_path) as first:
        assert told(tmp_path)["a"].letters == "..F"
        assert len(first.of("rock")) == 3


def test_two_at_once_do_each_other_no_harm(tmp_path: Path) -> None:
    planted(tmp_path, a=".F" * 100)
    code = (
        "import sys; from pathlib import Path; from hilagent.report.index import Index\n"
        "with Index(Path(sys.argv[1])) as index: print(len(index.of('rock')))"
    )
    argv = [sys.executable, "-c", code, str(tmp_path)]
    both = [subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert [each.communicate()[0].strip() for each in both] == ["200"] * 4
    assert [each.returncode for each in both] == [0] * 4


def test_boards_of_a_run_of_many_have_their_own_history(tmp_path: Path) -> None:
    child(tmp_path / "all" / "rock", Verdict.PASS)
    child(tmp_path / "all" / "pi", Verdict.FAIL)
    parent(tmp_path / "all", ["rock", "pi"], {}, rock=0, pi=1)
    for _ in range(2):  # the second time from the index
        with Index(tmp_path) as index:
            assert index.boards() == ["pi", "rock"]
            assert [entry.folder for entry in index.of("pi")] == ["all/pi"]


def test_a_soaks_rounds_are_no_runs_of_their_own(tmp_path: Path) -> None:
    soaked = tmp_path / "soak"
    soaked.mkdir()
    log = Journal(soaked)
    log.run(soak="rock")
    log.close()
    child(soaked / "0001", Verdict.PASS)
    with Index(tmp_path) as index:
        assert index.boards() == []


def test_a_link_is_no_second_run(tmp_path: Path) -> None:
    planted(tmp_path, a="..")
    (tmp_path / "latest").symlink_to("run-0001")
    assert len(told(tmp_path)["a"].letters) == 2


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HILAGENT_RUNS", str(tmp_path))
    return tmp_path


def test_it_is_told_by_the_command(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    planted(runs, good="......", broke="...FFF", lab="..II..")
    assert cli.main(["history", "rock"]) == 0
    said = capsys.readouterr().out
    assert said.splitlines()[0].startswith("rock: 6 runs, passed 2 of 5, 40 % (")
    assert "broke on reference-stub\n  FAILS since run-0003\n  passed 3 of 6, 50 %" in said
    assert "2 tests passed whenever it could be judged" in said
    assert cli.main(["history", "rock", "--last", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["state"] for each in found["tests"]] == ["passes", "fails", "passes"]
    assert cli.main(["history", "rock", "--test", "go*"]) == 0
    said = capsys.readouterr().out
    assert "good" in said
    assert "broke" not in said
    assert cli.main(["history", "nobody"]) == 125
    assert "boards with runs: rock" in capsys.readouterr().err
    assert cli.main(["history", "rock", "--keep-days", "3"]) == 2


@pytest.mark.parametrize("bad", range(len(BAD)))
def test_hostile_names_are_inert_and_fit(runs: Path, bad: int) -> None:
    name = BAD[bad][:300]
    for number, letter in enumerate(".F.F"):
        run(runs, number, {name: letter, f"own.py::{name}": "I"}, board=name, vectors=name)
    with Index(runs) as index:
        (board,) = index.boards()
        text = history.text(board, index.of(board))
        inert(text)
        assert "FLAKY" in text
        assert all(len(line) <= 80 for line in text.splitlines())
        inert(json.dumps(history.as_json(board, index.of(board)), ensure_ascii=False))
