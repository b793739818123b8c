# SPDX-License-Identifier: Apache-2.0
"""The emulated board's switch: QEMU starts, answers, and ends on every way out."""

from __future__ import annotations

import dataclasses
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hilagent import board
from hilagent import power as power_room
from hilagent.board.model import Firmware, QemuSpec
from hilagent.clock import Deadline
from hilagent.errors import LabError
from hilagent.power.qemu import QemuPower

UBOOT = "/usr/lib/u-boot/qemu_arm64/u-boot.bin"
SPEC = QemuSpec(
    machine="virt,virtualization=on",
    cpu="cortex-a57",
    smp=2,
    memory_mib=256,
    firmware=Firmware("u-boot-qemu", UBOOT),
)


@pytest.fixture
def power() -> Iterator[QemuPower]:
    power = QemuPower(SPEC)
    yield power
    power.off()


@pytest.fixture
def firmware(tmp_path: Path) -> QemuSpec:
    path = tmp_path / "fw.bin"
    path.write_bytes(b"\0")
    return dataclasses.replace(SPEC, firmware=Firmware("u-boot-qemu", str(path)))


def gone(pid: int, seconds: float = 3.0) -> bool:
    """Wait until a process is no more (a pidfd is readable then)."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    with os.fdopen(fd) as file:
        return bool(select.select([file], [], [], seconds)[0])


def said(sock: socket.socket, what: bytes, seconds: float = 10.0) -> bool:
    deadline = Deadline.after(seconds)
    data = b""
    while what not in data and not deadline.expired():
        sock.settimeout(max(0.01, deadline.left_s()))
        data += sock.recv(65536)
    return what in data


def fake_qemu(folder: Path, script: str, spec: QemuSpec) -> QemuSpec:
    path = folder / "qemu-fake"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return dataclasses.replace(spec, binary=str(path))


def test_a_missing_emulator_names_the_package_to_install(firmware: QemuSpec) -> None:
    power = QemuPower(dataclasses.replace(firmware, binary="qemu-system-nothing"))
    with pytest.raises(LabError, match="qemu-system-nothing isn't installed") as caught:
        power.on()
    assert caught.value.hint == "apt install qemu-system-arm"


def test_missing_firmware_names_the_package_to_install(tmp_path: Path) -> None:
    path = str(tmp_path / "none.bin")
    spec = dataclasses.replace(SPEC, binary="sh", firmware=Firmware("u-boot-qemu", path))
    with pytest.raises(LabError, match=r"none\.bin isn't installed") as caught:
        QemuPower(spec).on()
    assert caught.value.hint == "apt install u-boot-qemu"


def test_an_emulator_that_ends_at_once_is_reported_with_its_last_words(
    tmp_path: Path, firmware: QemuSpec
) -> None:
    power = QemuPower(fake_qemu(tmp_path, "echo no such CPU >&2; exit 1", firmware))
    with pytest.raises(LabError, match="didn't start: QEMU ended with 1 by itself: no such CPU"):
        power.on()
    assert power.state() is False


def test_an_emulator_that_is_no_emulator_does_not_hold_us_up(
    tmp_path: Path, firmware: QemuSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hilagent.power.qemu.START_S", 0.2)
    power = QemuPower(fake_qemu(tmp_path, "exec cat <&0 >/dev/null; exec sleep 60", firmware))
    with pytest.raises(LabError, match="didn't start"):
        power.on()
    assert power.state() is False


def test_a_uefi_starts_the_system_that_is_named_beside_it(
    tmp_path: Path, firmware: QemuSpec
) -> None:
    kernel = tmp_path / "Image"
    kernel.write_bytes(b"\0")
    spec = dataclasses.replace(
        firmware, binary="sh", system="debian", kernel=str(kernel), append="acpi=force"
    )
    assert firmware.firmware is not None
    argv = QemuPower(spec).argv()
    at = argv.index("-bios")
    assert argv[at:] == ["-bios", firmware.firmware.path, "-kernel", str(kernel), "-append",
                         "acpi=force"]  # fmt: skip


@pytest.mark.parametrize("serial", [True, False])
def test_a_board_without_a_console_gets_no_serial_line(
    tmp_path: Path, firmware: QemuSpec, serial: bool
) -> None:
    spec = fake_qemu(tmp_path, 'echo "${@#*fd=*}" >&2; exit 1', firmware)
    with pytest.raises(LabError, match="-serial chardev" if serial else "-serial none"):
        QemuPower(spec, serial=serial).on()


def test_a_comma_in_the_tftp_directory_does_not_end_the_option(
    tmp_path: Path, firmware: QemuSpec
) -> None:
    argv = QemuPower(dataclasses.replace(firmware, binary="sh"), tmp_path / "a,b").argv()
    assert f"user,id=net0,restrict=on,tftp={tmp_path}/a,,b" in argv
    assert "virtio-net-device,netdev=net0" in argv


def test_a_board_that_names_its_own_network_device_gets_no_other(
    tmp_path: Path, firmware: QemuSpec
) -> None:
    own = ("-device", "virtio-net-pci,romfile=,netdev=net0")
    spec = dataclasses.replace(firmware, binary="sh", args=own)
    argv = QemuPower(spec, tmp_path).argv()
    assert [each for each in argv if each.endswith("netdev=net0")] == [own[1]]


def test_firmware_is_given_by_the_option_that_the_board_names(firmware: QemuSpec) -> None:
    assert firmware.firmware is not None
    for start in ("bios", "kernel"):
        how = dataclasses.replace(firmware.firmware, start=start)
        argv = QemuPower(dataclasses.replace(firmware, binary="sh", firmware=how)).argv()
        assert argv[argv.index(f"-{start}") + 1] == how.path
        assert "-dtb" not in argv
    spec = dataclasses.replace(firmware, binary="sh", dtb="/a/tree.dtb")
    assert QemuPower(spec).argv()[-2:] == ["-dtb", "/a/tree.dtb"]


@pytest.mark.parametrize(("name", "wants"), [("qemu-virt", True), ("qemu-raspi3b", False)])
def test_only_a_board_with_a_network_gets_a_card(
    tmp_path: Path, firmware: QemuSpec, name: str, wants: bool
) -> None:
    found = board.load(name)
    assert found.qemu is not None
    spec = dataclasses.replace(found.qemu, binary="sh", firmware=firmware.firmware)
    switch = power_room.open(dataclasses.replace(found, qemu=spec), tmp_path)
    assert isinstance(switch, QemuPower)
    assert ("-netdev" in switch.argv()) is wants


def test_a_forwarded_port_reaches_the_board_and_is_not_chosen_by_us(tmp_path: Path) -> None:
    power = QemuPower(SPEC, tmp_path, forward=(22,))
    power.on()
    try:
        port = power.forwarded(22)
        with socket.create_connection(("127.0.0.1", port), 5):
            pass
        with pytest.raises(LabError, match="forwards no port to 23"):
            power.forwarded(23)
    finally:
        power.off()
    with pytest.raises(LabError, match="switched off"):
        power.forwarded(22)


def test_an_emulator_that_is_off_has_no_console_and_is_not_alive() -> None:
    power = QemuPower(SPEC)
    assert power.state() is False
    assert power.alive() is False
    assert power.pid is None
    with pytest.raises(LabError, match="never switched on"):
        power.console()


@pytest.mark.hil
def test_on_starts_a_board_whose_first_words_are_kept_and_off_ends_it(power: QemuPower) -> None:
    power.on()
    power.on()  # harmless
    pid = power.pid
    assert pid is not None
    with power.console() as console:
        assert said(console, b"U-Boot 20")
    assert power.alive() is True
    assert sorted(power.threads()) == [0, 1]
    power.off()
    power.off()
    assert gone(pid)
    assert power.state() is False
    assert "switched off" in power.epitaph()


@pytest.mark.hil
def test_a_break_reaches_an_emulator_that_runs(power: QemuPower) -> None:
    power.on()
    power.send_break()
    power.off()
    with pytest.raises(LabError, match="switched off"):
        power.send_break()


@pytest.mark.hil
def test_a_cycle_is_a_new_emulator(power: QemuPower) -> None:
    power.on()
    first = power.pid
    with power.console() as old:
        power.cycle()
        old.settimeout(5)
        while old.recv(65536):
            pass
    assert power.pid not in {None, first}
    with power.console() as console:
        assert said(console, b"U-Boot 20")


@pytest.mark.hil
def test_an_emulator_that_is_killed_is_noticed_and_reported_as_the_labs_trouble(
    power: QemuPower,
) -> None:
    power.on()
    assert power.pid is not None
    os.kill(power.pid, signal.SIGKILL)
    assert "QEMU was killed by signal 9 by itself" in power.epitaph()
    assert power.state() is False
    assert power.alive() is False
    with pytest.raises(LabError, match="signal 9"):
        power.console()
    power.on()
    assert power.alive() is True


@pytest.mark.hil
def test_a_frozen_emulator_is_not_alive_and_can_still_be_ended(power: QemuPower) -> None:
    power.on()
    pid = power.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    assert power.alive() is False
    os.kill(pid, signal.SIGCONT)
    assert power.alive() is True  # the late answer to the first question is not taken for it
    os.kill(pid, signal.SIGSTOP)
    power.off()
    assert gone(pid)


@pytest.mark.hil
def test_an_unknown_cpu_is_reported_in_qemus_own_words() -> None:
    power = QemuPower(dataclasses.replace(SPEC, cpu="cortex-nothing"))
    with pytest.raises(LabError, match="cortex-nothing"):
        power.on()
    assert power.state() is False


@pytest.mark.hil
def test_the_emulator_outlives_the_thread_that_switched_it_on(power: QemuPower) -> None:
    thread = threading.Thread(target=power.on)
    thread.start()
    thread.join()
    with power.console() as console:
        assert said(console, b"autoboot")
    assert power.alive() is True


@pytest.mark.hil
def test_the_emulator_dies_with_an_agent_that_is_killed() -> None:
    code = (
        "import sys\n"
        "from tests.power.test_qemu import SPEC, QemuPower\n"
        "power = QemuPower(SPEC); power.on(); print(power.pid, flush=True); sys.stdin.read()\n"
    )
    agent = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with agent:
        assert agent.stdout is not None
        pid = int(agent.stdout.readline())
        agent.send_signal(signal.SIGKILL)
        assert gone(pid)
