# SPDX-License-Identifier: Apache-2.0
"""The fault matrix, a few runs of each cell; and that it calls what must never be."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from hilagent import errors
from hilagent.clock import SYSTEM, Clock, Deadline
from hilagent.link import frame, wire
from hilagent.link.frame import Packet
from hilagent.result import Verdict
from hilagent.session import sweeps, verdict
from hilagent.session.shared import CHOSEN
from tests import tree
from tests.fault.matrix.runner import MUTANTS, REFERENCE, Ran, Runner, subject_of
from tests.fault.matrix.score import Came, Scored
from tests.fault.matrix.table import RIGHT, Cell, cells, lab
from tests.fault.matrix.tally import Tally
from tests.fault.matrix.troubles import TROUBLES

Patch = pytest.MonkeyPatch
REFERENCES, WITH_MUTANTS = (0, 2, 4), (1, 3, 5)


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Runner:
    return Runner(tmp_path_factory.mktemp("matrix"))


def test_each_cell_keeps_its_rules(capsys: pytest.CaptureFixture[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.fault.matrix", "--seeds", "2"],
        cwd=tree.TOP, capture_output=True, text=True, timeout=580,
    )  # fmt: skip
    with capsys.disabled():
        print(f"\n{done.stdout}{done.stderr}")
    assert done.returncode == 0, done.stdout + done.stderr


def test_there_are_cells_enough_and_each_is_once() -> None:
    found = [(cell.trouble, cell.phase) for cell in cells()]
    assert len(found) == len({*found}) >= 150
    assert {trouble for trouble, _ in found} == {*TROUBLES}
    assert {subject_of(seed) for seed in range(6)} == {REFERENCE, *MUTANTS}


def came(runner: Runner, folder: Path, trouble: str, phase: str, seeds: tuple[int, ...]) -> Any:
    """Return what comes of some runs, in this process, with what was planted in it."""
    cell, found = Cell(trouble, phase, RIGHT), set()
    for seed in seeds:
        with mock.patch.dict(os.environ, {CHOSEN: str(folder / f"state-{seed}")}):
            found.add(runner.run(cell, seed, folder / f"{trouble}-{phase}-{seed}")[0].came)
    return found


def no_crc(patch: Patch) -> None:
    def unpack(plain: bytes, *, armoured: bool) -> Packet | str:
        if not frame.MIN_PACKET <= len(plain) <= frame.MAX_PACKET:
            return "length"
        head: Any = wire.HEAD.unpack(plain)
        body = plain[wire.HEAD.size : -4]
        if head.pop("size") != len(body) or head["kind"] not in {*wire.Kind}:
            return "head"
        return Packet(body=body, armoured=armoured, **head)

    patch.setattr(frame, "unpack", unpack)


def silence_passes(patch: Patch) -> None:
    table: dict[type[BaseException], Verdict] = {**verdict.VERDICTS}
    patch.setattr(verdict, "VERDICTS", table | {errors.LabError: Verdict.PASS})


def one_hang_is_enough(patch: Patch) -> None:
    def believed(self: Any, hung: Any, first: Any) -> sweeps.Hung:
        return sweeps.Hung(0, 5, 0x1234, first.message)

    patch.setattr(sweeps._Runner, "again", believed)


def any_crash_is_its(patch: Patch) -> None:
    from contextlib import nullcontext

    patch.setattr("hilagent.session.machine.before_the_test", nullcontext)


def nobody_switches_off(patch: Patch) -> None:
    patch.setattr("hilagent.session.open.surely_off", lambda *given: None)


def nobody_gives_up(patch: Patch) -> None:
    def far(seconds: float, clock: Clock = SYSTEM) -> Deadline:
        return Deadline(clock.now_s() + 1e6, clock, seconds)

    patch.setattr(Deadline, "after", far)


@pytest.mark.parametrize(
    ("plant", "trouble", "phase", "seeds", "called"),
    [
        (no_crc, "a bit is flipped", "sweep", tuple(range(0, 80, 2)), Came.WRONG_ACCUSATION),
        (silence_passes, "the wire from the board breaks", "sweep", WITH_MUTANTS, Came.WRONG_PASS),
        (one_hang_is_enough, "the board hangs once", "sweep", REFERENCES, Came.WRONG_ACCUSATION),
        (any_crash_is_its, "a panic's text", "upload", REFERENCES, Came.BUG),
        (nobody_switches_off, "a byte is lost", "sweep", REFERENCES, Came.LEFT_ON),
        (nobody_gives_up, "the board hangs once", "sweep", REFERENCES[:1], Came.HANG),
    ],
)
def test_a_planted_defect_is_called(
    runner: Runner, tmp_path: Path, monkeypatch: Patch, plant: Callable[[Patch], None],
    trouble: str, phase: str, seeds: tuple[int, ...], called: Came,
) -> None:  # fmt: skip
    plant(monkeypatch)
    seen = came(runner, tmp_path, trouble, phase, seeds)
    assert called in seen


def test_without_a_defect_none_is_called(runner: Runner, tmp_path: Path) -> None:
    assert came(runner, tmp_path, "the board hangs once", "sweep", (0, 1)) == {Came.RIGHT}


def test_a_cell_is_held_to_its_words_its_share_and_what_it_allows() -> None:
    def wrong(allowed: Any, *runs: tuple[Came, str], happened: bool = True) -> list[str]:
        cell = Cell("a byte is lost", "sweep", allowed)
        ran = [Ran(cell, 0, Scored(came, "why", said), happened) for came, said in runs]
        return Tally(cell, tuple(ran)).wrong

    infra = (Came.INFRA, "no power at the outlet")
    assert wrong(RIGHT, (Came.RIGHT, "")) == []
    assert "infra: why" in wrong(RIGHT, infra)[0]
    assert wrong(lab("outlet"), infra) == []
    assert "none of ('cable',)" in wrong(lab("cable"), infra)[0]
    assert "wrong pass" in wrong(lab(), (Came.WRONG_PASS, ""))[0]
    assert "didn't happen" in wrong(RIGHT, (Came.RIGHT, ""), happened=False)[0]
    assert wrong(lab(least=0.9), infra, infra) == []
    assert "50% right, not 90%" in wrong(lab(least=0.9), *[infra, (Came.RIGHT, "")] * 5)[0]
