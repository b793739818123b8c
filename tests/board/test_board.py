# SPDX-License-Identifier: Apache-2.0
"""Board files: found, laid over one another, checked, changed by options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hilagent import board, data, errors

HERE = {"HOME": "/nonexistent"}
SHIPPED = data.data_dir("boards")
GOOD: dict[str, Any] = yaml.safe_load((SHIPPED / "qemu-virt.yaml").read_text())


def _write(folder: Path, name: str, text: str) -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return path


def _fails(folder: Path, text: str, name: str = "mine") -> str:
    _write(folder, name, text)
    with pytest.raises(errors.InputError) as caught:
        board.load(name, dirs=[folder], env=HERE)
    return caught.value.message


def test_the_emulated_board_is_what_its_file_says() -> None:
    virt = board.load("qemu-virt", env=HERE)
    assert virt.emulated
    assert virt.source == SHIPPED / "qemu-virt.yaml"
    assert virt.qemu is not None
    assert virt.qemu.machine == "virt,virtualization=on"
    assert virt.qemu.firmware is not None
    assert virt.qemu.firmware.path == "/usr/lib/u-boot/qemu_arm64/u-boot.bin"
    assert (virt.cpus, virt.qemu.smp) == (4, 4)
    assert virt.uboot is not None
    assert (virt.uboot.prompt, virt.uboot.load_addr) == ("=> ", 0x40400000)
    assert (virt.payload.entry_el, virt.payload.psci) == (2, "smc")
    assert virt.transfers == ("tftp", "ymodem", "loader")


def test_a_foreign_firmware_and_how_it_is_started_stand_in_the_file() -> None:
    pi = board.load("qemu-raspi3b", env=HERE)
    assert pi.qemu is not None
    assert pi.qemu.firmware is not None
    assert (pi.qemu.firmware.foreign, pi.qemu.firmware.start) == (True, "kernel")
    assert (pi.transfers, pi.payload.psci) == (("ymodem",), "none")
    virt = board.load("qemu-virt", env=HERE)
    assert virt.qemu is not None
    assert virt.qemu.firmware is not None
    assert (virt.qemu.firmware.foreign, virt.qemu.firmware.start) == (False, "bios")


HTTP = "kind: http, url: 'http://a', outlet: 1"
WHOLE = [
    name
    for name, path in board.names(env=HERE).items()
    if not board.examine(path, board.names(env=HERE)).model
]


@pytest.mark.parametrize("name", WHOLE)
def test_every_shipped_board_is_valid_with_each_of_its_choices(name: str) -> None:
    shipped = board.load(name, env=HERE)
    assert shipped.name == name
    for option, spec in shipped.options.items():
        for choice in spec.choices:
            board.load(name, options={option: str(choice)}, env=HERE)


@pytest.mark.parametrize("name", [name for name in WHOLE if name.startswith("qemu-")])
def test_every_fact_of_an_emulated_board_has_its_source_as_a_comment(name: str) -> None:
    text = (SHIPPED / f"{name}.yaml").read_text()
    lines = text.partition("\noptions:")[0].splitlines()
    facts = ("machine:", "smp:", "path:", "prompt:", "load_addr:", "fdt:", "entry_el:", "psci:")
    for number, line in enumerate(lines):
        if line.strip().startswith(facts):
            assert "#" in line + lines[number - 1]


def test_options_change_every_field_that_they_set() -> None:
    one = board.load("qemu-virt", options={"smp": "1", "cpu": "max", "memory": "512"}, env=HERE)
    assert one.qemu is not None
    assert (one.cpus, one.qemu.smp, one.qemu.cpu, one.qemu.memory_mib) == (1, 1, "max", 512)


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("smp", "9", "expected one of 1, 2, 3, 4, 5, 6, 7, 8; found '9'"),
        ("cpu", "cortex-a57 ", "expected one of"),
        ("memory", "lots", "memory_mib: expected a valid integer"),
        ("memory", "1", "expected 128 to 65536, found 1"),
        ("smpp", "1", "no option 'smpp'; did you mean 'smp'?"),
        ("\x1b[31m", "1", "no option ''"),
    ],
)
def test_a_wrong_option_says_what_would_be_right(option: str, value: str, said: str) -> None:
    with pytest.raises(errors.UsageError) as caught:
        board.load("qemu-virt", options={option: value}, env=HERE)
    assert said in caught.value.message
    assert "\x1b" not in caught.value.message


def test_an_unknown_board_names_the_near_ones_and_all(tmp_path: Path) -> None:
    with pytest.raises(errors.UsageError) as caught:
        board.load("qemu-vrit", env=HERE)
    assert caught.value.message.startswith("no board 'qemu-vrit'; did you mean qemu-virt")
    assert "qemu-virt" in caught.value.hint
    assert not isinstance(caught.value, errors.InputError)
    with pytest.raises(errors.UsageError, match="no such folder of boards"):
        board.load("qemu-virt", dirs=[tmp_path / "none"], env=HERE)
    with pytest.raises(errors.UsageError, match="no such folder"):
        board.load("qemu-virt", env={**HERE, board.ENVIRONMENT: "/none"})


def test_folders_are_searched_in_their_order(tmp_path: Path) -> None:
    for folder in ("a", "b", "home/.config/hilagent/boards"):
        (tmp_path / folder).mkdir(parents=True)
        for name in {"a": "xyz", "b": "xy"}.get(folder, "x"):
            text = f"extends: qemu-virt\nname: {name}\ndescription: from {folder}\n"
            _write(tmp_path / folder, name, text)
    env = {"HOME": str(tmp_path / "home"), board.ENVIRONMENT: f"{tmp_path / 'b'}:"}
    home = {"HOME": str(tmp_path / "home")}
    assert board.load("x", dirs=[tmp_path / "a"], env=env).description == "from a"
    assert board.load("x", env=env).description == "from b"
    assert board.load("x", env=home).description.startswith("from home")
    assert set(board.names([tmp_path / "a"], env)) >= {"x", "y", "z", "qemu-virt"}


def test_an_instance_extends_a_model_and_names_the_file_of_each_error(tmp_path: Path) -> None:
    _write(tmp_path, "model", "extends: qemu-virt\nname: model\nuboot: {prompt: 'U-Boot> '}\n")
    text = "extends: model\nname: lab\nconsole:\n  fifo_bytes: 8\n"
    _write(tmp_path, "lab", text)
    lab = board.load("lab", dirs=[tmp_path], env=HERE)
    assert lab.uboot is not None
    assert (lab.uboot.prompt, lab.console.fifo_bytes) == ("U-Boot> ", 8)
    _write(tmp_path, "model", "extends: qemu-virt\nname: model\nuboot: {promt: x}\n")
    with pytest.raises(errors.InputError, match=r"model\.yaml:3: uboot\.promt: unknown field"):
        board.load("lab", dirs=[tmp_path], env=HERE)


def test_files_that_extend_each_other_are_an_error(tmp_path: Path) -> None:
    _write(tmp_path, "a", "extends: b\nname: a\n")
    _write(tmp_path, "b", "name: b\nextends: a\n")
    with pytest.raises(errors.InputError, match=r"yaml:\d: extends: extends itself"):
        board.load("a", dirs=[tmp_path], env=HERE)
    said = _fails(tmp_path, "name: mine\nextends: qemu-virrt\n")
    assert "mine.yaml:2: extends: no board 'qemu-virrt'; did you mean qemu-virt" in said
    assert "extends" in _fails(tmp_path, "extends: [a]\nname: mine\n")


def test_a_field_that_is_unknown_missing_double_or_out_of_range_is_an_error(tmp_path: Path) -> None:
    base = "extends: qemu-virt\nname: mine\n"
    assert "mine.yaml:3: consol: unknown field; did you mean 'console'?" in _fails(
        tmp_path, base + "consol: {kind: qemu}\n"
    )
    assert "stands here twice (first on line 2)" in _fails(tmp_path, base + "name: mine\n")
    assert "mine.yaml:3: cpus: expected 1 to 256, found 0" in _fails(tmp_path, base + "cpus: 0\n")
    assert "mine.yaml:1: schema: missing" in _fails(tmp_path, "name: mine\n")
    assert "isn't 2 MiB aligned" in _fails(tmp_path, base + "uboot: {load_addr: 0x40400004}\n")
    assert "mine.yaml:3: source: unknown field" in _fails(tmp_path, base + "source: /etc\n")
    assert "name: expected 'mine'" in _fails(tmp_path, "extends: qemu-virt\nname: other\n")
    assert "schema: expected 1, found 2" in _fails(tmp_path, base + "schema: 2\n")
    assert "expected fields" in _fails(tmp_path, "[a]\n")
    said = _fails(tmp_path, base + "options:\n  ram:\n    sets: [qemu.ram]\n")
    assert "options.ram.sets: 'qemu.ram' is not a field" in said


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ("console: {kind: serial}", "console: a serial console needs 'path'"),
        ("console: {kind: tcp, host: x}", "needs 'port'"),
        ("console: {kind: rfc2217, port: 2001}", "a rfc2217 console needs 'host'"),
        ("console: {kind: command, host: x}", "a command console has no 'host'"),
        ("console: {kind: command, argv: []}", "console.argv: expected 1 to 64 items"),
        ("console: {kind: qemu, path: /dev/x}", "a qemu console has no 'path'"),
        ("power: {kind: command, on: [x]}", "needs 'on' and 'off'"),
        ("power: {kind: http, device: tasmota, url: 'http://a'}", "power by http needs 'outlet'"),
        ("power: {kind: http, device: plug}", "power.device: expected 'tasmota', 'shelly1'"),
        ("power: {kind: manual, url: 'http://a'}", "power by manual has no 'url'"),
        ("power: {kind: manual, on: [x]}", "power by manual has no 'on'"),
        (f"power: {{{HTTP}, device: pdudaemon}}", "'pdu' belongs to device pdudaemon"),
        (f"power: {{{HTTP}, device: shelly1, pdu: x}}", "'pdu' belongs to device pdudaemon"),
        (f"power: {{{HTTP}, device: shelly1, user: x}}", "'user' and 'password_file' need each"),
        (f"power: {{{HTTP}, device: shelly2, user: x, password_file: y}}", "given to shelly2 yet"),
        (
            "power: {kind: http, url: 'http://a', device: tasmota, outlet: 0}",
            "outlet 0 of a tasmota is all of them",
        ),
        (
            "power: {kind: http, url: 'http://a/b', device: shelly1, outlet: 1}",
            "expected http://HOST[:PORT]",
        ),
        ("power: {kind: qemu, on: [x]}", "power by qemu has no commands"),
        ("uboot: {network: {mode: static, address: 10.0.0.1}}", "needs 'address', 'netmask'"),
        ("uboot: {network: {mode: qemu, address: 10.0.0.1}}", "has no addresses"),
        ("emulated: false", "is emulated"),
        ("uboot: {network: {mode: none}}", "transfer tftp needs"),
        ("uboot: {network: {mode: dhcp}}", "mine.yaml:1: transfer tftp needs 'uboot.network.tftp"),
        ("uboot: {network: {mode: qemu, tftp_dir: /srv}}", "network mode qemu has no 'tftp_dir'"),
        ("uboot: {network: {mode: dhcp, own_tftp: true}}", "'own_tftp' needs 'server', an addr"),
        ("uboot: {network: {mode: qemu, own_tftp: true, server: a}}", "mode qemu has no 'own_tf"),
        ("uboot: {network: {mode: dhcp, tftp_dir: srv}}", "tftp_dir: expected an absolute path"),
        ("transfers: []", "expected 1 to 3 items"),
        ("uboot: {fdt: fdt}", "uboot.fdt: expected a U-Boot variable"),
        ("qemu: {machine: 'virt -drive x'}", "a QEMU machine and properties"),
        ("linux: {kernel_addr: 0x40400004}", "linux: kernel_addr 0x40400004 isn't 2 MiB aligned"),
        ("linux: {ssh: {host: lab}}", "linux.ssh: ssh needs a 'host', or 'via: qemu' and none"),
        ("linux: {ssh: {via: address}}", "ssh needs a 'host'"),
        ("linux: {cmdline: 'a; b'}", "linux.cmdline: expected kernel arguments"),
        ("linux: {crashkernel: lots}", "linux.crashkernel: expected a size like 160M"),
        ("linux: {ramdisk_addr: 0}", "linux needs 'ramdisk_addr' where U-Boot loads it"),
        ("qemu: {kernel: Image}", "qemu: an emulated board has either 'firmware' or 'kernel'"),
        ("qemu: {firmware: ~}", "an emulated board needs 'firmware', 'kernel', or a 'tree'"),
        ("qemu: {firmware: ~, tree: a.dts}", "a board whose payload QEMU starts has no 'uboot'"),
        ("qemu: {tree: a.dts, dtb: a.dtb}", "qemu: 'tree' has no 'kernel' or 'dtb' beside it"),
        ("qemu: {since: new}", "qemu.since: expected a version, as '9.0'"),
        ("qemu: {append: quiet}", "qemu: 'initrd' and 'append' belong to a 'kernel'"),
        ("os: {ssh: {via: qemu}}", "'uboot' and 'os' exclude each other"),
        ("console: {kind: none}", "a board without a console needs 'os' and 'linux'"),
        ("qemu: {system: patched, tree: a.dts}", "qemu: 'system' has no 'tree' beside it"),
    ],
)
def test_what_does_not_fit_together_is_an_error(tmp_path: Path, block: str, said: str) -> None:
    assert said in _fails(tmp_path, f"extends: qemu-virt\nname: mine\n{block}\n")


def test_a_real_board_is_described_without_qemu(tmp_path: Path) -> None:
    path = _write(
        tmp_path,
        "pi",
        """
