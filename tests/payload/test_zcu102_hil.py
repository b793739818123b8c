# SPDX-License-Identifier: Apache-2.0
"""The payload on QEMU's ZCU102, without a session: a Cadence UART, and PSCI by smc."""

from __future__ import annotations

from pathlib import Path

import pytest

from hilagent import board
from hilagent.build import direct
from hilagent.link import wire
from tests.firmware.emulated import Machine

pytestmark = pytest.mark.hil

CADENCE, UART0 = 4, 0xFF000000


def test_it_knows_its_uart_and_resets_and_powers_off_by_psci(tmp_path: Path) -> None:
    qemu = direct.at_hand(board.load("qemu-zcu102")).qemu
    assert qemu is not None
    started = ("-kernel", str(qemu.kernel), "-dtb", str(qemu.dtb))
    with Machine(tmp_path, "-M", qemu.machine, "-smp", "1", *started) as machine:
        first = machine.hello()
        assert (first["uart_kind"], first["uart_base"]) == (CADENCE, UART0)
        assert first["psci_conduit"] == 1
        machine.must(wire.Op.RESET)
        assert machine.hello()["boot_id"] != first["boot_id"]
        machine.must(wire.Op.POWEROFF)
        assert machine.ended() == 0
