# SPDX-License-Identifier: Apache-2.0
"""A tree in which packages are unpacked and not yet configured, as dpkg itself would leave it."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from hilagent.build.debian import Package

_MERGED = ("bin", "lib", "sbin")
_FOLDERS = ("etc", "proc", "sys", "dev", "run", "root", "tmp", "var/lib/dpkg/info")


def tree(packages: Sequence[Package], root: Path) -> None:
    """Unpack ``packages`` below ``root``, a folder that isn't there yet, with dpkg's database."""
    for name in _FOLDERS:
        (root / name).mkdir(parents=True)
    for name in _MERGED:
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    known = [_unpack(package, root) for package in packages]
    (root / "var/lib/dpkg/status").write_text("\n".join(known))
    (root / "var/lib/dpkg/available").touch()
    for name in ("passwd", "group"):  # what base-passwd would bring before all others
        shutil.copyfile(root / f"usr/share/base-passwd/{name}.master", root / "etc" / name)


def as_root(argv: Sequence[str | Path]) -> None:
    """Run ``argv`` so that this user's files are root's; raises CalledProcessError."""
    mapped = [] if os.geteuid() == 0 else ["unshare", "--map-root-user"]
    subprocess.run([*mapped, *argv], check=True)


def _unpack(package: Package, root: Path) -> str:
    """Unpack one; return its paragraph of the status file."""
    shown: list[str | Path] = ["dpkg-deb", "--fsys-tarfile", package.deb]
    options = ("--keep-directory-symlink", "--no-same-owner", "--preserve-permissions")
    with subprocess.Popen(shown, stdout=subprocess.PIPE) as data:
        listed = subprocess.run(
            ["tar", "--extract", "--verbose", *options, "--directory", root],
            stdin=data.stdout, stdout=subprocess.PIPE, text=True, check=True,
        ).stdout  # fmt: skip
    assert data.returncode == 0
    control = root / "control"
    subprocess.run(["dpkg-deb", "--control", package.deb, control], check=True)
    paragraph = (control / "control").read_text().rstrip("\n")
    info = root / "var/lib/dpkg/info"
    name = _field(paragraph, "Package")
    if _field(paragraph, "Multi-Arch") == "same":
        name += f":{_field(paragraph, 'Architecture')}"
    names = (line.removeprefix(".").rstrip("/") or "/." for line in listed.splitlines())
    (info / f"{name}.list").write_text("".join(f"{each}\n" for each in names))
    files = (control / "conffiles").read_text().split() if (control / "conffiles").exists() else []
    for part in control.iterdir():
        if part.name != "control":
            shutil.copy(part, info / f"{name}.{part.name}")
    shutil.rmtree(control)
    return _status(paragraph, [path for path in files if path.startswith("/")], root)


def _status(paragraph: str, conffiles: Sequence[str], root: Path) -> str:
    head, _, rest = paragraph.partition("\n")
    text = f"{head}\nStatus: install ok unpacked\n{rest}\n"
    if conffiles:
        text += "Conffiles:\n"
        for path in conffiles:
            text += f" {path} {hashlib.md5((root / path[1:]).read_bytes()).hexdigest()}\n"
    return text


def _field(paragraph: str, name: str) -> str:
    found = re.search(rf"^{name}: (.*)$", paragraph, re.MULTILINE)
    return found[1] if found else ""
