# SPDX-License-Identifier: Apache-2.0
"""LPI tables that overwrote the next kernel are told from every other crash."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hilagent.probe import ended, lpi
from hilagent.probe.lpi import Interrupts
from hilagent.probe.restart import Kind
from hilagent.result import Verdict
from tests.probe.legs import BYE, CRASHED, ITS, PANIC, SILENT, START, leg

OOPS = (
    b"[    0.0] Internal error: Oops - Undefined instruction: 0000000002000000 [#1] SMP\r\n"
    b"[    0.0] Code: c2c2c2c2 c2c2c2c2 c2c2c2c2 c2c2c2c2 (c2c2c2c2) \r\n"
)


def test_lpi_tables_in_the_new_kernel_are_named() -> None:
    exposed = leg(sender=replace(leg().sender, interrupts=ITS), image=(0x40C0_0000, 0x414D_0000))
    done = ended.judge(exposed, replace(SILENT, console=BYE + START + OOPS))
    assert (done.verdict, done.named) == (Verdict.CRASH, lpi.NAME)
    assert "overwritten by the GICv3's LPI tables" in done.message
    assert "the LPI table at 0x40c60000 lies in the new kernel" in done.message
    assert "gic-version" not in done.hint
    assert "irqchip.gicv3_nolpi=1" in done.hint


@pytest.mark.parametrize(
    ("console", "interrupts", "named"),
    [
        (OOPS, Interrupts(), True),
        (OOPS.replace(b"c2", b"a2"), Interrupts(), True),
        (OOPS.splitlines(keepends=True)[0], ITS, True),
        (OOPS.splitlines(keepends=True)[0], Interrupts(its=True, efi=True), False),
        (OOPS.splitlines(keepends=True)[0], Interrupts(), False),
        (b"GICv3: Expected reserved range [0x1:0x2], not found\r\n" + PANIC, ITS, True),
        (
            b"GICv3: CPU1: Booted with LPIs enabled, memory probably corrupted\r\n" + PANIC,
            ITS,
            True,
        ),
        (PANIC, ITS, False),
        (OOPS.replace(b"c2c2c2c2", b"d503201f"), Interrupts(), False),
    ],
)
def test_only_evidence_of_lpi_tables_names_them(
    console: bytes, interrupts: Interrupts, named: bool
) -> None:
    of = leg(sender=replace(leg().sender, interrupts=interrupts))
    done = ended.judge(of, replace(SILENT, console=BYE + START + console))
    assert done.verdict is Verdict.CRASH
    assert bool(done.named) == named


def test_a_crash_kernel_is_out_of_the_tables_reach() -> None:
    of = leg(Kind.CRASH, sender=replace(leg().sender, interrupts=ITS))
    assert not ended.judge(of, replace(SILENT, console=CRASHED + START + OOPS)).named


@pytest.mark.parametrize(
    ("dmesg", "exposed"),
    [
        ("GICv3: using LPI property table @0x0000000040c60000", True),
        ("ITS [mem 0x08080000-0x0809ffff]", True),
        ("efi: EFI v2.7 by EDK II\nGICv3: using LPI property table @0x40c60000", False),
        ("Kernel command line: irqchip.gicv3_nolpi=1\nITS [mem 0x08080000-0x0809ffff]", False),
        ("GICv3: 256 SPIs implemented", False),
        ("efi: UEFI not found.\nITS [mem 0x08080000-0x0809ffff]", True),
    ],
)
def test_who_is_exposed_is_read_from_the_log(dmesg: str, exposed: bool) -> None:
    assert lpi.interrupts(dmesg).exposed == exposed


def test_silence_is_named_where_the_image_was_put_over_the_tables() -> None:
    of = leg(sender=replace(leg().sender, interrupts=ITS), image=(0x4000_0000, 0x4FFF_FFFF))
    done = ended.judge(of, SILENT)
    assert done.named == lpi.NAME
    assert "LPI table at 0x" in done.message
    assert done.hint == lpi.ADVICE
    elsewhere = ended.judge(replace(of, image=(0x9000_0000, 0x9FFF_FFFF)), SILENT)
    assert elsewhere.named == ""
    crash = replace(of, kind=Kind.CRASH)
    assert ended.judge(crash, SILENT).named == ""
