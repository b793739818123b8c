# SPDX-License-Identifier: Apache-2.0
"""A kernel that somebody else built: by its files, or a folder as kernel CIs leave it.

What is absent costs something, and each loss is said before a run, not after.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hilagent.errors import InputError, UsageError

from . import cache, child, drivers, image
from .kernel import GIVEN, Kernel, abi_of, build_kernel
from .progress import Progress, silent

_COSTS = {
    "dtb": "the device tree that the board's firmware gives is used",
    "modules": "drivers that aren't built in are missing: if the network is one, there is no SSH",
    "vmlinux": "its vectors can't be cut out and its callers not analysed; addresses in a crash"
    " have no names",
    "headers": "the probe module can't be built: no live dispatch and clobber, no restart into"
    " the payload",
}
_PARTS = ("modules", "initrd", "vmlinux", "headers")
_LAYOUT = {
    "image": ("Image", "Image.gz", "Image.xz", "Image.zst", "vmlinuz.efi", "vmlinuz*"),
    "modules": ("modules.tar.*", "modules", "lib/modules"),
    "initrd": ("rootfs.cpio.gz", "initrd.img*", "initramfs.cpio*"),
    "vmlinux": ("vmlinux", "vmlinux.xz", "vmlinux.gz", "vmlinux.zst"),
    "headers": ("headers", "build", "linux-headers*"),
    "config": ("config", "kernel.config", ".config", "config-*"),
}


@dataclass(frozen=True)
class Paths:
    """Where a kernel of the lab's own is, as somebody said it; falsy for nowhere.

    Attributes:
        source: a tree that is built as it is. ``image``: a kernel that is built already.
            ``artifacts``: a folder with one, in a kernel CI's layout.
        dtb: a file; with ``artifacts``, one's name in there.
        modules, initrd, vmlinux, headers: what belongs to ``image``, see :func:`given`.
    """

    source: Path | None = None
    image: Path | None = None
    artifacts: Path | None = None
    dtb: str = ""
    modules: Path | None = None
    initrd: Path | None = None
    vmlinux: Path | None = None
    headers: Path | None = None

    def __bool__(self) -> bool:
        return any((self.source, self.image, self.artifacts))

    def check(self) -> None:
        """Raise UsageError for what excludes each other, or belongs to nothing."""
        ways = [way for way in ("source", "image", "artifacts") if getattr(self, way)]
        if len(ways) > 1:
            raise UsageError(f"--{ways[0]} and --{ways[1]} exclude each other")
        parts = [part for part in _PARTS if getattr(self, part) is not None]
        if parts and not self.image:
            raise UsageError(f"--{parts[0]} belongs to --image")
        if self.dtb and not (self.image or self.artifacts):
            raise UsageError("--dtb belongs to --image or --artifacts")

    def kernel(self, config: Sequence[Path] = (), progress: Progress = silent) -> Given:
        """Return the kernel with what came along; a tree is built first.

        Raises UsageError, InputError, and what :func:`hilagent.build.kernel.build_kernel` does.
        """
        self.check()
        if self.artifacts:
            return artifacts(self.artifacts, dtb=self.dtb)
        if self.image:
            return given(
                self.image, dtb=Path(self.dtb) if self.dtb else None, modules=self.modules,
                initrd=self.initrd, vmlinux=self.vmlinux, headers=self.headers,
            )  # fmt: skip
        assert self.source is not None
        built = build_kernel(GIVEN, source=self.source, config=config, progress=progress)
        return Given(built, None, None, ())


@dataclass(frozen=True)
class Absent:
    """Something that wasn't given, and what it costs."""

    what: str
    costs: str


@dataclass(frozen=True)
class Given:
    """A kernel with what came along.

    Attributes:
        dtb: in place of the one that the board's firmware has.
        initrd: its files are there beside those of our root file system.
    """

    kernel: Kernel
    dtb: Path | None
    initrd: Path | None
    absent: tuple[Absent, ...]


