# SPDX-License-Identifier: Apache-2.0
"""The GNU toolchain for bare-metal arm64, called directly: no make, no shell.

The result depends on the sources, the flags and the compiler alone: tools run
inside the build folder with relative names, in the C locale, and no path or
date gets into an object.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from hilagent import data
from hilagent.errors import LabError, UsageError
from hilagent.text import scrub

from . import prebuilt
from .cache import entry, fingerprint, kept

CROSS_ENV = "HILAGENT_CROSS_COMPILE"
_CROSS = "aarch64-linux-gnu-"
_ERROR_LINES = 12
_TIMEOUT_S = 120
_BLOB, _BLOB_ELF, _BLOB_SYMBOLS = "blob.bin", "blob.elf", "blob.sym"

FLAGS: tuple[str, ...] = (
    "-std=gnu11", "-march=armv8-a", "-ffreestanding", "-mgeneral-regs-only", "-mstrict-align",
    "-mno-outline-atomics", "-fpie", "-Os", "-fomit-frame-pointer", "-fno-common",
    "-fno-stack-protector", "-fno-asynchronous-unwind-tables", "-fno-unwind-tables",
    "-fno-strict-aliasing", "-fno-tree-loop-distribute-patterns", "-Wall", "-Wextra", "-Werror",
    "-Wframe-larger-than=2048",
    "-mfix-cortex-a53-835769", "-mfix-cortex-a53-843419",
)  # fmt: skip


_ERRATA = ("--fix-cortex-a53-835769", "--fix-cortex-a53-843419")


@dataclass(frozen=True)
class Toolchain:
    """The tools' common prefix, and what identifies their version."""

    prefix: str
    version: str

    def tool(self, name: str) -> str:
        """Return the program's name, e.g. ``tool("objcopy")``."""
        return self.prefix + name


@dataclass(frozen=True)
class Blob:
    """Code linked at 0: its bytes, the offsets of its global symbols, and the ELF itself."""

    data: bytes
    symbols: Mapping[str, int]
    elf: Path


def toolchain() -> Toolchain:
    """Find the arm64 toolchain. Raises UsageError that says what to install."""
    asked = os.environ.get(CROSS_ENV)
    return _toolchain(asked, os.environ.get("PATH", ""))


def available() -> bool:
    """Return whether there is a toolchain."""
    try:
        toolchain()
    except UsageError:
        return False
    return True


@cache
def _toolchain(asked: str | None, path: str) -> Toolchain:
    native = [""] if platform.machine() == "aarch64" else []
    prefixes = [asked] if asked is not None else [_CROSS, *native]
    for prefix in prefixes:
        if all(shutil.which(prefix + name, path=path) for name in ("gcc", "ld", "objcopy", "nm")):
            versions = [run([prefix + name, "--version"], Path()) for name in ("gcc", "ld")]
            return Toolchain(prefix, "\n".join(text.splitlines()[0] for text in versions))
    raise UsageError(
        f"no arm64 compiler: {prefixes[0]}gcc and its binutils are not on the PATH",
        hint=f"apt-get install gcc-aarch64-linux-gnu, or set {CROSS_ENV} to your tools' prefix",
    )


def built(
    kind: str, what: str, recipe: str, make: Callable[[Path], None], keep: Sequence[str]
) -> Path:
    """Return the folder of a result: as it was packaged, from the cache, or made now.

    Args:
        what: it is, in the words of an error.
        recipe: fingerprint of everything that it depends on, but the compiler.
        make: fills an empty folder, of which the files ``keep`` stay.

    Raises UsageError if it must be made and there is no compiler, HostError if what was
    packaged is damaged, and what ``make`` raises.
    """

    def fill(work: Path) -> None:
        make(work)
        for item in work.iterdir():
            if item.is_dir():
                shutil.rmtree(item)
            elif item.name not in keep:
                item.unlink()
        (work / prebuilt.RECIPE).write_text(recipe)

    if found := _packaged(kind, recipe):
        return found
    try:
        version = toolchain().version
    except UsageError as error:
        if data.checkout() is not None:
            raise
        said = f"{what} isn't among what was built with this installation: {error.message}"
        raise UsageError(said, hint=error.hint) from error
    return entry(kind, fingerprint([recipe, version]), fill)


def known(kind: str, recipe: str) -> Path | None:
    """Return what :func:`built` would return without making it; None if it had to."""
    if found := _packaged(kind, recipe):
        return found
    return kept(kind, fingerprint([recipe, toolchain().version])) if available() else None


