# SPDX-License-Identifier: Apache-2.0
"""A Debian for arm64 on a disk that UEFI boots by GRUB, made without root and kept in the cache.

Packages come from where this host gets its own. They are unpacked here, as debootstrap's
first stage would, and configure themselves on an emulated board (``system/second-stage``).
"""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hilagent.build import cache, debian, keys, stock
from tests import kernels

from . import dpkg_unpacked

SYSTEM = Path(__file__).with_name("system")
PACKAGES = (
    *("init", "usr-is-merged", "apt", "base-files", "base-passwd", "bash", "bsdutils"),
    *("coreutils", "dash", "debianutils", "diffutils", "dosfstools", "e2fsprogs", "findutils"),
    *("grep", "grub-efi-arm64", "gzip", "hostname", "ifupdown", "initramfs-tools", "iproute2"),
    *("kexec-tools", "kmod", "libc-bin", "login", "make", "mount", "ncurses-base"),
    *("openssh-server", "passwd", "perl-base", "procps", "python3", "python3-apt", "sed"),
    *("sysvinit-utils", "tar", "udev", "util-linux"),
)
_MIB = 1 << 20
_ESP_MIB, _ROOT_MIB = 64, 1600
_ROOT_AT = (1 + _ESP_MIB) * _MIB
_SECTOR = 512
_SIGNATURE = b"gh1b\0\0"
"""Of the partition table; the kernel makes PARTUUIDs of it."""
_SECOND_STAGE_S = 1500.0


@dataclass(frozen=True)
class Disk:
    """A disk that nobody changes.

    Attributes:
        image: of the whole of it.
        kernel: Debian's, as the disk has it, for a board without firmware.
        initrd: that kernel's.
    """

    image: Path
    kernel: Path
    initrd: Path


def built() -> Disk:
    """Return the disk; makes it first, which takes minutes, if the cache has none.

    Raises LabError for what this host's sources lack, and TimeoutExpired or AssertionError
    if the board doesn't configure its packages.
    """
    own = keys.lab_keys()
    theirs = stock.debian_kernel()
    names = (*PACKAGES, f"linux-image-{theirs.release}")
    packages = debian.fetch(names, depends=True)
    kernel = kernels.built()
    scripts = sorted(path for path in SYSTEM.rglob("*") if path.is_file())
    sources = [Path(__file__), Path(dpkg_unpacked.__file__), *scripts]
    key = cache.fingerprint(
        [*sources, *(p.identity for p in packages), kernel.digest, own.host_public,
         own.client_public]
    )  # fmt: skip

    def make(work: Path) -> None:
        tree = work / "tree"
        dpkg_unpacked.tree(packages, tree)
        _own_files(tree, own)
        _partitioned(work / "disk", tree)
        shutil.rmtree(tree)
        _configure(work / "disk", kernel.image, work / "second-stage.log")
        _export(work / "disk", f"/boot/initrd.img-{theirs.release}", work / "initrd")

    home = cache.entry("board-debian", key, make, keep=2, mode=0o700)
    return Disk(home / "disk", theirs.image, home / "initrd")


def _own_files(tree: Path, own: keys.Keys) -> None:
    """What debootstrap and an installer would leave, and SSH with the lab's keys."""
    shutil.copytree(SYSTEM, tree, dirs_exist_ok=True)
    secret = tree / "etc/ssh/ssh_host_ed25519_key"
    secret.touch(0o600)
    secret.write_bytes((own.folder / "host").read_bytes())
    secret.with_suffix(".pub").write_text(f"{own.host_public}\n")
    (tree / "root/.ssh").mkdir(0o700)
    (tree / "root/.ssh/authorized_keys").write_text(f"{own.client_public}\n")


def _partitioned(disk: Path, tree: Path) -> None:
    """An EFI system partition, still empty, and the tree as ext4 behind it."""
    esp, root = (_MIB, _ESP_MIB * _MIB), (_ROOT_AT, _ROOT_MIB * _MIB)
    table = b"".join(
        struct.pack("<8B2I", 0, 0, 0, 0, kind, 0, 0, 0, at // _SECTOR, size // _SECTOR)
        for kind, (at, size) in ((0xEF, esp), (0x83, root))
    )
    with disk.open("wb") as out:
        out.write(bytes(440) + _SIGNATURE + table.ljust(64, b"\0") + b"\x55\xaa")
        out.truncate(sum(root))
    dpkg_unpacked.as_root(
        ["/sbin/mke2fs", "-q", "-F", "-t", "ext4", "-E", f"offset={root[0]}", "-d", tree,
         "-U", "b0a2d000-0000-4000-8000-000000000001", disk, f"{_ROOT_MIB}m"],
    )  # fmt: skip


def _configure(disk: Path, kernel: Path, log: Path) -> None:
    """Let the packages configure themselves, on a board that powers itself off afterwards."""
    argv: Sequence[str | Path] = [
        "setpriv", "--pdeathsig", "KILL", "--", "qemu-system-aarch64",
        *("-machine", "virt", "-cpu", "cortex-a57", "-smp", "2", "-m", "1024"),
        *("-nodefaults", "-display", "none", "-no-reboot", "-serial", f"file:{log}"),
        *("-drive", f"if=none,id=d0,format=raw,cache=unsafe,file={disk}"),
        *("-device", "virtio-blk-pci,drive=d0", "-kernel", kernel, "-append"),
        "console=ttyAMA0 root=/dev/vda2 rw panic=-1 init=/second-stage",
    ]  # fmt: skip
    subprocess.run(argv, stdin=subprocess.DEVNULL, check=True, timeout=_SECOND_STAGE_S)
    said = log.read_text(errors="replace")
    assert "second stage: done" in said, "\n".join(said.splitlines()[-40:])


def _export(disk: Path, name: str, to: Path) -> None:
    """Copy a file of the root file system to this host."""
    argv = ["/sbin/debugfs", "-R", f"dump {name} {to}", f"{disk}?offset={_ROOT_AT}"]
    subprocess.run(argv, check=True, capture_output=True)
    assert to.stat().st_size, f"{name} isn't on the disk"
