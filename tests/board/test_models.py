# SPDX-License-Identifier: Apache-2.0
"""Models: types of boards, that a lab's own files extend."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from hilagent import board, data, errors
from hilagent.board.hardware import Uart
from tests import tree

HERE = {"HOME": "/nonexistent"}
KNOWN = board.names(env=HERE)
ENTRIES = {name: board.examine(path, KNOWN) for name, path in KNOWN.items()}
MODELS = sorted(name for name, entry in ENTRIES.items() if entry.model)
OURS = """
name: ours
cpus: 2
console: {kind: tcp, host: lab, port: 4001}
power: {kind: command, on: [outlet, "on"], off: [outlet, "off"]}
"""
FACT = re.compile(
    r"^ *(-|compatible|cpus|baud|fifo_bytes|kind|base|entry_el|psci|vhe|prompt|autoboot"
    r"|load_addr|fdt|network|console|kernel_addr|ramdisk_addr|boot_timeout_s): ?[^ ]"
)


def test_the_boards_that_were_asked_for_have_a_model() -> None:
    assert set(MODELS) == {
        *("rpi-3b", "rpi-4b", "rpi-5", "rock-pi-4", "rock-5b", "imx8mp-evk", "zcu102"),
        *("odroid-n2-plus", "beagleplay", "honeycomb", "hikey960", "juno-r2", "sbsa-server"),
    }


@pytest.mark.parametrize("name", MODELS)
def test_a_lab_makes_a_board_of_each_model_by_what_the_model_says_it_needs(
    name: str, tmp_path: Path
) -> None:
    needs = ENTRIES[name].needs
    text = f"extends: {name}{OURS}"
    for block in ("os", "linux"):
        if f"{block}.ssh.host" in needs:
            text += f"{block}: {{ssh: {{host: ours.lab}}}}\n"
    (tmp_path / "ours.yaml").write_text(text)
    ours = board.load("ours", dirs=[tmp_path], env=HERE)
    assert (ours.console.host, ours.console.port) == ("lab", 4001)
    model = ENTRIES[name].board
    assert model is not None
    assert (ours.uboot, ours.payload, ours.memory) == (model.uboot, model.payload, model.memory)
    assert ours.console.baud == model.console.baud


@pytest.mark.parametrize("name", MODELS)
def test_what_a_lab_left_out_is_told_at_its_own_file(name: str, tmp_path: Path) -> None:
    path = tmp_path / "ours.yaml"
    path.write_text(f"# ours\nextends: {name}\nname: ours\n")
    with pytest.raises(errors.InputError) as caught:
        board.load("ours", dirs=[tmp_path], env=HERE)
    assert sorted(caught.value.message.splitlines()) == sorted(
        f"{path}:2: {need}: missing: the model {name} leaves it to the lab"
        for need in ENTRIES[name].needs
    )


@pytest.mark.parametrize("name", MODELS)
def test_a_model_can_not_be_run_and_says_what_it_needs(name: str) -> None:
    with pytest.raises(errors.UsageError) as caught:
        board.load(name, env=HERE)
    assert caught.value.message.startswith(f"{name} is a model of boards: it needs ")
    assert "console, power" in caught.value.message
    assert f"extends: {name}" in caught.value.hint


@pytest.mark.parametrize("name", MODELS)
def test_each_fact_of_a_model_has_its_source_as_a_comment(name: str) -> None:
    lines = (data.data_dir("boards") / f"{name}.yaml").read_text().splitlines()
    bare = [
        f"{number}: {line}"
        for number, line in enumerate(lines, 1)
        if FACT.match(line) and "#" not in line + lines[number - 2]
    ]
    assert bare == []


def test_a_model_is_not_inherited_and_a_lab_may_leave_linux_out(tmp_path: Path) -> None:
    (tmp_path / "ours.yaml").write_text(f"extends: rock-pi-4{OURS}linux: ~\n")
    ours = board.load("ours", dirs=[tmp_path], env=HERE)
    assert ours.linux is None
    assert ours.uboot is not None


def test_a_lab_adds_a_network_to_a_model(tmp_path: Path) -> None:
    tftp = "transfers: [tftp, ymodem]\nuboot: {network: {mode: dhcp, tftp_dir: /srv/tftp}}\n"
    (tmp_path / "ours.yaml").write_text(f"extends: rock-5b{OURS}linux: ~\n{tftp}")
    ours = board.load("ours", dirs=[tmp_path], env=HERE)
    assert ours.uboot is not None
    assert (ours.transfers[0], ours.uboot.prompt) == ("tftp", "=> ")


def test_a_model_is_one_or_does_not_say_so(tmp_path: Path) -> None:
    path = tmp_path / "ours.yaml"
    path.write_text("extends: rock-5b\nname: ours\nmodel: false\n")
    said = [each.message for each in board.examine(path, KNOWN).problems]
    assert f"{path}:3: model: expected true, found False" in said


def test_a_models_own_mistakes_are_told_beside_what_it_lacks(tmp_path: Path) -> None:
    path = tmp_path / "ours.yaml"
    path.write_text(
        "extends: rock-5b\nname: ours\nmodel: true\nconsole: {baud: 1}\npower: {x: 1}\n"
    )
    entry = board.examine(path, KNOWN)
    assert [each.message.removeprefix(f"{path}:") for each in entry.problems] == [
        "4: console.baud: expected 1200 to 0x3d0900, found 1",
        "5: power.x: unknown field",
    ]
    assert "power" in entry.needs


def test_the_payload_drives_every_uart_that_a_model_may_name() -> None:
    header = (tree.TOP / "firmware/payload/facts.h").read_text()
    driven = {name.lower() for name in re.findall(r"#define UART_(\w+) [1-9]", header)}
    assert driven == set(get_args(get_type_hints(Uart)["kind"]))


def test_no_model_takes_its_address_from_somebody_elses_uart() -> None:
    """What one facts file says twice by mistake, e.g. after it was copied."""
    bases = [
        (entry.board.console.uart.base, entry.board.soc)
        for entry in ENTRIES.values()
        if entry.board and entry.board.console.uart
    ]
    assert len(set(bases)) == len(bases)
