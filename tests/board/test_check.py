# SPDX-License-Identifier: Apache-2.0
"""Whole folders of board files: every mistake at once, each with file, line and field."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from hilagent import board, data, errors
from hilagent.board.check import SSH_PORT
from hilagent.limits import NoPassword

HERE = {"HOME": "/nonexistent"}
LAB = """\
extends: rock-pi-4
name: {name}
console: {{kind: serial, path: /dev/{name}}}
power: {{kind: command, on: [outlet, {name}, "on"], off: [outlet, {name}, "off"]}}
linux: {{ssh: {{host: {name}.lab}}}}
"""


def _lab(folder: Path, name: str, *changes: tuple[str, str]) -> Path:
    """Write a whole board of a lab, with ``changes`` made to its text."""
    said = LAB.format(name=name)
    for old, new in changes:
        assert old in said
        said = said.replace(old, new)
    path = folder / f"{name}.yaml"
    path.write_text(said)
    return path


def _told(*paths: Path) -> list[str]:
    """Return what is wrong with ``paths``, with the names of files in place of paths."""
    _, problems = board.check(paths, env=HERE)
    said = [each.message for each in problems]
    for path in paths:
        said = [each.replace(f"{path if path.is_dir() else path.parent}/", "") for each in said]
    return said


def test_a_lab_of_whole_boards_has_nothing_wrong(tmp_path: Path) -> None:
    for name in ("one", "two"):
        _lab(tmp_path, name)
    assert board.check([tmp_path], env=HERE) == (2, [])


def test_every_shipped_file_passes() -> None:
    count, problems = board.check(env=HERE)
    assert problems == []
    assert count == len(list(data.data_dir("boards").glob("*.yaml")))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("linux:", "lunix: 1\nlinux:", "a.yaml:5: lunix: unknown field; did you mean 'linux'?"),
        ("linux:", "cpus: four\nlinux:", 'a.yaml:5: cpus: expected a valid integer, found "four"'),
        (
            "linux:",
            "transfers: ymodem\nlinux:",
            'a.yaml:5: transfers: expected a valid array, found "ymodem"',
        ),
        (
            "linux:",
            "name: a\nlinux:",
            "a.yaml:5: field 'name' stands here twice (first on line 2)",
        ),
        ("name: a", "name: b", "a.yaml:2: name: expected 'a', as the file is called, found 'b'"),
        ("rock-pi-4", "rock-pi", "a.yaml:1: extends: no board 'rock-pi'; did you mean rock-pi-4"),
        (
            "host: a.lab}",
            "host: a.lab}, ramdisk_addr: 0x2800000",
            "a.yaml:5: linux.ramdisk_addr: 0x2800000 to 0x37fffff overlaps linux.kernel_addr, 0x2",
        ),
        (
            "linux:",
            "uboot: {load_addr: 0x0}\nlinux:",
            "a.yaml:5: uboot.load_addr: 0x0 to 0x17fffff overlaps reserved 0x0 to 0x1fffff",
        ),
        (
            "linux:",
            "uboot: {load_addr: 0x3fe00000}\nlinux:",
            "a.yaml:5: uboot.load_addr: expected an address in ram (0x0 to 0x3fffffff), found 0x",
        ),
        (
            "linux:",
            "uboot: {fdt: 0x2000000}\nlinux:",
            "a.yaml:5: uboot.fdt: 0x2000000 to 0x200ffff overlaps uboot.load_addr",
        ),
        (
            "linux:",
            "uboot: {fdt: 0x3800000}\nlinux:",
            "a.yaml:5: uboot.fdt: 0x3800000 to 0x380ffff overlaps linux.kernel_addr",
        ),
        (
            "linux:",
            "uboot: {fdt: 0x12180000}\nlinux:",
            "a.yaml:5: uboot.fdt: 0x12180000 to 0x1218ffff overlaps linux.ramdisk_addr",
        ),
        (
            "path: /dev/a",
            "path: /dev/a, uart: {base: 0x1000}",
            "a.yaml:3: console.uart.base: 0x1000 is in ram",
        ),
        ('[outlet, a, "on"]', "", "a.yaml:4: power: power by command needs 'on' and 'off'"),
    ],
)
def test_what_is_wrong_in_a_file_is_told_with_its_line(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    told = _told(_lab(tmp_path, "a", (old, new)))
    assert any(each.startswith(said) for each in told), told


def test_regions_of_a_model_must_not_overlap(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    regions = (
        "- {use: ram, base: 0x0, size: 0x40000000}",
        "- {use: reserved, base: 0x100000, size: 0x2000}",
        "- {use: ram, base: 0x3ffff000, size: 0x2000}",
        "- {use: reserved, base: 0x101000, size: 0x1000}",
    )
    words = "\n".join(["extends: rock-pi-4", "name: a", "model: true", "memory:", *regions])
    path.write_text(words)
    assert _told(path) == [
        "a.yaml:7: memory.2: ram 0x3ffff000 to 0x40000fff overlaps memory.0, 0x0 to 0x3fffffff",
        "a.yaml:8: memory.3: reserved 0x101000 to 0x101fff overlaps memory.1, 0x100000 to 0x101fff",
    ]


def test_a_folder_is_told_of_as_a_whole(tmp_path: Path) -> None:
    """All mistakes of all files, those that stop a file's reading and those that don't."""
    _lab(tmp_path, "a", ("linux:", "lunix: 1\ncpus: x\ncpus: 0\nname: b\nlinux:"))
    (tmp_path / "b.yaml").write_text("a: [\n")
    (tmp_path / "c.yaml").write_text("- a\n")
    (tmp_path / "d.yaml").write_bytes(b"\xff")
    _lab(tmp_path, "e").rename(tmp_path / "f.yml")
    assert [each.partition(" (")[0] for each in _told(tmp_path)] == [
        "a.yaml:5: lunix: unknown field; did you mean 'linux'?",
        "a.yaml:7: field 'cpus' stands here twice",
        "a.yaml:7: cpus: expected 1 to 256, found 0",
        "a.yaml:8: field 'name' stands here twice",
        "a.yaml:8: name: expected 'a', as the file is called, found 'b'",
        "b.yaml:2: not YAML: expected the node content, but found '<stream end>'",
        "c.yaml:1: expected fields",
        "d.yaml:1: not UTF-8",
        "f.yml: expected a name that ends in .yaml, found 'f.yml'",
    ]


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("/dev/two", "/dev/one", 3, "console.path: expected a serial port of its own, found"),
        ('[outlet, two, "on"]', '[outlet, one, "on"]', 4, "power.on: expected a power outlet of"),
        ('[outlet, two, "off"]', '[outlet, one, "off"]', 4, "power.off: expected a power outlet"),
        (
            "two.lab",
            "ONE.lab",
            5,
            "linux.ssh.host: expected an address of its own, found 'one.lab:22'",
        ),
    ],
)
def test_two_boards_share_nothing(tmp_path: Path, old: str, new: str, line: int, said: str) -> None:
    _lab(tmp_path, "one")
    _lab(tmp_path, "two", (old, new))
    (told,) = _told(tmp_path)
    assert told.startswith(f"two.yaml:{line}: {said}")
    assert told.endswith(f"which board one uses, too (one.yaml:{line})")


def test_a_power_cycle_of_two_boards_is_an_error(tmp_path: Path) -> None:
    for name in ("one", "two"):
        _lab(tmp_path, name, ('"off"]}', '"off"], cycle: [outlet, "7"]}'))
    (told,) = _told(tmp_path)
    assert told.startswith("two.yaml:4: power.cycle: expected a power outlet of its own, found")


def test_what_is_shared_is_told_beside_other_mistakes(tmp_path: Path) -> None:
    _lab(tmp_path, "one", ("linux:", "cpus: x\nlinux:"))
    _lab(tmp_path, "two", ("/dev/two", "/dev/one"), ("two.lab", "two.lab, port: many"))
    assert [each.partition(" expected")[0] for each in _told(tmp_path)] == [
        "one.yaml:5: cpus:",
        "two.yaml:3: console.path:",
        "two.yaml:5: linux.ssh.port:",
    ]


def test_the_port_of_ssh_is_the_one_of_the_model() -> None:
    assert {each.name: each.default for each in fields(board.Ssh)}["port"] == SSH_PORT


def test_one_serial_port_by_two_names_is_one(tmp_path: Path) -> None:
    (tmp_path / "by-path").symlink_to("/dev/one")
    _lab(tmp_path, "one")
    _lab(tmp_path, "two", ("/dev/two", str(tmp_path / "by-path")))
    (told,) = _told(tmp_path)
    assert "found '/dev/one', which board one uses, too" in told


@pytest.mark.parametrize("kind", ["tcp", "rfc2217"])
def test_a_tcp_port_of_two_boards_is_an_error_and_another_port_is_none(
    tmp_path: Path, kind: str
) -> None:
    port = "kind: tcp, host: server, port: 400"
    _lab(tmp_path, "one", ("kind: serial, path: /dev/one", port + "1"))
    _lab(tmp_path, "two", ("kind: serial, path: /dev/two", port + "2"))
    assert _told(tmp_path) == []
    port = port.replace("tcp", kind)
    _lab(tmp_path, "two", ("kind: serial, path: /dev/two", port + "1"))
    (told,) = _told(tmp_path)
    assert told.startswith("two.yaml:3: console.host: expected an address of its own")


def test_a_console_command_of_two_boards_is_an_error(tmp_path: Path) -> None:
    sol = "kind: command, argv: [ipmitool, -H, bmc1, sol, activate]"
    _lab(tmp_path, "one", ("kind: serial, path: /dev/one", sol))
    _lab(tmp_path, "two", ("kind: serial, path: /dev/two", sol.replace("bmc1", "bmc2")))
    assert _told(tmp_path) == []
    _lab(tmp_path, "two", ("kind: serial, path: /dev/two", sol))
    (told,) = _told(tmp_path)
    assert told.startswith("two.yaml:3: console.argv: expected a console command of its own")


def test_what_a_board_inherits_is_not_its_own(tmp_path: Path) -> None:
    _lab(tmp_path, "one")
    (tmp_path / "two.yaml").write_text("extends: one\nname: two\n")
    told = _told(tmp_path)
    assert [each.split(" expected")[0] for each in told] == [
        "one.yaml:3: console.path: (of board two)",
        "one.yaml:4: power.on: (of board two)",
        "one.yaml:5: linux.ssh.host: (of board two)",
    ]


def test_one_name_in_two_folders_is_an_error(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    _lab(tmp_path / "a", "one")
    text = _lab(tmp_path / "b", "two").read_text().replace("name: two", "name: one")
    (tmp_path / "b" / "two.yaml").unlink()
    (tmp_path / "b" / "one.yaml").write_text(text)
    (told,) = _told(tmp_path / "a", tmp_path / "b")
    assert told.startswith("one.yaml:2: name: expected a name of its own, found 'one', which")


def test_a_path_that_is_not_there_is_the_callers_mistake(tmp_path: Path) -> None:
    with pytest.raises(errors.UsageError, match="no such file or folder of boards"):
        board.check([tmp_path / "none"], env=HERE)


def test_a_serial_port_that_no_file_can_be_is_looked_at(tmp_path: Path) -> None:
    path = _lab(tmp_path, "one", ("/dev/one", '"/dev/\\0"'))
    assert '"/dev/\\0"' in path.read_text()
    assert _told(path) == []


def test_a_file_that_is_named_twice_is_looked_at_once(tmp_path: Path) -> None:
    path = _lab(tmp_path, "one")
    assert board.check([tmp_path, path], env=HERE) == (1, [])


def test_an_outlet_on_the_network_has_one_board(tmp_path: Path) -> None:
    def plug(name: str, rest: str) -> Path:
        by_command = f'{{kind: command, on: [outlet, {name}, "on"], off: [outlet, {name}, "off"]}}'
        by_http = f'{{kind: http, device: shelly1, url: "http://{rest}}}'
        return _lab(tmp_path, name, (by_command, by_http))

    one, two = plug("one", 'plug", outlet: 1'), plug("two", 'plug", outlet: 2')
    assert _told(one, two) == []
    (told,) = _told(one, plug("two", 'Plug", outlet: 1'))
    assert told.startswith("two.yaml:4: power.outlet: expected a power outlet of its own, found")


@pytest.mark.parametrize(
    "words",
    [
        "ipmitool, -H, bmc7, -U, lab, -P, s3cret, chassis, power, 'on'",
        "sh, -c, 'ipmitool -H bmc7 -U lab -P s3cret power on'",
        "curl, -fsS, -u, 'lab:s3cret', 'https://bmc7'",
        "curl, --user=lab:s3cret, 'https://bmc7'",
        "curl, 'https://lab:s3cret@bmc7/on'",
        "pdu, --password, s3cret",
        "pdu, --passwd=s3cret",
    ],
)
def test_a_password_in_a_command_is_refused_without_telling_it(words: str) -> None:
    with pytest.raises(ValueError, match="a password in it would be in every report") as caught:
        NoPassword().check(yaml.safe_load(f"[{words}]"))
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "words",
    [
        "ipmitool, -I, lanplus, -H, bmc7, -U, lab, -f, /etc/lab/bmc7, chassis, power, 'on'",
        "curl, -fsS, --netrc-file, /etc/lab/netrc, 'https://bmc7:8443/on'",
        "uhubctl, -l, 1-1, -p, '2', -a, 'on'",
        "pdu, --password-file, /etc/lab/pdu",
        "ssh, -P, relay",
    ],
)
def test_a_file_with_the_password_is_right(words: str) -> None:
    NoPassword().check(yaml.safe_load(f"[{words}]"))
