# SPDX-License-Identifier: Apache-2.0
"""Debian's own kernel, from packages that dpkg made here: found, unwrapped, made usable."""

from __future__ import annotations

import lzma
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from hilagent.build import cache, debian, kernel, stock
from hilagent.errors import LabError
from tests.build.test_given import IMAGE, module, put

ABI = "6.12.9+deb12"
FILES: dict[str, dict[str, bytes]] = {
    f"linux-image-{ABI}-arm64": {
        f"boot/vmlinuz-{ABI}-arm64": lzma.compress(IMAGE),
        f"boot/config-{ABI}-arm64": b"CONFIG_A=y\n",
        f"usr/lib/modules/{ABI}-arm64/kernel/virtio_net.ko.xz": lzma.compress(module("virtio_net")),
    },
    f"linux-headers-{ABI}-arm64": {
        f"usr/src/linux-headers-{ABI}-arm64/Makefile": (
            f"include /usr/src/linux-headers-{ABI}-common/Makefile\n".encode()
        ),
        f"usr/src/linux-headers-{ABI}-arm64/vmlinux": b"types",
    },
    f"linux-headers-{ABI}-common": {
        f"usr/src/linux-headers-{ABI}-common/Makefile": b"all:\n\t@echo found\n"
    },
    f"linux-kbuild-{ABI}": {"usr/lib/x": b""},
}


@pytest.fixture(autouse=True)
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names that Debian was asked for; a name with 6.12 in it is not there, as in Debian 13."""
    monkeypatch.setenv(cache.ENV, str(tmp_path / "cache"))
    asked: list[str] = []

    def fetch(names: Sequence[str], **how: Any) -> tuple[debian.Package, ...]:
        asked.extend(names)
        made = [_deb(tmp_path, name) for name in reversed(names)]  # apt keeps no order
        return tuple(debian.Package(path) for path in made)

    def depends(name: str, **how: Any) -> list[str]:
        asked.append(name)
        if name == "linux-image-6.12-arm64":
            raise LabError("none")
        return (
            [n for n in FILES if "headers" in n or "kbuild" in n]
            if "headers" in name
            else [f"linux-image-{ABI}-arm64"]
        )

    monkeypatch.setattr(debian, "fetch", fetch)
    monkeypatch.setattr(debian, "depends", depends)
    return asked


def _deb(folder: Path, name: str) -> Path:
    tree = folder / name
    control = (
        f"Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: x <x@x>\nDescription: x\n"
    )
    put(tree, "DEBIAN/control", control.encode())
    for file, data in FILES[name].items():
        put(tree, file, data)
    out = folder / f"{name}_1_all.deb"
    subprocess.run(["dpkg-deb", "--build", tree, out], check=True, stdout=subprocess.DEVNULL)
    return out


def test_it_is_unwrapped_once_and_then_needs_nobody(asked: list[str]) -> None:
    assert kernel.cached("debian") is None
    found = kernel.build_kernel("debian")
    assert (found.name, found.release, found.abi) == ("debian", "6.12.9-lab", "x0-mainline")
    assert found.image.read_bytes() == IMAGE
    assert [path.read_bytes() for path in found.modules] == [module("virtio_net")]
    assert found.config is not None
    before = list(asked)
    assert kernel.cached("debian") == kernel.build_kernel("debian") == found
    assert asked == before
    kernel.build_kernel("debian", refresh=True)
    assert asked != before


def test_its_headers_find_each_other_where_they_are() -> None:
    found = stock.debian_kernel()
    assert found.tree is not None
    assert not (found.tree / "vmlinux").exists()
    done = subprocess.run(["make", "-C", "/", "-f", found.tree / "Makefile", "-s"],
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert "found" in done.stdout, done.stderr
