# SPDX-License-Identifier: Apache-2.0
"""Real kernels' own vectors, cut out of their vmlinux: sound ones pass, broken ones don't."""

from __future__ import annotations

from pathlib import Path

import pytest

from hilagent.build.vmlinux import debian_vmlinux
from tests import kernels
from tests.fault.harness import Ran, ran
from tests.long.conftest import Tell
from tests.suites.broken import Broken, listed

GOAL_S = 15.0
SPEAKS = {"patched": "iss-6.12", "unpatched": "x0-mainline@6.12", "scs": "iss-6.12-scs"}
SERVERS = ("hyp-stub", "trans-pgd")
AS_VECTORS = {
    "entry-el": "callee-state", "entry-daif": "callee-state", "entry-dcache": "el2-state",
    "restart-arrives": "callee-args",
}  # fmt: skip
"""What a broken restart breaks where nobody is restarted: by which rule it is seen then."""


def _ran(tmp_path: Path, kernel: str, server: str) -> Ran:
    built = kernels.built(kernel)
    assert built.vmlinux is not None
    return ran(["run", "qemu-virt", "--vectors", f"vmlinux:{built.vmlinux},{server}"], tmp_path)


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("kernel", SPEAKS)
def test_sound_kernels_pass_in_time(tmp_path: Path, tell: Tell, kernel: str, server: str) -> None:
    done = _ran(tmp_path, kernel, server)
    tell(
        f"vectors of {kernel}, {server}, all suites, smp=4", f"exit 0 in {GOAL_S:.0f} s",
        f"exit {done.code}, {done.took_s:.1f} s",
    )  # fmt: skip
    assert done.code == 0, done.story()
    assert f"speaks: {SPEAKS[kernel]}, {server}" in done.out, done.story()
    assert done.took_s < GOAL_S, done.story()


@pytest.mark.parametrize("server", SERVERS)
def test_debians_own_kernel_passes(tmp_path: Path, tell: Tell, server: str) -> None:
    name = f"vmlinux:{debian_vmlinux()},{server}"
    done = ran(["run", "qemu-virt", "--vectors", name], tmp_path)
    tell(f"vectors of Debian's, {server}", "exit 0", f"exit {done.code}, {done.took_s:.1f} s")
    assert done.code == 0, done.story()
    assert f"speaks: x0-mainline@6.12, {server}" in done.out, done.story()


def test_an_image_with_its_system_map_passes(tmp_path: Path, tell: Tell) -> None:
    built = kernels.built("patched")
    name = f"vmlinux:{built.image}+{built.image.with_name('System.map')}"
    done = ran(["run", "qemu-virt", "--vectors", name], tmp_path)
    tell("vectors of an Image and its System.map", "exit 0", f"exit {done.code}")
    assert done.code == 0, done.story()
    assert f"speaks: {SPEAKS['patched']}, hyp-stub" in done.out, done.story()


@pytest.mark.parametrize("broken", [b for b in listed() if b.server in SERVERS], ids=str)
def test_broken_kernels_are_accused_of_the_right_thing(
    tmp_path: Path, tell: Tell, broken: Broken
) -> None:
    done = _ran(tmp_path, f"broken:{broken.name}", broken.server)
    rule, hcall = AS_VECTORS.get(broken.rule, broken.rule), broken.hcall
    if not broken.boots:  # it would die of what is seen here at every hcall
        rule, hcall = "clobber", "unknown"
    named = {(each.rule, each.hcall) for each in done.findings}
    found = "accused" if (rule, hcall) in named else str(sorted(named))
    tell(f"vectors of {broken.name}", f"{rule} {hcall}", f"{found}, {done.took_s:.1f} s")
    assert done.code == 1, done.story()
    assert (rule, hcall) in named, done.story()
    assert not done.verdicts & {"HANG", "CRASH", "BUG", "INFRA"}, done.story()
