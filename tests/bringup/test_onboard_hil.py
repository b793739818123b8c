# SPDX-License-Identifier: Apache-2.0
"""A board that nobody described: onboard writes a file with which a run passes, unedited."""

from __future__ import annotations

from pathlib import Path

import pytest

from hilagent import board
from hilagent.build import firmware
from tests.bringup.switched import switched
from tests.fault.harness import ran

pytestmark = pytest.mark.hil
CPUS = {"qemu-virt": 2, "qemu-raspi3b": 4}


def _arguments(name: str) -> tuple[list[str], int]:
    """Return how QEMU is started for the board ``name``, and which serial line is its own."""
    found = firmware.at_hand(board.load(name)).qemu
    assert found is not None
    assert found.firmware is not None
    rest = list(found.args)
    before = rest.count("-serial")
    for _ in range(before):
        del rest[rest.index("-serial") : rest.index("-serial") + 2]
    return [
        "-machine", found.machine, "-cpu", found.cpu, "-smp", str(CPUS[name]),
        "-m", str(found.memory_mib), f"-{found.firmware.start}", found.firmware.path, *rest,
    ], before  # fmt: skip


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("qemu-virt", ('prompt: "=> "   # [seen]', "psci: smc", 'kind: "pl011", base: 0x9000000')),
        ("qemu-raspi3b", ('prompt: "U-Boot> "', "psci: none", 'kind: "mini", base: 0x3f215040',
                          "extends: rpi-3b")),
    ],
)  # fmt: skip
def test_what_it_writes_runs_without_editing(
    name: str, says: tuple[str, ...], tmp_path: Path
) -> None:
    arguments, before = _arguments(name)
    boards = tmp_path / "boards"
    with switched(tmp_path / "qemu", arguments, before) as machine:
        argv = ["onboard", f"tcp:127.0.0.1:{machine.port}", "--name", "found", "--dir", str(boards),
                "--power-on", machine.on, "--power-off", machine.off, "--emulated"]  # fmt: skip
        done = ran(argv, tmp_path)
        assert done.code == 0, done.story()
        text = (boards / "found.yaml").read_text()
        for words in (
            *says,
            f"cpus: {CPUS[name]}",
            'autoboot: "Hit any key to stop autoboot"   # [seen]',
        ):
            assert words in text, text
        checked = ran(["boards", "check", str(boards / "found.yaml")], tmp_path)
        assert checked.code == 0, checked.story()
        run = ran(["run", "--boards", str(boards), "found", "--suite", "architecture"], tmp_path)
        assert run.code == 0, run.story() + text
        assert run.verdicts == {"PASS"}
