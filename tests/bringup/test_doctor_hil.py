# SPDX-License-Identifier: Apache-2.0
"""Doctor on emulated boards: all well, and broken where only a real boot shows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from hilagent import board
from hilagent.build import firmware
from tests import kernels
from tests.fault import boards
from tests.fault.harness import ran

pytestmark = pytest.mark.hil


@pytest.mark.parametrize("name", ["qemu-virt", "qemu-raspi3b"])
def test_an_emulated_board_is_well(name: str, tmp_path: Path) -> None:
    firmware.at_hand(board.load(name))
    done = ran(["doctor", name], tmp_path)
    assert done.code == 0, done.story()
    assert f"WELL  {name}" in done.out
    assert not done.emulators
    for layer in ("memory", "characters", "device tree", "payload", "CPUs", "link"):
        assert f"ok      {layer}" in done.out


def test_a_board_without_a_console_is_well(tmp_path: Path) -> None:
    kernels.built()
    done = ran(["doctor", "qemu-virt-ssh"], tmp_path)
    assert done.code == 0, done.story()
    assert "WELL  qemu-virt-ssh" in done.out
    assert not done.emulators
    for layer in ("SSH", "kexec", "EL2", "payload", "entry EL", "CPUs"):
        assert f"ok      {layer}" in done.out
    for layer in ("port", "UART", "link"):
        assert f"-       {layer}" in done.out


@pytest.mark.parametrize(
    ("extends", "change", "layer", "says"),
    [
        ("qemu-virt", "qemu: {binary: qemu-system-none}", "power", "qemu-system-none"),
        ("qemu-virt", "qemu: {machine: virt}\npayload: {psci: hvc}", "entry EL", "entered at EL1"),
        ("qemu-virt", "uboot: {load_addr: 0x7fe00000}", "memory", "keeps"),
        ("qemu-raspi3b", "qemu: {args: [-accel, tcg]}\nuboot: {prompt_timeout_s: 5}", "baud",
         "nothing came within 5 s of power on"),
    ],
)  # fmt: skip
def test_the_layer_that_is_broken_is_named(
    extends: str, change: str, layer: str, says: str, tmp_path: Path
) -> None:
    firmware.at_hand(board.load(extends))
    named = boards.write(tmp_path, "broken", f"extends: {extends}\nname: broken\n{change}\n")
    done = ran(["doctor", *named], tmp_path)
    assert done.code == 125, done.story()
    assert f"BROKEN  broken, at {layer}" in done.out, done.story()
    assert says in done.out
    assert not done.emulators
