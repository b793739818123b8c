# SPDX-License-Identifier: Apache-2.0
"""Boards with SSH alone, by device tree and by ACPI: all that a console shows, field by field."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

import pytest

from hilagent.clock import Deadline
from tests import kernels
from tests.cli import same
from tests.cli.test_alone import GIC
from tests.fault.harness import started
from tests.fault.test_alone import ARGV, under_way
from tests.long.conftest import Tell

BOARDS = ("qemu-virt-ssh", "qemu-virt-ssh-acpi")
SUITES = {
    "references": ("--suite", "architecture", "--suite", "dispatch", "--suite", "clobber"),
    "mutants": ("--suite", "mutants"),
}


@pytest.mark.parametrize("suites", SUITES)
@pytest.mark.parametrize("board", BOARDS)
def test_everything_is_found_that_a_console_shows(
    tmp_path: Path, tell: Tell, board: str, suites: str
) -> None:
    kernels.built()
    argv, began_s = ("-o", GIC, *SUITES[suites]), time.monotonic()
    code, alone = same.run(tmp_path, board, *argv)
    took_s = time.monotonic() - began_s
    _, console = same.run(tmp_path, "qemu-virt", "-o", "smp=2", *argv)
    found = same.results(alone)
    tell(f"{suites} on {board}", "as by console", f"exit {code}, {took_s:.0f} s")
    assert found == same.results(console)
    assert code == 0


@pytest.mark.parametrize("vectors", ["mutant:hangs", "mutant:get_hangs"])
def test_one_cpu_that_hangs_takes_the_board_with_it_and_is_accused(
    tmp_path: Path, vectors: str
) -> None:
    """Nobody can see where: the board vanishes twice, and an empty batch comes back."""
    kernels.built()
    argv = ("-o", "smp=1", "--vectors", vectors, "--suite", "clobber")
    code, alone = same.run(tmp_path, BOARDS[0], *argv)
    found = same.results(alone)
    assert code == 1
    verdicts = {test["verdict"] for test in found["tests"]}
    assert verdicts == {"hang"}
    assert "twice from fresh boots" in found["tests"][0]["message"]


def test_a_board_whose_power_fails_each_time_accuses_nobody(tmp_path: Path) -> None:
    kernels.built()
    with started(ARGV, tmp_path) as agent:
        while agent.until(lambda: under_way(agent) and bool(agent.emulators()), Deadline.after(60)):
            for pid in agent.emulators():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        done = agent.ended(60)
    assert done.code == 125, done.story()
    assert done.verdicts == {"INFRA"}, done.story()
    assert "lost its power" in done.out + done.err, done.story()
