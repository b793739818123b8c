# SPDX-License-Identifier: Apache-2.0
"""Each layer broken in turn is the one that doctor names."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hilagent import cli
from hilagent.board import Board
from hilagent.bringup import prompted
from hilagent.session import quarantine
from hilagent.testing import Machine, PtyBoard, ScriptedBoard, Traits, UBootTraits
from hilagent.testing.jobs import GOOD
from tests.bringup import broken
from tests.fault import boards

ON = 'on: [sh, -c, "echo on >> {switched}"]'
QUICK = UBootTraits(autoboot_s=0.0)
BY_TFTP = """\
network: {{mode: dhcp, tftp_dir: /tmp}}
  transfer_timeout_s: 3
transfers: [tftp, ymodem]"""


def plain(machine: Machine) -> Machine:
    return machine


@dataclass(frozen=True)
class Case:
    """A bench with one thing wrong, and what is said of it.

    Attributes:
        layer: that must be named; empty for none.
        says: what is seen there, and what to do.
        change: of the board's file.
        switches: whether its switch does anything.
    """

    layer: str
    says: tuple[str, ...] = ()
    change: tuple[str, str] = ("", "")
    uboot: UBootTraits = QUICK
    payload: Traits = GOOD
    through: Callable[[Any], Machine] = plain
    forgetful: bool = False
    powered: bool = True
    switches: bool = True


WELL = Case("")
CASES = {
    "no such port": Case("port", ("can't open", "console.path", "scripted.yaml:10"),
                         ("path: {pty}", "path: /dev/serial/by-path/none")),
    "a switch that fails": Case("power", ("false ended with 1", "scripted.yaml:13"),
                                (ON, 'on: ["false"]')),
    "a switch that lies": Case("power", ("its switch says that it is off",),
                               (ON, 'on: ["true"]')),
    "no power in truth": Case("baud", ("nothing came", "TX"), powered=False,
                              switches=False),
    "another rate": Case("baud", ("text at 1500000 baud", "write 1500000", "console.baud",
                                  "scripted.yaml:11"),
                         through=lambda board: broken.AtRate(board, 1500000)),
    "another prompt": Case("U-Boot", ("'rock> '", "uboot.prompt", "scripted.yaml:20"),
                           uboot=UBootTraits(prompt="rock> ", autoboot_s=0.0)),
    "it hangs": Case("U-Boot", ("never came to its prompt",),
                     uboot=UBootTraits(never_prompts=True)),
    "no loady": Case("commands", ("no loady", "transfers"),
                     uboot=UBootTraits(autoboot_s=0.0, lacks=frozenset({"loady"}))),
    "no RAM there": Case("memory", ("no RAM at 0x80000000", "0x40000000 + 0x400000",
                                    "would load to 0x40200000", "scripted.yaml:22"),
                         ("load_addr: 0x40200000", "load_addr: 0x80000000")),
    "RAM that forgets": Case("memory", ("doesn't keep",), forgetful=True),
    "characters lost": Case("characters", ("lines), about", "another cable"),
                            through=broken.LosesOfDumps),
    "another board": Case("device tree", ("it is a other,board", "compatible"),
                          uboot=UBootTraits(autoboot_s=0.0, compatible=("other,board",))),
    "no tree there": Case("device tree", ("no device tree at 0x50000000", "uboot.fdt"),
                          ("network: {{mode", "fdt: 0x50000000\n  network: {{mode")),
    "TFTP fails": Case("tftp", ("TFTP", "uboot.network"),
                       ("network: {{mode: none}}\ntransfers: [ymodem]",
                        BY_TFTP)),
    "booti comes back": Case("payload", ("no room",),
                             uboot=UBootTraits(autoboot_s=0.0, boot_fails="no room")),
    "entered at EL1": Case("entry EL", ("entered at EL1", "declared is EL2"),
                           payload=Traits(entry_el=1)),
    "entered at EL3": Case("entry EL", ("entered at EL3", "payload.entry_el"),
                           payload=Traits(entry_el=3)),
    "another UART": Case("UART", ("pl011 at 0x9000000", "declared is mini"),
                         ("kind: pl011, base: 0x9000000", "kind: mini, base: 0x3f215040")),
    "another conduit": Case("PSCI", ("device tree says smc, declared is none",),
                            ("psci: smc", "psci: none")),
    "more CPUs declared": Case("CPUs", ("device tree has 4, declared are 6", "scripted.yaml:6"),
                               ("cpus: 4", "cpus: 6")),
    "a CPU that doesn't start": Case("CPUs", ("CPU 2 does not start",),
                                     payload=Traits(bad_cpus=frozenset({2}))),
    "a switch that does nothing": Case("power cycle", ("before power was cycled still runs",),
                                       switches=False),
    "packets spoilt": Case("link", ("packets damaged",), through=broken.SpoilsPackets),
}  # fmt: skip


def _doctor(
    case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any, *more: str
) -> tuple[int, str]:
    """Run the command on the bench of ``case``; return exit code and stdout."""
    monkeypatch.setenv("HILAGENT_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("HILAGENT_STATE", str(tmp_path / "state"))
    board = ScriptedBoard(uboot=case.uboot, payload=case.payload, powered=case.powered)
    if case.forgetful:
        board.uboot.memory = broken.Forgetful({0x4000_0000: 0x40_0000})
    log = tmp_path / "switched"
    log.touch()
    machine = case.through(broken.Switched(board, log) if case.switches else board)
    pty = PtyBoard(machine)
    if isinstance(machine, broken.AtRate):
        machine.path = pty.path
    with pty:
        text = broken.BOARD.replace(*case.change) if case.change[0] else broken.BOARD
        text = text.format(pty=pty.path, switched=log)
        named = boards.write(tmp_path / "boards", "scripted", text)
        code = cli.main(["doctor", *named, *more])
    return code, capsys.readouterr().out


def _layers(out: str) -> dict[str, dict[str, str]]:
    return {each["name"]: each for each in json.loads(out)["layers"]}


def test_a_bench_that_is_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out = _doctor(WELL, tmp_path, capsys, monkeypatch)
    assert code == 0, out
    assert "WELL  scripted: 16 layers, 4 not applicable" in out
    assert "ok      U-Boot        2023.01+dfsg-2+deb12u1, at its prompt '=> '" in out
    assert max(map(len, out.splitlines()[:-1])) <= 80
    assert (tmp_path / "switched").read_text().split()[-1] == "off"


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_layer_that_is_broken_is_named(
    case: Case,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    code, out = _doctor(case, tmp_path, capsys, monkeypatch, "--json")
    assert code == 125, out
    data, layers = json.loads(out), _layers(out)
    assert data["broken"] == case.layer, out
    said = layers[case.layer]["seen"] + " " + layers[case.layer]["hint"]
    for word in case.says:
        assert word in said
    before = list(layers)[: list(layers).index(case.layer)]
    assert all(layers[name]["mark"] in {"ok", "not applicable"} for name in before), out
    assert not data["well"]
    if case.layer != "port":
        assert (tmp_path / "switched").read_text().split()[-1:] in ([], ["off"])


def test_what_stands_on_a_broken_layer_is_not_reached(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out = _doctor(CASES["no tree there"], tmp_path, capsys, monkeypatch)
    assert code == 125
    assert "?       payload       it stands on" in out
    assert "BROKEN  scripted, at device tree" in out
    assert "ok      payload" not in out


@pytest.mark.parametrize("name", ["well", "a CPU that doesn't start"])
def test_a_quarantine_ends_when_all_is_well(
    name: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended: list[str] = []

    def lift(board: Board) -> list[str]:
        ended.append(board.name)
        return ["since today"]

    monkeypatch.setattr(quarantine, "lift", lift)
    code, _ = _doctor(CASES.get(name, WELL), tmp_path, capsys, monkeypatch)
    assert (code, ended) == ((0, ["scripted"]) if name == "well" else (125, []))


def test_losses_are_counted_by_what_must_have_been_printed() -> None:
    rows = [f"{0x1000 + 16 * n:08x}: aaaa bbbb  ...." for n in range(8)]
    whole = "\n".join(rows)
    size = len(whole) + 1
    assert prompted.losses(whole, 0x1000, 8) == (size, 0, 0)
    assert prompted.losses(whole.replace("1010: a", "1010: "), 0x1000, 8) == (size, 1, 1)
    assert prompted.losses("\n".join(rows[:-1]), 0x1000, 8)[1] == 1
    assert prompted.losses("", 0x1000, 8)[1] == 8
