# SPDX-License-Identifier: Apache-2.0
"""The kernel series against the kernel's source: it applies, checks clean, builds and boots.

Each patch alone on those before it: whoever bisects the series must find a kernel
that starts, and that can start the next one.
"""

from __future__ import annotations

import gzip
import itertools
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from hilagent.build import cpio, kernel, rootfs, source
from hilagent.build.progress import silent
from hilagent.build.series import Recipe, fragment
from hilagent.clock import Deadline
from tests.firmware import patches
from tests.long.conftest import Tell
from tests.long.kernel_console import Console

SERIES = patches.series()
BROKEN = sorted(patches.BROKEN.glob("*.patch"))
A57, MAX = "cortex-a57", "max"
OFF = "kvm-arm.mode=none"
WAYS = ((A57, ""), (A57, OFF), (MAX, ""), (MAX, OFF), (MAX, "kvm-arm.mode=nvhe"))
RESTARTS = {
    "kexec": "&& hilkexec exec",
    "crash": "--crash && echo c >/proc/sysrq-trigger",  # the one way to cpu_soft_restart
}
BOOT_S = 90.0
_READY = rb"hilagent-rootfs ready RUN=%s\s"
_EL2 = rb"All CPU\(s\) started at EL2"
_TOTALS = re.compile(r"^total: (\d+) errors, (\d+) warnings, (\d+) checks", re.MULTILINE)


@pytest.fixture(scope="module")
def pristine() -> source.Source:
    """The source that the series was held against, unpacked; patches may lie on it."""
    return source.unpacked(source.package())


def _copy(tree: source.Source, names: set[str], folder: Path) -> None:
    """Copy these files as they were before any patch."""
    for name in names:
        kept = tree.folder / ".hilagent-original" / name
        original = kept if kept.is_file() else tree.folder / name
        made = kept.with_name(f"{kept.name}.absent").exists()
        if original.is_file() and not made:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(original, folder / name)


def _apply(folder: Path, patch: Path) -> str:
    command = ["patch", "-p1", "--fuzz=0", "--batch", "--no-backup-if-mismatch", "-i", str(patch)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_is_held_against_the_source_that_debian_has(pristine: source.Source) -> None:
    assert patches.held_against() == pristine.version


def test_it_applies_exactly(pristine: source.Source, tmp_path: Path, tell: Tell) -> None:
    _copy(pristine, set().union(*map(patches.files, SERIES)), tmp_path)
    said = "".join(_apply(tmp_path, patch) for patch in SERIES)
    exact = "fuzz" not in said and "offset" not in said
    tell("series on the pristine source", "no fuzz, no offset", "exact" if exact else said)
    assert exact, said
    for broken in BROKEN:
        one = tmp_path / "broken" / broken.stem
        for name in patches.files(broken):
            (one / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(tmp_path / name, one / name)
        assert "offset" not in _apply(one, broken), broken.stem


@pytest.mark.parametrize("patch", SERIES, ids=lambda patch: str(patch.name))
def test_checkpatch_has_nothing_to_say(pristine: source.Source, patch: Path) -> None:
    command = ["perl", "scripts/checkpatch.pl", "--strict", str(patch)]
    done = subprocess.run(command, cwd=pristine.folder, capture_output=True, text=True, check=False)
    found = _TOTALS.search(done.stdout)
    assert found, done.stdout + done.stderr
    assert found.groups() == ("0", "0", "0"), done.stdout


@pytest.mark.parametrize("count", range(1, len(SERIES) + 1))
def test_each_patch_builds_boots_and_starts_the_next(
    count: int, tmp_path: Path, tell: Tell
) -> None:
    wanted = Recipe(f"series:{count}", tuple(SERIES[:count]), (fragment("virt"),), "")
    built = kernel._from_debian(wanted, silent, False)
    for (cpu, mode), how in itertools.product(WAYS, RESTARTS):
        took = _there_and_again(built.image, cpu, mode, how, tmp_path)
        tell(f"{count} patches, {cpu} {mode}", f"boots, {how}, boots", f"{took:.1f} s")


@pytest.mark.parametrize("broken", BROKEN, ids=lambda patch: str(patch.stem))
def test_a_broken_kernel_builds(broken: Path) -> None:
    assert kernel.build_kernel(f"broken:{broken.stem}").image.is_file()


def _there_and_again(image: Path, cpu: str, mode: str, how: str, folder: Path) -> float:
    """Boot, and start the same kernel again; return the seconds of both."""
    base = rootfs.build_rootfs().archive
    carried = {"next/Image": image, "next/rootfs": base}
    nodes = {name: cpio.file(path.read_bytes()) for name, path in carried.items()}
    initrd = folder / "initrd"
    initrd.write_bytes(base.read_bytes() + gzip.compress(cpio.write(nodes), 1))
    line = f"console=ttyAMA0 panic=-1 crashkernel=160M {mode}"
    deadline = Deadline.after(BOOT_S)
    with Console(folder, image, initrd, cpu, f"{line} hilagent.run=1") as console:
        console.wait(_EL2, deadline)
        console.wait(_READY % b"1", deadline)
        load = f"hilkexec load /next/Image --initrd /next/rootfs --cmdline '{line} hilagent.run=2'"
        console.send(f"\n{load} {RESTARTS[how]}\n")
        console.wait(_EL2, deadline)
        console.wait(_READY % b"2", deadline)
    return BOOT_S - deadline.left_s()
