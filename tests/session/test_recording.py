# SPDX-License-Identifier: Apache-2.0
"""A session that was recorded, replayed without its board."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from hilagent import board as boards
from hilagent import errors, power
from hilagent.journal import Journal
from hilagent.session import recording
from hilagent.session.open import open as open_session
from hilagent.session.settings import Request
from hilagent.suites import observe
from tests.session.test_open import STUB, Bed, bed, traits, uboot

__all__ = ["bed", "traits", "uboot"]
_POWER = power.open


def _recorded(bed: Bed) -> observe.Judged:
    """Run a sweep and leave a recording."""
    asked = {"vectors": (), "abi": "", "transfer": ""}
    bed.journal.run(cpu_model="", **recording.facts(bed.settings.board, asked))
    with open_session(bed.settings, bed.journal) as session:
        session.taint("a second boot")
        return observe.vectors(session, bed.settings, STUB)


def _replay(bed: Bed, folder: Path) -> observe.Judged:
    found = recording.load(bed.run_dir)
    again = dataclasses.replace(bed.settings, board=found.board, recording=found)
    folder.mkdir()
    with contextlib.closing(Journal(folder)) as log, open_session(again, log) as session:
        session.taint("a second boot")
        return observe.vectors(session, again, STUB)


@pytest.fixture
def replaying(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bed]:
    """A bed that has been recorded, and whose board is gone."""
    _recorded(bed)
    monkeypatch.setattr("hilagent.power.open", _POWER)
    did = list(bed.switch.did)
    yield bed
    assert bed.switch.did == did


def test_a_recorded_run_replays_without_its_board(replaying: Bed, tmp_path: Path) -> None:
    judged = _replay(replaying, tmp_path / "again")
    assert judged.judgement is not None
    assert judged.judgement.findings == ()
    for name in ("console.raw", "console.tx"):
        assert (tmp_path / "again" / name).read_bytes() == (replaying.run_dir / name).read_bytes()


def test_a_replay_that_says_something_else_ends_and_says_where(
    replaying: Bed, tmp_path: Path
) -> None:
    sent = replaying.run_dir / "console.tx"
    data = bytearray(sent.read_bytes())
    data[200] ^= 1
    sent.write_bytes(data)
    wrong = r"at byte 200 of its console\.tx expected b.*, found b"
    with pytest.raises(errors.LabError, match=wrong):
        _replay(replaying, tmp_path / "again")


def test_a_replay_of_other_words_of_the_board_is_another_run(
    replaying: Bed, tmp_path: Path
) -> None:
    """Whatever is changed in the recording, nothing is judged that wasn't said."""
    heard = replaying.run_dir / "console.raw"
    data = bytearray(heard.read_bytes())
    data[-200] ^= 0x10
    heard.write_bytes(data)
    with pytest.raises(errors.LabError):
        _replay(replaying, tmp_path / "again")


def test_a_run_that_is_no_recording_says_why(bed: Bed) -> None:
    bed.journal.run()
    with pytest.raises(errors.InputError, match="can't be replayed: its journal has no 'def"):
        recording.load(bed.run_dir)


def test_a_recording_of_another_payload_is_refused(replaying: Bed) -> None:
    found = recording.load(replaying.run_dir)
    found = dataclasses.replace(found, facts={**found.facts, "payload_build_id": "then"})
    found.check_payload("then")
    with pytest.raises(errors.LabError, match="has the payload then, this tree builds now"):
        found.check_payload("now")


def test_a_run_at_a_place_is_replayed_without_one(tmp_path: Path) -> None:
    there = boards.load("rpi-4b", place=boards.Place("a"))
    with contextlib.closing(Journal(tmp_path)) as log:
        asked = {"vectors": (), "abi": "", "transfer": ""}
        log.run(cpu_model="", **recording.facts(there, asked))
        log.write("facts", chance="1", parallel=0)
    found = recording.load(tmp_path)
    assert found.board.place is None
    assert found.board.console.kind == found.board.power.kind == "recorded"
    with pytest.raises(errors.UsageError, match="a recording is at no place"):
        found.request(Request(place=boards.Place("a")))
