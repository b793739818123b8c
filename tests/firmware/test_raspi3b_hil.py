# SPDX-License-Identifier: Apache-2.0
"""The payload on QEMU's Raspberry Pi: two UARTs, a spin table, and nobody to take an smc."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from hilagent.build import compile as compiling
from hilagent.build import payload
from hilagent.link import wire
from tests.firmware import blob
from tests.firmware.emulated import Machine, break_setup, number, start_all, u32

pytestmark = pytest.mark.hil

Op, Status = wire.Op, wire.Status
ELSEWHERE = 0x08000000
WITNESS = """
	ldr	x0, =0x3f215040		/* the mini-UART */
	mov	w1, #'\\n'
	str	w1, [x0]
	mov	w1, #'S'
	str	w1, [x0]
	mov	w1, #'M'
	str	w1, [x0]
	mov	w1, #'C'
	str	w1, [x0]
	b	.
	.ltorg
"""
"""At EL3's vector for what comes from EL2: an smc tells of itself, and doesn't return."""
AT_EL3 = 0x400  # VBAR_EL3 is 0 after reset; DDI 0487, D1.3.1: synchronous, lower EL, AArch64


@pytest.fixture(scope="module")
def built() -> payload.PayloadBuild:
    return payload.build_payload()


PI: blob.Node = {
    "#address-cells": 1,
    "#size-cells": 1,
    "aliases": {"serial0": "/soc/serial@7e201000", "serial1": "/soc/serial@7e215040"},
    "memory@0": {"device_type": "memory", "reg": [0, 0x3B400000]},
    "soc": {
        "#address-cells": 1,
        "#size-cells": 1,
        "ranges": [0x7E000000, 0x3F000000, 0x1000000],
        "serial@7e201000": {"compatible": "arm,pl011", "reg": [0x7E201000, 0x200]},
        "serial@7e215040": {"compatible": "brcm,bcm2835-aux-uart", "reg": [0x7E215040, 0x40]},
    },
    "cpus": {
        "#address-cells": 1,
        "#size-cells": 0,
        **{
            f"cpu@{n}": {
                "device_type": "cpu",
                "reg": n,
                "enable-method": "spin-table",
                "cpu-release-addr": [0, 0xD8 + 8 * n],
            }
            for n in range(4)
        },
    },
}


PSCI: blob.Node = {"psci": {"compatible": "arm,psci-1.0", "method": "smc"}}


def pi_tree(uart: int, *reserve: tuple[int, int], more: blob.Node | None = None) -> bytes:
    root = {**PI, **(more or {}), "chosen": {"stdout-path": f"serial{uart}:115200"}}
    return blob.build(root, reserve)


@pytest.mark.parametrize("uart", [0, 1])
def test_a_pi_starts_its_cpus_from_a_spin_table_and_hands_them_on(
    tmp_path: Path, built: payload.PayloadBuild, uart: int
) -> None:
    (tmp_path / "pi.dtb").write_bytes(pi_tree(uart, (0, 0x1000)))
    arguments = ("-M", "raspi3b", "-kernel", built.image, "-dtb", tmp_path / "pi.dtb")
    with Machine(tmp_path, *arguments, *(["-second"] if uart else [])) as machine:
        hello = machine.hello()
        assert (hello["uart_kind"], hello["psci_conduit"]) == (3 if uart else 1, 0)
        assert machine.ask(Op.RESET)[0] == Status.REFUSED
        machine.write(ELSEWHERE, built.image.read_bytes())
        start_all(machine)
        machine.must(Op.CPU_STOP, u32(2))
        start_all(machine)
        tree, image = 0x07000000, number(hello["image"])
        boot = wire.BOOT.pack(addr=ELSEWHERE, x0=tree)
        machine.write(tree, pi_tree(uart, (0, 0x1000)))
        assert machine.ask(Op.BOOT, boot)[0] == Status.REFUSED  # the pens would be overwritten
        machine.write(tree, pi_tree(uart, (0, 0x1000), (image, 0x1000)))
        machine.must(Op.BOOT, boot)
        assert machine.hello()["image"] == ELSEWHERE
        start_all(machine)
        assert len({machine.midr_of(cpu) for cpu in range(4)}) == 1


@contextlib.contextmanager
def witnessed(folder: Path, image: Path, more: blob.Node) -> Iterator[Machine]:
    """A Pi whose EL3 says "SMC" on the console for an smc; it has reserved the pens' page."""
    source, code = folder / "witness.S", folder / "witness.bin"
    source.write_text(f"\t.text\n{WITNESS}")
    code.write_bytes(compiling.compile_blob(source).data)
    (folder / "pi.dtb").write_bytes(pi_tree(1, (0, 0x1000), more=more))
    pi = ("-M", "raspi3b", "-kernel", image, "-dtb", folder / "pi.dtb", "-second")
    load = f"loader,file={code},addr={AT_EL3:#x},force-raw=on"
    with Machine(folder, *pi, "-device", load) as machine:
        yield machine


@pytest.mark.parametrize("op", [Op.RESET, Op.POWEROFF])
def test_an_smc_is_seen_where_the_tree_names_that_conduit(
    tmp_path: Path, built: payload.PayloadBuild, op: wire.Op
) -> None:
    with witnessed(tmp_path, built.image, PSCI) as machine:
        assert machine.hello()["psci_conduit"] == 1
        machine.post(op)
        machine.hear(b"\nSMC")


def test_without_a_conduit_nothing_that_can_be_asked_is_an_smc(
    tmp_path: Path, built: payload.PayloadBuild
) -> None:
    with witnessed(tmp_path, built.image, {}) as machine:
        hello = machine.hello()
        for op in (Op.RESET, Op.POWEROFF):
            assert machine.ask(op)[0] == Status.REFUSED
        start_all(machine)
        for cpu in range(4):
            machine.must(Op.CPU_INFO, u32(cpu))
            assert machine.midr_of(cpu)
        machine.must(Op.CPU_STOP, u32(2))
        machine.write(ELSEWHERE, built.image.read_bytes())
        tree = 0x07000000
        machine.write(tree, pi_tree(1, (0, 0x1000), (number(hello["image"]), 0x1000)))
        machine.must(Op.BOOT, wire.BOOT.pack(addr=ELSEWHERE, x0=tree))
        break_setup(machine, machine.hello(), built.elf)
        machine.post(Op.BOOT, wire.BOOT.pack(addr=ELSEWHERE + 0x200_0000))
        machine.event(wire.Event.DYING)
        machine.hear(b"only power helps\r\n")
        assert b"SMC" not in machine.text
