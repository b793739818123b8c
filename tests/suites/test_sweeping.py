# SPDX-License-Identifier: Apache-2.0
"""What kernels' own vectors are swept by: whole on one CPU, and never what can't run."""

from __future__ import annotations

from pathlib import Path

from hilagent import abi, probe
from hilagent.probe import State, by_x0
from hilagent.result import CpuFacts
from hilagent.session.subject import Subject, resolve
from hilagent.session.sweeps import Hung, Sweep
from hilagent.suites.sweeping import Asked, Sweeps, sweeps_of
from tests.elf.kernels import ISS, X0, kernel
from tests.probe import sim, x0sim

MAY = "EVERY=cmp x17, #9; b.ne 7f; cbnz x5, 7f; msr hcr_el2, x1; 7:"
CPUS = (sim.facts(0), sim.facts(1))


def _sweeps(folder: Path, source: str, *defines: str) -> tuple[Subject, abi.Profile, Sweeps]:
    name = f"vmlinux:{kernel(folder, source, *defines)}"
    subject = resolve(name, abi.load("iss-2015"), forced=False)
    assert subject.profile is not None
    return subject, subject.profile, sweeps_of(subject.profile, subject)


def _seen(profile: abi.Profile, sweeps: Sweeps, cpus: tuple[CpuFacts, ...] = CPUS) -> Asked:
    requests = tuple(sweeps.requests(cpus, ()))
    passes = tuple(sim.sweep(profile, "hyp-stub", each, odd=each.skip) for each in requests)
    return sweeps.asked(Sweep(requests, passes, cpus))


def _judged(profile: abi.Profile, asked: Asked) -> probe.Judgement:
    lab = sim.lab((0, 1))
    return probe.judge(profile, "hyp-stub", asked.passes, lab, wanted=asked.wanted)


def test_immediates_are_swept_whole_on_the_first_cpu_and_sampled_elsewhere(tmp_path: Path) -> None:
    _, profile, sweeps = _sweeps(tmp_path, ISS)
    counts: dict[int, set[int]] = {}
    for request in sweeps.requests(CPUS, ()):
        counts.setdefault(request.cpu, set()).add(request.count)
    assert 0x10000 in counts[0]
    assert max(counts[1]) < 0x10000
    assert _judged(profile, _seen(profile, sweeps)).clean


def test_what_may_leave_is_not_issued_and_stays_open(tmp_path: Path) -> None:
    _, profile, sweeps = _sweeps(tmp_path, ISS, MAY)
    assert all(9 in request.skip for request in sweeps.requests(CPUS, ()))
    judged = _judged(profile, _seen(profile, sweeps))
    cell = judged.cell("unknown", "dispatch")
    assert (cell.state, judged.findings) == (State.UNFINISHED, ())
    assert "hvc #0x9: not issued" in cell.reason


def test_no_alias_of_what_can_not_run_is_issued(tmp_path: Path) -> None:
    _, profile, sweeps = _sweeps(tmp_path, ISS, "EVERY=and x17, x17, #0xff")
    assert {request.count for request in sweeps.requests(CPUS, ())} == {0x106}
    judged = _judged(profile, _seen(profile, sweeps))
    assert judged.cell("unknown", "clobber").state is State.UNFINISHED


def test_an_immediate_that_hung_is_left_out(tmp_path: Path) -> None:
    _, _, sweeps = _sweeps(tmp_path, ISS)
    hung = (Hung(0, 5, 0x4321, "x"),)
    assert all(0x4321 in request.skip for request in sweeps.requests(CPUS, hung))


def test_a_value_of_x0_that_hung_is_left_out(tmp_path: Path) -> None:
    _, _, sweeps = _sweeps(tmp_path, X0)
    hung = (Hung(0, 5, 0, "x", x0=0x44),)
    for request in sweeps.requests(CPUS, hung):
        last = request.x0_first + (request.count - 1) * request.x0_step
        assert request.swept != "x0" or not request.x0_first <= 0x44 <= last


def test_what_may_leave_is_wanted_where_x0_names_it_too(tmp_path: Path) -> None:
    may = "EVERY=cmp x0, #9; b.ne 7f; cbnz x5, 7f; msr hcr_el2, x1; 7:"
    subject, profile, sweeps = _sweeps(tmp_path, X0, may)
    assert subject.unissued == (9,)
    plan = by_x0.plan(profile, "hyp-stub", (0, 1), skip=(9,))
    requests = tuple(sweeps.requests(CPUS, ()))
    assert list(requests) == [each.request for each in plan]
    passes = tuple(x0sim.sweep(profile, each, None) for each in plan)
    judged = _judged(profile, sweeps.asked(Sweep(requests, passes, CPUS)))
    cell = judged.cell("unknown", "dispatch")
    assert (cell.state, judged.findings) == (State.UNFINISHED, ())
    assert "hvc #0x9: not in the result" in cell.reason


def test_the_report_says_what_was_asked_where(tmp_path: Path) -> None:
    _, profile, sweeps = _sweeps(tmp_path, ISS)
    asked = sweeps.told(_seen(profile, sweeps), sim.lab((0, 1)))["asked"]
    assert isinstance(asked, list)
    assert asked[0].startswith("all 65,536 immediates: CPU 0 EL1h pass 0")
    assert asked[1].startswith("1,024 immediates: CPU 1")


def test_reference_vectors_are_swept_whole_everywhere() -> None:
    subject = Subject("reference-stub", "hyp-stub")
    sweeps = sweeps_of(abi.load("iss-2015"), subject)
    assert {each.count for each in sweeps.requests(CPUS, ())} == {0x10000}
    assert sweeps.told(Asked((), ()), sim.lab()) == {}
