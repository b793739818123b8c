# SPDX-License-Identifier: Apache-2.0
"""The root file system of a kernel under test: Debian's arm64 programs, as a cpio.

busybox, an SSH server with the lab's keys, two small programs of our own
(``firmware/rootfs``), the modules, and nothing that writes to a disk. The same
inputs give the same bytes.
"""

from __future__ import annotations

import gzip
import hashlib
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hilagent.errors import LabError

from . import cache, compile, cpio, debian, sources
from .kernel import Kernel
from .keys import Keys, lab_keys
from .progress import Progress, silent

_ARCHIVE = "rootfs.cpio.gz"
PACKAGES = ("busybox-static", "dropbear-bin")
PROGRAMS = {
    "hilkexec": ("hilkexec.c", "hilkexec_fdt.c", "hilkexec_load.c"),
    "hilkvm": ("hilkvm.c",),
}
_FLAGS = (
    *("-std=gnu11", "-Os", "-static", "-s", "-Wl,--build-id=none"),
    *("-Wall", "-Wextra", "-Werror"),
)
_LIBRARIES = ("lib/aarch64-linux-gnu", "usr/lib/aarch64-linux-gnu", "lib", "usr/lib")
_LOADER = "lib/ld-linux-aarch64.so.1"
_FOLDERS = ("dev", "proc", "sys", "tmp", "root", "lib/modules", "sbin", "usr/bin", "usr/sbin")
_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
    "etc/group": "root:x:0:\n",
    "etc/shells": "/bin/sh\n",
    "etc/inittab": "::respawn:-/bin/sh\n::ctrlaltdel:/sbin/reboot -f\n",
    "etc/profile": "PS1='hilagent# '\n",
}


@dataclass(frozen=True)
class Rootfs:
    """A built root file system: a compressed cpio, and its SHA-256 in hex."""

    archive: Path
    digest: str


def build_rootfs(
    *,
    kernel: Kernel | None = None,
    module: Path | None = None,
    keys: Keys | None = None,
    progress: Progress = silent,
    refresh: bool = False,
) -> Rootfs:
    """Build the root file system, or take it from the cache.

    Args:
        kernel: whose modules (``kernel.modules``) are loaded first.
        module: one more, loaded after them.
        keys: the lab's (default: made once, see :mod:`hilagent.build.keys`).
        refresh: ask Debian for newer packages.

    Raises LabError for what the lab lacks: packages, the compiler, the keys.
    """
    compiler = compile.toolchain().version  # before anything is fetched or made
    own = keys or lab_keys()
    packages = debian.fetch(PACKAGES, depends=True, progress=progress, refresh=refresh)
    loaded = [*(kernel.modules if kernel else ()), *([module] if module else [])]
    folder = sources.firmware_dir() / "rootfs"
    ours = sources.files(folder, ".c", ".h", "")
    key = cache.fingerprint(
        [
            Path(__file__), Path(cpio.__file__), compiler, *_FLAGS, *ours,
            *(p.deb.name for p in packages), *loaded, own.host_dropbear, own.client_public,
        ]
    )  # fmt: skip

    def make(work: Path) -> None:
        progress(0, 0, "root file system")
        nodes = _nodes(debian.unpack(packages), _programs(folder), loaded, own)
        archive = gzip.compress(cpio.write(nodes), 9, mtime=0)
        (work / _ARCHIVE).touch(0o600)  # the host's private key is in it
        (work / _ARCHIVE).write_bytes(archive)
        (work / "sha256").write_text(hashlib.sha256(archive).hexdigest())

    waiting = partial(progress, 0, 0, "waiting for another build of the root file system")
    home = cache.entry("rootfs", key, make, mode=0o700, waiting=waiting)
    with suppress(OSError):
        home.parent.chmod(0o700)  # for those that were made before it was so
    return Rootfs(home / _ARCHIVE, (home / "sha256").read_text())


