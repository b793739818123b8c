# SPDX-License-Identifier: Apache-2.0
"""One fault at each hundredth byte of a clean run: never wrong, never for ever."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import pytest

from hilagent.testing.faults import Fault
from tests.fault.harness import ran
from tests.fault.matrix.score import Came
from tests.fault.replay import KINDS, Clean, Counted, Recorded, offsets, scripted, swept

EVERY = 100
SMALL = ["run", "qemu-virt", "-o", "smp=1", "--suite", "clobber", "--vectors"]


def in_turn(clean: Sequence[Clean], folder: Path) -> list[Counted]:
    """Sweep over all offsets, each run taking its share of them."""
    return [
        swept(each, itertools.islice(offsets(each.size, EVERY, 0), n, None, len(clean)), folder)
        for n, each in enumerate(clean)
    ]


def tell(counted: Sequence[Counted], capsys: pytest.CaptureFixture[str]) -> None:
    """Print the shares, and fail where something came that never may."""
    with capsys.disabled():
        print("", *counted, sep="\n")
    assert not [line for each in counted for line in each.wrong]


def test_the_scripted_board_gets_the_right_verdict_from_a_line_with_one_fault(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    counted = in_turn(list(scripted(tmp_path)), tmp_path)
    tell(counted, capsys)
    for each in counted:
        assert each.right() == 1.0, str(each)
        assert {kind for kind, _ in each.came} == {*KINDS}
        assert Came.INFRA in {came for kind, came in each.came if kind is Fault.CUT}


@pytest.mark.hil
def test_a_recorded_run_accuses_nobody_of_what_its_line_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clean: list[Clean] = []
    for vectors, code in (("reference-stub", 0), ("mutant:get_clobbers_x19", 1)):
        done = ran([*SMALL, vectors], tmp_path / vectors.replace(":", "-"))
        assert done.code == code, done.story()
        assert done.run is not None
        clean.append(Recorded(done.run.run_dir))
    counted = in_turn(clean, tmp_path)
    tell(counted, capsys)
    assert all(each.right() > 0.3 for each in counted), "\n".join(map(str, counted))
