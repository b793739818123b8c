# SPDX-License-Identifier: Apache-2.0
"""Debian's own kernel, from packages that dpkg made here: found, unwrapped, made usable."""

from __future__ import annotations

import lzma
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from hilagent.build import cache, debian, kernel, stock, vmlinux
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
    f"linux-image-{ABI}-arm64-dbg": {
        f"usr/lib/debug/boot/System.map-{ABI}-arm64": b"map",
        f"usr/lib/debug/boot/vmlinux-{ABI}-arm64": bytes(3 << 20) + b"code",
        f"usr/lib/debug/lib/modules/{ABI}-arm64/kernel/virtio_net.ko": b"a module",
    },
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


def test_its_vmlinux_alone_is_kept_of_its_debug_package(asked: list[str], tmp_path: Path) -> None:
    seen: list[tuple[int, int, str]] = []
    found = vmlinux.debian_vmlinux(progress=lambda *what: seen.append(what))
    assert found.read_bytes() == bytes(3 << 20) + b"code"
    assert [each.name for each in found.parent.iterdir()] == ["vmlinux"]
    assert not list(tmp_path.glob("*-dbg_*.deb"))
    assert seen[-1] == (3, 3, "MB of vmlinux unpacked")
    before = list(asked)
    assert vmlinux.debian_vmlinux() == found
    assert f"linux-image-{ABI}-arm64-dbg" not in asked[len(before) :]


def test_its_vmlinux_is_that_of_the_kernel_in_the_cache(
    asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"linux-image-{stock.debian_kernel().release}-dbg"
    monkeypatch.setitem(FILES, name, {"usr/lib/debug/boot/vmlinux-lab": b"code"})
    assert vmlinux.debian_vmlinux().read_bytes() == b"code"
    assert asked[-1] == name


def test_a_package_without_the_file_or_cut_short_is_named(tmp_path: Path) -> None:
    deb = _deb(tmp_path, f"linux-image-{ABI}-arm64-dbg")
    with pytest.raises(LabError, match=r"-dbg_1_all.deb has no file /boot/vmlinux"):
        vmlinux.extract(deb, "./boot/vmlinux", tmp_path / "out")
    deb.write_bytes(deb.read_bytes()[:-200])
    with pytest.raises(LabError, match=r"-dbg_1_all.deb can't be unpacked"):
        vmlinux.extract(deb, "./usr/lib/debug/boot/vmlinux-*", tmp_path / "out")
