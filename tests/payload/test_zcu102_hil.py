# SPDX-License-Identifier: Apache-2.0
"""The payload on QEMU's ZCU102, started by QEMU itself: a Cadence UART and PSCI by smc.

Debian has no U-Boot for it, so this is no board of ours; what the suites ask is asked here.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hilagent import abi, probe
from hilagent.build.payload import build_payload
from hilagent.clock import Deadline
from hilagent.link import wire
from hilagent.payload import Payload, connect
from hilagent.session.subject import resolve
from hilagent.testing import StreamLine
from hilagent.transport.base import FdStream
from tests.emulator import Emulator
from tests.firmware import blob
from tests.firmware.emulated import Machine

pytestmark = pytest.mark.hil

CELLS: blob.Node = {"#address-cells": 2, "#size-cells": 2}
CADENCE, UART0 = 4, 0xFF000000
TREE: blob.Node = {
    **CELLS,
    "compatible": ["xlnx,zynqmp-zcu102-rev1.0", "xlnx,zynqmp-zcu102", "xlnx,zynqmp"],
    "chosen": {"stdout-path": "serial0:115200n8"},
    "aliases": {"serial0": "/axi/serial@ff000000"},
    "psci": {"compatible": "arm,psci-0.2", "method": "smc"},
    "memory@0": {"device_type": "memory", "reg": [0, 0, 0, 0x20000000]},
    "axi": {
        **CELLS,
        "ranges": b"",
        "serial@ff000000": {
            "compatible": ["xlnx,zynqmp-uart", "cdns,uart-r1p12"],
            "reg": [0, UART0, 0, 0x1000],
        },
    },
    "cpus": {
        "#address-cells": 1,
        "#size-cells": 0,
        **{f"cpu@{n}": {"device_type": "cpu", "reg": n, "enable-method": "psci"} for n in range(2)},
    },
}
"""What the payload reads of Linux's zynqmp.dtsi, of which two CPUs."""


def arguments(folder: Path) -> tuple[str | Path, ...]:
    """Return what QEMU is started with; with two CPUs, since idle ones cost the host."""
    (folder / "tree.dtb").write_bytes(blob.build(TREE))
    machine = ("-M", "xlnx-zcu102,virtualization=on", "-smp", "2")
    return (*machine, "-kernel", build_payload().image, "-dtb", folder / "tree.dtb")


@pytest.fixture
def payload(tmp_path: Path) -> Iterator[Payload]:
    """The payload, through the client that a run uses."""
    with Emulator(tmp_path, "-nodefaults", "-m", "512", *arguments(tmp_path)) as emulator:
        stream = FdStream(emulator.serial.dup().detach(), "QEMU")
        yield connect(
            StreamLine(stream), run_id=1, deadline=Deadline.after(20), emulated=True,
            alive=lambda: True,
        )  # fmt: skip
        stream.close()


@pytest.mark.parametrize(
    ("name", "accused"),
    [
        ("reference-stub", ""),
        ("reference-kvm", ""),
        ("mutant:get_clobbers_x19", "HVC_GET_VECTORS x19"),
    ],
)
def test_every_immediate_is_judged_on_both_cpus(payload: Payload, name: str, accused: str) -> None:
    hello, profile = payload.hello, abi.load("iss-2015")
    assert (hello.uart_kind, hello.uart_base, hello.psci_conduit) == (CADENCE, UART0, 1)
    assert payload.encoding == "raw"
    assert len(payload.start_cpus()) == 2
    subject = resolve(name, profile)
    payload.vectors(subject.target, subject.blob, subject.offset, serves_el2=subject.serves_el2)
    lab = probe.Lab({cpu.cpu: cpu for cpu in payload.cpus()})
    wanted = probe.requests(profile, subject.server, "vectors", [0, 1])
    seen = payload.sweep(wanted, want=probe.wanted_frames(profile, subject.server, lab))
    findings = probe.judge(profile, subject.server, seen, lab, wanted=wanted).findings
    assert bool(findings) == bool(accused)
    assert all(accused in f"{found.hcall} {found.what}" for found in findings)


def test_it_resets_and_powers_off_by_psci(tmp_path: Path) -> None:
    with Machine(tmp_path, *arguments(tmp_path)) as machine:
        first = machine.hello()
        machine.must(wire.Op.RESET)
        assert machine.hello()["boot_id"] != first["boot_id"]
        machine.must(wire.Op.POWEROFF)
        assert machine.ended() == 0
