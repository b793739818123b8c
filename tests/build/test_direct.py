# SPDX-License-Identifier: Apache-2.0
"""Device trees from their sources, and the payload where an emulator starts it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from hilagent import board
from hilagent.build import cache, direct
from hilagent.build.payload import build_payload
from hilagent.deploy import devicetree
from hilagent.errors import InputError, LabError

SOURCE = '/dts-v1/;\n/ { compatible = "ours"; memory@0 { reg = <0x0 0x40000000>; }; };\n'


def test_an_emulator_starts_the_payload_with_the_tree_of_its_board() -> None:
    zcu = direct.at_hand(board.load("qemu-zcu102"))
    assert zcu.qemu is not None
    assert zcu.qemu.kernel == str(build_payload().image)
    assert zcu.qemu.tree is None
    assert zcu.qemu.dtb is not None
    root = devicetree.parse(Path(zcu.qemu.dtb).read_bytes()).root
    assert root.props["compatible"].split(b"\0")[:-1] == [each.encode() for each in zcu.compatible]
    cpus = root.child("cpus")
    assert cpus is not None
    assert len(cpus.children) == zcu.cpus


@pytest.mark.parametrize("name", ["qemu-zcu102", "qemu-imx8mp", "qemu-raspi4b"])
def test_the_tree_of_a_board_has_its_facts(name: str) -> None:
    found = board.load(name)
    ready = direct.at_hand(found).qemu
    assert found.qemu is not None
    assert ready is not None
    assert ready.dtb is not None
    root = devicetree.parse(Path(ready.dtb).read_bytes()).root
    assert root.text("compatible") == found.compatible[0]
    psci = root.child("psci")
    assert (psci.text("method") if psci else "none") == found.payload.psci
    assert (ready.kernel is None) is (found.uboot is not None)


def test_any_other_board_is_left_as_it_is() -> None:
    virt = board.load("qemu-virt")
    assert direct.at_hand(virt) is virt


def test_a_tree_of_the_labs_own_lies_beside_its_board(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(cache.ENV, str(tmp_path / "cache"))
    (tmp_path / "qemu-raspi4b.dts").write_text(SOURCE)
    ours = dataclasses.replace(board.load("qemu-raspi4b"), source=tmp_path / "ours.yaml")
    ready = direct.at_hand(ours).qemu
    assert ready is not None
    root = devicetree.parse(Path(str(ready.dtb)).read_bytes()).root
    assert root.text("compatible") == "ours"


def test_a_host_without_a_compiler_for_trees_is_told_which(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tree.dts").write_text(SOURCE)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv(cache.ENV, str(tmp_path / "cache"))
    with pytest.raises(LabError, match="dtc isn't installed") as caught:
        direct.compiled(tmp_path / "tree.dts")
    assert "device-tree-compiler" in caught.value.hint


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (b"/dts-v1/;\n/ { nothing", r"is no device tree's source: .*:2\.\d.* syntax error"),
        (b"\xff", "can't be read"),
        (None, "can't be read"),
    ],
)
def test_what_is_no_source_is_named(tmp_path: Path, source: bytes | None, said: str) -> None:
    path = tmp_path / "tree.dts"
    if source is not None:
        path.write_bytes(source)
    with pytest.raises(InputError, match=f"tree.dts: {said}"):
        direct.compiled(path)
