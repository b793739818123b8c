# SPDX-License-Identifier: Apache-2.0
"""The whole way on QEMU's models of real boards.

The Raspberry Pis: mini-UART, YMODEM, spin table, and nobody at EL3. ZCU102 and i.MX8MP:
no firmware, PSCI by smc, and UARTs of their own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from hilagent import board
from hilagent.journal import Journal
from hilagent.session.firmware import with_firmware

pytestmark = pytest.mark.hil


class Facts(NamedTuple):
    """What the report of a run must say; ``whole``: all that is asked by default."""

    cpu: str
    started_by: str
    qemu: list[int]
    whole: bool = False


BOARDS = {
    "qemu-raspi3b": Facts("Cortex-A53", "U-Boot", [7, 2], whole=True),
    "qemu-raspi4b": Facts("Cortex-A72", "U-Boot", [9, 0]),
    "qemu-zcu102": Facts("Cortex-A53", "QEMU", [7, 2]),
    "qemu-imx8mp": Facts("Cortex-A53", "QEMU", [10, 0]),
}
PATH = os.pathsep.join(str(Path(part).absolute()) for part in sys.path)


@pytest.fixture(scope="module", autouse=True)
def _fetched(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What Debian has for them, fetched before the time of a run is counted."""
    journal = Journal(tmp_path_factory.mktemp("fetched"))
    for name in BOARDS:
        with_firmware(board.load(name), journal)
    journal.close()


def _run(tmp_path: Path, name: str, *argv: str) -> subprocess.CompletedProcess[str]:
    own = {"HILAGENT_RUNS": str(tmp_path / "runs"), "PYTHONPATH": PATH}
    return subprocess.run(
        [sys.executable, "-m", "hilagent", "run", name, *argv],
        cwd=tmp_path, env={**os.environ, **own}, capture_output=True, text=True,
        timeout=240, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("name", BOARDS)
def test_the_reference_vectors_pass_on_every_cpu(tmp_path: Path, name: str) -> None:
    facts = BOARDS[name]
    done = _run(tmp_path, name, "--json", *(() if facts.whole else ("--suite", "clobber")))
    assert done.returncode == 0, done.stdout + done.stderr
    data = json.loads(done.stdout)
    assert data["verdict"] == "pass"
    run = data["run"]
    assert (run["cpus_started"], run["cpu"]) == ([0, 1, 2, 3], facts.cpu)
    assert run["started_by"] == facts.started_by
    assert [int(part) for part in run["qemu"].split(".")[:2]] >= facts.qemu
    assert {each["subject"] for each in data["clobber"]} == {"reference-stub", "reference-kvm"}


@pytest.mark.parametrize("name", ["qemu-raspi3b"])  # the others: tests/long/test_mutants.py
def test_a_mutant_is_accused_and_measured_again_after_power(tmp_path: Path, name: str) -> None:
    argv = ("--suite", "clobber", "--vectors", "mutant:get_clobbers_x19")
    done = _run(tmp_path, name, *argv)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "clobber[hyp-stub-HVC_GET_VECTORS-clobber]  FAIL 2 of 2" in done.stdout
    assert "clobber: HVC_GET_VECTORS x19: expected keeps its value" in done.stdout
    firmware = "emulated without firmware" if name == "qemu-imx8mp" else "emulated"
    assert f"FAIL  {name} ({firmware}, Cortex-A53)" in done.stdout
