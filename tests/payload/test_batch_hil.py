# SPDX-License-Identifier: Apache-2.0
"""A payload that nobody talks to: its requests came along, and its UART says nothing.

What the board's memory holds in the end is read from the file behind it.
"""

from __future__ import annotations

import base64
import dataclasses
import os
import re
import secrets
import subprocess
from pathlib import Path

import pytest

from hilagent import abi, errors, probe
from hilagent.build.payload import build_payload
from hilagent.build.rootfs import build_rootfs
from hilagent.clock import Deadline
from hilagent.deploy import bundle, devicetree
from hilagent.deploy.devicetree import Tree
from hilagent.link import memory, wire
from hilagent.payload import Refused, connect
from hilagent.payload.answers import Answers
from hilagent.payload.batch import Batch
from hilagent.payload.places import Places, Sizes
from hilagent.probe import Judgement, Lab
from hilagent.session.subject import Subject, resolve
from hilagent.testing import StreamLine
from hilagent.transport.base import FdStream
from tests import kernels
from tests.emulator import Emulator
from tests.payload.circling import Board as Circling

pytestmark = pytest.mark.hil

MIB, CPUS = 512, (0, 1)
INITRD_AT = 128 << 20  # in the memory; QEMU's hw/arm/boot.c: half of it, at most so far
PROFILE = abi.load("iss-2015")
RUN = 0x1234
MACHINE = ["-M", "virt,virtualization=on", "-cpu", "cortex-a57", "-smp", "2", "-m", str(MIB)]
PLACES = Places(image=0x50000000, initrd=0x56000000, dtb=0x5C000000)


class Board(Emulator):
    """Two CPUs and a line, which is there to stay silent; memory is a file."""

    def __init__(self, folder: Path, *more: str | Path) -> None:
        self.memory = folder / "memory"
        file = f"memory-backend-file,id=ram,size={MIB}M,share=on,mem-path={self.memory}"
        machine = "virt,virtualization=on,memory-backend=ram"
        super().__init__(
            folder, "-nodefaults", "-M", machine, "-object", file, "-m", str(MIB), "-smp", "2",
            "-cpu", "cortex-a57", "-kernel", build_payload().image, *more,
        )  # fmt: skip

    def said(self) -> bytes:
        """Return all that it said, once it has gone."""
        return b"".join(iter(lambda: self.serial.recv(4096), b""))


class Alone:
    """A board that was given a bundle, did it, and switched itself off."""

    def __init__(self, folder: Path, packed: bytes) -> None:
        file = folder / "bundle"
        file.write_bytes(packed)
        with Board(folder, "-initrd", file) as board:
            assert board.ended(60) == 0
            self.said = board.said()
        place = bundle.parse_index(packed, len(packed)).entries["jobs"]
        with board.memory.open("rb") as ram:
            self.jobs = os.pread(ram.fileno(), place.size, INITRD_AT + place.offset)
        board.memory.unlink()


def lone(folder: Path, batch: Batch, vectors: bytes = b"") -> Answers:
    done = Alone(folder, bundle.pack({"jobs": batch.pack(), "vectors": vectors}))
    assert done.said == b""
    return batch.read(done.jobs)


def by_batch(folder: Path, subject: Subject) -> Judgement:
    wanted = probe.requests(PROFILE, subject.server, "vectors", CPUS, sampled=True)
    batch = Batch(RUN)
    batch.start_cpus(CPUS)
    batch.vectors(subject.target, subject.blob, subject.offset, serves_el2=subject.serves_el2)
    batch.sweep(wanted)
    batch.leave(wire.Op.POWEROFF)
    answers = lone(folder, batch, subject.blob)
    assert answers.end == memory.BatchEnd.DONE
    assert answers.boot_id == answers.hello().boot_id
    lab = Lab(answers.cpus())
    passes = answers.passes(probe.wanted_frames(PROFILE, subject.server, lab))
    return probe.judge(PROFILE, subject.server, passes, lab, wanted=wanted)


