# SPDX-License-Identifier: Apache-2.0
"""Wheels of this tree, and where they are installed: outside of it, without a compiler."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests import tree

TOOLS = ("qemu-system-aarch64", "setpriv")
"""All that the PATH of an installation holds here."""


def hatchling(
    target: str, folder: Path, top: Path = tree.TOP, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Build a ``wheel`` or an ``sdist`` of ``top`` into ``folder``; the exit code is in it."""
    argv = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)]
    env = {**os.environ, **(env or {})}
    return subprocess.run(argv, cwd=top, env=env, capture_output=True, text=True)


def built(
    target: str, folder: Path, top: Path = tree.TOP, env: Mapping[str, str] | None = None
) -> Path:
    """Return the file that hatchling made."""
    done = hatchling(target, folder, top, env)
    assert done.returncode == 0, done.stdout + done.stderr
    (made,) = [path for path in folder.iterdir() if path.is_file()]
    return made


def tools(folder: Path) -> str:
    """Return a PATH with what runs the emulated board, and nothing that compiles."""
    folder.mkdir()
    places = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    for name in TOOLS:
        found = [Path(place) / name for place in places.split(":")]
        (folder / name).symlink_to(next(path for path in found if path.exists()))
    return str(folder)


@dataclass(frozen=True)
class Host:
    """A host that has nothing but an installed hilagent, in an environment of its own.

    Attributes:
        home: where the environment is.
        work: the only folder that its processes are told of.
        path: theirs.
    """

    home: Path
    work: Path
    path: str

    @property
    def site(self) -> Path:
        """The environment's site-packages."""
        base = {"base": str(self.home), "platbase": str(self.home)}
        return Path(sysconfig.get_path("purelib", "venv", base))

    def run(self, *words: str, cwd: str = "/", **env: str) -> subprocess.CompletedProcess[str]:
        """Run its ``hilagent``; there is no HOME, no cache, and no more in the environment."""
        own = {"PATH": self.path, "TMPDIR": str(self.work), "HILAGENT_RUNS": f"{self.work}/runs",
               "HILAGENT_STATE": f"{self.work}/state", **env}  # fmt: skip
        argv = [str(self.home / "bin" / "hilagent"), *words]
        return subprocess.run(argv, cwd=cwd, env=own, capture_output=True, text=True)

    def pip(self, *words: str) -> None:
        """Run pip upon the environment, which has none."""
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
        python = ["--python", str(self.home / "bin" / "python")]
        subprocess.run([*pip, *python, *words], check=True, capture_output=True, cwd="/")

    def files(self) -> dict[str, int]:
        """Return all that is in the environment, and when it was changed."""
        paths = [self.home, *self.home.rglob("*")]
        return {str(path): path.lstat().st_mtime_ns for path in paths}


def bare(folder: Path) -> Host:
    """Return a host with the packages that hilagent depends on, which are those of ``.venv``."""
    host = Host(folder / "venv", folder / "work", tools(folder / "bin"))
    host.work.mkdir()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", host.home], check=True)
    (host.site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return host


def python(site: Path, code: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run ``code`` with the hilagent that was unpacked into ``site``."""
    own = {"PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1", "PATH": "/nonexistent", **env}
    argv = [sys.executable, "-c", code]
    return subprocess.run(argv, cwd="/", env=own, capture_output=True, text=True)


def command(site: Path, words: Sequence[str], **env: str) -> subprocess.CompletedProcess[str]:
    """Run the command ``hilagent`` that was unpacked into ``site``."""
    code = f"import sys; from hilagent.cli import main; sys.exit(main({list(words)!r}))"
    return python(site, code, **env)
