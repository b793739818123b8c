# SPDX-License-Identifier: Apache-2.0
"""The main job: every way to load it, two CPU models, one CPU and four; what it costs."""

from pathlib import Path

import pytest

from hilagent import journal, probe
from hilagent.clock import SYSTEM
from hilagent.session import open as opening
from hilagent.session.settings import Request, look_up
from hilagent.session.sweeps import start
from hilagent.suites.observe import lab
from tests.fault.harness import ran
from tests.long.conftest import Tell

JOB_S, SWEEP_S, SWEEP_BYTES = 15.0, 3.0, 16 * 1024
FIFTY = 50
VECTORS = ("architecture", "dispatch", "clobber")
SUITES = [word for suite in VECTORS for word in ("--suite", suite)]
"""Of the vectors alone: with a kernel in the cache the main job boots it, too."""


@pytest.mark.parametrize("transfer", ["tftp", "ymodem"])
@pytest.mark.parametrize("cpu", ["cortex-a57", "max"])
@pytest.mark.parametrize("smp", [1, 4])
def test_the_main_job_passes_in_time(
    tmp_path: Path, tell: Tell, transfer: str, cpu: str, smp: int
) -> None:
    board = ["run", "qemu-virt", "--transfer", transfer, "-o", f"cpu={cpu}", "-o", f"smp={smp}"]
    done = ran([*board, *SUITES], tmp_path)
    found = f"exit {done.code}, {done.took_s:.1f} s"
    tell(f"main job, {transfer}, {cpu}, smp={smp}", f"exit 0 in {JOB_S:.0f} s", found)
    assert done.code == 0, done.story()
    assert done.verdicts <= {"PASS", "UNSUPPORTED"}, done.story()
    assert done.took_s < JOB_S, done.story()


@pytest.mark.parametrize("cpu", ["cortex-a57", "max"])
@pytest.mark.parametrize("vectors", ["reference-stub", "reference-kvm"])
def test_a_sweep_is_quick_and_short_on_the_line(
    tmp_path: Path, tell: Tell, cpu: str, vectors: str
) -> None:
    """All immediates in both register passes, on each CPU alone, results fetched."""
    settings = look_up(Request(options={"cpu": cpu, "smp": "4"}, vectors=(vectors,)))
    (subject,), costs = settings.subjects, list[tuple[float, int]]()
    book = journal.Journal(tmp_path)
    book.run()
    with opening.open(settings, book) as session:
        payload = session.payload(subject)
        cpus = start(session, payload)
        want = probe.wanted_frames(settings.profile, subject.server, lab(session, cpus))
        for number in range(len(cpus)):
            asked = probe.requests(settings.profile, subject.server, "vectors", [number])
            assert {(r.first, r.count, r.pass_no) for r in asked} == {(0, 65536, 0), (0, 65536, 1)}
            began_s, before = SYSTEM.now_s(), payload.bytes_rx + payload.bytes_tx
            payload.sweep(asked, want=want)
            on_line = payload.bytes_rx + payload.bytes_tx - before
            costs.append((SYSTEM.now_s() - began_s, on_line))
    book.close()
    took_s, on_line = max(took_s for took_s, _ in costs), max(count for _, count in costs)
    found = f"at most {took_s:.1f} s, {on_line / 1024:.1f} KiB"
    tell(f"sweep a CPU, {vectors}, {cpu}", f"{SWEEP_S:.0f} s, 16 KiB", found)
    assert len(costs) == 4
    assert took_s <= SWEEP_S
    assert on_line <= SWEEP_BYTES


def test_reference_vectors_are_never_accused(tmp_path: Path, tell: Tell) -> None:
    codes, slowest_s = [], 0.0
    for number in range(FIFTY):
        cpu = ("cortex-a57", "max")[number % 2]
        done = ran(["run", "qemu-virt", *SUITES, "-o", f"cpu={cpu}"], tmp_path / str(number))
        codes.append(done.code)
        slowest_s = max(slowest_s, done.took_s)
        assert not done.findings, done.story()
        assert done.code == 0, done.story()
    found = f"{codes.count(0)} times exit 0, slowest {slowest_s:.1f} s"
    tell("reference vectors, runs in a row", f"{FIFTY} never accused", found)
