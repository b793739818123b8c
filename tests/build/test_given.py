# SPDX-License-Identifier: Apache-2.0
"""Kernels that somebody else built: what they are, and what their absence costs."""

from __future__ import annotations

import gzip
import lzma
import struct
import tarfile
from pathlib import Path

import pytest

from hilagent.build import cache, drivers, given, image
from hilagent.errors import InputError

BANNER = b"Linux version 6.12.9-lab (who@where) #1 SMP\0"
IMAGE = struct.pack("<2I3Q", 0x14000000, 0, 0, 0x10000, 10).ljust(56, b"\0") + b"ARM\x64" + BANNER


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.ENV, str(tmp_path / "cache"))


def put(folder: Path, name: str, data: bytes = b"") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def zboot(kind: str, payload: bytes) -> bytes:
    head = b"MZ\0\0zimg" + struct.pack("<2I2I", 64, len(payload) - 4, 0, 0)
    return head + kind.encode().ljust(32, b"\0") + b"\0" * 8 + payload


def module(name: str, depends: str = "") -> bytes:
    """The least ELF that has a .modinfo."""
    info = f"license=GPL\0depends={depends}\0name={name}\0".encode()
    names = b"\0.modinfo\0.shstrtab\0"
    body = info + names
    head = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 1, 183, 1, 0, 0, 64 + len(body), 0, 64, 0, 0,
        64, 3, 2,
    )  # fmt: skip
    sections = [(0, 0, 0, 0), (1, 1, 64, len(info)), (10, 3, 64 + len(info), len(names))]
    table = b"".join(
        struct.pack("<IIQQQQIIQQ", n, t, 0, 0, at, size, 0, 0, 1, 0) for n, t, at, size in sections
    )
    return head + body + table


@pytest.mark.parametrize(
    "data",
    [
        IMAGE, gzip.compress(IMAGE), lzma.compress(IMAGE),
        lzma.compress(IMAGE, format=lzma.FORMAT_ALONE), zboot("gzip", gzip.compress(IMAGE)),
        zboot("xzkern", lzma.compress(IMAGE)), gzip.compress(zboot("gzip", gzip.compress(IMAGE))),
    ],
)  # fmt: skip
def test_an_image_is_found_in_its_wrapping(tmp_path: Path, data: bytes) -> None:
    assert image.plain(put(tmp_path, "vmlinuz", data)) == IMAGE


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\0" * 0x1FE + b"\x55\xaa" + b"\0" * 64, "x86"),
        (b"\x7fELF" + b"\0" * 80, "ELF"),
        (gzip.compress(b"\x7fELF" + b"\0" * 80), "ELF"),
        (b"\0" * 0x24 + b"\x18\x28\x6f\x01" + b"\0" * 64, "32-bit ARM"),
        (b"\0" * 0x38 + b"RSC\x05" + b"\0" * 64, "RISC-V"),
        (b"\xd0\x0d\xfe\xed" + b"\0" * 80, "FIT"),
        (b"", "no magic number"),
        (gzip.compress(IMAGE)[:50], "gzip data that can't be read: it ends too early"),
        (lzma.compress(IMAGE)[:50], "xzkern data that can't be read: it ends too early"),
        (b"\x1f\x8b" + b"\0" * 80, "gzip data that can't be read"),
        (zboot("lzo", b"1234"), "isn't known here: lzo"),
    ],
)
def test_what_is_no_arm64_kernel_says_what_it_is(tmp_path: Path, data: bytes, said: str) -> None:
    with pytest.raises(InputError, match=said):
        image.plain(put(tmp_path, "vmlinuz", data))


def test_a_kernel_alone_costs_much_and_says_so(tmp_path: Path) -> None:
    found = given.given(put(tmp_path, "Image.gz", gzip.compress(IMAGE)))
    kernel = found.kernel
    assert (kernel.name, kernel.release, kernel.version) == ("given", "6.12.9-lab", "6.12.9")
    assert kernel.abi == ""
    assert kernel.image.read_bytes() == IMAGE
    assert [each.what for each in found.absent] == ["dtb", "modules", "vmlinux", "headers"]
    assert "can't be built" in found.absent[3].costs


