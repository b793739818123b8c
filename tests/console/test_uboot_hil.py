# SPDX-License-Identifier: Apache-2.0
"""The driver against Debian's own U-Boot."""

from __future__ import annotations

import os
import signal
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from hilagent.clock import Deadline
from hilagent.console.uboot import UBoot
from hilagent.errors import BoardReset, LabError, LinkError
from hilagent.power import QemuPower
from tests.console.emulated import Emulated, emulated

pytestmark = pytest.mark.hil
RAM = 0x4800_0000


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulated]:
    with emulated(tmp_path_factory.mktemp("board")) as board:
        yield board


@pytest.fixture(scope="module")
def uboot(live: Emulated) -> UBoot:
    uboot = live.uboot()
    assert uboot.attach().startswith("20")
    return uboot


def test_a_command_has_a_text_and_a_status(uboot: UBoot) -> None:
    assert (uboot.run("true").text, uboot.run("true").status) == ("", 0)
    assert uboot.run("false").status == 1
    assert uboot.run("echo", "two", "words").text == "two words"
    assert uboot.garbled == 0


def test_a_variable_keeps_every_character_that_may_be_said(uboot: UBoot) -> None:
    value = """a  b;c ${d} $e "q" #!&|*?[]{}()<>~`^ => 100%"""
    uboot.env_set("hil_test", value)
    assert uboot.env_get("hil_test") == value
    assert uboot.env_get("hil_none") is None


def test_what_looks_like_a_prompt_or_a_mark_ends_nothing(uboot: UBoot) -> None:
    for text in ("=> ", "==> 1e69", "x => y", "abcd 0 0 abcd", "U-Boot 2023.01"):
        assert uboot.run("echo", f"one {text}").text == f"one {text}"


def test_crc32_is_zlibs(uboot: UBoot) -> None:
    uboot.run("mw.b", RAM, 0x5A, 0x1000)
    assert uboot.crc32(RAM, 0x1000) == zlib.crc32(b"\x5a" * 0x1000)
    assert uboot.matches(RAM, b"\x5a" * 0x1000)
    assert not uboot.matches(RAM, b"\x5b" * 0x1000)


def test_long_output_arrives_whole(uboot: UBoot) -> None:
    lines = uboot.run("md.b", RAM, 0x8000).text.split("\n")
    assert len(lines) == 0x800
    assert lines[-1].startswith(f"{RAM + 0x7FF0:x}: ")


def test_bdinfo_is_read_by_its_names(uboot: UBoot) -> None:
    info = uboot.bdinfo()
    assert int(info["start"], 16) == 0x4000_0000
    assert info["baudrate"] == "115200 bps"


def test_attaching_again_finds_an_idle_prompt(live: Emulated, uboot: UBoot) -> None:
    again = UBoot(live.console, live.spec)
    assert again.attach(Deadline.after(5)) == uboot.version
    uboot.line = again.line  # hand the console back to the other tests
    uboot._prompt.line = again.line


def test_a_command_that_should_not_come_back_but_does_tells_what_it_said(uboot: UBoot) -> None:
    with pytest.raises(LabError, match=r"came back from 'booti 48000000 - 0': Bad Linux ARM64"):
        uboot.start("booti", RAM, "-", 0)
    assert uboot.run("true").ok


def test_a_restart_in_the_middle_of_a_command_is_named(live: Emulated, uboot: UBoot) -> None:
    with pytest.raises(BoardReset, match="restarted by itself: U-Boot 20"):
        uboot.run("reset")
    assert live.uboot().attach(Deadline.after(10))


def test_an_exception_of_uboot_is_named(tmp_path: Path) -> None:
    with emulated(tmp_path) as board:
        uboot = board.uboot()
        uboot.attach()
        with pytest.raises(LabError, match='firmware crashed: "Synchronous Abort" handler'):
            uboot.run("md", 0xFFFF_0000_0000)


def test_an_emulator_that_dies_in_a_command_is_the_labs_trouble(tmp_path: Path) -> None:
    with emulated(tmp_path) as board:
        uboot = board.uboot()
        uboot.attach()
        assert isinstance(board.power, QemuPower)
        assert board.power.pid is not None
        os.kill(board.power.pid, signal.SIGKILL)
        with pytest.raises(LinkError, match="QEMU was killed by signal 9 by itself"):
            uboot.run("version")


def test_the_prompt_is_reached_from_power_on_and_everything_is_on_tape(tmp_path: Path) -> None:
    with emulated(tmp_path) as board:
        board.uboot().attach()
        seen = board.console.position()
    raw = (tmp_path / "console.raw").read_bytes()
    assert len(raw) >= seen
    assert raw.startswith(b"\r\n\r\nU-Boot 20")
    assert b"version" in (tmp_path / "console.tx").read_bytes()