def by_console(folder: Path, subject: Subject) -> Judgement:
    wanted = probe.requests(PROFILE, subject.server, "vectors", CPUS, sampled=True)
    with Board(folder) as board:
        payload = connect(
            StreamLine(FdStream(os.dup(board.serial.fileno()), "QEMU")), run_id=RUN,
            deadline=Deadline.after(20), emulated=True, alive=lambda: True,
        )  # fmt: skip
        lab = Lab({cpu.cpu: cpu for cpu in payload.start_cpus()})
        payload.vectors(subject.target, subject.blob, subject.offset, serves_el2=subject.serves_el2)
        passes = payload.sweep(wanted, want=probe.wanted_frames(PROFILE, subject.server, lab))
    board.memory.unlink()
    return probe.judge(PROFILE, subject.server, passes, lab, wanted=wanted)


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("reference-stub", set()),
        ("reference-kvm", set()),
        ("mutant:clobbers_x16", {"clobber"}),
        ("mutant:one_misrouted", {"dispatch"}),
    ],
)
def test_the_verdicts_are_those_of_the_same_run_over_the_console(
    name: str, broken: set[str], tmp_path: Path
) -> None:
    subject = resolve(name, PROFILE)
    alone, console = by_batch(tmp_path, subject), by_console(tmp_path, subject)
    found = {cell.rule for cell in alone.cells.values() if cell.state == probe.State.BROKEN}
    assert found == broken
    assert alone == console


def test_other_vectors_than_those_that_came_along_are_refused(tmp_path: Path) -> None:
    subject = resolve("reference-stub", PROFILE)
    batch = Batch(RUN)
    chosen = batch.ask(wire.Op.VECTORS, wire.VECTORS.pack(
        target=wire.Target.SLOT, offset=subject.offset, size=len(subject.blob),
        crc=1))  # fmt: skip
    batch.leave(wire.Op.POWEROFF)
    answers = lone(tmp_path, batch, subject.blob)
    with pytest.raises(Refused):
        answers.body(chosen)


def test_a_job_without_progress_ends_the_batch_and_is_placed(tmp_path: Path) -> None:
    subject = resolve("mutant:hangs", PROFILE)
    wanted = probe.requests(PROFILE, subject.server, "vectors", (1,))
    batch = Batch(RUN, hang_s=2)
    batch.start_cpus([1])
    batch.vectors(subject.target, subject.blob, subject.offset)
    batch.sweep(wanted)
    batch.leave(wire.Op.POWEROFF)
    answers = lone(tmp_path, batch, subject.blob)
    place = answers.stuck()
    assert place is not None
    assert (place.cpu, place.request) == (1, 0)
    with pytest.raises(errors.LabError):
        answers.passes()


def test_a_batch_without_room_says_so(tmp_path: Path) -> None:
    batch = Batch(RUN)
    batch.ask(wire.Op.ECHO, bytes(1000), reply=0)
    batch.leave(wire.Op.POWEROFF)
    answers = lone(tmp_path, batch)
    assert (answers.end, len(answers.replies)) == (memory.BatchEnd.FULL, 1)
    with pytest.raises(errors.LabError, match=r"FULL.* after 1 of 3"):
        answers.body(1)


def test_a_damaged_batch_is_not_begun(tmp_path: Path) -> None:
    """The console is what is left then: the payload says there who it is."""
    batch = Batch(RUN)
    batch.leave(wire.Op.POWEROFF)
    jobs = bytearray(batch.pack())
    jobs[memory.BATCH.size + wire.HEAD.size] ^= 1
    file = tmp_path / "bundle"
    file.write_bytes(bundle.pack({"jobs": bytes(jobs)}))
    with Board(tmp_path, "-initrd", file) as board:
        assert board.serial.recv(64)
    board.memory.unlink()


class Home(Circling):
    """A board that starts with the payload; the kernel that comes after it has the line."""

    def __init__(self, folder: Path, packed: bytes) -> None:
        (folder / "bundle").write_bytes(packed)
        start = ["-kernel", str(build_payload().image), "-initrd", str(folder / "bundle")]
        super().__init__(folder, [*MACHINE, *start], [])

    def shows(self) -> Tree:
        """Return the kernel's own tree, as it shows it."""
        mark = self.line.position
        self.shell("base64 /sys/firmware/fdt")
        said = self.console.cut(mark, 4 << 20)[1]
        lines = [line for line in said.split(b"\r\n") if re.fullmatch(rb"[A-Za-z0-9+/=]+", line)]
        return devicetree.parse(base64.b64decode(b"".join(lines)))


def homing(
    folder: Path, batch: Batch, run: str, places: Places = PLACES, vectors: bytes = b""
) -> bytes:
    """Return the bundle whose batch ends in a kernel with ``run``, or in POWEROFF."""
    dump = folder / "virt.dtb"
    argv = ["qemu-system-aarch64", *MACHINE, "-display", "none", "-nodefaults"]
    argv[2] += f",dumpdtb={dump}"
    subprocess.run(argv, check=True, capture_output=True)
    tree = devicetree.parse(dump.read_bytes())
    image, rootfs = kernels.built().image.read_bytes(), build_rootfs().archive.read_bytes()
    size = int.from_bytes(image[16:24], "little")
    chosen = tree.node("/chosen", create=True)
    assert chosen is not None
    chosen.props["bootargs"] = f"console=ttyAMA0 hilagent.run={run}\0".encode()
    for name, at in (("start", places.initrd), ("end", places.initrd + len(rootfs))):
        chosen.props[f"linux,initrd-{name}"] = at.to_bytes(8, "big")
    dtb = batch.next_kernel(tree, places, Sizes(size, 0, len(rootfs), devicetree.SIZE_MAX))
    batch.leave(wire.Op.POWEROFF)
    members = {"kernel": image, "dtb": dtb, "jobs": batch.pack(), "vectors": vectors}
    return bundle.pack({**members, "rootfs": rootfs})


