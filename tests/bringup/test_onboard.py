# SPDX-License-Identifier: Apache-2.0
"""What onboard makes of a board's answers, and of a board that gives none."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from hilagent import board as boards
from hilagent import cli, errors
from hilagent.board import Board
from hilagent.bringup import describe, hardware, interview, onboard
from hilagent.bringup.interview import Answers
from hilagent.deploy import devicetree
from hilagent.deploy.devicetree import Node, Tree
from hilagent.testing import PtyBoard, ScriptedBoard, UBootTraits
from hilagent.testing.uboot import FDT_ADDR
from tests.bringup import broken

NASTY = 'a "board": {x}\n\x1b[2Jpower: {kind: qemu}'


def cell(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(4, "big") for number in numbers)


def tree(model: str = "A Board", *, method: str = "smc") -> Tree:
    """A board with a bus between its root and its UART, and a CPU that is disabled."""
    cpus = [
        Node(f"cpu@{n}", {"device_type": b"cpu\0", "enable-method": b"psci\0"}) for n in range(3)
    ]
    cpus[2].props["status"] = b"disabled\0"
    uart = Node("serial@1000", {
        "compatible": b"vendor,odd-uart\0snps,dw-apb-uart\0", "reg": cell(0x1000, 0x100)
    })  # fmt: skip
    one = {"#address-cells": cell(1), "#size-cells": cell(1)}
    bus = Node("soc", {**one, "ranges": cell(0, 0xFE00_0000, 0x10_0000)}, [uart])
    root = Node("", {
        **one, "compatible": b"acme,rock\0acme,rk1\0", "model": model.encode() + b"\0",
    }, [
        Node("cpus", {"#address-cells": cell(1), "#size-cells": cell(0)}, cpus),
        Node("psci", {"method": method.encode() + b"\0"}), bus,
        Node("aliases", {"serial2": b"/soc/serial@1000\0"}),
        Node("chosen", {"stdout-path": b"serial2:1500000n8\0"}),
    ])  # fmt: skip
    return Tree(root)


def scripted(found: Tree | None = None, **traits: object) -> ScriptedBoard:
    given = UBootTraits(autoboot_s=0.0)
    board = ScriptedBoard(uboot=dataclasses.replace(given, **traits))  # type: ignore[arg-type]
    board.uboot.memory.write(FDT_ADDR, devicetree.build(found or tree()))
    return board


def written(tmp_path: Path, *argv: str) -> Board:
    assert cli.main(["onboard", *argv, "--name", "found", "--dir", str(tmp_path)]) == 0
    return boards.load("found", dirs=[tmp_path])


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HILAGENT_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("HILAGENT_STATE", str(tmp_path / "state"))


def test_the_device_tree_is_understood() -> None:
    assert hardware.of(tree()) == hardware.Hardware(
        ("acme,rock", "acme,rk1"), "A Board", 2, ("psci",), "smc", "16550", 0xFE00_1000
    )
    assert hardware.of(Tree(Node(""))) == hardware.Hardware((), "", 0, (), "", "", 0)


def test_a_serial_board_is_described_with_the_rate_at_which_it_speaks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = broken.AtRate(scripted(prompt="rock> "), 1500000)
    pty = PtyBoard(machine)
    machine.path = pty.path
    with pty:
        found = written(tmp_path, pty.path)
    assert found.console.baud == 1500000
    assert found.uboot is not None
    assert found.uboot.prompt == "rock> "
    assert found.uboot.load_addr == 0x4020_0000
    assert (found.cpus, found.payload.psci, found.soc) == (2, "smc", "rk1")
    assert found.console.uart == boards.Uart("16550", 0xFE00_1000)
    assert not found.emulated
    out = capsys.readouterr().out
    assert "TODO: a person; better the commands that switch it" in out
    assert cli.main(["boards", "check", str(tmp_path / "found.yaml")]) == 0


def test_what_a_board_calls_itself_stays_a_word(tmp_path: Path) -> None:
    with PtyBoard(scripted(tree(NASTY))) as pty:
        found = written(tmp_path, pty.path)
    assert found.power.kind == "manual"
    assert "\x1b" not in (tmp_path / "found.yaml").read_text()
    assert 'a "board": {x}' in found.description


def test_a_board_without_a_tree_says_what_was_not_found(tmp_path: Path) -> None:
    board = scripted()
    board.uboot.memory.write(FDT_ADDR, bytes(64))
    with PtyBoard(board) as pty:
        found = written(tmp_path, pty.path)
    assert found.console.uart is None
    text = (tmp_path / "found.yaml").read_text()
    assert "# uart: TODO: not found" in text
    assert "cpus: 1   # TODO: not found" in text


def test_a_person_is_asked_to_switch_a_silent_board_on(tmp_path: Path) -> None:
    said: list[str] = []
    board = scripted(autoboot_s=2.0)
    board.powered = False
    with PtyBoard(board) as pty:

        def tell(text: str) -> None:
            said.append(text)
            if "switch the board on now" in text:
                pty.change(lambda: board.power(True))

        wanted = onboard.Wanted("found", onboard.wiring_of(pty.path, 115200))
        text = onboard.onboard(wanted, {}, tmp_path, tell)
    assert any("is silent: switch the board on now" in each for each in said)
    assert 'autoboot: "Hit any key to stop autoboot"   # [seen]' in text


def test_a_board_that_stays_silent_is_the_labs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    board = scripted()
    board.powered = False
    with PtyBoard(board) as pty:
        argv = ["onboard", pty.path, "--name", "found", "--dir", str(tmp_path), "--wait", "1"]
        assert cli.main(argv) == 125
    assert "nothing came" in capsys.readouterr().err
    assert not (tmp_path / "found.yaml").exists()


def test_the_board_is_off_afterwards_also_if_nothing_was_found(tmp_path: Path) -> None:
    log, board = tmp_path / "log", scripted()
    board.powered = False
    on, off = f"sh -c 'echo on >>{log}'", f"sh -c 'echo off >>{log}'"
    with PtyBoard(board) as pty:
        argv = ["onboard", pty.path, "--name", "found", "--dir", str(tmp_path), "--wait", "1"]
        assert cli.main([*argv, "--power-on", on, "--power-off", off]) == 125
    assert log.read_text().split() == ["off", "on", "off"]


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["ttyUSB0", "--name", "x"], "no port of a console"),
        (["tcp:host", "--name", "x"], "no port of a console"),
        (["tcp:host:1", "--name", "../x"], "can't name a board"),
        (["tcp:host:1", "--name", "x", "--power-on", "on"], "a switch has both"),
        (["tcp:host:1", "--name", "there"], "is there already"),
    ],
)
def test_what_the_caller_got_wrong(
    argv: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "there.yaml").touch()
    assert cli.main(["onboard", *argv, "--dir", str(tmp_path)]) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("usual", "kept", "wanted"),
    [
        ("0x40400000", (), 0x4040_0000),
        ("80000", (), 0x4020_0000),  # outside: the first free one
        ("0x40480000", (), 0x4060_0000),  # not aligned: the next that is
        ("0x40400000", ((0x4040_0000, 0x4041_0000),), 0x4060_0000),
        (None, (), 0x4020_0000),
    ],
)
def test_the_load_address_is_aligned_free_ram(
    usual: str | None, kept: tuple[tuple[int, int], ...], wanted: int
) -> None:
    variables = {} if usual is None else {"kernel_addr_r": usual}
    answers = Answers(frozenset(), variables, ((0x4000_0000, 0x8000_0000),), kept, None)
    assert describe.load_addr(answers)[0] == wanted


def test_the_model_is_known_by_the_first_name(tmp_path: Path) -> None:
    known = boards.names(env={})
    assert describe.model_of(("raspberrypi,3-model-b", "brcm,bcm2837"), known) == "rpi-3b"
    assert describe.model_of(("acme,rock", "brcm,bcm2837"), known) == ""


def test_memory_that_never_comes_whole_is_no_memory(tmp_path: Path) -> None:
    from hilagent import transport
    from hilagent.clock import Deadline
    from hilagent.console import Console

    class Wrong(broken.Through):
        def said(self, data: bytes) -> bytes:
            return data.replace(b"edfe0dd0", b"edfe0dd1")

    with (
        PtyBoard(Wrong(scripted())) as pty,
        Console(transport.open(onboard.wiring_of(pty.path, 115200)), tmp_path) as console,
    ):
        spoken = interview.reach(console, Deadline.after(20))
        with pytest.raises(errors.LabError, match="never came whole"):
            interview.read(spoken.uboot, FDT_ADDR, 64, Deadline.after(10))
