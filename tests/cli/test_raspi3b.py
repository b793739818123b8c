# SPDX-License-Identifier: Apache-2.0
"""The whole way on QEMU's Raspberry Pi: mini-UART, YMODEM, spin table, and nobody at EL3."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hilagent import board
from hilagent.build import firmware

pytestmark = pytest.mark.hil
PATH = os.pathsep.join(str(Path(part).absolute()) for part in sys.path)


@pytest.fixture(scope="module", autouse=True)
def _fetched() -> None:
    """Debian's U-Boot for it, fetched before the time of a run is counted."""
    firmware.at_hand(board.load("qemu-raspi3b"))


def _run(tmp_path: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    own = {"HILAGENT_RUNS": str(tmp_path / "runs"), "PYTHONPATH": PATH}
    return subprocess.run(
        [sys.executable, "-m", "hilagent", "run", "qemu-raspi3b", *argv],
        cwd=tmp_path, env={**os.environ, **own}, capture_output=True, text=True,
        timeout=240, check=False,
    )  # fmt: skip


def test_the_reference_vectors_pass_on_every_cpu(tmp_path: Path) -> None:
    done = _run(tmp_path, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    data = json.loads(done.stdout)
    assert data["verdict"] == "pass"
    assert data["run"]["cpus_started"] == [0, 1, 2, 3]
    assert data["run"]["cpu"] == "Cortex-A53"
    assert {each["subject"] for each in data["dispatch"]} == {"reference-stub", "reference-kvm"}


def test_a_mutant_is_accused_and_measured_again_after_power(tmp_path: Path) -> None:
    argv = ("--suite", "clobber", "--vectors", "mutant:get_clobbers_x19")
    done = _run(tmp_path, *argv)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "clobber[hyp-stub-HVC_GET_VECTORS-clobber]  FAIL 2 of 2" in done.stdout
    assert "clobber: HVC_GET_VECTORS x19: expected keeps its value" in done.stdout