def artifacts(folder: Path, *, dtb: str = "") -> Given:
    """Return what a folder in a kernel CI's layout holds; ``dtb`` names one in its ``dtbs``.

    Raises InputError if there is no image in it, or no such device tree.
    """
    if not folder.is_dir():
        raise InputError(folder, "not a folder")
    found = {what: _first(folder, patterns) for what, patterns in _LAYOUT.items()}
    kernel = found.pop("image")
    if kernel is None:
        raise InputError(folder, f"holds no kernel: none of {', '.join(_LAYOUT['image'])}")
    return given(kernel, dtb=_dtb(folder, dtb) if dtb else None, **found)


def given(
    kernel: Path,
    *,
    dtb: Path | None = None,
    modules: Path | None = None,
    initrd: Path | None = None,
    vmlinux: Path | None = None,
    headers: Path | None = None,
    config: Path | None = None,
) -> Given:
    """Return a prebuilt kernel.

    Args:
        kernel: an arm64 Image, plain, compressed or as an EFI zboot image.
        modules: a folder or an archive with them.
        headers: what ``make M=`` needs.

    Raises InputError for what isn't what it should be.
    """
    data = image.plain(kernel)
    for path in (dtb, initrd, vmlinux, config):
        if path is not None and not path.is_file():
            raise InputError(path, "there is no such file")
    if headers is not None and not (headers / "Makefile").is_file():
        raise InputError(headers, "no headers to build a module with: there is no Makefile")
    if dtb is not None and dtb.read_bytes()[:4] != b"\xd0\x0d\xfe\xed":
        raise InputError(dtb, "not a flattened device tree")
    digest = hashlib.sha256(data).hexdigest()
    home = cache.entry("prebuilt", cache.fingerprint([digest, *_stamps(modules, vmlinux)]),
                       lambda work: _fill(work, data, modules, vmlinux), keep=8)  # fmt: skip
    release = image.release(data)
    loaded = (home / "order").read_text().split()
    abi = abi_of(config.read_text("utf-8", "replace") if config else image.config(data))
    made = Kernel(
        GIVEN, home / "Image", release, image.version(release), abi, digest,
        home / "vmlinux" if vmlinux else None, config, headers,
        tuple(home / "modules" / name for name in loaded),
    )  # fmt: skip
    present = {"dtb": dtb, "modules": modules, "vmlinux": vmlinux, "headers": headers}
    absent = tuple(Absent(what, _COSTS[what]) for what, path in present.items() if path is None)
    return Given(made, dtb, initrd, absent)


def _stamps(*paths: Path | None) -> list[str]:
    """What tells one state of these files from another without reading them whole."""
    stats = [(path, path.stat()) for path in paths if path is not None]
    return [f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns}" for path, stat in stats]


def _fill(work: Path, data: bytes, modules: Path | None, vmlinux: Path | None) -> None:
    (work / "Image").write_bytes(data)
    loaded: tuple[Path, ...] = ()
    if modules is not None:
        tree = modules
        if modules.is_file():
            tree = work / "tree"
            tree.mkdir()
            child.output(["tar", "-xf", str(modules.resolve()), "-C", str(tree)])
        loaded = drivers.extract(tree, work / "modules")
        shutil.rmtree(work / "tree", ignore_errors=True)
    if vmlinux is not None:
        (work / "vmlinux").write_bytes(image.unpacked(vmlinux))
    (work / "order").write_text("\n".join(path.name for path in loaded))


def _first(folder: Path, patterns: tuple[str, ...]) -> Path | None:
    for pattern in patterns:
        for path in sorted(folder.glob(pattern)):
            return path
    return None


def _dtb(folder: Path, name: str) -> Path:
    wanted = name if name.endswith(".dtb") else f"{name}.dtb"
    for path in sorted(folder.rglob(wanted)):
        return path
    raise InputError(folder, f"holds no {wanted}")
