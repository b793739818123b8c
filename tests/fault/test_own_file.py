# SPDX-License-Identifier: Apache-2.0
"""A user's own pytest file, in an empty folder, with the plain ``pytest`` command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.hil,
    pytest.mark.skipif(
        not list(metadata.distributions(name="hilagent")),
        reason="hilagent is not installed here: python3 -m hilagent.setup does it",
    ),
]
OWN = """\
import pytest

def test_get_vectors_keeps_x19(hilagent_payload):
    done = hilagent_payload.hvc(1, x={19: 0x1122334455667788})
    assert done.after.x[19] == 0x1122334455667788

@pytest.mark.hilagent_needs(cpus=2, vectors="mutant:get_clobbers_x19")
def test_a_mutant_keeps_x19(hilagent_payload):
    done = hilagent_payload.hvc(1)
    assert done.after.x[19] == done.before.x[19]
"""


def test_ten_lines_of_a_user_run_against_the_default_board(tmp_path: Path) -> None:
    (tmp_path / "test_own.py").write_text(OWN)
    assert len(OWN.splitlines()) <= 10
    argv = [sys.executable, "-m", "pytest", "--hilagent-board", "qemu-virt", "test_own.py"]
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "HILAGENT_RUNS"))}
    done = subprocess.run(argv, cwd=tmp_path, env=kept, capture_output=True, text=True, timeout=300)
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert "1 failed, 1 passed" in said
    assert "FAIL test_own.py::test_a_mutant_keeps_x19" in said
    (run_dir,) = (p for p in (tmp_path / "hilagent-runs").iterdir() if not p.is_symlink())
    assert str(run_dir) in said
    results = json.loads((run_dir / "results.json").read_text())
    assert [test["verdict"] for test in results["tests"]] == ["pass", "fail"]
    assert results["tests"][1]["times"] == "2 of 2"
