# SPDX-License-Identifier: Apache-2.0
"""How long an audit of our kernel takes, beside objdump's bare listing of the same file."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from hilagent.build import compile
from tests import kernels

pytestmark = pytest.mark.hil  # it may have to build the kernel
SLOW_HOST = 3
"""How much slower than an idle one the host may be."""


class Spent(NamedTuple):
    """What one command said and used."""

    code: int
    out: str
    err: str
    cpu_s: float
    peak_kib: int


def test_our_kernel_takes_seconds_and_little_memory(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """4.1 s and 160 MB were measured; the limits are the promise."""
    vmlinux = kernels.built().vmlinux
    assert vmlinux is not None
    ours = _spent(tmp_path, sys.executable, "-m", "hilagent", "audit", str(vmlinux))
    listed = _spent(tmp_path, compile.toolchain().tool("objdump"), "-d", str(vmlinux))
    record_property("audit / objdump -d", f"{ours.cpu_s / listed.cpu_s:.2f}")
    assert (ours.code, ours.out[:4]) == (0, "PASS"), ours.err
    assert ours.cpu_s < 5.0 * SLOW_HOST
    assert ours.peak_kib < 1 << 20
    assert {"sites", "callers"} <= set(ours.err.split())


def _spent(folder: Path, *argv: str) -> Spent:
    with (folder / "out").open("w+") as out, (folder / "err").open("w+") as err:
        child = subprocess.Popen(argv, stdout=out, stderr=err)
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        return Spent(child.returncode, out.read(4096), err.read(), used.ru_utime, used.ru_maxrss)
