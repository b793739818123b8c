# SPDX-License-Identifier: Apache-2.0
"""Kernels, sound and broken: every suite on each CPU model, and restarts in long chains."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import kernels
from tests.fault.harness import Ran, ran
from tests.long.conftest import Tell
from tests.suites.broken import Broken, listed

LIMIT_S = 3 * 3600.0
SUITE_S = 480.0
CHAIN = 3
ITS = "virt,virtualization=on,gic-version=3"
AVOIDS = {
    "GICv2": {"machine": ITS.replace("version=3", "version=2")},
    "its=off": {"machine": f"{ITS},its=off"},
    "gicv3_nolpi": {"cmdline": "irqchip.gicv3_nolpi=1"},
    "EFI": {"start": "bootefi"},
}


def _sound(done: Ran) -> None:
    assert done.code == 0, done.story()
    assert not done.findings, done.story()
    assert done.verdicts <= {"PASS", "UNSUPPORTED"}, done.story()


@pytest.mark.parametrize("cpu", ["cortex-a57", "max"])
@pytest.mark.parametrize("smp", [1, 4])
def test_every_suite_passes_in_time(tmp_path: Path, tell: Tell, cpu: str, smp: int) -> None:
    kernels.built("patched")
    board = ["run", "qemu-virt", "-o", f"cpu={cpu}", "-o", f"smp={smp}"]
    done = ran([*board, "--suite", "kernel", "--chain", str(CHAIN)], tmp_path, limit_s=LIMIT_S)
    goal = f"exit 0 in {SUITE_S:.0f} s"
    found = f"exit {done.code}, {done.took_s:.0f} s"
    tell(f"suites live and restart, chains of {CHAIN}, {cpu}, smp={smp}", goal, found)
    _sound(done)
    assert done.took_s < SUITE_S, done.story()


@pytest.mark.parametrize("kernel", ["unpatched", "scs", "debian"])
def test_other_kernels_pass_by_their_own_contract(tmp_path: Path, tell: Tell, kernel: str) -> None:
    kernels.built(kernel)
    argv = ["run", "qemu-virt", "-o", "smp=2", "--suite", "kernel", "--kernel", kernel]
    done = ran(argv, tmp_path, limit_s=LIMIT_S)
    found = f"exit {done.code}, {done.took_s:.0f} s"
    tell(f"suites live and restart, kernel {kernel}", "exit 0", found)
    _sound(done)


def test_protected_kvm_refuses_everything(tmp_path: Path, tell: Tell) -> None:
    kernels.built("patched")
    argv = ["run", "qemu-virt", "-o", "smp=2", "--suite", "kernel", "--mode", "protected"]
    done = ran(argv, tmp_path, limit_s=LIMIT_S)
    tell("protected KVM", "exit 0, restarts refused", f"exit {done.code}, {done.took_s:.0f} s")
    _sound(done)
    assert done.out.count("refused") == 4, done.story()


@pytest.mark.parametrize(
    ("what", "only", "count"),
    [
        ("kernel to kernel", "kexec and kernel", 50),
        ("circles through the payload", "kexec and payload", 50),
        ("crash restarts", "crash", 20),
    ],
)
def test_restarts_in_a_row(tmp_path: Path, tell: Tell, what: str, only: str, count: int) -> None:
    kernels.built("patched")
    argv = ["run", "qemu-virt", "-o", "smp=2", "--suite", "restart", "--mode", "default"]
    done = ran([*argv, "-k", only, "--chain", str(count)], tmp_path, limit_s=LIMIT_S)
    found = f"exit {done.code}, {done.took_s:.0f} s"
    tell(f"{what}, each way", f"{count} of {count}", found)
    _sound(done)


@pytest.mark.parametrize("broken", listed(), ids=str)
def test_each_broken_kernel_is_accused_of_the_right_thing(
    tmp_path: Path, tell: Tell, broken: Broken
) -> None:
    kernels.built(f"broken:{broken.name}")
    done = ran(broken.argv, tmp_path, limit_s=LIMIT_S)
    missing = broken.accused(done)
    tell(broken.name, f"{broken.rule} {broken.hcall}", missing or f"accused, {done.took_s:.0f} s")
    assert done.code == 1, done.story()
    assert not missing, f"{missing}\n{done.story()}"


def _with_its(tmp_path: Path, *, machine: str = ITS, **linux: str) -> list[str]:
    """Arguments for a board whose kernel lies where the next one is put, below the tables."""
    high = {"kernel_addr": 0x4400_0000, **linux}
    board = {"extends": "qemu-virt", "name": "gicv3-its", "qemu": {"machine": machine},
             "linux": high}  # fmt: skip
    (tmp_path / "boards").mkdir()
    (tmp_path / "boards/gicv3-its.yaml").write_text(json.dumps(board))
    board_options = ["gicv3-its", "--boards", str(tmp_path / "boards"), "-o", "smp=2"]
    only = ["--mode", "default", "-k", "kexec and kernel"]
    return ["run", *board_options, "--suite", "restart", *only]


def test_the_tables_of_a_gicv3_with_its_are_named(tmp_path: Path, tell: Tell) -> None:
    """Booted by device tree, the second kernel lies where the redistributors write."""
    kernels.built("patched")
    done = ran(_with_its(tmp_path), tmp_path, limit_s=LIMIT_S)
    named = "LPI table" in done.out
    tell("GICv3 with ITS, by device tree", "named", f"exit {done.code}, named: {named}")
    assert done.code == 1, done.story()
    assert named, done.story()


@pytest.mark.parametrize("how", AVOIDS)
def test_what_avoids_those_tables_passes(tmp_path: Path, tell: Tell, how: str) -> None:
    kernel = "debian" if how == "EFI" else "patched"  # ours for virt has no CONFIG_EFI
    kernels.built(kernel)
    argv = [*_with_its(tmp_path, **AVOIDS[how]), "--kernel", kernel]
    done = ran(argv, tmp_path, limit_s=LIMIT_S)
    tell(f"kexec with a GICv3 and {how}, kernel {kernel}", "exit 0", f"exit {done.code}")
    _sound(done)
    assert "PASS" in done.verdicts, done.story()
