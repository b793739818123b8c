# SPDX-License-Identifier: Apache-2.0
"""The journal keeps what was measured through a kill, a torn line and a full disk."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilagent import errors, journal, result
from hilagent.result import Finding, Outcome, Verdict


def _run(tmp_path: Path) -> journal.Journal:
    log = journal.Journal(tmp_path)
    log.run(board="fake", emulated=True)
    log.plan(["a", "b"])
    return log


def test_a_run_directory_names_utc_board_and_id_and_is_the_latest(tmp_path: Path) -> None:
    path = journal.new_run_dir("qemu-virt", tmp_path)
    assert path.parent == tmp_path
    utc, board, short = path.name.partition("-qemu-virt-")
    assert utc.endswith("Z")
    assert board
    assert len(short) == 6
    assert (tmp_path / "latest").resolve() == path


def test_a_board_called_like_a_path_stays_in_the_runs_folder(tmp_path: Path) -> None:
    path = journal.new_run_dir("../../<script>", tmp_path)
    assert path.parent == tmp_path
    assert "<" not in path.name


def test_the_runs_folder_is_chosen_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HILAGENT_RUNS", "/somewhere")
    assert journal.runs_dir() == Path("/somewhere")
    monkeypatch.delenv("HILAGENT_RUNS")
    assert journal.runs_dir() == Path.cwd() / "hilagent-runs"


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    log = _run(tmp_path)
    finding = Finding("clobber", "HVC_X", "x19", "unchanged", "changed", (0, 1), ((1, 1), (4, 9)))
    log.write("facts", build="abc")
    log.outcome(Outcome("a", Verdict.PASS, duration_s=0.5))
    log.outcome(Outcome("b", Verdict.FAIL, "x19", "long", (finding,), (Verdict.FAIL, Verdict.PASS)))
    log.write("end")
    log.close()
    run = journal.read(tmp_path)
    assert run.facts["board"] == "fake"
    assert run.facts["build"] == "abc"
    assert run.plan == ["a", "b"]
    assert run.outcomes["b"].findings == (finding,)
    assert run.outcomes["b"].times == "1 of 2"
    assert run.exit_code == result.EXIT_ACCUSED


def test_every_line_is_on_disk_before_close(tmp_path: Path) -> None:
    log = _run(tmp_path)
    log.outcome(Outcome("a", Verdict.PASS))
    run = journal.read(tmp_path)
    assert run.outcomes["a"].verdict is Verdict.PASS
    log.close()


def test_a_journal_cut_at_any_byte_never_turns_into_a_pass(tmp_path: Path) -> None:
    log = _run(tmp_path)
    log.outcome(Outcome("a", Verdict.PASS))
    log.outcome(Outcome("b", Verdict.PASS))
    log.write("end")
    log.close()
    path = tmp_path / journal.NAME
    whole = path.read_bytes()
    assert journal.read(tmp_path).exit_code == 0
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        run = journal.read(tmp_path)
        assert run.torn == (not whole[:cut].endswith(b"\n") and cut > 0)
        assert run.exit_code == result.EXIT_LAB


def test_a_test_without_an_outcome_did_not_finish(tmp_path: Path) -> None:
    log = _run(tmp_path)
    log.outcome(Outcome("a", Verdict.PASS))
    log.close()
    run = journal.read(tmp_path)
    assert [(o.test, o.verdict) for o in run.all_outcomes()] == [
        ("a", Verdict.PASS),
        ("b", Verdict.UNFINISHED),
    ]
    assert run.end is None


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_read_without_a_crash(tmp_path_factory: Any, raw: bytes) -> None:
    folder = tmp_path_factory.mktemp("j")
    (folder / journal.NAME).write_bytes(raw)
    assert journal.read(folder).exit_code != 0


def test_a_full_disk_is_the_labs_and_leaves_whole_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = _run(tmp_path)
    real = os.write

    def half(fd: int, data: Any) -> int:
        monkeypatch.setattr(os, "write", full)
        return real(fd, bytes(data)[:5])

    def full(fd: int, data: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(errors.LabError, match="No space left"):
        log.note("something long")
    monkeypatch.setattr(os, "write", real)
    log.note("later")
    log.close()
    run = journal.read(tmp_path)
    assert not run.torn
    assert not run.damaged
    assert run.records[-1]["text"] == "later"


def test_a_missing_journal_is_one_clear_message(tmp_path: Path) -> None:
    with pytest.raises(errors.InputError, match=r"journal\.jsonl: can't be read"):
        journal.read(tmp_path)


def test_a_journal_of_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / journal.NAME).write_text('{"kind":"run","version":99}\n')
    with pytest.raises(errors.InputError, match="version 99"):
        journal.read(tmp_path)


def test_a_step_says_how_long_it_took_and_what_ended_it(tmp_path: Path) -> None:
    log = _run(tmp_path)
    with pytest.raises(ValueError), log.step("upload"):
        raise ValueError("cut")
    log.close()
    begin, end = [r for r in journal.read(tmp_path).records if r["kind"] == "step"]
    assert begin["phase"] == "begin"
    assert end["error"] == "ValueError: cut"
    assert end["took_s"] >= 0


def test_listeners_hear_every_record(tmp_path: Path) -> None:
    log = journal.Journal(tmp_path)
    heard: list[str] = []
    log.listeners.append(lambda record: heard.append(record["kind"]))
    log.run()
    log.note("x")
    log.close()
    assert heard == ["run", "note"]


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ({}, result.EXIT_OK),
        ({"signal": "SIGINT"}, 130),
        ({"signal": "SIGTERM"}, 143),
        ({"usage": "bad file"}, 2),
        ({"bug": "trace"}, 3),
        ({"lab": "the switch does not answer"}, 125),
    ],
)
def test_the_end_record_decides_where_the_table_can_not(
    tmp_path: Path, end: dict[str, str], code: int
) -> None:
    log = _run(tmp_path)
    log.outcome(Outcome("a", Verdict.PASS))
    log.outcome(Outcome("b", Verdict.PASS))
    log.write("end", **end)
    log.close()
    assert journal.read(tmp_path).exit_code == code


def test_a_test_with_two_outcomes_shows_the_worse(tmp_path: Path) -> None:
    log = _run(tmp_path)
    log.outcome(Outcome("a", Verdict.FAIL))
    log.outcome(Outcome("a", Verdict.PASS))
    log.close()
    assert journal.read(tmp_path).outcomes["a"].verdict is Verdict.FAIL


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text() | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner),
    )
)
def test_anything_plain_becomes_json(value: object) -> None:
    import json

    json.dumps(journal.plain(value))


@pytest.mark.parametrize("bad", [b"", b"{torn\n", b"\xff\xfe\n"])
def test_a_journal_that_lost_a_line_is_no_pass(tmp_path: Path, bad: bytes) -> None:
    """It may have been an accusation: the worst of several outcomes of a test counts."""
    log = _run(tmp_path)
    log.outcome(Outcome("a", Verdict.PASS))
    log.outcome(Outcome("b", Verdict.FAIL, "x19"))
    log.outcome(Outcome("b", Verdict.PASS))
    log.write("end")
    log.close()
    path = tmp_path / journal.NAME
    assert (journal.read(tmp_path).exit_code, journal.read(tmp_path).whole) == (1, True)
    path.write_bytes(b"".join(
        bad if b'"fail"' in line else line for line in path.read_bytes().splitlines(keepends=True)
    ))  # fmt: skip
    run = journal.read(tmp_path)
    assert (run.damaged, run.whole, run.exit_code) == (1, False, result.EXIT_LAB)
