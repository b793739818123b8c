# SPDX-License-Identifier: Apache-2.0
"""The root file system's archive: what is in it, what isn't, and always the same bytes."""

from __future__ import annotations

import gzip
import stat
from pathlib import Path

import pytest

from hilagent.build import cache, compile, cpio, debian, keys, module
from hilagent.build.kernel import Kernel
from hilagent.build.rootfs import build_rootfs
from hilagent.errors import LabError, Unsupported


@pytest.fixture(autouse=True)
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Debian's packages, as three programs that need one library."""
    monkeypatch.setenv(cache.ENV, str(tmp_path / "cache"))
    monkeypatch.setenv(keys.ENV, str(tmp_path / "keys"))
    tree = tmp_path / "debian"
    for name in ("bin", "usr/sbin", "lib/aarch64-linux-gnu"):
        (tree / name).mkdir(parents=True)
    (tree / "bin/busybox").write_bytes(b"busybox")
    (tree / "lib/aarch64-linux-gnu/ld-linux-aarch64.so.1").write_bytes(b"loader")
    (tmp_path / "x.c").write_text("int x(void) { return 1; }\n")
    gcc = [compile.toolchain().tool("gcc"), "-nostdlib", "-shared", "-fPIC", "x.c"]
    library = tree / "lib/aarch64-linux-gnu/libx.so.1"
    compile.run([*gcc, "-Wl,-soname,libx.so.1", "-o", str(library)], tmp_path)
    linked = ["-Wl,--no-as-needed", str(library), "-o", str(tree / "usr/sbin/dropbear")]
    compile.run([*gcc, *linked], tmp_path)
    package = debian.Package(tmp_path / "busybox-static_1_arm64.deb")
    monkeypatch.setattr(debian, "fetch", lambda *args, **words: (package,))
    monkeypatch.setattr(debian, "unpack", lambda packages: tree)
    return tree


def contents(archive: Path) -> dict[str, cpio.Node]:
    return dict(cpio.read(gzip.decompress(archive.read_bytes())))


def kernel(*modules: Path, tree: Path | None = None) -> Kernel:
    return Kernel("given", Path("Image"), "6.12-x", "6.12", "", "", tree=tree, modules=modules)


def test_it_holds_what_init_needs() -> None:
    found = contents(build_rootfs().archive)
    assert {"init", "bin/busybox", "bin/sh", "sbin/hilkexec", "sbin/hilkvm"} <= set(found)
    assert {"usr/sbin/dropbear", "lib/libx.so.1", "lib/ld-linux-aarch64.so.1"} <= set(found)
    assert stat.S_ISCHR(found["dev/console"].mode)
    for name in ("init", "bin/busybox", "sbin/hilkexec", "etc/udhcpc"):
        assert stat.S_IMODE(found[name].mode) == 0o755, name
    assert found["sbin/hilkexec"].data[:4] == b"\x7fELF"


def test_the_clients_private_key_stays_here() -> None:
    own = keys.lab_keys()
    found = contents(build_rootfs().archive)
    assert found["root/.ssh/authorized_keys"].data.decode() == f"{own.client_public}\n"
    assert found["etc/dropbear/host"].data == own.host_dropbear
    assert stat.S_IMODE(found["etc/dropbear/host"].mode) == 0o600
    assert stat.S_IMODE(found["root/.ssh"].mode) == 0o700
    secret = own.client.read_bytes().splitlines()[2]
    assert not [name for name, node in found.items() if secret in node.data]


def test_modules_are_loaded_in_the_order_given(tmp_path: Path) -> None:
    files = [tmp_path / f"{name}.ko" for name in ("z", "a", "hilhvc")]
    for path in files:
        path.write_bytes(path.name.encode())
    rootfs = build_rootfs(kernel=kernel(*files[:2]), module=files[2])
    found = contents(rootfs.archive)
    assert found["lib/modules/order"].data == b"z.ko\na.ko\nhilhvc.ko\n"
    assert found["lib/modules/a.ko"].data == b"a.ko"
    assert rootfs.digest != build_rootfs().digest


def test_the_same_inputs_give_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = build_rootfs()
    assert build_rootfs() == first
    monkeypatch.setenv(cache.ENV, str(tmp_path / "another"))
    again = build_rootfs()
    assert again.archive != first.archive
    assert again.archive.read_bytes() == first.archive.read_bytes()
    assert again.digest == first.digest


def test_a_library_that_no_package_has_is_named(tree: Path) -> None:
    (tree / "lib/aarch64-linux-gnu/libx.so.1").unlink()
    with pytest.raises(LabError, match=r"hold no libx\.so\.1"):
        build_rootfs()


def test_a_kernel_without_headers_has_no_module() -> None:
    with pytest.raises(Unsupported, match="there are no headers") as caught:
        module.build_module(kernel(), "")
    assert "--headers DIR" in caught.value.hint
