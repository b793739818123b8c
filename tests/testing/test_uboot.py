# SPDX-License-Identifier: Apache-2.0
"""The scripted U-Boot says what the real one would."""

import binascii
import zlib

import pytest

from hilagent.link.frame import Decoder, Packet
from hilagent.testing import (
    IMAGE_HEADER,
    ManualClock,
    ScriptedBoard,
    ScriptedUBoot,
    UBootTraits,
)
from hilagent.testing.ymodem import YmodemReceiver

FILE = IMAGE_HEADER + bytes(range(256)) * 9


def at_prompt(**traits: object) -> ScriptedUBoot:
    uboot = ScriptedUBoot(
        clock=ManualClock(),
        traits=UBootTraits(autoboot_s=0, **traits),  # type: ignore[arg-type]
        files={"payload": FILE},
    )
    assert uboot.tick().endswith(b"=> ")
    return uboot


def run(uboot: ScriptedUBoot, line: str) -> str:
    out = uboot.feed(line.encode() + b"\r").decode("latin-1")
    assert out.startswith(line + "\r\n")
    assert out.endswith("=> ")
    return out[len(line) + 2 : -3].replace("\r\n", "\n")


def test_banner_countdown_and_a_key_that_stops_it() -> None:
    clock = ManualClock()
    uboot = ScriptedUBoot(clock=clock)
    assert b"U-Boot 2023.01" in uboot.tick()
    clock.advance(1)
    assert uboot.tick() == b"\b\b\b 1 "
    assert uboot.feed(b" ") == b"\r\n=> "


def test_a_countdown_that_is_missed_boots() -> None:
    clock = ManualClock()
    uboot = ScriptedUBoot(clock=clock)
    out = b""
    while uboot.next_s() < float("inf"):
        clock.advance_to(uboot.next_s())
        out += uboot.tick()
    assert out.endswith(b"Booting from the network...\r\n")
    assert uboot.feed(b"\r\n") == b""


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("echo hello  world", "hello world\n"),
        ("echo 'a;b' c", "a;b c\n"),
        ("echo ab''cd $? $?", "abcd 0 0\n"),
        ("true;echo $?;false;echo $?;echo $?", "0\n1\n0\n"),
        ("setenv a 'b c';echo ${a} $a [$nothing]", "b c b c []\n"),
        ("printenv loadaddr", "loadaddr=0x40200000\n"),
        ("printenv nope;echo $?", '## Error: "nope" not defined\n1\n'),
        ("frob;echo $?", "Unknown command 'frob' - try 'help'\n1\n"),
        ("crc32;echo $?", "crc32 - wrong arguments\n\nUsage:\ncrc32\n1\n"),
        ("", ""),
    ],
)
def test_commands(line: str, said: str) -> None:
    assert run(at_prompt(), line) == said


def test_line_editing() -> None:
    uboot = at_prompt()
    assert uboot.feed(b"ab\x7f") == b"ab\b \b"
    assert uboot.feed(b"\x03") == b"<INTERRUPT>\r\n=> "
    assert uboot.feed(b"junk\x18echo x\r") == b"junk" + b"\b \b" * 4 + b"echo x\r\nx\r\n=> "
    assert uboot.feed(b"\r") == b"\r\nx\r\n=> "  # an empty line repeats


def test_tftp_then_crc32_then_md() -> None:
    uboot = at_prompt()
    assert f"Bytes transferred = {len(FILE)}" in run(uboot, "tftpboot 40200000 payload")
    crc = f"crc32 for 40200000 ... {0x40200000 + len(FILE) - 1:08x} ==> {zlib.crc32(FILE):08x}\n"
    assert run(uboot, "crc32 40200000 ${filesize}") == crc
    assert run(uboot, "md.l 40200038 4").startswith("40200038: 644d5241 ")
    assert "File not found" in run(uboot, "tftpboot 40200000 nothing")


def test_crc32_can_print_what_looks_like_a_prompt() -> None:
    uboot = at_prompt(crc_lookalike=b"=> \n")
    assert run(uboot, "crc32 40000000 4").startswith("=> \ncrc32 for")


def test_booti_wants_an_image_and_a_bad_address_resets() -> None:
    uboot = at_prompt()
    assert run(uboot, "booti 40200000 - 0") == "Bad Linux ARM64 Image magic!\n"
    out = uboot.feed(b"md 10\r")
    assert b"Synchronous Abort" in out
    assert b"resetting" in out


