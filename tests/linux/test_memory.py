# SPDX-License-Identifier: Apache-2.0
"""Memory as a running kernel tells it: what is RAM, what is taken, what is alive."""

from __future__ import annotations

import pytest

from hilagent.linux.memory import lpi_tables, ram, taken
from hilagent.payload.places import Range

# [seen]: qemu-virt-ssh with GICv3, shortened
IOMEM = b"""\
08000000-0800ffff : GICD
09000000-09000fff : pl011@9000000
  09000000-09000fff : 9000000.pl011 pl011@9000000
40000000-7fffffff : System RAM
  40c60000-40c8ffff : reserved
  60000000-605effff : Kernel code
    60100000-60100fff : deeper
4010000000-401fffffff : PCI ECAM
"""
HIDDEN = b"00000000-00000000 : System RAM\n  00000000-00000000 : reserved\n"
LOG = (
    "ITS [mem 0x08080000-0x0809ffff]",
    "GICv3: using LPI property table @0x0000000040c60000",
    "GICv3: CPU0: using allocated LPI pending table @0x0000000040c70000",
    "GICv3: CPU1: using reserved LPI pending table @0x0000000040d80000",
)


def test_ram_is_what_a_kernel_may_use_and_taken_what_lies_in_it() -> None:
    assert ram(IOMEM) == [Range(0x40000000, 0x40000000)]
    found = taken(IOMEM)
    assert Range(0x40C60000, 0x30000) in found
    assert Range(0x60000000, 0x5F0000) in found
    assert ram(HIDDEN) == taken(HIDDEN) == ram(b"") == ram(b"\xff\n") == []


def test_tables_of_the_interrupt_controller_are_known_by_the_log() -> None:
    assert lpi_tables(LOG) == [Range(0x40C60000, 0x20000), Range(0x40D80000, 0x10000)]
    assert lpi_tables(["GICv2 CPU interface"]) == []


@pytest.mark.parametrize("line", [LOG[0], "GICv3: CPU1: Booted with LPIs enabled, memory prob"])
def test_a_log_that_speaks_of_tables_and_not_of_where_is_no_answer(line: str) -> None:
    assert lpi_tables([line]) is None
