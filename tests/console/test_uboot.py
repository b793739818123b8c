# SPDX-License-Identifier: Apache-2.0
"""The U-Boot driver against a scripted U-Boot, well and badly behaved."""

from __future__ import annotations

import time

import pytest

from hilagent.console.prompt import Prompt
from hilagent.errors import LabError, LinkError, PreconditionError, StateError
from hilagent.testing import Fault, Faults, ScriptedUBoot, UBootTraits
from hilagent.testing.uboot import FDT_ADDR, LOAD_ADDR
from tests.console.scripted import scripted, soon

READY = UBootTraits(autoboot_s=0)
MAGIC = bytes(56) + b"ARM\x64" + bytes(4)


def test_the_countdown_is_stopped_and_the_version_known() -> None:
    with scripted(ScriptedUBoot()) as board:
        started = time.monotonic()
        assert board.uboot.attach(soon()) == "2023.01+dfsg-2+deb12u1"
        assert time.monotonic() - started < 1.5
        assert board.uboot.version.startswith("2023.01")


def test_an_idle_prompt_is_found_by_poking() -> None:
    with scripted(ScriptedUBoot(traits=READY)) as board:
        board.uboot.attach(soon())
        again = type(board.uboot)(board.console, board.uboot.spec)
        assert again.attach(soon())


def test_noise_before_the_banner_does_no_harm() -> None:
    noise = bytes(range(256)) + b"\xff=> \xfe" * 20
    with scripted(ScriptedUBoot(traits=UBootTraits(garbage=noise))) as board:
        assert board.uboot.attach(soon())


def test_a_uboot_that_never_prompts_is_the_labs_trouble_with_its_last_words() -> None:
    with scripted(ScriptedUBoot(traits=UBootTraits(never_prompts=True))) as board:
        with pytest.raises(LabError, match="never came to its prompt '=> '") as caught:
            board.uboot.attach(soon(0.5))
        assert "DRAM:  256 MiB" in caught.value.hint
        assert "baud" in caught.value.hint
        with pytest.raises(StateError):
            _ = board.uboot.version


def test_a_console_that_is_silent_is_said_to_be() -> None:
    class Dead(ScriptedUBoot):
        def tick(self) -> bytes:
            return b""

    with scripted(Dead()) as board, pytest.raises(LabError) as caught:
        board.uboot.attach(soon(0.3))
    assert "the console is silent" in caught.value.hint


def test_what_answers_but_is_no_uboot_is_not_taken_for_one() -> None:
    shell = UBootTraits(autoboot_s=0, version="sh: 1: version: not found")
    with (
        scripted(ScriptedUBoot(traits=shell)) as board,
        pytest.raises(LabError, match="what answers is no U-Boot"),
    ):
        board.uboot.attach(soon())


def test_a_uboot_without_status_is_a_precondition_that_is_not_met() -> None:
    class Simple(ScriptedUBoot):
        typed = b""

        def feed(self, data: bytes) -> bytes:
            self.typed += data
            if b"\r" not in data:
                return super().feed(data)
            mark, self.typed = self.typed.strip().partition(b";echo ")[2], b""
            return b"\r\n" + mark.replace(b"''", b"") + b"\r\n=> "

    with (
        scripted(Simple(traits=READY)) as board,
        pytest.raises(PreconditionError, match="without hush"),
    ):
        board.uboot.attach(soon())


def test_output_that_looks_like_a_prompt_ends_no_command() -> None:
    traits = UBootTraits(autoboot_s=0, crc_lookalike=b"==> 1e69\n=> \n\n=> ")
    with scripted(ScriptedUBoot(traits=traits)) as board:
        board.uboot.attach(soon())
        assert board.uboot.crc32(LOAD_ADDR, 16) == 0xECBB4B55  # zlib's, of 16 zeros
        assert board.uboot.garbled == 0


@pytest.mark.parametrize("word", ["crc32", "CRC32"])
def test_a_crc_is_read_from_a_uboot_with_and_without_config_hash(word: str) -> None:
    with scripted(ScriptedUBoot(traits=UBootTraits(autoboot_s=0, crc_word=word))) as board:
        board.uboot.attach(soon())
        assert board.uboot.crc32(LOAD_ADDR, 16) == 0xECBB4B55
        assert board.uboot.matches(LOAD_ADDR, bytes(16))


def test_no_more_than_a_fifo_is_in_flight() -> None:
    with scripted(ScriptedUBoot(traits=UBootTraits(autoboot_s=0, fifo_bytes=16))) as board:
        board.uboot.attach(soon())
        board.uboot.env_set("long", "x" * 120)
        assert board.uboot.env_get("long") == "x" * 120
        assert board.uboot.garbled == 0


def test_a_line_that_is_too_long_is_not_typed() -> None:
    with scripted(ScriptedUBoot(traits=READY)) as board:
        board.uboot.attach(soon())
        with pytest.raises(LabError, match="too long"):
            board.uboot.env_set("long", "x" * 300)


def test_unset_variables_and_failures_are_told() -> None:
    with scripted(ScriptedUBoot(traits=READY)) as board:
        board.uboot.attach(soon())
        assert board.uboot.env_get("nothing") is None
        assert board.uboot.run("false").status == 1
        assert not board.uboot.run("usb", "info").ok  # this one knows no usb


