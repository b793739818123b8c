# SPDX-License-Identifier: Apache-2.0
"""The cells of the fault matrix in which a kernel runs, and those on real parts."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hilagent.session import linux as session_linux
from tests.fault.matrix import linux, table
from tests.fault.matrix.runner import Ran
from tests.fault.matrix.score import Came
from tests.fault.matrix.table import REAL
from tests.fault.matrix.tally import Tally, summary

AT_A_TIME = 8
"""They wait for each other's silence most of the time."""


def swept(folder: Path, seeds: Sequence[int]) -> list[Tally]:
    """Run every cell with each seed, several at a time."""
    wanted = list(itertools.product(linux.LINUX_CELLS, seeds))

    def one(numbered: tuple[int, tuple[table.Cell, int]]) -> Ran:
        number, (cell, seed) = numbered
        return linux.run(cell, folder / str(number), seed)

    with ThreadPoolExecutor(AT_A_TIME) as pool:
        done = list(pool.map(one, enumerate(wanted)))
    per = len(seeds)
    return [
        Tally(cell, tuple(done[n * per : (n + 1) * per]))
        for n, cell in enumerate(linux.LINUX_CELLS)
    ]


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_linux, "SSH_S", linux.SSH_S)


@pytest.mark.usefixtures("_impatient")
def test_each_cell_with_a_kernel_keeps_its_rules(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tallies = swept(tmp_path, (0, 1))
    with capsys.disabled():
        print("", *tallies, summary(tallies), sep="\n")
    assert not [line for tally in tallies for line in tally.wrong]


@pytest.mark.usefixtures("_impatient")
def test_a_planted_defect_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    silent = next(cell for cell in linux.LINUX_CELLS if cell.trouble == "the console falls silent")
    monkeypatch.setattr(
        linux.Bench, "who", lambda self: ""
    )  # nobody is asked before the accusation
    assert linux.run(silent, tmp_path / "silent", 0).scored.came is Came.WRONG_ACCUSATION


@pytest.mark.parametrize("where", REAL.values())
def test_a_cell_on_real_parts_is_a_test(where: str) -> None:
    module, _, name = where.partition("::")
    assert callable(getattr(importlib.import_module(module), name))
