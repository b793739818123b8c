# SPDX-License-Identifier: Apache-2.0
"""A payload that nobody talks to: its requests came along, and its UART says nothing.

What the board's memory holds in the end is read from the file behind it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hilagent import abi, errors, probe
from hilagent.build.payload import build_payload
from hilagent.clock import Deadline
from hilagent.deploy import bundle
from hilagent.link import memory, wire
from hilagent.payload import Refused, connect
from hilagent.payload.batch import Answers, Batch
from hilagent.probe import Judgement, Lab
from hilagent.session.subject import Subject, resolve
from hilagent.testing import StreamLine
from hilagent.transport.base import FdStream
from tests.emulator import Emulator

pytestmark = pytest.mark.hil

MIB, CPUS = 512, (0, 1)
INITRD_AT = 128 << 20  # in the memory; QEMU's hw/arm/boot.c: half of it, at most so far
PROFILE = abi.load("iss-2015")
RUN = 0x1234


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

    def __init__(self, folder: Path, members: dict[str, bytes]) -> None:
        packed = bundle.pack(members)
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
    done = Alone(folder, {"jobs": batch.pack(), "vectors": vectors})
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
