# SPDX-License-Identifier: Apache-2.0
"""The vmlinux of Debian's own arm64 kernel, with its symbols and its DWARF.

It is in the kernel's debug package, a gigabyte that would be six and a half unpacked. That
one file is read out of the package as a stream; the package isn't kept.
"""

from __future__ import annotations

import fnmatch
import os
import signal
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from hilagent.errors import LabError

from . import cache, debian, stock
from .progress import Progress, silent

_MEMBER = "./usr/lib/debug/boot/vmlinux-*"
_PIECE = 1 << 20
_KEEP = 1


def debian_vmlinux(*, progress: Progress = silent, refresh: bool = False) -> Path:
    """Return the vmlinux of the kernel that :func:`stock.debian_kernel` returns.

    Fetched the first time: 1 GB, of which 400 MB are kept. ``refresh`` asks for a newer one.
    Raises LabError.
    """
    before = None if refresh else stock.cached_kernel()
    image = f"linux-image-{before.release}" if before else stock.image_package(progress, refresh)
    name = f"{image}-dbg"
    home = cache.entry(
        "vmlinux", cache.fingerprint([name]), lambda work: _make(name, work, progress), keep=_KEEP,
        waiting=lambda: progress(0, 0, f"waiting for another that unpacks {name}"),
    )  # fmt: skip
    return home / "vmlinux"


def _make(name: str, work: Path, progress: Progress) -> None:
    (package,) = debian.fetch([name], progress=progress)
    extract(package.deb, _MEMBER, work / "vmlinux", progress)
    package.deb.unlink()


def extract(deb: Path, pattern: str, target: Path, progress: Progress = silent) -> None:
    """Write the first file of a package whose path fits ``pattern`` (as of fnmatch) to ``target``.

    What lies before it is skipped and what lies behind it never read. Raises LabError.
    """
    try:
        with _files(deb) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                if member.isfile() and fnmatch.fnmatchcase(member.name, pattern):
                    data = archive.extractfile(member)
                    assert data is not None
                    _copy(data, member.size, target, progress)
                    return
    except (tarfile.TarError, EOFError) as error:
        raise LabError(f"{deb.name} can't be unpacked: {error}") from error
    raise LabError(f"{deb.name} has no file {pattern.removeprefix('.')}")


def _copy(data: IO[bytes], size: int, target: Path, progress: Progress) -> None:
    done = 0
    with target.open("wb") as out:
        while piece := data.read(_PIECE):
            done += out.write(piece)
            progress(done >> 20, size >> 20, f"MB of {target.name} unpacked")
    if done != size:
        raise EOFError(f"{done} bytes of {size}")


@contextmanager
def _files(deb: Path) -> Iterator[IO[bytes]]:
    """Have dpkg write a package's files as a tar archive, until the block is left."""
    argv = ["dpkg", "--fsys-tarfile", str(deb)]
    try:
        tool = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise LabError("dpkg: not found on the PATH") from error
    assert tool.stdout is not None
    try:
        yield tool.stdout
    finally:
        with suppress(ProcessLookupError):
            os.killpg(tool.pid, signal.SIGKILL)
        tool.stdout.close()
        tool.wait()
