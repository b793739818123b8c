# SPDX-License-Identifier: Apache-2.0
"""``hilagent build``: what runs on a board."""

from __future__ import annotations

import hashlib
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

from hilagent.build.given import Paths
from hilagent.build.kernel import Kernel, build_kernel
from hilagent.build.module import build_module
from hilagent.build.payload import build_payload
from hilagent.build.progress import Progress
from hilagent.build.rootfs import build_rootfs
from hilagent.result import EXIT_OK

_EVERY_S = 10.0


def payload(out: Path | None) -> int:
    """Build the payload and say where it is."""
    built = build_payload(out)
    print(f"{built.image}  {built.size} bytes  build id {built.build_id}")
    return EXIT_OK


def kernel(name: str, chosen: Mapping[str, Any], out: Path | None) -> int:
    """Build a kernel, or look at a prebuilt one, and say what it is and where."""
    with shown() as progress:
        built = _kernel(name, chosen, progress)
    print(f"{built.name}: Linux {built.release}, ABI {built.abi or 'as it says when it runs'}")
    for path in (built.image, built.vmlinux, built.config):
        if path is not None:
            _place(path, out)
    return EXIT_OK


def module(name: str, chosen: Mapping[str, Any], out: Path | None) -> int:
    """Build the probe module for a kernel and say where it is."""
    from hilagent.linux import wire

    with shown() as progress:
        target = _kernel(name, chosen, progress)
        built = build_module(target, wire.c_header(), progress=progress)
    print(f"for Linux {target.release}")
    _place(built, out)
    return EXIT_OK


def rootfs(name: str, chosen: Mapping[str, Any], out: Path | None) -> int:
    """Build the root file system and say where it is."""
    from hilagent.linux import wire

    wanted = name or any(chosen[key] for key in ("source", "image", "artifacts"))
    with shown() as progress:
        target = _kernel(name, chosen, progress) if wanted else None
        own = (
            build_module(target, wire.c_header(), progress=progress)
            if target and target.tree
            else None
        )
        built = build_rootfs(
            kernel=target, module=own, progress=progress, refresh=chosen["refresh"]
        )
    _place(built.archive, out)
    return EXIT_OK


def _kernel(name: str, chosen: Mapping[str, Any], progress: Progress) -> Kernel:
    from hilagent.build.series import fragment

    extra = tuple(fragment(each) for each in chosen["configs"])
    paths = own(chosen)
    if not paths:
        return build_kernel(name, config=extra, progress=progress, refresh=chosen["refresh"])
    found = paths.kernel(extra, progress)
    for each in found.absent:
        print(f"no {each.what}: {each.costs}", file=sys.stderr)
    return found.kernel


def own(chosen: Mapping[str, Any]) -> Paths:
    """Return the kernel of the lab's own that options name.

    Raises UsageError for options that exclude each other, or belong to nothing.
    """
    named = {each.name: chosen[each.name] for each in fields(Paths)}
    paths = Paths(**named | {"dtb": named["dtb"] or ""})
    paths.check()
    return paths


def _place(path: Path, out: Path | None) -> None:
    """Say where a result is, by its digest; copy it to ``out`` first."""
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        target = out / path.name
        if not path.stat().st_mode & 0o077:  # a secret stays one, also while it is written
            target.touch(0o600)
            target.chmod(0o600)
        path = Path(shutil.copyfile(path, target))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    print(f"{path}  {path.stat().st_size} bytes  sha256 {digest}")


@contextmanager
def shown() -> Iterator[Progress]:
    """Show a build's progress on stderr: one line on a terminal, now and then one elsewhere."""
    live = sys.stderr.isatty()
    began = time.monotonic()
    said_at, said = 0.0, ""

    def progress(done: int, total: int, what: str) -> None:
        nonlocal said_at, said
        now = time.monotonic() - began
        step = f"{done}/{total} " if total else f"{done} " if done else ""
        if live:
            width = shutil.get_terminal_size().columns - 1
            print(f"\r\x1b[K{f'{now:4.0f} s  {step}{what}'[:width]}", end="", file=sys.stderr)
        elif (not done and what != said) or now - said_at >= _EVERY_S:
            said_at, said = now, what
            print(f"{now:4.0f} s  {step}{what}", file=sys.stderr)
        sys.stderr.flush()

    try:
        yield progress
    finally:
        if live:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
