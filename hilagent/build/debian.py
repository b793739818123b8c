# SPDX-License-Identifier: Apache-2.0
"""Debian's arm64 packages, fetched by this host's apt-get and never installed.

apt works in a private state of its own in the cache: the host's sources, keys,
pins, proxies and passwords are read where they are (so ``Signed-By`` holds and
every signature is checked), but its package lists, its architectures and its
installed packages are neither used nor touched. What none of the host's sources
has is looked for in Debian's security suite, on the same mirror. What was fetched
once is found again without apt; ``refresh`` asks for newer packages. Backports are
looked at only for what is asked from there, by an apt whose state is another one.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hilagent.errors import LabError

from . import cache, child
from .progress import Progress, silent

_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
"""Of the package debian-archive-keyring; without it apt checks with the keys it trusts."""
_TARGET = "$(REPO_URI) $(RELEASE) $(COMPONENT) $(LABEL)"


@dataclass(frozen=True)
class Package:
    """One fetched package: apt names the file ``NAME_VERSION_ARCH.deb``, colons as %3a."""

    deb: Path

    @property
    def name(self) -> str:
        """Its name, without version and architecture."""
        return self.deb.name.split("_")[0]

    @property
    def version(self) -> str:
        """Its version, e.g. ``6.12.117-1~deb12u1``."""
        return self.deb.name.split("_")[1].replace("%3a", ":")

    @property
    def identity(self) -> str:
        """Names this package in this version and no other."""
        return self.deb.name.removesuffix(".deb")


def fetch(
    names: Sequence[str],
    *,
    depends: bool = False,
    for_host: bool = False,
    backports: bool = False,
    progress: Progress = silent,
    refresh: bool = False,
) -> tuple[Package, ...]:
    """Return these packages, with everything they depend on if asked to.

    ``for_host``: programs in them are for this host, not for arm64. ``backports``: as
    they are in the backports of the host's own Debian.

    Raises LabError that names the package which the host's sources don't have,
    or says what apt said.
    """
    what = _What(names, depends, for_host, backports)
    if not refresh and (before := what.known()):
        return before
    home = cache.folder(what.home)
    with cache.locked(home, lambda: progress(0, 0, "waiting for another apt-get")):
        apt = _Apt(home, progress, for_host=for_host)
        if backports:
            packages = apt.download_backports(names, refresh=refresh)
        else:
            apt.update_once(force=refresh)
            packages = apt.download(names, depends)
        what.record.write_text(json.dumps([p.deb.name for p in packages]))
    return packages


def known(
    names: Sequence[str], *, depends: bool = False, for_host: bool = False
) -> tuple[Package, ...]:
    """Return what :func:`fetch` would return without apt; nothing if it would need it."""
    return _What(names, depends, for_host).known()


@dataclass(frozen=True)
class _What:
    """What :func:`fetch` was asked for, and where its apt keeps it."""

    names: Sequence[str]
    depends: bool
    for_host: bool
    backports: bool = False

    @property
    def home(self) -> str:
        return "debian-backports" if self.backports else "debian"

    @property
    def record(self) -> Path:
        asked = cache.fingerprint([*sorted(self.names), f"{self.depends} {self.for_host}"])
        return cache.root() / self.home / f"{asked}.json"

    def known(self) -> tuple[Package, ...]:
        try:
            files = json.loads(self.record.read_text())
        except (OSError, ValueError):
            return ()
        packages = tuple(Package(self.record.parent / "archives" / name) for name in files)
        return packages if all(p.deb.is_file() for p in packages) else ()


def unpack(packages: Sequence[Package], *, keep: int = 8) -> Path:
    """Return a folder with these packages' files, as they would lie in a root."""
    key = cache.fingerprint(sorted(p.deb.name for p in packages))

    def make(folder: Path) -> None:
        for package in packages:
            child.output(["dpkg", "-x", str(package.deb), str(folder)])

    return cache.entry("unpacked", key, make, keep=keep)


