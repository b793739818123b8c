# SPDX-License-Identifier: Apache-2.0
"""A GICv3 ITS across a kexec: a kernel that was overwritten by its own interrupt tables.

The LPI tables that the first kernel gave to the redistributors can't be moved any
more. Booted by EFI, their memory is reserved for every later kernel (irq-gic-v3-its.c,
``gic_reserve_range``); booted by device tree it is not, and the next kernel may be
loaded over it. ``gic_check_reserved_range`` is satisfied, as the new kernel's own image
is reserved, and ``gic_reset_prop_table`` fills 64 KiB of its text with one byte (the
priority and the group: 0xc2, 0xa2). It then dies of undefined instructions.
A crash kernel is safe: the tables are out of its memory.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

FILL = re.compile(r"\b\(?((?:c2|a2))\1{3}\)?(?![0-9a-f])")
_CODE = re.compile(r"Code: [^\n]*")
_DEATH = re.compile(r"Undefined instruction|undefined instruction")
_TABLE = re.compile(r"GICv3: using LPI property table @0x([0-9a-f]+)")
_ALARMS = (
    re.compile(r"GICv3: Expected reserved range [^\n]{0,80}not found"),
    re.compile(r"GICv3: CPU\d+: Booted with LPIs enabled, memory probably corrupted"),
)
PROPBASE_SIZE = 0x10000
NAME = "gicv3-lpi-tables"
ADVICE = (
    "avoid it: GICv2, a GIC without an ITS (its=off), irqchip.gicv3_nolpi=1, "
    "or a boot by EFI, which reserves the tables"
)


@dataclass(frozen=True)
class Interrupts:
    """What the sending kernel said of its interrupt controller.

    Attributes:
        its: it found an ITS and uses LPIs.
        efi: it was booted by EFI.
        tables: physical addresses of the LPI property tables.
    """

    its: bool = False
    efi: bool = False
    tables: tuple[int, ...] = ()

    @property
    def exposed(self) -> bool:
        """Whether its LPI tables can lie where the next kernel does."""
        return self.its and not self.efi


def interrupts(dmesg: str) -> Interrupts:
    """Return what a kernel's log says of its interrupt controller."""
    tables = tuple(int(match, 16) for match in _TABLE.findall(dmesg))
    its = bool(tables) or re.search(r"\bITS \[mem 0x", dmesg) is not None
    nolpi = re.search(r"irqchip\.gicv3_nolpi=(?:1|y)", dmesg) is not None
    return Interrupts(
        its=its and not nolpi, efi=re.search(r"\befi: EFI v\d", dmesg) is not None, tables=tables
    )


def corruption(
    console: str, sender: Interrupts, image: tuple[int, int] | None = None
) -> Sequence[str]:
    """Return what in ``console`` shows that the tables overwrote the kernel; empty if nothing.

    Args:
        console: of the new kernel, from its start to its end.
        sender: the interrupt controller of the kernel before it.
        image: first and last byte of the new kernel, where known.
    """
    filled = [line for line in _CODE.findall(console) if FILL.search(line)]
    alarms = [found.group() for alarm in _ALARMS if (found := alarm.search(console))]
    died = _DEATH.search(console) is not None
    if not (filled or alarms or (died and sender.exposed)):
        return ()
    out = [f"the code at the fault is the tables' fill: {line}" for line in filled[:1]]
    out += alarms
    if died:
        out.append("undefined instructions")
    out += overlaps(sender, image)
    if sender.exposed:
        out.append("the sending kernel uses an ITS and was not booted by EFI")
    return tuple(out)


def overlaps(sender: Interrupts, image: tuple[int, int] | None) -> Sequence[str]:
    """Return which of the sender's tables lie where the next kernel was put."""
    if image is None or not sender.exposed:
        return ()
    first, last = image
    return tuple(
        f"the LPI table at {table:#x} lies in the new kernel, {first:#x} to {last:#x}"
        for table in sender.tables
        if table <= last and first < table + PROPBASE_SIZE
    )
