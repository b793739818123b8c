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


_APART = """
import os, sys
child = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ)
_, status, used = os.wait4(child, 0)
with open(os.environ["SPENT"], "w") as file:
    print(os.waitstatus_to_exitcode(status), used.ru_utime, used.ru_maxrss, file=file)
"""
"""Starts the command from a process of few MiB.

A child's ru_maxrss counts what its parent had before the exec too, and a
pytest at the end of a long run has gigabytes.
"""


def _spent(folder: Path, *argv: str) -> Spent:
    figures = folder / "spent"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _APART, *argv],
        env={**os.environ, "SPENT": str(figures)},
        capture_output=True,
        text=True,
        check=True,
    )
    code, cpu_s, peak_kib = figures.read_text().split()
    return Spent(int(code), done.stdout[:4096], done.stderr, float(cpu_s), int(peak_kib))