def test_a_fifo_that_is_overrun_loses_bytes() -> None:
    assert at_prompt(fifo_bytes=4).feed(b"echo long") == b"echo"


def test_never_prompting() -> None:
    uboot = ScriptedUBoot(clock=ManualClock(), traits=UBootTraits(never_prompts=True))
    assert not uboot.tick().endswith(b"=> ")
    assert uboot.feed(b"\x03\r") == b""


def block(number: int, body: bytes, size: int = 128) -> bytes:
    body = body.ljust(size, b"\x1a" if number else b"\0")
    crc = binascii.crc_hqx(body, 0).to_bytes(2, "big")
    return bytes([1 if size == 128 else 2, number & 0xFF, ~number & 0xFF]) + body + crc


@pytest.mark.parametrize("step", [1, 100, 5000])
def test_ymodem_receives_a_file_at_any_cut(step: int) -> None:
    data = bytes(range(256)) * 9
    line = block(0, b"name\0" + str(len(data)).encode()) + b"".join(
        block(n + 1, data[at : at + 1024], 1024) for n, at in enumerate(range(0, len(data), 1024))
    )
    line += b"\x04" + block(0, b"")
    receiver = YmodemReceiver()
    assert receiver.start() == b"C"
    out = b"".join(receiver.feed(line[at : at + step]) for at in range(0, len(line), step))
    assert (receiver.data, receiver.name, receiver.done) == (data, "name", True)
    assert out == b"\x06C" + b"\x06" * 3 + b"\x06C" + b"\x06"


def test_ymodem_refuses_a_damaged_block_and_takes_a_repeated_one_once() -> None:
    receiver = YmodemReceiver()
    receiver.feed(block(0, b"n\x00100"))
    bad = bytearray(block(1, b"x" * 100))
    bad[50] ^= 1
    assert receiver.feed(bytes(bad)) == b"\x15"
    good = block(1, b"x" * 100)
    assert receiver.feed(good) + receiver.feed(good) == b"\x06\x06"
    assert receiver.data == b"x" * 100
    assert receiver.silence() == b"\x15"


def test_ymodem_can_be_cancelled() -> None:
    receiver = YmodemReceiver()
    receiver.feed(b"\x18\x18")
    assert receiver.cancelled


def test_loady_puts_the_file_into_memory() -> None:
    uboot = at_prompt()
    assert uboot.feed(b"loady 40300000;echo done $?\r").endswith(b"bps...\r\nC")
    data = b"file" * 30
    said = uboot.feed(block(0, b"f\x00120") + block(1, data) + b"\x04" + block(0, b""))
    assert said.endswith(b"= 120 Bytes\r\ndone 0\r\n=> ")
    assert uboot.memory.read(0x4030_0000, 120) == data
    assert uboot.env["filesize"] == "78"


def test_a_load_to_where_no_memory_is_ends_u_boot() -> None:
    uboot = at_prompt()
    uboot.feed(b"loady 402000000\r")
    said = uboot.feed(block(0, b"f\x00120") + block(1, b"file" * 30) + b"\x04" + block(0, b""))
    assert b'"Synchronous Abort" handler, far 0x402000000' in said


def test_a_board_goes_from_u_boot_to_the_payload_and_back() -> None:
    clock = ManualClock()
    board = ScriptedBoard(
        clock=clock, uboot=UBootTraits(autoboot_s=0), files={"payload": FILE}, powered=False
    )
    assert board.tick() == board.feed(b"\r") == b""
    board.power(True)
    board.tick()
    said = board.feed(b"tftpboot 40200000 payload\rbooti 40200000 - 40000000\r")
    assert b"Starting kernel ..." in said
    boots = [item for item in Decoder().feed(board.tick()) if isinstance(item, Packet)]
    assert [packet.boot_id for packet in boots] == [board.twin.boot_id]
    board.power(True)
    assert b"U-Boot" in board.tick()


def test_printk_falls_into_the_middle_of_any_line() -> None:
    board = ScriptedBoard(
        clock=ManualClock(), uboot=UBootTraits(autoboot_s=0), printk=b"[OOPS]", printk_every=50
    )
    said = board.tick() + board.feed(b"echo " + b"x" * 60 + b"\r")
    assert said.count(b"[OOPS]") == len(said.replace(b"[OOPS]", b"")) // 50
