# SPDX-License-Identifier: Apache-2.0
"""What the payload takes from a device tree, also from one that lies."""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass

import pytest

from tests.firmware import blob
from tests.firmware.conftest import Host

CELLS_64: blob.Node = {"#address-cells": 2, "#size-cells": 2}
CELLS_32: blob.Node = {"#address-cells": 1, "#size-cells": 1}
CPU_CELLS: blob.Node = {"#address-cells": 1, "#size-cells": 0}
CPU: blob.Node = {"device_type": "cpu"}
SPIN: blob.Node = {**CPU, "enable-method": "spin-table"}
NS16550: blob.Node = {"compatible": "ns16550a"}
CPUS: blob.Node = {
    **CPU_CELLS,
    "cpu-map": {"cluster0": {}},
    "cpu@0": {**CPU, "reg": 0, "enable-method": "psci"},
    "cpu@101": {**SPIN, "reg": 0x101, "cpu-release-addr": [1, 0xD8]},
    "cpu@2": {**CPU, "reg": 2, "status": "disabled"},
    "cpu@3": {**SPIN, "reg": 3},
}
BUS: blob.Node = {
    **CELLS_32,
    "ranges": [0, 0x10000000, 0x8000],
    "serial@1000": {
        "compatible": ["rockchip,rk3399-uart", "snps,dw-apb-uart"],
        "reg": [0x1000, 0x100],
        "reg-shift": 2,
        "reg-io-width": 4,
    },
    "serial@2000": {**NS16550, "reg": [0x2000, 0x100]},
    "serial@3000": {
        **NS16550,
        "reg": [0x3000, 0x100],
        "reg-shift": 2,
        "reg-io-width": 4,
        "big-endian": b"",
    },
    "serial@4000": {"compatible": ["xlnx,zynqmp-uart", "cdns,uart-r1p12"], "reg": [0x4000, 0x100]},
    "serial@9000": {**NS16550, "reg": [0x9000, 0x100]},
}
SOC: blob.Node = {
    **CELLS_32,
    "ranges": [0x7E000000, 0, 0x3F000000, 0x1000000, 0x10000000, 8, 0x20000000, 0x10000],
    "serial@7e215040": {"compatible": "brcm,bcm2835-aux-uart", "reg": [0x7E215040, 0x40]},
    "bus@0": BUS,
    "isolated": {**CELLS_32, "serial@0": {**NS16550, "reg": [0, 0x100]}},
}


@dataclass(frozen=True)
class Facts:
    memory: list[tuple[int, int]]
    reserved: list[tuple[int, int]]
    conduit: int
    cpu_on: int
    psci_old: int
    uart: tuple[int, int, int, int]  # kind, shift, width, base
    big_endian: int
    cpus: list[tuple[int, int, int]]  # MPIDR, release address, enable method
    initrd: tuple[int, int]  # start, end


def tree(stdout: str = "/pl011@9000000", method: str = "smc") -> bytes:
    root: blob.Node = {
        **CELLS_64,
        "chosen": {"stdout-path": stdout},
        "aliases": {"serial0": "/pl011@9000000", "uart2": "/soc/bus@0/serial@1000"},
        "psci": {"compatible": ["arm,psci-1.0", "arm,psci-0.2"], "method": method},
        "memory@40000000": {
            "device_type": "memory",
            "reg": [0, 0x40000000, 0, 0x20000000, 8, 0, 0, 0x1000],
        },
        "reserved-memory": {
            **CELLS_64,
            "ranges": b"",
            "fw@5e000000": {"reg": [0, 0x5E000000, 0, 0x100000], "no-map": b""},
        },
        "cpus": CPUS,
        "pl011@9000000": {
            "compatible": ["arm,pl011", "arm,primecell"],
            "reg": [0, 0x9000000, 0, 0x1000],
        },
        "soc": SOC,
    }
    return blob.build(root, [(0x48000000, 0x10000)])


def ranges(answer: bytes, at: int) -> tuple[list[tuple[int, int]], int]:
    count = struct.unpack_from("<I", answer, at)[0]
    flat = struct.unpack_from(f"<{2 * count}Q", answer, at + 4)
    return list(zip(flat[::2], flat[1::2], strict=True)), at + 4 + 16 * count


