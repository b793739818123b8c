# SPDX-License-Identifier: Apache-2.0
"""Runs the kernel's make: progress by the object, and whose fault a failure is.

The environment is ours alone, so that no CFLAGS or O= of a shell gets into a
kernel; names and dates in it are fixed, so that the same inputs give the same
bytes.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from hilagent.errors import LabError, NotBuilt
from hilagent.text import scrub

from . import child, compile
from .progress import Progress, silent

TOOLS = {"make": "make", "gcc": "gcc", "flex": "flex", "bison": "bison", "bc": "bc"}
"""Command to Debian package: what a kernel build needs besides the arm64 compiler."""
_HEADERS = {"openssl/": "libssl-dev", "gelf.h": "libelf-dev", "libelf.h": "libelf-dev",
            "stdio.h": "libc6-dev", "stdlib.h": "libc6-dev"}  # fmt: skip
_STEP = re.compile(r"  ([A-Z][A-Z0-9]{1,9}) +(?:\[M\] +)?(\S+)")
_ERROR = re.compile(r": (?:fatal )?error:|Error: |undefined reference to|\*\*\* |^ERROR: ")
_HOST = re.compile(
    r"Killed signal terminated program|terminated with signal 9\b|memory exhausted|"
    r"out of memory allocating|\*\*\* \[.*\] (?:Killed|Error 137)$|"
    r": (?:Cannot allocate memory|Input/output error|Too many open files|"
    r"Resource temporarily unavailable)\.?$"
)
_QUOTED = re.compile(r" *\d* \| ")
"""A line of the kernel's source, which may print such a message itself."""
_SHOWN = 12
_STALL_S = 900


def needs() -> None:
    """Raise LabError that names the packages to install if a tool is missing."""
    missing = [package for tool, package in TOOLS.items() if not shutil.which(tool)]
    if missing:
        raise LabError(
            f"a kernel can't be built here: {', '.join(missing)} is missing",
            hint=f"apt-get install --no-install-recommends {' '.join(missing)}",
        )


def version() -> str:
    """Return what identifies the compiler, for fingerprints."""
    return compile.toolchain().version


def run(
    folder: Path,
    words: Sequence[str],
    *,
    out: str | None = None,
    variables: Mapping[str, str] | None = None,
    progress: Progress = silent,
    total: int = 0,
) -> int:
    """Run make in ``folder``; return the number of steps that it showed.

    Raises NotBuilt with the compiler's first error, or LabError where it is
    this host's: a full disk, a header that is missing, no answer.
    """
    where = [f"O={out}"] if out else []
    given = [f"{name}={value}" for name, value in (variables or {}).items()]
    jobs = len(os.sched_getaffinity(0))
    steps = 0

    def see(line: str) -> None:
        nonlocal steps
        if found := _STEP.match(line):
            steps += 1
            what = Path(found[2]).name if found[2].startswith("/") else found[2]
            progress(steps, max(total, steps) if total else 0, f"{found[1]} {what}")

    argv = ["make", f"-j{jobs}", "--no-print-directory", *where, *_fixed(), *given, *words]
    done = child.run(argv, cwd=folder, env=_environment(), see=see, stall_s=_STALL_S)
    if done.status:
        raise _failure(words, done)
    return steps


def _fixed() -> list[str]:
    return [
        "ARCH=arm64", f"CROSS_COMPILE={compile.toolchain().prefix}", "LOCALVERSION=",
        "KBUILD_BUILD_USER=hilagent", "KBUILD_BUILD_HOST=hilagent",
        "KBUILD_BUILD_TIMESTAMP=Thu Jan  1 00:00:00 UTC 1970",
    ]  # fmt: skip


def _environment() -> dict[str, str]:
    keep = ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH")
    return {name: os.environ[name] for name in keep if name in os.environ}


def _hosts(done: child.Done) -> str:
    """Return the line that tells that this host failed, not the kernel; empty if none does."""
    for line in done.lines:
        if _HOST.search(line.rstrip()) and not _QUOTED.match(line):
            return line.strip()
    return f"make was ended by signal {-done.status}" if done.status < 0 else ""


def _failure(words: Sequence[str], done: child.Done) -> LabError | NotBuilt:
    lines = done.lines
    text = "\n".join(lines)
    if "No space left on device" in text:
        return LabError("the disk is full: the kernel can't be built",
                        hint="free some space in the build cache ($HILAGENT_CACHE)")  # fmt: skip
    if host := _hosts(done):
        return LabError(f"this host could not build the kernel: {scrub(host)}",
                        hint="see dmesg; if it was memory, free some, or allow fewer compilers at"
                        " once (taskset -c 0 allows one), and try again")  # fmt: skip
    header = re.search(r"fatal error: (\S+): No such file or directory", text)
    for name, package in _HEADERS.items():
        if header and header[1].startswith(name) and "HOST" in text:
            return LabError(f"a kernel can't be built here: {header[1]} is missing",
                            hint=f"apt-get install {package}")  # fmt: skip
    first = next((n for n, line in enumerate(lines) if _ERROR.search(line)), len(lines) - _SHOWN)
    start = max(first, 0)
    shown = [scrub(line) for line in list(lines)[start : start + _SHOWN]]
    return NotBuilt("\n".join([f"{NotBuilt.SAYS} (make {' '.join(words)}):", *shown]))
