# SPDX-License-Identifier: Apache-2.0
"""Builds the probe module (``firmware/module``) against a kernel.

Its generated header is given by the caller: this room lies below the one that
defines the records.
"""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

from hilagent.errors import LabError, Unsupported

from . import cache, compile, kernel, make, source, sources
from .kernel import Kernel
from .progress import Progress, silent
from .series import recipe

NAME = "hilhvc.ko"
HEADER = "wire.h"


def build_module(target: Kernel, header: str, *, progress: Progress = silent) -> Path:
    """Return the module for ``target``, built or from the cache.

    Args:
        header: the text of ``wire.h``.

    Raises Unsupported if nothing was given to build it against, TargetError if
    it doesn't build, LabError for what this host lacks: also the tree of a kernel
    of ours, which is no reason to ask for less.
    """
    if target.tree is None and target.build:
        raise _gone(target)
    if target.tree is None:
        raise Unsupported(
            f"the probe module can't be built for kernel '{target.name}' ({target.release}):"
            " there are no headers",
            hint="give what `make M=` needs with --headers DIR",
        )
    folder = sources.firmware_dir() / "module"
    ours = sources.files(folder, ".c", ".h", ".S", "")
    parts = [make.version(), header, *ours, *_identity(target)]
    key = cache.fingerprint(parts)

    def fill(work: Path) -> None:
        make.needs()
        if not (target.tree and target.tree.is_dir()):
            raise _gone(target)
        progress(0, 0, f"the probe module for {target.release}")
        build = work / "build"
        build.mkdir()
        for path in ours:
            shutil.copyfile(path, build / path.name)
        (build / HEADER).write_text(header)
        with kernel.tree_of(target, progress) as (top, out):
            variables = {"M": str(build), "CC": f"{compile.toolchain().prefix}gcc",
                         "KCFLAGS": f"-ffile-prefix-map={build}=."}  # fmt: skip
            make.run(top, ["modules"], out=out, variables=variables, progress=progress)
        argv = [compile.toolchain().tool("objcopy"), "--strip-debug", str(build / NAME), NAME]
        compile.run(argv, work)
        shutil.rmtree(build)

    waiting = partial(progress, 0, 0, "waiting for another build of the probe module")
    return cache.entry("module", key, fill, waiting=waiting) / NAME


def _gone(target: Kernel) -> LabError:
    return LabError(
        f"the probe module can't be built: the tree of kernel '{target.name}' is gone"
        f" ({target.tree or 'removed from the build cache'})",
        hint=f"build it again: hilagent build kernel {target.name}",
    )


def _identity(target: Kernel) -> list[str | Path]:
    """Return what a module built for ``target`` depends on: its configuration and headers."""
    assert target.tree is not None
    parts: list[str | Path] = [target.release, target.version]
    parts += [target.config] if target.config else [target.tree / "Module.symvers"]
    if target.build and target.name != "given":
        patches = recipe(target.name).patches
        parts += [p for p in patches if any(n.endswith(".h") for n in source.touched([p]))]
    return parts
