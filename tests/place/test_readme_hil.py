# SPDX-License-Identifier: Apache-2.0
"""The README's lab of several hosts, on one: its commands as they stand, with a real U-Boot
behind the exporter's port."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from hilagent import journal
from tests import labgrid_env, tree
from tests.bringup.switched import Machine, switched
from tests.cli.person import environment, hilagent
from tests.place.agent import until
from tests.place.lab import Lab

pytestmark = [pytest.mark.hil, pytest.mark.usefixtures("labgrid")]
BOARD = """\
schema: 1
name: rock-pi-4
description: the README's board, played by QEMU with Debian's U-Boot
soc: rk3399
emulated: true
cpus: 1
console: {kind: serial, path: /dev/null}
power: {kind: manual, off_s: 0.1}
uboot:
  prompt: "=> "
  autoboot: Hit any key to stop autoboot
  load_addr: 0x40400000
  network: {mode: none}
payload: {entry_el: 2, psci: smc}
"""
SECTION = (tree.TOP / "README.md").read_text().partition("## A lab of several hosts\n")[2]
SECTION = SECTION.partition("\n## ")[0]
COMMANDS = [line.strip() for line in re.findall(r"^    \S.*", SECTION, re.M)]


def _commands(name: str) -> list[list[str]]:
    """Return the words of each command of the section that runs ``name``."""
    words = [shlex.split(line, comments=True) for line in COMMANDS]
    return [each[1:] for each in words if Path(each[0]).name == name]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    arguments = ["-machine", "virt,virtualization=on", "-cpu", "cortex-a57", "-smp", "1",
                 "-m", "512", "-bios", "/usr/lib/u-boot/qemu_arm64/u-boot.bin"]  # fmt: skip
    with switched(tmp_path / "qemu", arguments) as machine:
        yield machine


@pytest.fixture
def lab(tmp_path: Path, machine: Machine) -> Iterator[Lab]:
    """The README's exporter, but for where its two ports lead."""
    with Lab(tmp_path, {}) as lab:
        lab.outlets.switch["0"] = lambda on: subprocess.run(
            shlex.split(machine.on if on else machine.off), check=True
        )
        power = f'NetworkPowerPort: {{model: rest, host: "{lab.outlets.url}", index: 0}}'
        port = f"NetworkSerialPort: {{host: 127.0.0.1, port: {machine.port}, protocol: raw}}"
        (text,) = re.findall(r"^```yaml\n(rock-a:\n.*?)^```", SECTION, re.M | re.S)
        text = re.sub(r"^  NetworkPowerPort: .*", f"  {power}", text, flags=re.M)
        lab.export("lab1", re.sub(r"^  USBSerialPort: .*", f"  {port}", text, flags=re.M))
        (lab.folder / "boards/rock-pi-4.yaml").write_text(BOARD)
        yield lab


def _env(lab: Lab) -> Mapping[str, str]:
    return environment(
        lab.folder, LG_COORDINATOR=lab.address, HILAGENT_BOARDS=str(lab.folder / "boards")
    )


def _running(lab: Lab, name: str, argv: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        hilagent(*argv, "--run-dir", str(lab.folder / name)), cwd=lab.folder, env=_env(lab),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_its_lab_of_several_hosts_runs(lab: Lab) -> None:
    client = [labgrid_env.python(), "-m", "labgrid.remote.client"]
    for argv in _commands("labgrid-client"):
        subprocess.run([*client, *argv], env=_env(lab), check=True, stdout=subprocess.DEVNULL)
    by_name, by_tags = (each for each in _commands("hilagent") if each[0] == "run")
    by_name += ["--suite", "architecture", "--vectors", "reference-stub"]
    by_tags += ["--suite", "architecture"]
    with _running(lab, "one", by_name) as first:
        until(lambda: lab.outlets.on.get("0"), "the board is on", first)
        with _running(lab, "two", by_tags) as second:
            for name, it in (("one", first), ("two", second)):
                said, told = it.communicate(timeout=240)
                assert it.returncode == 0, said + told
                assert f"At place rock-a of {lab.address}, by exporter lab1." in said
                outcomes = journal.read(lab.folder / name).outcomes.values()
                assert {each.verdict.value for each in outcomes} == {"pass"}
    assert not lab.outlets.on["0"]
    listed = subprocess.run([*client, "who"], env=_env(lab), capture_output=True, text=True)
    assert "rock-a" not in listed.stdout


def test_its_other_commands_exist() -> None:
    (verb, *argv), *more = [each for each in _commands("hilagent") if each[0] != "run"]
    assert (verb, more) == ("console", [])
    said = subprocess.run(hilagent(verb, "--help"), capture_output=True, text=True, cwd=tree.TOP)
    assert all(word in said.stdout for word in argv if word.startswith("--"))
    (coordinator,), (exporter,) = _commands("labgrid-coordinator"), _commands("labgrid-exporter")
    assert (coordinator, exporter) == ([], ["exporter.yaml"])
    assert any("LG_COORDINATOR=lab0:20408" in line for line in COMMANDS)