def _packaged(kind: str, recipe: str) -> Path | None:
    """Look at what came along, unless a compiler was chosen, which then is the one to use."""
    return None if CROSS_ENV in os.environ else prebuilt.find(kind, recipe)


def compile_objects(
    sources: Sequence[Path],
    defines: Mapping[str, str | int],
    includes: Sequence[Path],
    build_dir: Path,
    extra: Sequence[str] = (),
) -> list[str]:
    """Compile C and assembler files. Returns the objects' names within ``build_dir``.

    Sources and includes are copied there first, so that no path of this host
    can get into an object. Raises LabError with the compiler's first lines.
    """
    gcc = toolchain().tool("gcc")
    for folder in includes:
        for header in sorted(folder.glob("*.h")):
            shutil.copyfile(header, build_dir / header.name)
    options = [f"-D{name}={value}" for name, value in sorted(defines.items())]
    objects = []
    for source in sources:
        shutil.copyfile(source, build_dir / source.name)
        objects.append(f"{source.name}.o")
        run([gcc, *FLAGS, *extra, *options, "-I.", "-c", source.name, "-o", objects[-1]], build_dir)
    return objects


def link(objects: Sequence[str], script: Path, elf: str, build_dir: Path, *extra: str) -> None:
    """Link objects at the script's addresses, position-independent, with a build id."""
    shutil.copyfile(script, build_dir / script.name)
    options = "-pie,--no-dynamic-linker,--build-id=sha1,-z,norelro,--no-warn-rwx-segments"
    linker = f"-Wl,{','.join(_ERRATA)},{options}"
    argv = [toolchain().tool("gcc"), *FLAGS, *extra, "-nostdlib", linker, "-T", script.name]
    run([*argv, *objects, "-o", elf], build_dir)


def objcopy_binary(elf: str, image: str, build_dir: Path) -> None:
    """Write the loadable bytes of ``elf`` as a flat binary."""
    run([toolchain().tool("objcopy"), "-O", "binary", elf, image], build_dir)


def compile_blob(
    source: Path,
    *,
    defines: Mapping[str, str | int] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Blob:
    """Assemble one file, linked at 0: for code that is loaded into the payload's slot.

    ``headers`` are generated files (name to text) that it includes, besides
    those beside it. Cached by all of that and the compiler's version.
    """
    defines, headers = dict(defines or {}), dict(headers or {})
    beside = sorted(source.parent.glob("*.h"))
    named = [f"{name}={value}" for name, value in sorted(defines.items())]
    texts = [part for item in sorted(headers.items()) for part in item]
    recipe = fingerprint([Path(__file__), *FLAGS, source, *beside, *named, "", *texts])

    def make(folder: Path) -> None:
        for name, text in headers.items():
            (folder / name).write_text(text)
        objects = compile_objects([source], defines, [source.parent], folder)
        argv = [toolchain().tool("ld"), *_ERRATA, "-Ttext=0", "--no-warn-rwx-segments", "-e", "0"]
        run([*argv, "-z", "max-page-size=4096", *objects, "-o", _BLOB_ELF], folder)
        objcopy_binary(_BLOB_ELF, _BLOB, folder)
        symbols = run([toolchain().tool("nm"), "-g", _BLOB_ELF], folder)
        (folder / _BLOB_SYMBOLS).write_text(symbols)

    folder = built("blob", source.name, recipe, make, (_BLOB, _BLOB_ELF, _BLOB_SYMBOLS))
    lines = (line.split() for line in (folder / _BLOB_SYMBOLS).read_text().splitlines())
    symbols = {fields[2]: int(fields[0], 16) for fields in lines if len(fields) == 3}
    return Blob((folder / _BLOB).read_bytes(), symbols, folder / _BLOB_ELF)


def run(argv: Sequence[str], folder: Path) -> str:
    env = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "SOURCE_DATE_EPOCH": "0"}
    if "TMPDIR" in os.environ:
        env["TMPDIR"] = os.environ["TMPDIR"]
    try:
        done = subprocess.run(
            argv, cwd=folder, env=env, stdin=subprocess.DEVNULL, capture_output=True,
            timeout=_TIMEOUT_S, check=False,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise UsageError(f"{argv[0]}: not found", hint="apt-get install binutils") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"{argv[0]} did not end within {_TIMEOUT_S} s") from error
    if done.returncode:
        lines = scrub(done.stderr).splitlines()
        first = next((line for line in lines if "error:" in line), "")
        head = f"{argv[0]} failed (exit {done.returncode}): {first}".rstrip()
        raise LabError("\n".join([head, *lines[:_ERROR_LINES]]))
    return done.stdout.decode("utf-8", "replace")
