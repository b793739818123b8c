# SPDX-License-Identifier: Apache-2.0
"""The root file system's archive: what is in it, what isn't, and always the same bytes."""

from __future__ import annotations

import gzip
import stat
import subprocess
from pathlib import Path

import pytest

from hilagent.build import cache, compile, cpio, debian, keys, module, sources
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


ETH0 = "10.0.2.15::10.0.2.2:255.255.255.0::eth0:off"


def started(tmp_path: Path, ip: str, *, carriers: dict[str, str], lease: bool = True) -> list[str]:
    """Run init's own text on a host of paper; return what it said and did."""
    for name, carrier in carriers.items():
        (tmp_path / "net" / name / "device").mkdir(parents=True)
        (tmp_path / "net" / name / "carrier").write_text(f"{carrier}\n")
    (tmp_path / "cmdline").write_text(f"console=x hilagent.ip={ip} hilagent.run=0123\n")
    (tmp_path / "order").write_text("virtio_net.ko\n")
    text = (sources.firmware_dir() / "rootfs/init").read_text()
    text = text[text.index("say() {") :].replace("exec init", "exit 0")
    for there, here in (("/sys/class/net", "net"), ("/proc/cmdline", "cmdline"),
                        ("/lib/modules/order", "order")):  # fmt: skip
        text = text.replace(there, str(tmp_path / here))
    names = ("ifconfig", "route", "insmod", "dropbear", "hostname", "udhcpc")
    fakes = [f'{name}() {{ echo "{name} $*"; }}' for name in names if lease or name != "udhcpc"]
    fakes += ["ip() { :; }", "usleep() { :; }", *([] if lease else ["udhcpc() { return 1; }"])]
    done = subprocess.run(
        ["sh", "-c", "\n".join([*fakes, text])], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_init_says_up_then_sets_the_address_and_is_ready_last(tmp_path: Path) -> None:
    said = started(tmp_path, ETH0, carriers={"eth0": "1"})
    up, ready = "hilagent-rootfs up RUN=0123", "hilagent-rootfs ready RUN=0123"
    own = "ifconfig eth0 10.0.2.15 netmask 255.255.255.0 up"
    order = ["insmod", up, own, "route add default gw 10.0.2.2", "dropbear", ready]
    kept = [line for line in said if line.startswith(tuple(order))]
    assert len(kept) == len(order), said
    assert all(line.startswith(start) for line, start in zip(kept, order, strict=True)), said


@pytest.mark.parametrize(
    ("ip", "carriers", "lease", "why"),
    [
        (ETH0, {"eth0": "0"}, True, "no interface with a carrier"),
        (ETH0, {"eth1": "1"}, True, "no interface with a carrier"),
        ("dhcp", {}, True, "no interface with a carrier"),
        ("dhcp", {"eth0": "1"}, False, "eth0 got no address"),
    ],
)
def test_init_without_a_network_is_up_and_never_ready(
    tmp_path: Path, ip: str, carriers: dict[str, str], lease: bool, why: str
) -> None:
    said = started(tmp_path, ip, carriers=carriers, lease=lease)
    assert "hilagent-rootfs up RUN=0123" in said
    assert said[-1] == f"hilagent-rootfs: no network: {why}"


@pytest.mark.parametrize("ip", ["dhcp", "::::board::dhcp", ":::::eth1:dhcp"])
def test_init_takes_a_lease_where_the_cable_is(tmp_path: Path, ip: str) -> None:
    said = started(tmp_path, ip, carriers={"eth0": "0", "eth1": "1"})
    assert "udhcpc -i eth1 -s /etc/udhcpc -n -q -t 8 -T 2" in said
    assert said[-1] == "hilagent-rootfs ready RUN=0123"


def test_init_is_ready_without_a_network_where_none_is_wanted(tmp_path: Path) -> None:
    assert started(tmp_path, "", carriers={})[-1] == "hilagent-rootfs ready RUN=0123"


def test_a_library_that_no_package_has_is_named(tree: Path) -> None:
    (tree / "lib/aarch64-linux-gnu/libx.so.1").unlink()
    with pytest.raises(LabError, match=r"hold no libx\.so\.1"):
        build_rootfs()


def test_what_holds_a_private_key_is_for_its_owner_alone(tmp_path: Path) -> None:
    kind = tmp_path / "cache/rootfs"
    kind.mkdir(parents=True)
    kind.chmod(0o755)
    archive = build_rootfs().archive
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (kind, archive.parent, archive)]
    assert modes == [0o700, 0o700, 0o600]


@pytest.mark.parametrize("named", [True, False])
def test_a_tree_of_ours_that_is_gone_is_no_reason_to_ask_for_less(
    tmp_path: Path, named: bool
) -> None:
    (tmp_path / "config").touch()
    gone = tmp_path / "gone" if named else None
    ours = Kernel("unpatched", Path("Image"), "6.12-x", "6.12", "", "", tree=gone,
                  config=tmp_path / "config", build="0123")  # fmt: skip
    with pytest.raises(LabError, match="the tree of kernel 'unpatched' is gone") as caught:
        module.build_module(ours, "")
    assert caught.value.hint.endswith("hilagent build kernel unpatched")


def test_a_kernel_without_headers_has_no_module() -> None:
    with pytest.raises(Unsupported, match="there are no headers") as caught:
        module.build_module(kernel(), "")
    assert "--headers DIR" in caught.value.hint
