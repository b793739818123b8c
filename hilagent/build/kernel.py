# SPDX-License-Identifier: Apache-2.0
"""Kernels to boot: built from Debian's source with our series, or found elsewhere.

``build_kernel`` is the way in. What it makes is kept by a fingerprint of source,
patches, configuration and compiler; the tree and the objects stay, too, so that
a changed patch costs what depends on it. All kernels of one configuration share
one output folder (see :mod:`hilagent.build.source`), one at a time.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hilagent.errors import InputError, LabError

from . import cache, compile, kconfig, make, source
from .progress import Progress, silent
from .series import Recipe, recipe, series

GIVEN = "given"
"""What a kernel is called that the lab brought along; :mod:`hilagent.build.given` makes it."""
_OPTION = "CONFIG_ARM64_HCALL_KEEP_X18"
_SCHEMA = "1"
_TARGETS = ("Image", "modules")
_STEPS = 1_820
"""Steps of a whole build, until the first one has been counted."""
_KEEP_OUTPUTS = 4
_STATE = ".hilagent-state"
_BUILDING = "being built"
_IN_FLIGHT_S = 120


@dataclass(frozen=True)
class Kernel:
    """A kernel to boot, and what belongs to it.

    Attributes:
        name: ``patched``, ``unpatched``, ``scs``, ``broken:NAME``, ``debian`` or ``given``.
        image: the arm64 Image, uncompressed.
        release: what ``uname -r`` says.
        version: the upstream version, e.g. ``6.12.117``.
        abi: the profile that it should keep; empty if only the running kernel can tell.
        digest: SHA-256 of the image, in hex.
        vmlinux: its ELF, for what reads code out of it.
        tree: what ``make M=`` needs.
        modules: to be loaded before anything else, in this order.
        build: stands in ``uname -v``, as ``#BUILD``; no two kernels of ours share it.
    """

    name: str
    image: Path
    release: str
    version: str
    abi: str
    digest: str
    vmlinux: Path | None = None
    config: Path | None = None
    tree: Path | None = None
    modules: tuple[Path, ...] = ()
    build: str = ""


def build_kernel(
    name: str = "patched",
    *,
    source: Path | None = None,
    config: Sequence[Path] = (),
    progress: Progress = silent,
    refresh: bool = False,
) -> Kernel:
    """Build the kernel ``name``, or take it from the cache.

    Args:
        name: see :func:`hilagent.build.series.names`; or ``debian``, Debian's own.
        source: a lab's own tree, built as it is: ``name`` then only labels it.
        config: further configuration fragments, laid over those of ``name``.
        refresh: ask Debian for newer packages.

    Raises TargetError if it doesn't build, InputError for a fragment or patch
    that doesn't fit, LabError for what this host lacks, UsageError for the name.
    """
    if source is not None:
        return _from_tree(source, tuple(config), progress)
    if name == "debian":
        from .stock import debian_kernel

        return debian_kernel(progress=progress, refresh=refresh)
    return _from_debian(recipe(name, tuple(config)), progress, refresh)


def cached(name: str, config: Sequence[Path] = ()) -> Kernel | None:
    """Return the kernel ``name`` if it is in the cache, with its tree; builds nothing.

    One that the lab brought along is none of those, and a host without a compiler has none.
    """
    if name == GIVEN:
        return None
    if name == "debian":
        from .stock import cached_kernel

        return cached_kernel()
    package = source.known_package()
    if package is None or not compile.available():
        return None
    wanted = recipe(name, tuple(config))
    home = cache.root() / "kernel" / _key(wanted, package.identity)
    return _kernel(home, wanted.name, wanted.abi) if home.is_dir() and _has_tree(home) else None


@contextmanager
def tree_of(kernel: Kernel, progress: Progress = silent) -> Iterator[tuple[Path, str | None]]:
    """Lend the tree of ``kernel`` for ``make M=``: its folder, and O= where it is one of ours.

    Nobody else builds in it meanwhile, and it is in the state of this kernel.
    """
    assert kernel.tree is not None
    own = source.known_package()
    ours = own is not None and kernel.tree.parent.parent.name == own.identity
    lock = kernel.tree.parent if ours else kernel.tree
    with cache.locked(lock, lambda: progress(0, 0, "waiting for another build")):
        if not (ours and own):
            yield kernel.tree, None
            return
        tree = source.unpacked(own, progress)
        wanted = recipe(kernel.name)
        _lay(tree, wanted)
        yield tree.folder, kernel.tree.name


def _from_debian(wanted: Recipe, progress: Progress, refresh: bool) -> Kernel:
    compile.toolchain()  # before anything is fetched that couldn't be built
    package = source.package(progress, refresh=refresh)
    key = _key(wanted, package.identity)

    def fill(work: Path) -> None:
        make.needs()
        tree = source.unpacked(package, progress)
        with cache.locked(tree.folder, lambda: progress(0, 0, "waiting for another build")):
            _lay(tree, wanted)
            _build(tree, wanted.fragments, key, work, progress)

    waiting = partial(progress, 0, 0, f"waiting for another build of {wanted.name}")
    home = cache.entry("kernel", key, fill, usable=_has_tree, waiting=waiting)
    return _kernel(home, wanted.name, wanted.abi)


def _from_tree(folder: Path, config: tuple[Path, ...], progress: Progress) -> Kernel:
    """Build a lab's tree outside of it. What is in it is make's to find out, so make is run."""
    make.needs()
    tree = source.given(folder)
    fragments = recipe("unpatched", config).fragments
    home = cache.folder("given", cache.fingerprint([tree.identity]))
    with cache.locked(home, lambda: progress(0, 0, "waiting for another build")):
        work = home / ".result"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        _build(tree, fragments, "given", work, progress, outputs=home)
        digest = hashlib.sha256((work / "Image").read_bytes()).hexdigest()[:32]
        final = cache.entry("kernel", f"given-{digest}", lambda new: _move(work, new),
                            usable=_has_tree)  # fmt: skip
    return _kernel(final, GIVEN, abi_of((final / "config").read_text()) or "x0-mainline")


def abi_of(config: str) -> str:
    """Return the ABI that a kernel with this configuration was built with.

    Only an option of our series tells that; empty for any other kernel: its answers will.
    """
    if _OPTION not in config:
        return ""
    return "iss-6.12-scs" if f"{_OPTION}=y" in config else "iss-6.12"


def _key(wanted: Recipe, identity: str) -> str:
    parts: list[str | Path] = [_SCHEMA, identity, make.version(), *wanted.patches, "config"]
    return cache.fingerprint([*parts, *wanted.fragments])


def _lay(tree: source.Source, wanted: Recipe) -> None:
    """Lay the patches; of the series, a failure on another version is the version's."""
    ours = series() if wanted.patches else None
    try:
        source.lay(tree, wanted.patches)
    except InputError as error:
        if ours and error.path in ours.patches and ours.version != tree.version:
            raise LabError(
                f"the patch series was held against Linux {ours.version}; this is"
                f" {tree.version}, and it doesn't apply:\n{error.message}",
                hint="build from a tree of that version (--source DIR), or carry the series on",
            ) from error
        raise