def test_the_next_kernel_brings_the_results_home(tmp_path: Path) -> None:
    run = secrets.token_hex(8)
    wanted = probe.requests(PROFILE, "hyp-stub", "vectors", CPUS, sampled=True)
    batch, other = Batch(RUN), Batch(RUN + 1)
    for each in (batch, other):
        each.start_cpus(CPUS)
        each.vectors(wire.Target.HYP_STUB)
        each.sweep(wanted)
    packed = homing(tmp_path, batch, run)
    with Home(tmp_path, packed) as board:
        board.ready(run)
        tree = board.shows()
    answers = batch.read_tree(tree)
    assert answers.end == memory.BatchEnd.DONE
    found = probe.judge(PROFILE, "hyp-stub", answers.passes(), Lab(answers.cpus()), wanted=wanted)
    assert not [cell for cell in found.cells.values() if cell.state == probe.State.BROKEN]
    assert not found.gaps
    homing(tmp_path, other, run)
    with pytest.raises(errors.LabError, match="earlier boot"):
        other.read_tree(tree)
    with pytest.raises(errors.LabError, match="no results"):
        batch.read_tree(devicetree.parse(bundle.unpack(packed)["dtb"]))


def test_a_stuck_cpu_stays_behind_and_the_results_come_home(tmp_path: Path) -> None:
    """What the CPU runs in is reserved in the next kernel's tree, which can't start it."""
    run, subject = secrets.token_hex(8), resolve("mutant:hangs", PROFILE)
    batch = Batch(RUN, hang_s=2)
    batch.start_cpus(CPUS)
    batch.vectors(subject.target, subject.blob, subject.offset)
    batch.sweep(probe.requests(PROFILE, subject.server, "vectors", (1,)))
    with Home(tmp_path, homing(tmp_path, batch, run, vectors=subject.blob)) as board:
        board.ready(run)
        tree = board.shows()
        board.shell("[ $(cat /sys/devices/system/cpu/online) = 0 ]")
    answers = batch.read_tree(tree)
    place, hello = answers.stuck(), answers.hello()
    assert place is not None
    assert (place.cpu, place.request) == (1, 0)
    assert (hello.image, hello.image_size) in tree.reserve


def test_results_that_found_no_room_come_home_all_the_same(tmp_path: Path) -> None:
    run, batch = secrets.token_hex(8), Batch(RUN)
    batch.ask(wire.Op.ECHO, bytes(1000), reply=0)
    with Home(tmp_path, homing(tmp_path, batch, run)) as board:
        board.ready(run)
        answers = batch.read_tree(board.shows())
    assert (answers.end, len(answers.replies)) == (memory.BatchEnd.FULL, 1)


@pytest.mark.parametrize(
    "places",
    [
        dataclasses.replace(PLACES, image=0x40200000),  # the payload is there
        dataclasses.replace(PLACES, initrd=0x40000000 + INITRD_AT),  # and here the bundle
        dataclasses.replace(PLACES, dtb=PLACES.image + 0x200000),
        dataclasses.replace(PLACES, dtb=0x5FF00000),  # half of it is no RAM
    ],
)
def test_a_place_that_is_taken_is_refused_and_the_board_resets(
    places: Places, tmp_path: Path
) -> None:
    batch = Batch(RUN)
    packed = homing(tmp_path, batch, "x", places)
    answers = batch.read(Alone(tmp_path, packed).jobs)
    with pytest.raises(Refused, match="NEXT: FAILED"):
        answers.body(1)


@pytest.mark.parametrize("member", ["kernel", "rootfs", "dtb"])
def test_a_member_that_came_along_broken_is_not_started(member: str, tmp_path: Path) -> None:
    batch = Batch(RUN)
    packed = bytearray(homing(tmp_path, batch, "x"))
    packed[bundle.parse_index(bytes(packed), len(packed)).entries[member].offset + 99] ^= 4
    answers = batch.read(Alone(tmp_path, bytes(packed)).jobs)
    with pytest.raises(Refused, match="NEXT: FAILED"):
        answers.body(1)
