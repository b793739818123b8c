# SPDX-License-Identifier: Apache-2.0
"""The fault matrix with 20 runs a cell, and one fault at every byte of a clean run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from hilagent.session import linux as session_linux
from tests import tree
from tests.fault.harness import ran
from tests.fault.matrix import linux
from tests.fault.matrix.tally import summary
from tests.fault.replay import Clean, Recorded, offsets, scripted, swept
from tests.fault.test_matrix_linux import swept as swept_with_kernels
from tests.long.conftest import Tell

MORE = 2000
"""Seeded offsets behind the first 20 KB."""
SUITES = ["--suite", "dispatch", "--suite", "clobber", "--suite", "architecture"]


def test_each_cell_of_the_matrix_keeps_its_rules(tell: Tell) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.fault.matrix", "--seeds", "20", "--first", "1000"],
        cwd=tree.TOP, capture_output=True, text=True,
    )  # fmt: skip
    found = done.stdout.splitlines()[-1] if done.stdout else done.stderr
    tell("fault matrix", "no cell breaks its rules", found)
    assert done.returncode == 0, done.stdout + done.stderr


def everywhere(clean: Sequence[Clean], folder: Path, tell: Tell, least: float) -> None:
    """Sweep over every byte; each verdict is right, or none, and of so many right."""
    for each in clean:
        counted = swept(each, offsets(each.size, 1, MORE), folder)
        found = f"{counted.came.total()} runs, {counted.right():.1%} right"
        tell(f"one fault at each byte: {each.name}", f"{least:.0%} right, none wrong", found)
        assert not counted.wrong, "\n".join(counted.wrong)
        assert counted.right() >= least, str(counted)


def test_the_scripted_board_gets_its_verdict_wherever_the_fault_is(
    tmp_path: Path, tell: Tell
) -> None:
    everywhere(list(scripted(tmp_path)), tmp_path, tell, 1.0)


@pytest.mark.hil
@pytest.mark.parametrize("vectors", ["reference-stub", "mutant:get_clobbers_x19"])
def test_a_recorded_run_is_judged_right_or_not_at_all_wherever_the_fault_is(
    tmp_path: Path, tell: Tell, vectors: str
) -> None:
    done = ran(["run", "qemu-virt", "-o", "smp=2", *SUITES, "--vectors", vectors], tmp_path)
    assert done.run is not None, done.story()
    everywhere([Recorded(done.run.run_dir)], tmp_path, tell, 0.3)


def test_each_cell_with_a_kernel_keeps_its_rules(
    tmp_path: Path, tell: Tell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_linux, "SSH_S", linux.SSH_S)
    tallies = swept_with_kernels(tmp_path, range(100, 120))
    tell("fault matrix, with a kernel", "no cell breaks its rules", summary(tallies))
    assert not [line for tally in tallies for line in tally.wrong]
