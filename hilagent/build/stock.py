# SPDX-License-Identifier: Apache-2.0
"""Debian's own arm64 kernel, as its packages are: nothing of ours is in it.

The image, the few modules that an emulated board needs, and the headers that
an external module is built against (with the host's build of their programs).
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from hilagent.errors import LabError

from . import cache, child, debian, drivers, image
from .kernel import Kernel
from .progress import Progress, silent

METAS = ("linux-image-6.12-arm64", "linux-image-arm64")
"""Debian 12 has 6.12 beside its own 6.1; in Debian 13 it is the only one."""
_SCHEMA = "1"


def debian_kernel(*, progress: Progress = silent, refresh: bool = False) -> Kernel:
    """Return Debian's kernel, fetched and unpacked the first time. Raises LabError."""
    if not refresh and (before := cached_kernel()):
        return before
    name = image_package(progress, refresh)
    headers = name.replace("linux-image-", "linux-headers-", 1)
    needs = debian.depends(headers, progress=progress, refresh=refresh)
    further = [n for n in needs if re.fullmatch(r"linux-headers-.*-common|linux-kbuild-.*", n)]
    fetched = debian.fetch([name, headers], progress=progress)
    fetched += debian.fetch(further, progress=progress, for_host=True)
    key = cache.fingerprint([_SCHEMA, *(p.identity for p in fetched)])
    (kernel,) = (p for p in fetched if p.name == name)
    others = [p for p in fetched if p is not kernel]
    home = cache.entry("stock", key, lambda work: _make(kernel, others, work, progress), keep=3)
    cache.folder("stock-now")
    _now().write_text(home.name)
    return _kernel(home)


def cached_kernel() -> Kernel | None:
    """Return the kernel that was used last, if it is still in the cache."""
    now = _now()
    home = cache.root() / "stock" / now.read_text() if now.is_file() else None
    return _kernel(home) if home and home.is_dir() else None


def _now() -> Path:
    return cache.root() / "stock-now" / f"debian-{_SCHEMA}"


def image_package(progress: Progress, refresh: bool) -> str:
    """Return the name of the package with the kernel's image. Raises LabError."""
    *firsts, last = METAS
    for meta in firsts:
        try:
            return debian.depends(meta, progress=progress, refresh=refresh)[0]
        except LabError:
            continue
    return debian.depends(last, progress=progress, refresh=refresh)[0]


def _make(
    kernel: debian.Package, others: Sequence[debian.Package], work: Path, progress: Progress
) -> None:
    progress(0, 0, f"unpacking {kernel.name}")
    package = work / "package"
    child.output(["dpkg", "-x", str(kernel.deb), str(package)], stall_s=1800)
    (vmlinuz,) = package.glob("boot/vmlinuz-*")
    data = image.plain(vmlinuz)
    (work / "Image").write_bytes(data)
    (config,) = package.glob("boot/config-*")
    shutil.copyfile(config, work / "config")
    modules = next(path for path in package.glob("**/lib/modules/*") if path.is_dir())
    loaded = drivers.extract(modules, work / "modules")
    shutil.rmtree(package)
    for other in others:
        child.output(["dpkg", "-x", str(other.deb), str(work / "headers")])
    tree = _relocate(work)
    release = image.release(data)
    facts = {
        "release": release, "version": image.version(release), "tree": tree,
        "digest": hashlib.sha256(data).hexdigest(), "modules": [p.name for p in loaded],
    }  # fmt: skip
    (work / "kernel.json").write_text(json.dumps(facts, indent=1))


def _relocate(work: Path) -> str:
    """Make the headers usable where they are; return their folder, within ``work``.

    Their Makefile includes an absolute path. The vmlinux beside them holds types
    for BTF alone, which would ask for pahole.
    """
    headers = next(p for p in (work / "headers/usr/src").glob("linux-headers-*")
                   if not p.name.endswith("-common"))  # fmt: skip
    makefile = headers / "Makefile"
    text = re.sub(r"/usr/src/(\S+)", r"$(dir $(lastword $(MAKEFILE_LIST)))../\1",
                  makefile.read_text())  # fmt: skip
    makefile.write_text(text)
    (headers / "vmlinux").unlink(missing_ok=True)
    return headers.relative_to(work).as_posix()


def _kernel(home: Path) -> Kernel:
    facts = json.loads((home / "kernel.json").read_text())
    return Kernel(
        "debian", home / "Image", facts["release"], facts["version"], "x0-mainline",
        facts["digest"], None, home / "config", home / facts["tree"],
        tuple(home / "modules" / name for name in facts["modules"]),
    )  # fmt: skip