def depends(name: str, *, progress: Progress = silent, refresh: bool = False) -> list[str]:
    """Return the packages that ``name`` depends on, the first of each choice.

    Raises LabError if the host's sources don't have it.
    """
    record = cache.folder("debian") / f"depends-{name}.json"
    if not refresh and record.is_file():
        return list(json.loads(record.read_text()))
    with cache.locked(record.parent, lambda: progress(0, 0, "waiting for another apt-get")):
        apt = _Apt(record.parent, progress)
        apt.update_once(force=refresh)
        shown = apt.show(name)
        if not shown and apt.add_security():
            shown = apt.show(name)
    if not shown:
        raise _unknown(name)
    line = re.search(r"^Depends: (.*)$", shown, re.MULTILINE)
    names = [re.split(r"[ :]", each.strip())[0] for each in line[1].split(",")] if line else []
    record.write_text(json.dumps(names))
    return names


class _Apt:
    """apt with its state in ``home``; the caller holds the lock on it."""

    def __init__(self, home: Path, progress: Progress, *, for_host: bool = False) -> None:
        if not shutil.which("apt-get"):
            raise LabError(
                "arm64 packages are fetched with apt-get, and this host has none",
                hint="build on Debian 12 or 13, or give a prebuilt kernel (--artifacts DIR)",
            )
        self._home, self._progress = home, progress
        arch = _host() if for_host else "arm64"
        # apt lists only what isn't in its archives: one of them stays empty
        folders = ("archives", "empty", f"lists-{arch}")
        self._archives, self._empty, self._lists = (cache.folder(home.name, n) for n in folders)
        for name in folders:
            cache.folder(home.name, name, "partial")
        (home / "status").touch()
        (home / "apt.conf").write_text(_conf(home, self._lists, arch))
        self._sources = home / "sources.list"  # the host's own and the security suite, if needed

    def update_once(self, *, force: bool) -> None:
        """Fetch the package lists if there are none."""
        if force or not any(self._lists.glob("*_Packages*")):
            self._progress(0, 0, "package lists")
            self._run(["apt-get", "update"])

    def download(self, names: Sequence[str], depends: bool) -> tuple[Package, ...]:
        """Fetch; if that fails the lists may be old, or the host's sources others: begin anew."""
        how = ["install", "--download-only", "--no-install-recommends", "-y"]
        words = [*(how if depends else ["download"]), *names]
        try:
            files = self._try(words)
        except LabError:
            self._sources.unlink(missing_ok=True)
            self.update_once(force=True)
            try:
                files = self._try(words, names)
            except _Unknown:
                if not self.add_security():
                    raise
                files = self._try(words, names)
        return tuple(Package(self._archives / name) for name in files)

    def download_backports(self, names: Sequence[str], *, refresh: bool) -> tuple[Package, ...]:
        """Fetch from the backports suite; raises LabError if it has not all of them."""
        self.update_once(force=refresh)  # it knows no suite before
        if (refresh or not self._sources.exists()) and not self.add_suite("backports"):
            raise LabError("the backports of this host's Debian can't be read")
        suite = re.search(r"^deb .* (\S+-backports) main$", self._sources.read_text(), re.MULTILINE)
        assert suite is not None  # add_suite wrote it
        words = ["download", *(f"{name}/{suite[1]}" for name in names)]
        return tuple(Package(self._archives / name) for name in self._try(words))

    def show(self, name: str) -> str:
        """Return what apt-cache shows of a package; nothing if no source has it."""
        argv = ["apt-cache", *self._options(), "show", "--no-all-versions", name]
        done = subprocess.run(argv, capture_output=True, stdin=subprocess.DEVNULL, check=False)
        shown = done.stdout.decode("utf-8", "replace")
        return shown if f"Package: {name}\n" in shown else ""

    def add_security(self) -> bool:
        """Read the security suite, too; returns False if it can't be read."""
        return self.add_suite("security", beside=True)

    def add_suite(self, name: str, *, beside: bool = False) -> bool:
        """Read one more suite of the Debian that the host has its packages from.

        Args:
            beside: on a mirror it lies beside the main one, and not in it.
        """
        said = self._run(["apt-get", "indextargets", "--format", _TARGET])
        main = re.search(r"^(\S+?)/? (\w+) main Debian$", said, re.MULTILINE)
        if main is None:
            return False
        key = f"[signed-by={_KEYRING}] " if Path(_KEYRING).is_file() else ""
        said = child.output(["apt-config", "shell", "LIST", "Dir::Etc::sourcelist/f"])
        own = Path(said.removeprefix("LIST=").strip("'"))
        lines = f"{own.read_text()}\n" if own.is_file() else ""
        mirror = f"{main[1]}-{name}" if beside else main[1]
        lines += f"deb {key}{mirror} {main[2]}-{name} main\n"
        self._sources.write_text(lines)
        try:
            self.update_once(force=True)
        except LabError:
            self._sources.unlink()
            return False
        return True

    def _try(self, words: Sequence[str], names: Sequence[str] = ()) -> list[str]:
        try:
            said = self._run(["apt-get", "--print-uris", *words], archives=self._empty)
            files = re.findall(r"^'[^']*' (\S+\.deb) ", said, re.MULTILINE)
            if not all((self._archives / name).is_file() for name in files):
                self._run(["apt-get", *words])
        except LabError as error:
            for name in names:
                if re.search(rf"Unable to locate package {re.escape(name)}$|"
                             rf"'?{re.escape(name)}'? has no installation candidate",
                             error.message, re.MULTILINE):  # fmt: skip
                    raise _unknown(name) from error
            raise
        missing = [name for name in files if not (self._archives / name).is_file()]
        if missing or not files:
            raise LabError(f"apt-get succeeded but did not fetch {', '.join(missing or words)}")
        return files

    def _run(self, argv: Sequence[str], archives: Path | None = None) -> str:
        where = archives or self._archives
        own = ["-o", "APT::Status-Fd=1", "-o", f"Dir::Cache::archives={where}/"]
        words = [argv[0], *self._options(), "-q", *own, *argv[1:]]
        return child.output(words, cwd=where, see=self._see)

    def _options(self) -> list[str]:
        options = ["-c", str(self._home / "apt.conf")]
        if self._sources.exists():
            options += ["-o", f"Dir::Etc::sourcelist={self._sources}"]
        return options

    def _see(self, line: str) -> None:
        fields = line.split(":", 3)
        if fields[0] == "dlstatus" and len(fields) == 4:
            self._progress(int(float(fields[2])), 100, fields[3].strip())


def _host() -> str:
    return child.output(["dpkg", "--print-architecture"]).strip()


def _conf(home: Path, lists: Path, arch: str) -> str:
    """Return what makes apt's state private; read after the host's own configuration."""
    return f"""\
#clear APT::Architectures;
#clear APT::Update;
#clear DPkg::Pre-Install-Pkgs;
APT::Architecture "{arch}";
APT::Architectures {{ "{arch}"; }};
APT::Sandbox::User "root";
APT::Get::Assume-Yes "true";
Acquire::Languages "none";
Debug::NoLocking "true";
Dir::State "{home}/";
Dir::State::lists "{lists}/";
Dir::State::status "{home}/status";
Dir::State::extended_states "{home}/extended_states";
Dir::Cache "{home}/";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
Dir::Log "{home}/";
"""


class _Unknown(LabError):
    """No source has a package."""


def _unknown(name: str) -> _Unknown:
    return _Unknown(
        f"{name} (arm64) is in none of this host's package sources",
        hint="Debian 12 has it in bookworm-security, Debian 13 in trixie: add the suite to"
        " /etc/apt/sources.list.d; or give your own tree (--source DIR) or a built kernel"
        " (--artifacts DIR)",
    )
