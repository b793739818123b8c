# SPDX-License-Identifier: Apache-2.0
"""The kernel's source: Debian's package, unpacked once, with patches laid over it.

One tree serves every kernel of a version. To go from one list of patches to
another, only the files whose contents differ are written, so that make builds
again what depends on them and nothing else; what a file was before any patch is
kept beside the tree. Output folders are children of the tree: kbuild then
writes relative paths, and the cache can be moved.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hilagent.errors import InputError, LabError

from . import cache, child, debian
from .progress import Progress, silent

PACKAGE = "linux-source-6.12"
_STALL_S = 1800  # what unpacks says nothing while it does
_ORIGINAL = ".hilagent-original"
_ABSENT = ".absent"
_NAMED = re.compile(r"^(?:diff --git a/(\S+) b/(\S+)|rename (?:from|to) (\S+))$", re.MULTILINE)
_SKIPPED = ("drivers/gpu/drm/amd/include/asic_reg/*",)
"""Not unpacked: a third of all bytes, for a PC's graphics alone."""


@dataclass(frozen=True)
class Source:
    """A kernel source tree.

    Attributes:
        version: upstream's, e.g. ``6.12.117``.
        identity: names this source and no other; changes with Debian's version.
    """

    folder: Path
    version: str
    identity: str


def package(progress: Progress = silent, *, refresh: bool = False) -> debian.Package:
    """Return Debian's source package; fetched if it isn't in the cache."""
    return debian.fetch([PACKAGE], progress=progress, refresh=refresh)[0]


def known_package() -> debian.Package | None:
    """Return Debian's source package if it was fetched before."""
    return next(iter(debian.known([PACKAGE])), None)


def unpacked(package: debian.Package, progress: Progress = silent) -> Source:
    """Return Debian's source, unpacked into the cache the first time."""

    def make(work: Path) -> None:
        progress(0, 0, "unpacking the kernel's source")
        child.output(["dpkg", "-x", str(package.deb), str(work / "deb")], stall_s=_STALL_S)
        (archive,) = (work / "deb/usr/src").glob("linux-source-*.tar.*")
        skipped = [f"--exclude=*/{pattern}" for pattern in _SKIPPED]
        options = ["--touch", "--no-same-owner", "--strip-components=1", *skipped]
        (work / "linux").mkdir()
        child.output(["tar", "-xf", str(archive), "-C", str(work / "linux"), *options],
                     stall_s=_STALL_S)  # fmt: skip
        shutil.rmtree(work / "deb")

    folder = cache.entry("linux", package.identity, make, keep=2) / "linux"
    return Source(folder, re.split(r"[-+~]", package.version)[0], package.identity)


def given(folder: Path) -> Source:
    """Return a lab's own tree, which is only read. Raises InputError if it isn't one."""
    try:
        text = (folder / "Makefile").read_text()
    except OSError as error:
        raise InputError(folder, f"not a kernel tree: {error}") from error
    parts = [re.search(rf"^{name} = *(\S*)$", text, re.MULTILINE)
             for name in ("VERSION", "PATCHLEVEL", "SUBLEVEL", "EXTRAVERSION")]  # fmt: skip
    if not all(parts) or not (folder / "arch/arm64/Makefile").is_file():
        raise InputError(folder, "not a kernel tree with arch/arm64")
    for left in (".config", "include/config", "arch/arm64/include/generated"):
        if (folder / left).exists():
            raise InputError(
                folder, f"has been built in place ({left} is there), so it can't be built outside",
                hint=f"make -C {folder} ARCH=arm64 mrproper",
            )  # fmt: skip
    numbers = [found[1] for found in parts if found]
    return Source(folder.resolve(), ".".join(numbers[:3]) + numbers[3], str(folder.resolve()))


def lay(source: Source, patches: Sequence[Path]) -> None:
    """Bring the tree to its original state plus these patches, in their order.

    The caller holds the lock on the tree. Raises InputError that names the
    patch and the version if one doesn't apply exactly as it is.
    """
    with tempfile.TemporaryDirectory(prefix="hilagent-patches-") as name:
        scratch = Path(name)
        files = touched(patches) | _changed(source)
        for file in files:
            if (original := _original(source, file)) is not None:
                _copy(original, scratch / file)
        for patch in patches:
            _apply(source, patch, scratch)
        for file in sorted(files):
            _settle(source, file, scratch / file)


def changed_files(source: Source) -> list[Path]:
    """Return the files of the tree that patches have changed or may have, where they are."""
    return [path for name in sorted(_changed(source)) if (path := source.folder / name).is_file()]


def touched(patches: Iterable[Path]) -> set[str]:
    """Return the files that these patches change. Raises InputError for one outside the tree."""
    names: set[str] = set()
    for patch in patches:
        try:
            text = patch.read_text(errors="replace")
        except OSError as error:
            raise InputError(patch, f"can't be read: {error.strerror}") from error
        names |= {name for found in _NAMED.finditer(text) for name in found.groups() if name}
    for name in names:
        if name.startswith("/") or ".." in Path(name).parts:
            raise InputError(name, "a patch names a file outside the source")
    return names


def _changed(source: Source) -> set[str]:
    """Return the files that some earlier list of patches has changed."""
    home = source.folder / _ORIGINAL
    found = (p.relative_to(home).as_posix() for p in home.rglob("*") if p.is_file())
    return {name.removesuffix(_ABSENT) for name in found}


def _original(source: Source, file: str) -> Path | None:
    """Return where the unpatched contents of ``file`` are; None if it isn't in the source."""
    kept = source.folder / _ORIGINAL / file
    if kept.is_file():
        return kept
    if kept.with_name(kept.name + _ABSENT).is_file():
        return None
    return source.folder / file if (source.folder / file).is_file() else None


def _settle(source: Source, file: str, wanted: Path) -> None:
    """Give ``file`` the contents of ``wanted``, if it has others; keep the original first."""
    here = source.folder / file
    want = wanted.read_bytes() if wanted.is_file() else None
    if want == (here.read_bytes() if here.is_file() else None):
        return
    kept = source.folder / _ORIGINAL / file
    absent = kept.with_name(kept.name + _ABSENT)
    if not kept.exists() and not absent.exists():
        if here.is_file():
            _copy(here, kept)
        else:
            absent.parent.mkdir(parents=True, exist_ok=True)
            absent.touch()
    here.unlink(missing_ok=True)
    if want is not None:
        _copy(wanted, here, times=False)


def _copy(source: Path, target: Path, *, times: bool = True) -> None:
    """Copy, and appear whole; a new time makes make look at what depends on it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.new")
    (shutil.copy2 if times else shutil.copy)(source, part)
    part.rename(target)


def _apply(source: Source, patch: Path, scratch: Path) -> None:
    env = {**os.environ, "GIT_CEILING_DIRECTORIES": str(scratch.parent.resolve())}
    env = {name: value for name, value in env.items() if name not in ("GIT_DIR", "GIT_WORK_TREE")}
    try:
        done = child.run(["git", "apply", "--whitespace=nowarn", str(patch)], cwd=scratch, env=env)
    except LabError as error:
        raise LabError(f"patches are applied by git: {error.message}",
                       hint="apt-get install git") from error  # fmt: skip
    if done.status:
        said = [line.removeprefix("error: ") for line in done.lines][:6]
        raise InputError(patch, "\n".join([f"does not apply to Linux {source.version}:", *said]))