schema: 1
name: pi
description: a board
soc: bcm2711
emulated: false
cpus: 4
console: {kind: serial, path: /dev/serial/by-path/x, baud: 115200}
power: {kind: command, on: [uhubctl, -a, on], off: [uhubctl, -a, off], off_s: 3}
payload: {entry_el: 2}
transfers: [ymodem]
uboot:
  prompt: "U-Boot> "
  autoboot: Hit any key
  load_addr: 0x80000000
  network: {mode: none}
""",
    )
    pi = board.load(str(path), env=HERE)
    assert pi.power.on == ("uhubctl", "-a", "on")
    assert pi.power.off_s == 3.0
    assert pi.qemu is None
    assert pi.payload.psci == "none"


def test_only_an_emulator_forwards_a_port_of_this_host(tmp_path: Path) -> None:
    path = tmp_path / "pi.yaml"
    test_a_real_board_is_described_without_qemu(tmp_path)
    words = "console: ttyS1, kernel_addr: 0x200000, ramdisk_addr: 0x4000000"
    path.write_text(path.read_text() + f"linux: {{{words}, ssh: {{via: qemu}}}}\n")
    with pytest.raises(errors.InputError, match="ssh via qemu needs a 'qemu' block"):
        board.load(str(path), env=HERE)


def _error(path: Path) -> str:
    """Return what is wrong with a file; anything but a UsageError is a traceback."""
    try:
        board.load(str(path), env=HERE)
    except errors.UsageError as error:
        return error.message
    return ""


def _mutations() -> st.SearchStrategy[dict[str, Any]]:
    junk = st.none() | st.integers() | st.text(max_size=8) | st.lists(st.integers(), max_size=2)
    keys = st.sampled_from([*GOOD, "extra", "", "a.b"])
    return st.dictionaries(keys, junk | st.dictionaries(st.text(max_size=6), junk, max_size=2))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(change=_mutations())
def test_no_board_file_ever_ends_in_a_traceback(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "qemu-virt.yaml"
    path.write_text(yaml.safe_dump({**GOOD, **change}))
    said = _error(path)
    assert not said or str(path) in said
    _, problems = board.check([path], env=HERE)
    assert said.splitlines() == [each.message for each in problems]
