# SPDX-License-Identifier: Apache-2.0
"""The payload on emulated machines: entry at each level, memory, CPUs, handover, death."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from hilagent.build import payload
from hilagent.link import frame, wire
from tests.firmware.emulated import Machine, break_setup, number, start_all, u32

pytestmark = pytest.mark.hil

Op, Status, Cpu = wire.Op, wire.Status, wire.CpuState
VIRT = ("-M", "virt,virtualization=on", "-smp", "4")
ELSEWHERE = 0x50000000
LOADER = 0x5F000000


@pytest.fixture(scope="module")
def built() -> payload.PayloadBuild:
    return payload.build_payload()


@pytest.fixture(params=["cortex-a57", "max"])
def virt(
    request: pytest.FixtureRequest, tmp_path: Path, built: payload.PayloadBuild
) -> Iterator[Machine]:
    """A machine with four CPUs, of which one runs: idle ones cost the host a core each."""
    with Machine(tmp_path, *VIRT, "-cpu", request.param, "-kernel", built.image) as machine:
        yield machine


def test_it_says_who_it_is_and_repeats_every_byte(
    virt: Machine, built: payload.PayloadBuild
) -> None:
    hello = virt.hello()
    assert bytes(wire_tuple(hello["build_id"])).hex() == built.build_id
    assert (hello["cpus"], hello["entry_el"], hello["uart_kind"]) == (4, 2, 1)
    every = bytes(range(256))
    for virt.armoured in (True, False):
        for body in (b"", b"\0", every, bytes(1024), every * 4):
            assert virt.must(Op.ECHO, body) == body
    assert virt.must(Op.HELLO, every)[wire.HELLO.size :] == every
    assert virt.damaged == []


def wire_tuple(value: int | tuple[int, ...]) -> tuple[int, ...]:
    assert isinstance(value, tuple)
    return value


def test_memory_is_read_and_written_and_a_fault_is_an_answer(virt: Machine) -> None:
    hello = virt.hello()
    scratch, image = number(hello["scratch"]), number(hello["image"])
    data = bytes(i * 7 & 255 for i in range(1000))
    access = b""
    for width in (0, 1, 2, 4, 8):
        access = wire.ACCESS.pack(addr=scratch, size=1000, width=width)
        virt.must(Op.WRITE, access + data)
        assert virt.must(Op.READ, access) == data
        virt.must(Op.WRITE, access + bytes(1000))
    virt.must(Op.WRITE, access + data)
    assert virt.must(Op.CRC, access) == u32(zlib.crc32(data))
    status, fault = virt.ask(Op.READ, wire.ACCESS.pack(addr=1 << 52, size=8))
    assert status == Status.FAULT
    assert number(wire.FAULT.unpack(fault)["esr"]) >> 26 == 0x25
    assert virt.ask(Op.READ, wire.ACCESS.pack(addr=scratch + 1, size=8, width=8))[0] == (
        Status.BAD_ARG
    )
    assert virt.ask(Op.WRITE, wire.ACCESS.pack(addr=image, size=4) + bytes(4))[0] == Status.REFUSED
    assert virt.read(scratch, 8) == data[:8]


def test_a_request_is_done_once_and_only_for_a_run_that_said_hello(virt: Machine) -> None:
    virt.event(wire.Event.BOOT)
    assert virt.ask(Op.ECHO, b"early")[0] == Status.REFUSED
    virt.hello()
    seq = virt.post(Op.ECHO, b"once")
    assert virt.ask(Op.ECHO, b"", seq) == (0, b"once")
    assert virt.ask(Op.ECHO, b"other", seq) == (0, b"once")
    virt.post(Op.ECHO, b"late", seq - 1)
    assert virt.ask(Op.ECHO, b"next") == (0, b"next")
    virt.boot_id ^= 1
    assert virt.ask(Op.ECHO)[0] == Status.REFUSED
    virt.boot_id ^= 1
    virt.run_id += 1
    assert virt.ask(Op.ECHO)[0] == Status.REFUSED
    assert virt.ask(Op.HELLO)[0] == Status.OK
    assert virt.ask(77)[0] == Status.BAD_OP


def test_a_damaged_request_is_answered_by_a_nak(virt: Machine) -> None:
    virt.hello()
    for virt.armoured in (True, False):
        packet = frame.Packet(wire.Kind.REQUEST, Op.ECHO, 9, armoured=virt.armoured, body=b"x" * 30)
        line = bytearray(frame.encode(packet))
        line[30] ^= 2
        naks: list[frame.Packet] = []
        while not naks:  # ten a second at the most: noise must not become a storm
            virt.send(bytes(line))
            virt.must(Op.ECHO)
            naks = [nak for nak in virt.naks() if nak.armoured == virt.armoured]


def test_raw_noise_on_an_armoured_line_gets_an_armoured_nak(virt: Machine) -> None:
    """A raw one may hold an XOFF, and a port that obeys it says nothing ever again."""
    virt.hello()
    line = bytearray(frame.encode(frame.Packet(wire.Kind.REQUEST, Op.ECHO, 9, body=b"x" * 30)))
    line[30] ^= 2
    naks: list[frame.Packet] = []
    while not naks:
        virt.send(bytes(line))
        virt.must(Op.ECHO)
        naks = virt.naks()
    assert all(nak.armoured for nak in naks)


def test_every_cpu_starts_works_moves_the_link_stops_and_comes_back(virt: Machine) -> None:
    virt.hello()
    assert virt.ask(Op.CPU_START, u32(4))[0] == Status.NO_CPU
    midr = virt.midr_of(0)
    for _ in range(2):
        start_all(virt)
        assert [virt.midr_of(cpu) for cpu in range(4)] == [midr] * 4
        for cpu in (2, 0):
            virt.must(Op.LINK_MOVE, u32(cpu))
            assert wire.HELLO.unpack(virt.must(Op.HELLO))["link_cpu"] == cpu
        assert virt.ask(Op.CPU_STOP, u32(0))[0] == Status.REFUSED
        for cpu in (1, 2, 3):
            assert virt.must(Op.CPU_STOP, u32(cpu)) == u32(Cpu.OFF)
            info = wire.CPU_INFO.unpack(virt.must(Op.CPU_INFO, u32(cpu)))
            assert info["state"] == Cpu.OFF


def test_what_a_cpu_is_comes_whole_or_in_parts(virt: Machine) -> None:
    virt.hello()
    whole = virt.must(Op.CPU_INFO, u32(0))
    assert len(whole) == wire.CPU_INFO.size
    for offset, size in ((0, 64), (60, 3), (wire.CPU_INFO.size, 0), (8, wire.CPU_INFO.size - 8)):
        part = virt.must(Op.CPU_INFO, u32(0) + u32(offset) + u32(size))
        assert part == whole[offset : offset + size]
    for offset, size in ((0, wire.CPU_INFO.size + 1), (wire.CPU_INFO.size, 1), (1 << 31, 1 << 31)):
        assert virt.ask(Op.CPU_INFO, u32(0) + u32(offset) + u32(size))[0] == Status.BAD_ARG


def test_an_armoured_reply_after_a_raw_one_lets_a_stopped_port_go_on(virt: Machine) -> None:
    virt.hello()
    virt.text = b""
    virt.armoured = False
    virt.must(Op.ECHO)
    assert b"\x11" not in virt.text
    virt.armoured = True
    virt.must(Op.ECHO)
    assert virt.text.count(b"\x11") == 1


def test_a_busy_cpu_is_left_alone_and_heard_of(virt: Machine) -> None:
    hello = virt.hello()
    virt.must(Op.CPU_START, u32(1))
    loop = number(hello["scratch"])  # until x0 ticks have passed
    code = (0xD53BE021, 0x8B000022, 0xD53BE021, 0xEB02003F, 0x54FFFFC3, 0xD65F03C0)
    virt.write(loop, b"".join(u32(word) for word in code))
    virt.must(Op.SLOT_LOADED, wire.ACCESS.pack(addr=loop, size=4 * len(code)))
    ticks = number(hello["cntfrq"]) * 5 // 2
    job = wire.JOB.pack(cpu=1, kind=int(wire.Job.CALL), el=2, addr=loop, x=(ticks,))
    virt.must(Op.JOB_START, job)
    for op in (Op.JOB_START, Op.LINK_MOVE, Op.CPU_STOP, Op.VECTORS):
        assert virt.ask(op, job if op == Op.JOB_START else u32(1))[0] == Status.BUSY
    virt.run_id += 1
    assert virt.ask(Op.HELLO) == (Status.BUSY, u32(virt.run_id - 1))
    virt.run_id -= 1
    status = wire.JOB_STATUS.unpack(virt.must(Op.JOB_STATUS, u32(1)))
    assert status["state"] == wire.JobState.RUNNING
    for _ in range(2):
        beat = wire.JOB_STATUS.unpack(virt.event(wire.Event.HEARTBEAT).body)
        assert (beat["cpu"], beat["state"]) == (1, wire.JobState.RUNNING)
    done = wire.JOB_STATUS.unpack(virt.event(wire.Event.JOB_DONE).body)
    assert done["state"] == wire.JobState.DONE
    wrong = wire.JOB_PART.pack(cpu=1, job=99, offset=0, size=8)
    assert virt.ask(Op.JOB_RESULT, wrong)[0] == Status.REFUSED


def test_another_image_is_booted_with_its_arguments_once_all_cpus_are_off(
    virt: Machine, built: payload.PayloadBuild
) -> None:
    first = virt.hello()
    virt.armoured = False
    virt.write(ELSEWHERE, built.image.read_bytes())
    start_all(virt)
    inside = wire.BOOT.pack(addr=number(first["image"]), x0=number(first["dtb"]))
    assert virt.ask(Op.BOOT, inside)[0] == Status.REFUSED
    virt.must(Op.BOOT, wire.BOOT.pack(addr=ELSEWHERE, x0=number(first["dtb"]), x1=1, x2=2, x3=3))
    second = virt.hello()
    assert (second["image"], second["entry_el"]) == (ELSEWHERE, 2)
    assert second["boot_id"] != first["boot_id"]
    entry = dict(zip(wire.ENTRY_REGS, wire_tuple(
        wire.CPU_INFO.unpack(virt.must(Op.CPU_INFO, u32(0)))["entry"]), strict=True))  # fmt: skip
    assert [entry[name] for name in ("x1", "x2", "x3", "CurrentEL")] == [1, 2, 3, 8]
    assert entry["HCR_EL2"] == 1 << 31
    assert entry["SCTLR_EL2"] & 5 == 0
    start_all(virt)
    virt.midr_of(3)


def test_it_resets_and_powers_off_by_psci(virt: Machine) -> None:
    first = virt.hello()
    virt.must(Op.RESET)
    assert virt.hello()["boot_id"] != first["boot_id"]
    virt.must(Op.POWEROFF)
    assert virt.ended() == 0


@pytest.mark.parametrize("cpu", [0, 2])
def test_an_exception_of_its_own_is_dumped_told_and_ends_in_a_reset(
    virt: Machine, built: payload.PayloadBuild, cpu: int
) -> None:
    hello = virt.hello()
    virt.must(Op.CPU_START, u32(cpu))
    victim = break_setup(virt, hello, built.elf)
    if cpu == 2:
        virt.post(Op.CPU_STOP, u32(2))
    else:
        virt.post(Op.BOOT, wire.BOOT.pack(addr=ELSEWHERE))
    dying = virt.event(wire.Event.DYING).body
    at_pc = 32 * 8
    assert int.from_bytes(dying[at_pc : at_pc + 8], "little") == victim
    assert virt.hello()["boot_id"] != hello["boot_id"]
    assert b"nothing guards on CPU 0%d" % cpu in virt.text
    assert b"resetting" in virt.text


def test_entered_at_el1_it_says_so_and_only_resets(
    tmp_path: Path, built: payload.PayloadBuild
) -> None:
    arguments = ("-M", "virt", "-cpu", "cortex-a57", "-smp", "2", "-kernel", built.image)
    with Machine(tmp_path, *arguments) as machine:
        hello = machine.hello()
        assert (hello["entry_el"], number(hello["features"]) & 4) == (1, 4)
        assert b"EL2 is needed" in machine.text
        for op in (Op.ECHO, Op.READ, Op.CPU_START, Op.JOB_START, Op.BOOT):
            assert machine.ask(op, bytes(16))[0] == Status.REFUSED
        machine.must(Op.RESET)
        assert machine.hello()["boot_id"] != hello["boot_id"]


@pytest.mark.parametrize("cpu", ["cortex-a57", "max"])
@pytest.mark.parametrize("el2", ["on", "off"])
def test_entered_at_el3_it_drops_and_calls_no_firmware(
    tmp_path: Path, built: payload.PayloadBuild, cpu: str, el2: str
) -> None:
    jump = tmp_path / "jump.bin"  # mov x0, #0x40000000 (QEMU's tree); mov x1, #ELSEWHERE; br x1
    jump.write_bytes(b"".join(u32(word) for word in (0xD2A80000, 0xD2AA0001, 0xD61F0020)))
    load = [
        *("-device", f"loader,file={built.image},addr={ELSEWHERE:#x},force-raw=on"),
        *("-device", f"loader,file={jump},addr={LOADER:#x},force-raw=on"),
        *("-device", f"loader,addr={LOADER:#x},cpu-num=0"),
    ]
    machine_type = f"virt,secure=on,virtualization={el2}"
    with Machine(tmp_path, "-M", machine_type, "-cpu", cpu, "-smp", "2", *load) as machine:
        hello = machine.hello()
        assert (hello["entry_el"], hello["psci_conduit"]) == (3, 0)
        assert number(hello["features"]) & 4 == (0 if el2 == "on" else 4)
        assert machine.ask(Op.RESET)[0] == Status.REFUSED
        if el2 == "on":
            machine.midr_of(0)


def test_entered_from_a_vhe_kernels_state_it_leaves_e2h_behind(
    tmp_path: Path, built: payload.PayloadBuild
) -> None:
    jump = tmp_path / "jump.bin"  # HCR_EL2 = E2H | TGE | RW; SCTLR_EL12 gets a mark
    words = [0xD2B10002, 0xF2C00082, 0xD51C1102, 0xD5033FDF, 0xD2A61A03, 0xF2900003, 0xD51D1003]
    words += [0xD2A80000, 0xD2AA0001, 0xD61F0020]
    jump.write_bytes(b"".join(u32(word) for word in words))
    load = [
        *("-device", f"loader,file={built.image},addr={ELSEWHERE:#x},force-raw=on"),
        *("-device", f"loader,file={jump},addr={LOADER:#x},force-raw=on"),
        *("-device", f"loader,addr={LOADER:#x},cpu-num=0"),
    ]
    with Machine(tmp_path, "-M", "virt,virtualization=on", "-cpu", "max", *load) as machine:
        hello = machine.hello()
        assert (hello["entry_el"], number(hello["features"]) & 6) == (2, 0)
        info = wire.CPU_INFO.unpack(machine.must(Op.CPU_INFO, u32(0)))
        entry = dict(zip(wire.ENTRY_REGS, wire_tuple(info["entry"]), strict=True))
        assert entry["HCR_EL2"] == 1 << 34 | 1 << 31 | 1 << 27
        assert entry["SCTLR_EL1"] == 0x30D08000
        machine.midr_of(0)
