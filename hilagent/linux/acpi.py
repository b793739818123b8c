# SPDX-License-Identifier: Apache-2.0
"""A device tree for a board that has ACPI alone: what the payload must know, and no more.

The tree that such a kernel hands on holds little but /chosen. CPUs and PSCI's conduit are in
ACPI's tables (ACPI 6.5, sections 5.2.9 and 5.2.12), which root reads in sysfs; memory is
what the kernel itself uses.
"""

from __future__ import annotations

import copy
import struct
from collections.abc import Iterator, Sequence

from hilagent.deploy.devicetree import Node, Tree
from hilagent.errors import PreconditionError
from hilagent.payload.places import Range

MADT, FADT = "/sys/firmware/acpi/tables/APIC", "/sys/firmware/acpi/tables/FACP"
_HEAD, _MADT_HEAD, _ARM_FLAGS_AT = 36, 44, 129
_GICC, _GICC_FLAGS_AT, _GICC_MPIDR_AT, _GICC_LEAST = 0xB, 12, 68, 76
_ENABLED, _PSCI, _HVC = 1 << 0, 1 << 0, 1 << 1
_MPIDR = 0xFF_00FF_FFFF


def lacks(tree: Tree) -> bool:
    """Return whether a tree doesn't say which CPUs there are."""
    return tree.node("/cpus") is None


def completed(tree: Tree, madt: bytes, fadt: bytes, ram: Sequence[Range]) -> Tree:
    """Return ``tree`` with CPUs, PSCI and memory, for the payload.

    Raises:
        PreconditionError: the tables name no CPU.
    """
    mpidrs = list(_mpidrs(_checked(madt, b"APIC")))
    if not mpidrs:
        raise PreconditionError("neither its device tree nor its ACPI says which CPUs there are")
    out = copy.deepcopy(tree)
    out.root.props |= {"#address-cells": _cell(2), "#size-cells": _cell(2)}
    conduit = _conduit(_checked(fadt, b"FACP"))
    cpus = Node("cpus", {"#address-cells": _cell(2), "#size-cells": _cell(0)})
    for mpidr in mpidrs:
        cpu = {"device_type": b"cpu\0", "reg": mpidr.to_bytes(8, "big")}
        cpu |= {"enable-method": b"psci\0"} if conduit else {}
        cpus.children.append(Node(f"cpu@{mpidr:x}", cpu))
    out.root.children.append(cpus)
    if conduit:
        psci = {"compatible": b"arm,psci-1.0\0arm,psci-0.2\0", "method": conduit + b"\0"}
        out.root.children.append(Node("psci", psci))
    for each in ram:
        reg = each.start.to_bytes(8, "big") + each.size.to_bytes(8, "big")
        memory = {"device_type": b"memory\0", "reg": reg}
        out.root.children.append(Node(f"memory@{each.start:x}", memory))
    return out


def _checked(table: bytes, name: bytes) -> bytes:
    """Return a table; empty unless it has its name, its length and its checksum."""
    size = int.from_bytes(table[4:8], "little")
    whole = table[:4] == name and _HEAD <= size <= len(table)
    return table[:size] if whole and sum(table[:size]) & 0xFF == 0 else b""


def _mpidrs(madt: bytes) -> Iterator[int]:
    at = _MADT_HEAD
    while at + 2 <= len(madt) and (size := madt[at + 1]) >= 2:
        entry = madt[at : at + size]
        if entry[0] == _GICC and len(entry) >= _GICC_LEAST:
            (flags,) = struct.unpack_from("<I", entry, _GICC_FLAGS_AT)
            (mpidr,) = struct.unpack_from("<Q", entry, _GICC_MPIDR_AT)
            if flags & _ENABLED:
                yield mpidr & _MPIDR
        at += size


def _conduit(fadt: bytes) -> bytes:
    """Return ``smc`` or ``hvc``; empty where there is no PSCI."""
    flags = int.from_bytes(fadt[_ARM_FLAGS_AT : _ARM_FLAGS_AT + 2], "little")
    return b"" if not flags & _PSCI else b"hvc" if flags & _HVC else b"smc"


def _cell(value: int) -> bytes:
    return value.to_bytes(4, "big")
