# SPDX-License-Identifier: Apache-2.0
"""The UARTs' registers, at every spacing and access width."""

from __future__ import annotations

import struct

import pytest

from tests.firmware.conftest import Host

PL011, NS16550, MINI, CADENCE, IMX, MESON, OMAP = range(1, 8)
NOTHING = 0xFFFFFFFF


def drive(
    host: Host, kind: int, shift: int, width: int, registers: dict[int, int], big: bool = False
) -> tuple[int, int, int, bytes]:
    """Return can-send, idle, received (NOTHING if none) and the registers afterwards."""
    memory = bytearray(256)
    for offset, value in registers.items():
        memory[offset : offset + width] = value.to_bytes(width, "big" if big else "little")
    answer = host("u", bytes([kind, shift, width, big]) + bytes(memory))
    can_send, idle, received = struct.unpack_from("<3I", answer)
    return can_send, idle, received, answer[12:]


def test_a_pl011_says_what_its_flags_say(host: Host) -> None:
    assert drive(host, PL011, 2, 4, {0x18: 1 << 4})[:3] == (1, 1, NOTHING)
    assert drive(host, PL011, 2, 4, {0x18: 1 << 5 | 1 << 3 | 1 << 4})[:3] == (0, 0, NOTHING)
    assert drive(host, PL011, 2, 4, {0x00: 0x141, 0x18: 0})[2] == 0x41


def test_an_overrun_comes_with_the_byte_after_it(host: Host) -> None:
    assert drive(host, PL011, 2, 4, {0x00: 0x841, 0x18: 0})[2] == 0x141
    assert drive(host, NS16550, 2, 4, {0x00: 0x41, 5 << 2: 0x03})[2] == 0x141


def test_a_pl011_that_linux_shut_down_is_switched_on_and_keeps_its_baud_rate(host: Host) -> None:
    divisors = {0x24: 0x1234, 0x28: 0x21}
    after = drive(host, PL011, 2, 4, {0x30: 0x101, 0x2C: 0x60, **divisors})[3]
    assert struct.unpack_from("<I", after, 0x30)[0] & 0x301 == 0x301
    assert struct.unpack_from("<I", after, 0x2C)[0] == 0x70
    assert struct.unpack_from("<II", after, 0x24) == (0x1234, 0x21)


def test_a_pl011_that_runs_is_left_alone(host: Host) -> None:
    after = drive(host, PL011, 2, 4, {0x30: 0xF01, 0x2C: 0x74})[3]
    assert struct.unpack_from("<I", after, 0x30)[0] == 0xF01
    assert struct.unpack_from("<I", after, 0x2C)[0] == 0x74


def test_a_dma_engine_that_linux_programmed_gets_no_more_of_its_bytes(host: Host) -> None:
    after = drive(host, PL011, 2, 4, {0x30: 0xF01, 0x2C: 0x74, 0x48: 3})[3]
    assert struct.unpack_from("<I", after, 0x48)[0] == 0


@pytest.mark.parametrize(
    ("width", "shift"), [(1, 0), (1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3), (4, 2), (4, 3)]
)
def test_a_16550_is_found_at_any_spacing(host: Host, shift: int, width: int) -> None:
    status, data = 5 << shift, 0
    assert drive(host, NS16550, shift, width, {status: 0x20})[:3] == (1, 0, NOTHING)
    assert drive(host, NS16550, shift, width, {status: 0x60})[:2] == (1, 1)
    assert drive(host, NS16550, shift, width, {status: 0})[:3] == (0, 0, NOTHING)
    received, after = drive(host, NS16550, shift, width, {data: 0x5A, status: 0x01})[2:]
    assert received == 0x5A
    assert after[0] == 0xA5
    assert after[2 << shift] == 1


@pytest.mark.parametrize("width", [1, 2, 4])
def test_a_big_endian_16550_is_read_and_written_so(host: Host, width: int) -> None:
    status, data = 5 << 2, 0
    assert drive(host, NS16550, 2, width, {status: 0x60}, big=True)[:3] == (1, 1, NOTHING)
    received, after = drive(host, NS16550, 2, width, {data: 0x5A, status: 0x03}, big=True)[2:]
    assert received == 0x15A
    assert after[:width] == bytes(width - 1) + b"\xa5"
    assert after[2 << 2 : (2 << 2) + width] == bytes(width - 1) + b"\1"


def test_a_mini_uart_is_a_16550_without_fifo_control(host: Host) -> None:
    received, after = drive(host, MINI, 2, 4, {0: 0x33, 5 << 2: 0x61})[2:]
    assert received == 0x33
    assert after[2 << 2] == 0
    assert after[0] == 0xA5


CR, ISR, SR, FIFO = 0x00, 0x14, 0x2C, 0x30


def word(registers: bytes, at: int) -> int:
    return int.from_bytes(registers[at : at + 4], "little")


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (0x0A, (1, 1, NOTHING)),  # both FIFOs are empty
        (0x80A, (1, 0, NOTHING)),  # TACTIVE: the last byte is still on the wire
        (0x12, (0, 0, NOTHING)),  # TFUL
        (0x02, (1, 0, NOTHING)),
        (0x08, (1, 1, 0x41)),
    ],
)
def test_a_cadence_says_what_its_status_says(
    host: Host, status: int, said: tuple[int, int, int]
) -> None:
    *found, after = drive(host, CADENCE, 2, 4, {SR: status, FIFO: 0x41})
    assert tuple(found) == said
    assert word(after, FIFO) == 0xA5


