# SPDX-License-Identifier: Apache-2.0
"""Reset by watchdog: what is stored where, and that nothing else is tried."""

from __future__ import annotations

import pytest

from hilagent import board as boards
from hilagent import errors
from hilagent.board.hardware import Watchdog
from hilagent.link import wire
from hilagent.payload import Refused, watchdog
from hilagent.payload.watchdog import Store
from hilagent.testing import Traits
from hilagent.testing.twin import SCRATCH
from tests.payload.bench import bench

KNOWN = boards.names(env={"HOME": "/nonexistent"})
BCM = Watchdog(kind="bcm2835", base=0x3F100000)


def test_the_raspberry_pis_is_given_its_time_before_it_is_started() -> None:
    time, start = watchdog.stores(BCM)
    assert time == Store(0x3F100024, 0x5A004000)  # a quarter of 0x10000, one second
    assert start == Store(0x3F10001C, 0x5A000122)


@pytest.mark.parametrize(("seconds", "ticks"), [(0, 1), (15, 0xF0000), (60, 0xFFFFF)])
def test_its_time_is_never_more_than_it_counts(seconds: float, ticks: int) -> None:
    assert watchdog.stores(BCM, seconds)[0].value == 0x5A000000 | ticks


@pytest.mark.parametrize("name", ["rpi-3b", "rpi-4b", "qemu-raspi3b", "qemu-raspi4b"])
def test_each_board_without_psci_names_one(name: str) -> None:
    board = boards.examine(KNOWN[name], KNOWN).board
    assert board is not None
    assert (board.payload.psci, board.payload.watchdog is None) == ("none", False)


def test_where_there_is_psci_no_register_is_touched() -> None:
    b = bench()
    payload = b.connect()
    boot = b.twin.boot_id
    payload.reset(watchdog.stores(BCM))
    assert b.twin.boot_id != boot
    assert wire.Op.WRITE not in b.twin.executed


def test_without_psci_the_stores_are_the_last_that_is_asked() -> None:
    b = bench(Traits(no_psci=True))
    payload = b.connect()
    payload.reset(watchdog.stores(Watchdog(kind="bcm2835", base=SCRATCH)))
    assert b.twin.executed[-2:] == [wire.Op.WRITE, wire.Op.WRITE]
    with pytest.raises(errors.StateError, match="its watchdog resets the board"):
        payload.echo(b"")


def test_without_psci_and_without_a_watchdog_it_is_refused() -> None:
    b = bench(Traits(no_psci=True))
    payload = b.connect()
    with pytest.raises(Refused, match="RESET"):
        payload.reset()
    assert payload.echo(b"hi") == b"hi"
