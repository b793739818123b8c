# SPDX-License-Identifier: Apache-2.0
"""The suites live and restart on a real kernel, sound and broken: by the command, as a user."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import kernels
from tests.fault.harness import ran
from tests.suites.broken import Broken, listed

pytestmark = pytest.mark.hil

LIMIT_S = 1200.0
SHORT = {"trans-pgd-restart-el1", "kvm-get-clobbers-x19", "stub-unknown-zero"}
"""One for each server, by both suites; the second tier has them all."""


def test_a_sound_kernel_is_not_accused_of_anything(tmp_path: Path) -> None:
    kernels.built("patched")
    modes = ["--mode", "default", "--mode", "none"]
    argv = ["run", "qemu-virt", "-o", "smp=2", "--suite", "kernel", *modes]
    done = ran(argv, tmp_path, limit_s=LIMIT_S)
    assert done.code == 0, done.story()
    assert not done.findings, done.story()
    assert done.verdicts <= {"PASS", "UNSUPPORTED"}, done.story()
    for server in ("trans-pgd", "kvm", "hyp-stub"):
        assert f" {server} " in done.out, done.story()


@pytest.mark.parametrize("broken", [each for each in listed() if each.name in SHORT], ids=str)
def test_a_broken_kernel_is_accused_of_what_is_broken(tmp_path: Path, broken: Broken) -> None:
    kernels.built(f"broken:{broken.name}")
    done = ran(broken.argv, tmp_path, limit_s=LIMIT_S)
    assert done.code == 1, done.story()
    assert not broken.accused(done), f"{broken.accused(done)}\n{done.story()}"


def test_a_kernel_that_somebody_else_built_runs_what_it_has_the_files_for(tmp_path: Path) -> None:
    built = kernels.built("patched")
    argv = ["run", "qemu-virt", "-o", "smp=1", "--image", str(built.image), "--suite", "kernel"]
    only = ["--mode", "default", "-k", "test_live_abi or (kexec-file and kernel)"]
    done = ran([*argv, *only], tmp_path, limit_s=LIMIT_S)
    assert done.code == 0, done.story()
    assert done.verdicts == {"PASS", "UNSUPPORTED"}, done.story()
    assert "no headers" in done.out, done.story()
    assert built.digest[:12] in done.out, done.story()