def test_a_cadences_overrun_comes_with_a_byte_and_is_cleared(host: Host) -> None:
    received, after = drive(host, CADENCE, 2, 4, {SR: 8, FIFO: 0x41, ISR: 0x3FF})[2:]
    assert received == 0x141
    assert word(after, ISR) == 0x20  # written: what the register clears
    after = drive(host, CADENCE, 2, 4, {SR: 8, FIFO: 0x41, ISR: 0x3DF})[3]
    assert word(after, ISR) == 0x3DF


@pytest.mark.parametrize(("before", "after"), [(0x128, 0x114), (0x28, 0x14), (0x114, 0x114)])
def test_a_cadence_is_switched_on_if_it_was_off(host: Host, before: int, after: int) -> None:
    assert word(drive(host, CADENCE, 2, 4, {SR: 0x0A, CR: before})[3], CR) == after


URXD, UTXD, UCR1, UCR2, USR2, UTS = 0x00, 0x40, 0x80, 0x84, 0x98, 0xB4


@pytest.mark.parametrize(
    ("registers", "said"),
    [
        ({USR2: 8, UTS: 0x60}, (1, 1, NOTHING)),  # TXDC; TXEMPTY, RXEMPTY
        ({USR2: 0, UTS: 0x60}, (1, 0, NOTHING)),  # the last byte is still on the wire
        ({USR2: 0, UTS: 0x30}, (0, 0, NOTHING)),  # TXFULL
        ({USR2: 8, UTS: 0x40, URXD: 0x8041}, (1, 1, 0x41)),  # CHARRDY
        ({USR2: 8, UTS: 0x40, URXD: 0xE041}, (1, 1, 0x141)),  # ERR, OVRRUN
        ({USR2: 8, UTS: 0x40, URXD: 0xD041}, (1, 1, 0x41)),  # ERR, FRMERR
    ],
)
def test_an_imx_says_what_its_registers_say(
    host: Host, registers: dict[int, int], said: tuple[int, int, int]
) -> None:
    *found, after = drive(host, IMX, 2, 4, registers)
    assert tuple(found) == said
    assert word(after, UTXD) == 0xA5


@pytest.mark.parametrize(
    ("ucr1", "ucr2", "after"),
    [
        (0, 0x4001, (1, 0x4007)),  # as Linux leaves a port that it closed
        (0x30D, 0x4007, (0x201, 0x4007)),  # its DMA engines get no more of our bytes
        (1, 0x4007, (1, 0x4007)),
    ],
)
def test_an_imx_is_switched_on_if_it_was_off(
    host: Host, ucr1: int, ucr2: int, after: tuple[int, int]
) -> None:
    found = drive(host, IMX, 2, 4, {UTS: 0x60, UCR1: ucr1, UCR2: ucr2})[3]
    assert (word(found, UCR1), word(found, UCR2)) == after


WFIFO, RFIFO, CONTROL, STATUS = 0x00, 0x04, 0x08, 0x0C


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (0x500000, (1, 1, NOTHING)),  # TX_EMPTY, RX_EMPTY
        (0x2500000, (1, 0, NOTHING)),  # XMIT_BUSY
        (0x300000, (0, 0, NOTHING)),  # TX_FULL
        (0x400000, (1, 1, 0x41)),
    ],
)
def test_a_meson_says_what_its_status_says(
    host: Host, status: int, said: tuple[int, int, int]
) -> None:
    *found, after = drive(host, MESON, 2, 4, {STATUS: status, RFIFO: 0x41})
    assert tuple(found) == said
    assert word(after, WFIFO) == 0xA5


@pytest.mark.parametrize("before", [0x8000, 0x9000, 0xB000])
def test_a_meson_is_switched_on_if_it_was_off(host: Host, before: int) -> None:
    registers = {STATUS: 0x500000, CONTROL: before}
    assert word(drive(host, MESON, 2, 4, registers)[3], CONTROL) == 0xB000


MDR1, SCR = 0x20, 0x40


def test_an_omap_says_what_a_16550_says(host: Host) -> None:
    assert drive(host, OMAP, 2, 4, {0x14: 0x60})[:3] == (1, 1, NOTHING)
    assert drive(host, OMAP, 2, 4, {0x14: 0})[:3] == (0, 0, NOTHING)
    received, after = drive(host, OMAP, 2, 4, {0x00: 0x5A, 0x14: 0x03})[2:]
    assert (received, after[0]) == (0x15A, 0xA5)


@pytest.mark.parametrize(
    ("mdr1", "scr", "after"),
    [
        (0x07, 0xC0, (0x00, 0xC0)),  # off, as after a reset
        (0x20, 0xC7, (0x20, 0xC0)),  # its DMA engine gets no more of our bytes
    ],
)
def test_an_omap_is_switched_on_if_it_was_off(
    host: Host, mdr1: int, scr: int, after: tuple[int, int]
) -> None:
    found = drive(host, OMAP, 2, 4, {MDR1: mdr1, SCR: scr})[3]
    assert (word(found, MDR1), word(found, SCR), word(found, 0x08)) == (*after, 1)