def _build(
    tree: source.Source,
    fragments: tuple[Path, ...],
    key: str,
    work: Path,
    progress: Progress,
    outputs: Path | None = None,
) -> None:
    """Configure and make; copy what a kernel is to ``work``."""
    home = outputs or tree.folder
    out = home / f"out-{cache.fingerprint([make.version(), *fragments])[:12]}"
    if (out / _STATE).is_file() and (out / _STATE).read_text() == _BUILDING:
        _recover(out)
    out.mkdir(exist_ok=True)
    (out / _STATE).write_text(_BUILDING)
    where = out.name if outputs is None else str(out)
    try:
        _configure(tree, out, where, fragments, progress)
        _make(tree, out, where, key, progress)
    finally:
        (out / _STATE).write_text(key)
    _copy(out, tree.version, key, work)
    for old in sorted(home.glob("out-*"), key=lambda p: p.stat().st_mtime)[:-_KEEP_OUTPUTS]:
        shutil.rmtree(old, ignore_errors=True)


def _recover(out: Path) -> None:
    """After a build that was killed: remove what may be half written, which make would trust.

    That is what was last written shortly before the last write of all.
    """
    files = [path for path in out.rglob("*") if path.is_file() and not path.is_symlink()]
    times = {path: path.stat().st_mtime for path in files}
    last = max((times[path] for path in files if path.name != _STATE), default=0)
    for path, time in times.items():
        if time >= last - _IN_FLIGHT_S:
            path.unlink()


