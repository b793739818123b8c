# SPDX-License-Identifier: Apache-2.0
"""A tree made of ACPI's tables: CPUs, PSCI's conduit and memory; broken tables are none."""

from __future__ import annotations

import struct

import pytest

from hilagent.deploy.bundle import Index
from hilagent.deploy.devicetree import Node, Tree, build, parse
from hilagent.errors import PreconditionError
from hilagent.linux.acpi import completed, lacks
from hilagent.payload.cargo import Cargo
from hilagent.payload.places import Range

RAM = [Range(0x40000000, 0x20000000), Range(0x90000000, 0x1000)]


def table(name: bytes, body: bytes) -> bytes:
    """Return a table with a head, a length and a checksum (ACPI 6.5, section 5.2.6)."""
    raw = bytearray((name + struct.pack("<I", 36 + len(body))).ljust(36, b"\0") + body)
    raw[9] = -sum(raw) & 0xFF
    return bytes(raw)


def gicc(mpidr: int, flags: int = 1) -> bytes:
    """Return a GICC structure (table 5.36 of the same)."""
    entry = struct.pack("<BB", 0xB, 80).ljust(12, b"\0") + struct.pack("<I", flags)
    return (entry.ljust(68, b"\0") + struct.pack("<Q", mpidr)).ljust(80, b"\0")


def madt(*entries: bytes) -> bytes:
    return table(b"APIC", bytes(8) + b"".join(entries))


def fadt(flags: int) -> bytes:
    return table(b"FACP", bytes(129 - 36) + flags.to_bytes(2, "little") + bytes(130))


def stub() -> Tree:
    return Tree(Node("", {}, [Node("chosen", {"linux,uefi-mmap-start": bytes(8)})]))


CPUS = madt(bytes([0xC, 24]) + bytes(22), gicc(0x80000000), gicc(0x80000001), gicc(2, flags=0))


@pytest.mark.parametrize(("flags", "method"), [(1, b"smc\0"), (3, b"hvc\0"), (0, None), (2, None)])
def test_cpus_conduit_and_memory_are_those_of_the_tables(flags: int, method: bytes | None) -> None:
    whole = parse(build(completed(stub(), CPUS, fadt(flags), RAM)))
    cpus = whole.node("/cpus")
    assert cpus is not None
    assert [each.number("reg", -1) for each in cpus.children] == [0, 1]
    assert all(each.text("device_type") == "cpu" for each in cpus.children)
    psci = whole.node("/psci")
    assert (psci.props["method"] if psci is not None else None) == method
    assert all((each.text("enable-method") == "psci") == bool(method) for each in cpus.children)
    nothing = Range(0, 0)
    assert Cargo(whole, nothing, nothing, Index({}, 0)).memory() == tuple(RAM)
    assert not lacks(whole)
    assert whole.node("/chosen") == stub().node("/chosen")


def test_the_tree_that_was_given_is_left_as_it_is() -> None:
    given = stub()
    completed(given, CPUS, fadt(1), RAM)
    assert lacks(given)


@pytest.mark.parametrize(
    "broken",
    [b"", CPUS[:-1], b"XPIC" + CPUS[4:], CPUS[:60] + b"\1" + CPUS[61:], madt(),
     madt(bytes([0xB, 0])), madt(gicc(0, flags=0))],
    ids=["none", "short", "name", "sum", "no CPU", "no length", "none enabled"],
)  # fmt: skip
def test_tables_that_name_no_cpu_are_a_precondition(broken: bytes) -> None:
    with pytest.raises(PreconditionError, match="which CPUs there are"):
        completed(stub(), broken, fadt(1), RAM)