def _programs(folder: Path) -> Path:
    """Return a folder with our own programs, linked statically."""
    ours = sources.files(folder, ".c", ".h")
    key = cache.fingerprint([Path(__file__), compile.toolchain().version, *_FLAGS, *ours])

    def make(work: Path) -> None:
        for source in ours:
            shutil.copyfile(source, work / source.name)
        for name, files in PROGRAMS.items():
            compile.run([compile.toolchain().tool("gcc"), *_FLAGS, *files, "-o", name], work)
        for source in ours:
            (work / source.name).unlink()

    return cache.entry("programs", key, make, keep=4)


def _nodes(tree: Path, programs: Path, modules: Sequence[Path], own: Keys) -> dict[str, cpio.Node]:
    nodes = {name: cpio.folder() for name in _FOLDERS}
    nodes["tmp"], nodes["root"] = cpio.folder(0o1777), cpio.folder(0o700)
    nodes["dev/console"] = cpio.char_device(5, 1)
    nodes["dev/null"] = cpio.char_device(1, 3, 0o666)
    nodes |= {name: cpio.file(text.encode()) for name, text in _FILES.items()}
    source = sources.firmware_dir() / "rootfs"
    nodes["init"] = cpio.file((source / "init").read_bytes(), 0o755)
    nodes["etc/udhcpc"] = cpio.file((source / "udhcpc").read_bytes(), 0o755)
    for name in PROGRAMS:
        nodes[f"sbin/{name}"] = cpio.file((programs / name).read_bytes(), 0o755)
    nodes |= _debian_nodes(tree)
    nodes["etc/dropbear/host"] = cpio.file(own.host_dropbear, 0o600)
    nodes["root/.ssh"] = cpio.folder(0o700)
    nodes["root/.ssh/authorized_keys"] = cpio.file(f"{own.client_public}\n".encode(), 0o600)
    return nodes | _module_nodes(modules)


def _debian_nodes(tree: Path) -> dict[str, cpio.Node]:
    """busybox (init links its other names), dropbear, and the libraries that it needs."""
    dropbear = _find(tree, "dropbear")
    nodes = {
        "bin/busybox": cpio.file(_find(tree, "busybox").read_bytes(), 0o755),
        "bin/sh": cpio.symlink("busybox"),
        "usr/sbin/dropbear": cpio.file(dropbear.read_bytes(), 0o755),
        _LOADER: cpio.file(_library(tree, Path(_LOADER).name).read_bytes(), 0o755),
    }
    for name in _needed(tree, dropbear):
        nodes[f"lib/{name}"] = cpio.file(_library(tree, name).read_bytes(), 0o755)
    return nodes


def _needed(tree: Path, program: Path) -> set[str]:
    """Return every library that the program needs, and those of its libraries."""
    found: set[str] = set()
    todo = [program]
    while todo:
        new = set(_dynamic(todo.pop())) - found
        found |= new
        todo += [_library(tree, name) for name in new]
    return found - {Path(_LOADER).name}


def _dynamic(path: Path, name: str = "needed") -> list[str]:
    from elftools.elf.dynamic import DynamicSection
    from elftools.elf.elffile import ELFFile

    with path.open("rb") as stream:
        section = ELFFile(stream).get_section_by_name(".dynamic")
        tags = section.iter_tags("DT_NEEDED") if isinstance(section, DynamicSection) else ()
        return [str(getattr(tag, name)) for tag in tags]


def _library(tree: Path, name: str) -> Path:
    for folder in _LIBRARIES:
        if (path := tree / folder / name).is_file():
            return path
    raise LabError(f"Debian's arm64 packages hold no {name}", hint="report this with apt's version")


def _module_nodes(modules: Sequence[Path]) -> dict[str, cpio.Node]:
    """The modules, and the file that tells init their order."""
    nodes = {"lib/modules/order": cpio.file("".join(f"{p.name}\n" for p in modules).encode())}
    return nodes | {f"lib/modules/{p.name}": cpio.file(p.read_bytes()) for p in modules}


def _find(tree: Path, name: str) -> Path:
    for folder in ("bin", "sbin", "usr/bin", "usr/sbin"):
        if (tree / folder / name).is_file():
            return tree / folder / name
    raise LabError(f"Debian's arm64 packages hold no {name}", hint="report this with apt's version")
