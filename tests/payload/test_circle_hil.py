# SPDX-License-Identifier: Apache-2.0
"""A full circle without a reset: kernel, soft restart into the payload, and a kernel again."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from hilagent.build.payload import build_payload
from hilagent.build.rootfs import build_rootfs
from hilagent.deploy import bundle
from hilagent.link import wire
from hilagent.payload import Payload
from hilagent.payload.cargo import Cargo, look
from hilagent.payload.handover import Handover, hand_over
from hilagent.payload.places import Range
from hilagent.session.subject import Subject, resolve
from tests import kernels
from tests.payload.circling import PROFILE, Board, swept

pytestmark = pytest.mark.hil

CIRCLES = 3
CRASH_REGION = 128 << 20
CMDLINE = f"console=ttyAMA0 crashkernel={CRASH_REGION >> 20}M hilagent.run="
KEXEC, CRASH_ON_CPU1 = "hilkexec exec", "taskset 2 sh -c 'echo c > /proc/sysrq-trigger'"
E2H_TGE = 1 << 34 | 1 << 27


class Circle:
    """A board that is in its first kernel, and the bundle that it carries along."""

    def __init__(self, folder: Path, cpu: str, gic: str = "2") -> None:
        kernel, root = kernels.built().image, build_rootfs().archive
        self.subject: Subject = resolve("reference-stub", PROFILE)
        members = {
            "kernel": kernel.read_bytes(), "rootfs": root.read_bytes(), "jobs": b"[]",
            "cmdline": b"unused", "vectors": self.subject.blob,
        }  # fmt: skip
        packed = bundle.pack(members)
        self.index = bundle.parse_index(packed, len(packed))
        self.run = secrets.token_hex(8)
        machine = f"virt,virtualization=on,gic-version={gic}"
        qemu = ["-M", machine, "-cpu", cpu, "-smp", "2", "-m", "512"]
        boot = ["-kernel", str(kernel), "-initrd", str(root), "-append", CMDLINE + self.run]
        self.board = Board(folder, [*qemu, *boot], [build_payload().image.read_bytes(), packed])
        self.vhe = cpu == "max"

    def land(self, payload: Payload) -> Cargo:
        """Hold the entry state against what a kernel may be entered in; return what came along."""
        entry = payload.cpus()[0].entry
        assert entry["CurrentEL"] == 2 << 2
        assert [entry["x0"], *(entry[f"x{n}"] for n in (1, 2, 3))] == [payload.hello.dtb, 0, 0, 0]
        assert entry["DAIF"] == 0x3C0
        assert entry["SCTLR_EL2"] & 0b101 == 0
        assert entry["HCR_EL2"] & E2H_TGE == (E2H_TGE if self.vhe else 0)
        assert entry["PC"] == payload.hello.image
        return look(payload, self.index)

    def sweep(self, payload: Payload, cargo: Cargo, cpu: int) -> None:
        """Every immediate over the reference vectors, on one CPU; all CPUs can be had."""
        assert set(payload.cpu_states().values()) == {wire.CpuState.READY, wire.CpuState.OFF}
        assert len(payload.start_cpus()) == 2
        judged = swept(payload, cargo, self.subject, [cpu])
        assert judged.clean, judged.findings

    def leave(self, payload: Payload, cargo: Cargo) -> Handover:
        """Start the next kernel, and see it come up: this one, at EL2 on every CPU."""
        self.run = secrets.token_hex(8)
        done = hand_over(payload, cargo, cmdline=CMDLINE + self.run)
        self.board.back()
        self.board.ready(self.run)
        self.board.shell("dmesg | grep -q 'CPU: All CPU(s) started at EL2'")
        self.board.shell("dmesg | grep -q 'Total of 2 processors activated'")
        return done


@pytest.fixture(params=["cortex-a57", "max"])
def circle(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Circle]:
    """A board whose first kernel is up."""
    made = Circle(tmp_path, request.param)
    with made.board as board:
        board.ready(made.run)
        yield made


def test_kexec_into_the_payload_and_back_into_a_kernel_again_and_again(circle: Circle) -> None:
    boots = set()
    for turn in range(CIRCLES):
        circle.board.load()
        payload = circle.board.leap(KEXEC)
        cargo = circle.land(payload)
        assert not cargo.crash
        circle.sweep(payload, cargo, turn % 2)
        boots.add(payload.hello.boot_id)
        assert circle.leave(payload, cargo).elsewhere == ()
    assert len(boots) == CIRCLES


def test_a_crash_lands_in_the_payload_and_the_next_kernel_stays_in_the_crash_region(
    circle: Circle,
) -> None:
    """On the other CPU than the one that booted, which the payload then calls CPU 0."""
    circle.board.load("x", "--crash")
    payload = circle.board.leap(CRASH_ON_CPU1)
    assert payload.cpus()[0].mpidr & 0xFF == 1
    cargo = circle.land(payload)
    assert cargo.crash
    (region,) = cargo.crash_region
    assert region.size == CRASH_REGION
    circle.sweep(payload, cargo, 0)
    done = circle.leave(payload, cargo)
    assert done.crash
    for taken in done.places.ranges(done.sizes):
        assert region.start <= taken.start
        assert taken.end <= region.end
    ram = Range(region.start, region.size)
    circle.board.shell(f"grep 'System RAM' /proc/iomem | grep -qi '^{ram.start:x}-{ram.end - 1:x}'")
    circle.board.shell("test $(grep -c 'System RAM' /proc/iomem) = 1")
    circle.board.shell("test -e /proc/vmcore")  # the dead kernel's memory, for who wants it


def test_with_an_its_the_next_kernel_keeps_clear_of_the_first_ones_tables(tmp_path: Path) -> None:
    """Booted by a device tree, a kernel that is started by a kernel is destroyed by them."""
    made = Circle(tmp_path, "cortex-a57", gic="3")
    with made.board as board:
        board.ready(made.run)
        for turn in range(2):
            board.load()
            payload = board.leap(KEXEC)
            cargo = made.land(payload)
            assert cargo.lpi
            own = Range(payload.hello.image, payload.hello.image_size)
            assert turn == 0 or not any(each.overlaps(own) for each in cargo.lpi)
            done = made.leave(payload, cargo)
            board.shell("dmesg | grep -q 'GICv3: CPU1: using reserved LPI pending table'")
            for taken in done.places.ranges(done.sizes):
                assert not any(taken.overlaps(table) for table in cargo.lpi)