def _configure(
    tree: source.Source, out: Path, where: str, fragments: tuple[Path, ...], progress: Progress
) -> None:
    """Make ``.config`` if what it is made from has changed; check that every option survived."""
    wanted = kconfig.read(fragments)
    stamp = out / ".hilagent-config"
    key = cache.fingerprint([*fragments, *_kconfig_files(tree)])
    if not (stamp.is_file() and stamp.read_text() == key and (out / ".config").is_file()):
        progress(0, 0, "configuring")
        variables = {"KCONFIG_CONFIG": ".config.new"}
        make.run(tree.folder, ["allnoconfig"], out=where, variables=variables)
        new = out / ".config.new"
        new.write_text(kconfig.merge(new.read_text(), wanted))
        make.run(tree.folder, ["olddefconfig"], out=where, variables=variables)
        if not (out / ".config").is_file() or new.read_text() != (out / ".config").read_text():
            new.replace(out / ".config")
        new.unlink(missing_ok=True)
    kconfig.check((out / ".config").read_text(), wanted)
    stamp.write_text(key)


def _kconfig_files(tree: source.Source) -> list[Path]:
    """The Kconfig files that patches have touched: the configuration follows them."""
    return [path for path in source.changed_files(tree) if path.name.startswith("Kconfig")]


def _make(tree: source.Source, out: Path, where: str, key: str, progress: Progress) -> None:
    count = out.parent / f"{out.name}.steps"
    fresh = not (out / "vmlinux").is_file()
    known = int(count.read_text()) if count.is_file() else _STEPS
    variables = {"KBUILD_BUILD_VERSION": key[:12]}
    steps = make.run(
        tree.folder, _TARGETS, out=where, variables=variables, progress=progress,
        total=known if fresh else 0,
    )  # fmt: skip
    if fresh:
        count.write_text(str(steps))


def _copy(out: Path, version: str, key: str, work: Path) -> None:
    files = {"Image": "arch/arm64/boot/Image", "vmlinux": "vmlinux", "config": ".config",
             "System.map": "System.map"}  # fmt: skip
    for name, made in files.items():
        shutil.copyfile(out / made, work / name)
    facts = {
        "release": (out / "include/config/kernel.release").read_text().strip(),
        "version": version,
        "digest": hashlib.sha256((work / "Image").read_bytes()).hexdigest(),
        "tree": str(out.relative_to(cache.root())),
        "build": key[:12],
    }
    (work / "kernel.json").write_text(json.dumps(facts, indent=1))


def _move(work: Path, new: Path) -> None:
    for item in work.iterdir():
        item.rename(new / item.name)


def _has_tree(home: Path) -> bool:
    """Without it there is no module to probe with: as good as not built."""
    return _tree(json.loads((home / "kernel.json").read_text())).is_dir()


def _tree(facts: dict[str, str]) -> Path:
    return cache.root() / facts["tree"]  # which was absolute in the first caches


def _kernel(home: Path, name: str, abi: str) -> Kernel:
    facts = json.loads((home / "kernel.json").read_text())
    tree = _tree(facts)
    return Kernel(
        name, home / "Image", facts["release"], facts["version"], abi, facts["digest"],
        home / "vmlinux", home / "config", tree if tree.is_dir() else None, build=facts["build"],
    )  # fmt: skip