def facts(host: Host, raw: bytes) -> Facts | None:
    answer = host("t", raw)
    if struct.unpack_from("<I", answer)[0]:
        return None
    memory, at = ranges(answer, 4)
    reserved, at = ranges(answer, at)
    conduit, cpu_on, old, kind, shift, width, big, base = struct.unpack_from("<7IQ", answer, at)
    count = struct.unpack_from("<I", answer, at + 36)[0]
    cpus = [struct.unpack_from("<QQI", answer, at + 40 + 20 * i) for i in range(count)]
    uart = (kind, shift, width, base)
    initrd = struct.unpack_from("<QQ", answer, at + 40 + 20 * count)
    return Facts(memory, reserved, conduit, cpu_on, old, uart, big, cpus, initrd)


def test_memory_reservations_cpus_and_psci_are_found(host: Host) -> None:
    found = facts(host, tree())
    assert found is not None
    assert found.memory == [(0x40000000, 0x20000000), (0x8_00000000, 0x1000)]
    assert found.reserved == [(0x48000000, 0x10000), (0x5E000000, 0x100000)]
    assert (found.conduit, found.cpu_on, found.psci_old) == (1, 0xC4000003, 0)
    assert found.cpus == [(0, 0, 1), (0x101, 0x1_000000D8, 2), (3, 0, 0)]


@pytest.mark.parametrize(
    ("chosen", "initrd"),
    [
        ({}, (0, 0)),
        ({"linux,initrd-start": 0x48000000, "linux,initrd-end": 0x48001234},
         (0x48000000, 0x48001234)),
        ({"linux,initrd-start": [8, 0x1000], "linux,initrd-end": [8, 0x2000]},
         (0x8_00001000, 0x8_00002000)),
        ({"linux,initrd-start": b"", "linux,initrd-end": bytes(12)}, (0, 0)),
    ],
)  # fmt: skip
def test_an_initrd_is_found_in_one_cell_or_two(
    host: Host, chosen: blob.Node, initrd: tuple[int, int]
) -> None:
    found = facts(host, blob.build({**CELLS_64, "chosen": chosen}))
    assert found is not None
    assert found.initrd == initrd


@pytest.mark.parametrize(
    ("stdout", "uart"),
    [
        ("/pl011@9000000", (1, 2, 4, 0x9000000)),
        ("/pl011@9000000:115200n8", (1, 2, 4, 0x9000000)),
        ("/pl011", (1, 2, 4, 0x9000000)),
        ("serial0:1500000", (1, 2, 4, 0x9000000)),
        ("/soc/serial@7e215040", (3, 2, 4, 0x3F215040)),
        ("uart2", (2, 2, 4, 0x8_20001000)),
        ("/soc/bus/serial@2000", (2, 0, 1, 0x8_20002000)),
        ("/soc/bus/serial@4000", (4, 2, 4, 0x8_20004000)),
        ("", (1, 2, 4, 0x9000000)),
        ("/soc/bus@0/serial@9000", (1, 2, 4, 0x9000000)),  # outside ranges: the first usable one
        ("/soc/isolated/serial@0", (1, 2, 4, 0x9000000)),  # no ranges: not on the CPU's bus
        ("/nowhere", (1, 2, 4, 0x9000000)),
        ("no-such-alias", (1, 2, 4, 0x9000000)),
    ],
)
def test_the_console_is_the_one_that_chosen_names(
    host: Host, stdout: str, uart: tuple[int, int, int, int]
) -> None:
    found = facts(host, tree(stdout))
    assert found is not None
    assert found.uart == uart
    assert not found.big_endian


