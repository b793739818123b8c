# SPDX-License-Identifier: Apache-2.0
"""A bare Debian in a folder: what debootstrap makes, plus git and python3.

Everything comes from where this host itself gets its packages, and leaves
nothing mounted: each command runs in mount and process namespaces of its own.
"""

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests import tree

CHECKOUT = "/src/hilagent"
_OWN_CAS = Path("usr/local/share/ca-certificates")
_PASSED_ON = re.compile(r"PIP_|SSL_CERT|REQUESTS_CA|\w+_proxy$", re.IGNORECASE)
# $1 the root; the rest is run in it
_ENTER = """
mount --rbind /dev "$1/dev" && mount --rbind /sys "$1/sys" && mount -t proc proc "$1/proc" || exit
root=$1; shift; exec chroot "$root" "$@"
"""


@dataclass(frozen=True)
class Done:
    """What a command in the chroot came to."""

    status: int
    output: str
    took_s: float


@dataclass(frozen=True)
class Bare:
    root: Path

    def run(self, command: str) -> Done:
        """Run a shell command in the checkout, as a user of this Debian would."""
        passed = {name: value for name, value in os.environ.items() if _PASSED_ON.match(name)}
        env = passed | {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "CI": "true"}
        namespaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
        inside = ["env", "-i", *(f"{k}={v}" for k, v in env.items()), "sh", "-c"]
        argv = [*namespaces, "sh", "-c", _ENTER, "enter", str(self.root), *inside]
        began = time.monotonic()
        done = subprocess.run(
            [*argv, f"cd {CHECKOUT} && {command}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        return Done(done.returncode, done.stdout, time.monotonic() - began)

    def size_mib(self) -> int:
        said = subprocess.run(["du", "-sxm", self.root], capture_output=True, text=True, check=True)
        return int(said.stdout.split()[0])


def mirror() -> str:
    """Where this host's own main packages come from; "" if apt doesn't know."""
    codename = re.search(r"^VERSION_CODENAME=(\w+)$", Path("/etc/os-release").read_text(), re.M)
    if codename is None or not shutil.which("apt-get"):
        return ""
    words = "$(REPO_URI) $(RELEASE) $(COMPONENT)"
    argv = ["apt-get", "indextargets", "--format", words, "Identifier: Packages"]
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    sources = (line.split() for line in said.splitlines())
    return next((s[0] for s in sources if s[1:] == [codename[1], "main"]), "")


@contextmanager
def debian(suite: str) -> Iterator[Bare]:
    """A fresh one with a clean clone of this tree in it; gone at the end. Needs root."""
    packages = ["git", "python3"]
    if mirror().startswith("https"):
        packages.append("ca-certificates")
    with made(suite, packages) as root:
        clone = ["git", "clone", "--quiet", "--no-hardlinks", str(tree.TOP), f"{root}{CHECKOUT}"]
        subprocess.run(clone, check=True)
        yield Bare(root)


@contextmanager
def made(suite: str, packages: Sequence[str]) -> Iterator[Path]:
    """The folder of a fresh one with ``packages``; gone at the end. Needs root."""
    root = Path(tempfile.mkdtemp(prefix=f"hilagent-{suite}-"))
    root.chmod(0o755)  # its users are not root
    try:
        include = f"--include={','.join(packages)}"
        words = ["--variant=minbase", include, suite, str(root), mirror()]
        argv = ["unshare", "--mount", "debootstrap", *words]
        subprocess.run(argv, stdout=subprocess.DEVNULL, check=True)
        _like_this_host(root)
        yield root
    finally:
        shutil.rmtree(root)


def _like_this_host(root: Path) -> None:
    """Names, own certificate authorities and ways to the mirror, as this host has them."""
    for name in ("etc/resolv.conf", "etc/hosts"):
        shutil.copy(f"/{name}", root / name)
    if (cas := Path("/") / _OWN_CAS).is_dir():
        shutil.copytree(cas, root / _OWN_CAS, dirs_exist_ok=True)
    said = subprocess.run(["apt-config", "dump", "Acquire"], capture_output=True, text=True)
    ways = re.findall(r"^Acquire::(?:https?|Check)\b.*\n", said.stdout, re.M | re.I)
    (root / "etc/apt/apt.conf.d/00host").write_text("".join(ways))
