# SPDX-License-Identifier: Apache-2.0
"""A board with SSH alone: the same results, field by field, as over a console."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hilagent.result import Verdict
from tests import kernels
from tests.cli import same

GIC = "machine=virt,virtualization=on,gic-version=3"
"""Whose tables outlive every kernel: the next one has to leave them alone."""
MUTANT = (*("-o", GIC, "--vectors", "mutant:get_clobbers_x19"),
          *("--suite", "dispatch", "--suite", "clobber", "-k", "not direct"))  # fmt: skip


@pytest.mark.hil
def test_what_is_found_by_ssh_alone_is_what_is_found_over_a_console(tmp_path: Path) -> None:
    """Of vectors that are wrong: what is accused is measured again, from power."""
    kernels.built()
    code, alone = same.run(tmp_path, "qemu-virt-ssh", *MUTANT)
    _, console = same.run(tmp_path, "qemu-virt", "-o", "smp=2", *MUTANT)
    found = same.results(alone)
    assert found == same.results(console)
    assert (code, found["counts"][Verdict.FAIL.value]) == (1, 1)
    run = json.loads((alone / "results.json").read_text())["run"]
    assert (run["console"], run["encoding"], run["started_by"]) == ("none", "memory", "kexec")
    assert (alone / "console.raw").read_bytes() == b""