@pytest.mark.parametrize(
    ("compatible", "kind"),
    [
        (["arm,pl011", "arm,primecell"], 1),
        ("arm,sbsa-uart", 1),
        ("ns16550a", 2),
        ("ns16550", 2),
        (["rockchip,rk3399-uart", "snps,dw-apb-uart"], 2),
        ("brcm,bcm2835-aux-uart", 3),
        (["xlnx,zynqmp-uart", "cdns,uart-r1p12"], 4),
        (["cdns,uart-r1p8", "xlnx,xuartps"], 4),
        (["fsl,imx8mp-uart", "fsl,imx6q-uart"], 5),
        (["amlogic,meson-gx-uart", "amlogic,meson-ao-uart"], 6),
        ("amlogic,meson-g12a-uart", 6),
        (["amlogic,t7-uart", "amlogic,meson-s4-uart"], 6),
        (["ti,am64-uart", "ti,am654-uart"], 7),
        ("ti,omap4-uart", 0),
        ("arm,pl0111", 0),
        ("", 0),
    ],
)
def test_a_uart_is_known_by_what_it_is_compatible_with(
    host: Host, compatible: str | list[str], kind: int
) -> None:
    node: blob.Node = {"compatible": compatible, "reg": [0x1000, 0x100]}
    found = facts(host, blob.build({**CELLS_32, "serial@1000": node}))
    assert found is not None
    assert found.uart[0] == kind
    if kind not in (0, 2):
        assert found.uart[1:] == (2, 4, 0x1000)


def test_a_16550_is_big_endian_where_its_node_says_so(host: Host) -> None:
    found = facts(host, tree("/soc/bus/serial@3000"))
    assert found is not None
    assert (found.uart, found.big_endian) == ((2, 2, 4, 0x8_20003000), 1)


@pytest.mark.parametrize(("method", "conduit"), [("hvc", 2), ("smc", 1), ("magic", 0)])
def test_a_conduit_is_what_the_tree_names(host: Host, method: str, conduit: int) -> None:
    found = facts(host, tree(method=method))
    assert found is not None
    assert found.conduit == conduit


def test_every_truncated_tree_is_refused(host: Host) -> None:
    whole = tree()
    for size in range(len(whole)):
        assert facts(host, whole[:size]) is None


def test_a_tree_cut_behind_an_honest_header_is_survived(host: Host) -> None:
    whole = tree()
    for size in range(40, len(whole), 4):
        cut = bytearray(whole[:size])
        cut[4:8] = size.to_bytes(4, "big")
        facts(host, bytes(cut))


def test_lying_words_and_flipped_bytes_are_survived(host: Host) -> None:
    whole, rng = tree("uart2"), random.Random(1)
    for _ in range(4000):
        hostile = bytearray(whole)
        for _ in range(rng.randrange(1, 5)):
            at = rng.randrange(0, len(whole) & ~3, 4)
            word = rng.choice([0, 1, 2, 3, 4, 9, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFC])
            hostile[at : at + 4] = word.to_bytes(4, "big")
        hostile[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        facts(host, bytes(hostile))


def test_every_word_of_the_header_may_lie(host: Host) -> None:
    whole = tree()
    for at in range(0, 40, 4):
        for word in (0, 1, 39, 40, len(whole) - 1, len(whole), len(whole) + 1, 1 << 31, 0xFFFFFFFF):
            hostile = bytearray(whole)
            hostile[at : at + 4] = word.to_bytes(4, "big")
            facts(host, bytes(hostile))


def test_a_tree_that_is_too_deep_is_refused(host: Host) -> None:
    root: blob.Node = {}
    for _ in range(30):
        root = {"a": root}
    assert facts(host, blob.build(root)) is None


def test_more_than_fits_is_left_out(host: Host) -> None:
    cpus = {f"cpu@{i:x}": {**CPU, "reg": i} for i in range(200)}
    found = facts(host, blob.build({"cpus": {**CPU_CELLS, **cpus}}))
    assert found is not None
    assert len(found.cpus) == 128


def test_an_old_psci_names_its_own_functions(host: Host) -> None:
    psci: blob.Node = {"compatible": "arm,psci", "method": "smc", "cpu_on": 0x95C1BA5E}
    found = facts(host, blob.build({"psci": psci}))
    assert found is not None
    assert (found.conduit, found.cpu_on, found.psci_old) == (1, 0x95C1BA5E, 1)


def test_what_is_no_tree_is_refused(host: Host) -> None:
    assert facts(host, b"") is None
    assert facts(host, b"\xd0\x0d\xfe\xed") is None
    assert facts(host, bytes(4096)) is None
