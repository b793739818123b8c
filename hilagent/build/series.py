# SPDX-License-Identifier: Apache-2.0
"""The patch series, the configurations, and the kernels that are broken on purpose.

All are files in ``firmware/kernel``: ``patches/6.12/series`` lists the patches
in their order, and a comment in it names the version that they were held
against. ``broken/NAME.patch`` goes on top of them; ``broken:PATH`` names one
that is elsewhere. A line ``Config: scs`` in its message asks for the shadow call
stack.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path

from hilagent.errors import InputError, UsageError

from . import sources

_VERSION = re.compile(r"#.*\b(6\.12\.\d+)\b")


@dataclass(frozen=True)
class Recipe:
    """What a kernel is made of, besides its source and the compiler.

    Attributes:
        patches: in the order in which they are applied.
        fragments: laid over allnoconfig, a later one over an earlier one.
        abi: the profile that the result should keep.
    """

    name: str
    patches: tuple[Path, ...]
    fragments: tuple[Path, ...]
    abi: str


@dataclass(frozen=True)
class Series:
    """The patches in their order, and the version that they were held against."""

    path: Path
    version: str
    patches: tuple[Path, ...]


def folder() -> Path:
    """Return ``firmware/kernel``."""
    return sources.firmware_dir() / "kernel"


def series() -> Series:
    """Read the series. Raises InputError for a list that doesn't match the folder."""
    path = folder() / "patches/6.12/series"
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise InputError(path, f"can't be read: {error.strerror}") from error
    names = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    versions = [found[1] for line in lines if (found := _VERSION.match(line))]
    there = {p.name for p in path.parent.glob("*.patch")}
    if not versions:
        raise InputError(path, "names no version that it was held against (# ... 6.12.N)")
    if set(names) != there or len(names) != len(there):
        odd = ", ".join(sorted(set(names) ^ there)) or "a patch is named twice"
        raise InputError(path, f"does not list the patches of its folder: {odd}")
    return Series(path, versions[0], tuple(path.parent / name for name in names))


def broken() -> tuple[str, ...]:
    """Return the names of the kernels that are broken on purpose."""
    return tuple(sorted(p.stem for p in (folder() / "broken").glob("*.patch")))


def names() -> tuple[str, ...]:
    """Return every name of a kernel that is built from Debian's source."""
    return ("patched", "unpatched", "scs", *(f"broken:{name}" for name in broken()))


def recipe(name: str, extra: tuple[Path, ...] = ()) -> Recipe:
    """Return what ``name`` is made of; ``extra`` fragments are laid over its own.

    Raises UsageError for a name that there is none of.
    """
    virt, scs = fragment("virt"), fragment("scs")
    if name == "unpatched":
        return Recipe(name, (), (virt, *extra), "x0-mainline")
    patches = series().patches
    if name == "patched":
        return Recipe(name, patches, (virt, *extra), "iss-6.12")
    if name == "scs":
        return Recipe(name, patches, (virt, scs, *extra), "iss-6.12-scs")
    own = _broken_patch(name)
    if own is None:
        near = difflib.get_close_matches(name, names(), 3)
        hint = f"perhaps {' or '.join(near)}" if near else f"there are {', '.join(names())}"
        raise UsageError(f"no kernel named '{name}'", hint=hint)
    if _wants_scs(own):
        return Recipe(name, (*patches, own), (virt, scs, *extra), "iss-6.12-scs")
    return Recipe(name, (*patches, own), (virt, *extra), "iss-6.12")


def _broken_patch(name: str) -> Path | None:
    kind, _, which = name.partition(":")
    own = folder() / "broken" / f"{which}.patch"
    path = Path(which) if "/" in which else own
    return path if kind == "broken" and which and path.is_file() else None


def _wants_scs(patch: Path) -> bool:
    """Whether the patch's message says that the fault needs the shadow call stack."""
    message = patch.read_text(errors="replace").partition("\ndiff --git ")[0]
    return bool(re.search(r"^Config: scs$", message, re.MULTILINE))


def fragment(name: str) -> Path:
    """Return a configuration fragment by its name, or by its path.

    Raises UsageError that says which there are.
    """
    home = folder() / "config"
    path = Path(name) if "/" in name else home / f"{name}.config"
    if not path.is_file():
        there = ", ".join(sorted(p.stem for p in home.glob("*.config")))
        raise UsageError(f"no kernel configuration '{name}'", hint=f"there are {there}; or a path")
    return path