@pytest.mark.parametrize("fault", [Fault.FLIP, Fault.DOUBLE])
def test_a_line_damaged_anywhere_on_its_way_to_the_board_is_never_run(fault: Fault) -> None:
    line = b"setenv victim 4040ffff"
    for offset in range(1, len(line) + 24):
        machine = ScriptedUBoot(traits=READY)
        with scripted(machine, to_board=Faults(at={offset: fault}), seed=offset) as board:
            assert board.prompt().run(line, soon()).ok
            assert board.ran() == {line.decode()}


@pytest.mark.parametrize("fault", [Fault.FLIP, Fault.DOUBLE, Fault.GARBAGE])
def test_an_answer_damaged_anywhere_ends_in_the_right_status(fault: Fault) -> None:
    for offset in range(0, 80, 6):
        machine = ScriptedUBoot(traits=READY)
        bad = Faults(at={offset: fault}, arm_after=b"INTERRUPT>")
        with scripted(machine, to_host=bad, seed=offset) as board:
            assert board.prompt().run(b"false", soon()).status == 1
            assert board.ran() == {"false"}


@pytest.mark.parametrize("offset", [0, 1, 9, 30, 41, 42, 43])
def test_a_byte_lost_on_its_way_costs_time_and_nothing_else(offset: int) -> None:
    machine = ScriptedUBoot(traits=READY)
    lost = Faults(at={offset: Fault.DROP})
    with scripted(machine, to_board=lost, to_host=lost) as board:
        assert board.prompt().run(b"printenv loadaddr", soon()).ok
        assert board.ran() == {"printenv loadaddr"}


@pytest.mark.parametrize("seed", range(4))
def test_what_is_asked_is_right_on_a_very_bad_line(seed: int) -> None:
    machine = ScriptedUBoot(traits=READY)
    bad = Faults.spread(0.004)
    with scripted(machine, to_board=bad, to_host=bad, seed=seed) as board:
        board.uboot.attach(soon(30))
        for number in range(3):
            assert board.uboot.env_get("kernel_addr_r") == f"{LOAD_ADDR:#x}", number
        assert board.uboot.garbled > 0


def test_a_line_that_damages_everything_is_the_labs_trouble_in_time() -> None:
    noise = Faults(flip=0.3)
    with scripted(ScriptedUBoot(traits=READY), to_host=noise) as board:
        started = time.monotonic()
        with pytest.raises(LabError, match=r"didn't do 'version.*attempts; the last: "):
            board.prompt().run(b"version", soon(1))
        assert time.monotonic() - started < 5


def test_a_board_that_prints_without_end_is_the_labs_trouble_in_time() -> None:
    class Babbler(ScriptedUBoot):
        def tick(self) -> bytes:
            return super().tick() + b"babble => \r\n"

        def next_s(self) -> float:
            return self.clock.now_s() + 0.001

    with scripted(Babbler(traits=READY)) as board:
        started = time.monotonic()
        with pytest.raises(LabError):
            board.prompt().run(b"version", soon(0.7))
        assert time.monotonic() - started < 5


def test_a_line_that_is_cut_is_a_link_error() -> None:
    cut = Faults(at={300: Fault.CUT})
    with scripted(ScriptedUBoot(traits=READY), to_host=cut) as board, pytest.raises(LinkError):
        board.uboot.attach(soon())


def test_starting_an_image_returns_where_its_output_begins() -> None:
    machine = ScriptedUBoot(traits=READY, on_boot=lambda addr, fdt: b"PAYLOAD %x" % fdt)
    with scripted(machine) as board:
        board.uboot.attach(soon())
        machine.memory.write(LOAD_ADDR, MAGIC)
        start = board.uboot.start("booti", LOAD_ADDR, "-", FDT_ADDR, deadline=soon())
        line = board.console.take("payload")
        assert line.position == start
        assert line.expect([b"PAYLOAD %x" % FDT_ADDR], soon()) is not None
        with pytest.raises(StateError):
            board.uboot.run("version")


@pytest.mark.parametrize("offset", range(24, 34))
@pytest.mark.parametrize("fault", [Fault.FLIP, Fault.DROP])
def test_a_return_damaged_either_way_still_starts_the_image_once(offset: int, fault: Fault) -> None:
    boots: list[int] = []

    def boot(addr: int, fdt: int) -> bytes:
        boots.append(addr)
        return b"SIGN OF LIFE"

    machine = ScriptedUBoot(traits=READY, on_boot=boot)
    machine.memory.write(LOAD_ADDR, MAGIC)
    to_board = Faults(at={offset: fault})
    to_host = Faults(at={offset: fault}, arm_after=b"INTERRUPT>")
    with scripted(machine, to_board=to_board, to_host=to_host, seed=offset) as board:
        prompt: Prompt = board.prompt()
        prompt.leave(b"booti 40200000 - 40000000", soon(), [rb"SIGN OF", rb"OF LIFE"])
        assert boots == [LOAD_ADDR]


def test_an_image_that_uboot_refuses_is_reported_in_its_words() -> None:
    with scripted(ScriptedUBoot(traits=READY)) as board:
        board.uboot.attach(soon())
        with pytest.raises(LabError, match=r"came back from 'booti .*': Bad Linux ARM64 Image"):
            board.uboot.start("booti", LOAD_ADDR, "-", FDT_ADDR, deadline=soon())


def test_an_address_that_does_not_exist_crashes_uboot_and_is_told_as_that() -> None:
    with scripted(ScriptedUBoot(traits=READY)) as board:
        board.uboot.attach(soon())
        with pytest.raises(LabError, match="firmware crashed"):
            board.uboot.run("md", 0x10)
