# SPDX-License-Identifier: Apache-2.0
"""The payload entered as a kernel's soft restart leaves a machine: nothing as at reset."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from hilagent.build import compile as compiling
from hilagent.build import payload
from hilagent.link import wire
from tests.firmware.emulated import Machine

pytestmark = pytest.mark.hil

Op, Status, Cpu = wire.Op, wire.Status, wire.CpuState
ELSEWHERE, LOADER = 0x50001000, 0x5F000000
TO_PAYLOAD = """
	mov	x0, #0x40000000		/* where QEMU puts its tree */
	mov	x1, xzr
	mov	x2, xzr
	mov	x3, xzr
	ldr	x9, =0x50001000
	br	x9
	.ltorg
"""
STALE = {
    "VBAR_EL2": 0x7ABC_D800, "TTBR0_EL2": 0x1234_5000, "CNTVOFF_EL2": 0x1111_2222_3333,
    "VTTBR_EL2": 0x0042_0000_7654_3000, "TCR_EL2": 0x8084_3510, "MDCR_EL2": 0xA02,
    "ESR_EL2": 0x5A00_0004, "ELR_EL2": 0x4567_8900, "SPSR_EL2": 0x6000_03C5,
}  # fmt: skip
UNSAVED = {"hstr_el2": 0xFFFF, "vpidr_el2": 5, "vmpidr_el2": 7, "mair_el2": 0xFF, "tpidr_el2": 9}


def moves(registers: dict[str, int]) -> str:
    """Assembler that writes system registers."""
    return "".join(
        f"\tldr x9, ={value:#x}\n\tmsr {name.lower()}, x9\n" for name, value in registers.items()
    )


def assembled(folder: Path, text: str) -> Path:
    """Return a file with the code, linked at 0 and run anywhere."""
    source = folder / "before.S"
    source.write_text(f"\t.text\n{text}")
    code = folder / "before.bin"
    code.write_bytes(compiling.compile_blob(source).data)
    return code


@contextlib.contextmanager
def entered(folder: Path, cpu: str, before: str) -> Iterator[tuple[Machine, dict[str, int]]]:
    """Four CPUs; CPU 0 runs ``before``, then the payload. With it, what CPU 0's entry was."""
    code = assembled(folder, before + TO_PAYLOAD)
    image = payload.build_payload().image
    load = [
        *("-device", f"loader,file={image},addr={ELSEWHERE:#x},force-raw=on"),
        *("-device", f"loader,file={code},addr={LOADER:#x},force-raw=on"),
        *("-device", f"loader,addr={LOADER:#x},cpu-num=0"),
    ]
    virt = ("-M", "virt,virtualization=on", "-smp", "4", "-cpu", cpu)
    with Machine(folder, *virt, *load) as machine:
        assert machine.hello()["image"] == ELSEWHERE
        yield machine, info(machine, 0)


def info(machine: Machine, cpu: int) -> dict[str, int]:
    """Return CPU_INFO's state, and the saved entry state by name."""
    fields = wire.CPU_INFO.unpack(machine.must(Op.CPU_INFO, cpu.to_bytes(4, "little")))
    entry, state = fields["entry"], fields["state"]
    assert isinstance(entry, tuple)
    assert isinstance(state, int)
    return dict(zip(wire.ENTRY_REGS, entry, strict=True)) | {"state": state}


@pytest.mark.parametrize(("cpu", "hcr"), [("cortex-a57", 1 << 31), ("max", 0x488000000)])
def test_a_kernels_el2_is_saved_and_then_forgotten(tmp_path: Path, cpu: str, hcr: int) -> None:
    before = moves({**STALE, **UNSAVED, "HCR_EL2": hcr}) + "\tisb\n"
    with entered(tmp_path, cpu, before) as (machine, entry):
        assert {name: entry[name] for name in STALE} == STALE
        assert entry["HCR_EL2"] == hcr
        assert [entry[f"x{n}"] for n in range(4)] == [0x4000_0000, 0, 0, 0]
        assert entry["PC"] == ELSEWHERE
        for other in (1, 2, 3):
            assert machine.must(Op.CPU_START, other.to_bytes(4, "little"))[0] == Cpu.READY
            assert machine.midr_of(other) == machine.midr_of(0)


SPINS = """
	movz	x0, #0xc400, lsl #16
	movk	x0, #0x0003		/* CPU_ON */
	mov	x1, #1
	adr	x2, 1f
	mov	x3, xzr
	smc	#0
	b	2f
1:	b	1b
2:
"""
"""CPU 1 goes on in the old kernel, as one that a crash could not stop."""


def test_a_cpu_that_still_runs_elsewhere_is_named_and_cannot_be_had(tmp_path: Path) -> None:
    with entered(tmp_path, "cortex-a57", SPINS) as (machine, _):
        states = [info(machine, cpu)["state"] for cpu in range(4)]
        assert states == [Cpu.READY, Cpu.ELSEWHERE, Cpu.OFF, Cpu.OFF]
        assert machine.ask(Op.CPU_START, b"\1\0\0\0")[0] == Status.FAILED
        assert info(machine, 1)["state"] == Cpu.ELSEWHERE
        assert machine.must(Op.CPU_START, b"\2\0\0\0")[0] == Cpu.READY
        assert machine.midr_of(2)