@pytest.mark.parametrize(
    ("option", "abi"),
    [
        (b"# CONFIG_ARM64_HCALL_KEEP_X18 is not set\n", "iss-6.12"),
        (b"CONFIG_ARM64_HCALL_KEEP_X18=y\n", "iss-6.12-scs"),
        (b"CONFIG_KVM=y\n", ""),
    ],
)
def test_only_an_option_of_ours_says_what_abi_it_was_built_with(
    tmp_path: Path, option: bytes, abi: str
) -> None:
    """By the configuration in the Image, or by the file that came along."""
    inside = IMAGE + b"IKCFG_ST" + gzip.compress(option) + b"IKCFG_ED"
    assert given.given(put(tmp_path, "Image", inside)).kernel.abi == abi
    plain, config = put(tmp_path, "plain", IMAGE), put(tmp_path, "config", option)
    assert given.given(plain, config=config).kernel.abi == abi


@pytest.mark.parametrize("junk", [b"IKCFG_ST", b"IKCFG_ST\x1f\x8bjunk" * 9])
def test_a_configuration_that_can_not_be_read_says_nothing(tmp_path: Path, junk: bytes) -> None:
    assert given.given(put(tmp_path, "Image", IMAGE + junk)).kernel.abi == ""


def test_a_kernel_cis_folder_is_understood(tmp_path: Path) -> None:
    folder = tmp_path / "ci"
    put(folder, "Image.gz", gzip.compress(IMAGE))
    put(folder, "vmlinux.xz", lzma.compress(b"\x7fELF"))
    put(folder, "headers/Makefile")
    put(folder, "dtbs/vendor/rock.dtb", b"\xd0\x0d\xfe\xed")
    lib = put(
        folder, "x/lib/modules/6/kernel/virtio_net.ko.xz", lzma.compress(module("virtio_net"))
    )
    with tarfile.open(folder / "modules.tar.xz", "w:xz") as archive:
        archive.add(lib.parents[4], "lib")
    found = given.artifacts(folder, dtb="rock")
    assert found.absent == ()
    assert found.dtb == folder / "dtbs/vendor/rock.dtb"
    assert found.kernel.vmlinux is not None
    assert found.kernel.vmlinux.read_bytes() == b"\x7fELF"
    assert found.kernel.tree == folder / "headers"
    assert [p.name for p in found.kernel.modules] == ["virtio_net.ko"]
    assert found.kernel.modules[0].read_bytes() == module("virtio_net")
    with pytest.raises(InputError, match=r"holds no stone\.dtb"):
        given.artifacts(folder, dtb="stone")


def test_a_folder_without_a_kernel_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no kernel: none of Image, Image\.gz"):
        given.artifacts(tmp_path)


def test_files_that_are_something_else_are_refused(tmp_path: Path) -> None:
    kernel, text = put(tmp_path, "Image", IMAGE), put(tmp_path, "text", b"text")
    with pytest.raises(InputError, match="not a flattened device tree"):
        given.given(kernel, dtb=text)
    with pytest.raises(InputError, match="no Makefile"):
        given.given(kernel, headers=tmp_path)
    with pytest.raises(InputError, match="no such file"):
        given.given(kernel, vmlinux=tmp_path / "nothing")


def test_modules_come_behind_what_they_need(tmp_path: Path) -> None:
    put(tmp_path, "a/virtio_net.ko.xz", lzma.compress(module("virtio_net", "net_failover,virtio")))
    put(tmp_path, "b/net-failover.ko", module("net_failover", "failover"))
    put(tmp_path, "b/failover.ko.gz", gzip.compress(module("failover")))
    put(tmp_path, "b/unwanted.ko", module("unwanted"))
    found = drivers.extract(tmp_path, tmp_path / "out")
    assert [p.name for p in found] == ["failover.ko", "net_failover.ko", "virtio_net.ko"]


def test_modules_that_need_each_other_end(tmp_path: Path) -> None:
    put(tmp_path, "a.ko", module("a", "b"))
    put(tmp_path, "b.ko", module("b", "a"))
    assert [p.name for p in drivers.extract(tmp_path, tmp_path / "out", ["a"])] == ["b.ko", "a.ko"]


def test_what_is_no_module_is_named(tmp_path: Path) -> None:
    put(tmp_path, "virtio_net.ko", b"text")
    with pytest.raises(InputError, match=r"virtio_net\.ko: not a kernel module"):
        drivers.extract(tmp_path, tmp_path / "out")
