# SPDX-License-Identifier: Apache-2.0
"""Whole runs in simulated time: the program's own, quick, repeatable, and never for ever."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from hilagent import errors
from hilagent.clock import Deadline
from hilagent.console import Console
from hilagent.console.tape import read_index
from hilagent.testing import ManualClock, ScriptedBoard, behaviour, runs
from hilagent.testing.clock import Stuck
from hilagent.testing.faults import Fault
from hilagent.testing.simulated import Line, SimulatedStream, Simulation
from hilagent.testing.switch import Switch, SwitchTraits
from tests.fault.matrix.bed import Bed


class Talker:
    """A machine that says each second what time it is, and echoes."""

    powered = True

    def __init__(self, clock: ManualClock) -> None:
        self.clock, self._next_s = clock, clock.now_s() + 1

    def power(self, on: bool) -> None:
        self.powered = on

    def feed(self, data: bytes) -> bytes:
        return data

    def tick(self) -> bytes:
        if self.clock.now_s() < self._next_s:
            return b""
        self._next_s += 1
        return b"%d\r\n" % (self._next_s - 1001)

    def next_s(self) -> float:
        return self._next_s


def talker(*, limit_s: float = 1000.0) -> tuple[ManualClock, Line]:
    clock = ManualClock(limit_s=limit_s)
    return clock, Line(Talker(clock), clock)


@pytest.fixture
def bed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bed:
    monkeypatch.setenv("HILAGENT_STATE", str(tmp_path / "state"))
    return Bed(tmp_path)


def test_a_console_in_simulated_time_waits_for_nobody(tmp_path: Path) -> None:
    clock, line = talker()
    began_s = time.monotonic()
    with Console(SimulatedStream(line), tmp_path, clock=clock) as console:
        mine = console.take("test")
        assert mine.expect([rb"10\r"], Deadline.after(60, clock))
        assert 10 <= clock.now_s() - 1000 < 11
        assert mine.expect([b"never"], Deadline.after(500, clock)) is None
        assert clock.now_s() > 1510
        mine.write(b"hello", Deadline.after(1, clock))
        assert mine.expect([b"hello"], Deadline.after(1, clock))
        assert console.late_s(0) == 0
    assert time.monotonic() - began_s < 20
    times_s = [record.time_ns / 1e9 for record in read_index(tmp_path / "console.idx")]
    assert times_s == sorted(times_s)
    assert 1000 <= times_s[0] < times_s[-1] <= clock.now_s()


def test_a_line_that_takes_nothing_is_stuck_at_the_deadline(tmp_path: Path) -> None:
    clock, line = talker()
    line.stopped = True
    with Console(SimulatedStream(line), clock=clock) as console:
        mine = console.take("test")
        with pytest.raises(errors.LinkStuck, match="took no more bytes within 3 s"):
            mine.write(b"x", Deadline.after(3, clock))
    assert 3 <= clock.now_s() - 1000 < 3.1


def test_a_line_that_is_unplugged_is_lost_or_comes_back(tmp_path: Path) -> None:
    clock, line = talker()
    told: list[str] = []
    with Console(SimulatedStream(line), clock=clock, told=told.append) as console:
        mine = console.take("test")
        line.away_until_s = clock.now_s() + 5.5
        assert mine.expect([rb"\d\r"], Deadline.after(60, clock))
        assert clock.now_s() >= 1005.5
        assert ["unplugged" in told[0], "is back after 5" in told[1]] == [True, True]
        assert console.late_s(1001) > 5
        line.gone = True
        with pytest.raises(errors.LinkError, match="unplugged"):
            mine.expect([b"never"], Deadline.after(60, clock))
        assert console.lost is not None


def test_more_time_than_was_allowed_is_a_hang() -> None:
    clock, line = talker(limit_s=30)
    with Console(SimulatedStream(line), clock=clock) as console, pytest.raises(Stuck):
        console.take("test").expect([b"never"], Deadline.after(60, clock))


def test_a_run_takes_no_time_and_ends_as_it_does_in_real_time(bed: Bed) -> None:
    lab, handler = bed.lab(), signal.getsignal(signal.SIGTERM)
    began_s = time.monotonic()
    done = runs.run(lab, bed.settings(), bed.run_dir(), ["dispatch", "clobber"])
    assert signal.getsignal(signal.SIGTERM) == handler, "a run gives back what it found"
    assert time.monotonic() - began_s < 30
    assert done.exit_code == 0, [o for o in done.all_outcomes() if o.verdict.name != "PASS"]
    assert len(done.outcomes) > 30
    assert lab.switch.did == ["off", "on", "off"]
    assert {"report.html", "junit.xml", "results.json"} <= {p.name for p in bed.last.iterdir()}
    assert done.end == {}


def test_what_accuses_is_measured_again_from_power(bed: Bed) -> None:
    lab = bed.lab(behaviour=behaviour.changed(behaviour.hyp_stub, gpr_changed=1 << 16 | 3 << 17))
    done = runs.run(lab, bed.settings(), bed.run_dir(), ["clobber"])
    assert done.exit_code == 1
    (found,) = {f.what for each in done.outcomes.values() for f in each.findings}
    assert found == "x16"
    assert {each.times for each in done.outcomes.values() if each.findings} == {"2 of 2"}
    assert lab.switch.did == ["off", "on", "off", "on", "off"]


def test_the_same_seed_is_the_same_run(bed: Bed) -> None:
    logs = []
    for seed in (3, 3, 4):
        lab = bed.lab(seed=seed)
        runs.run(lab, bed.settings(), bed.run_dir())
        logs.append((bed.last / "console.raw").read_bytes())
    assert logs[0] == logs[1] != logs[2]


def test_what_happens_in_a_moment_happens_at_that_byte(bed: Bed) -> None:
    lab = bed.lab()
    at: list[int] = []
    lab.when("reach U-Boot", 0, lambda: at.append(lab.line.said))
    lab.when("reach U-Boot", 10, lambda: at.append(lab.line.said))
    lab.when("reach U-Boot", 10, lambda: lab.line.to_host.inject(Fault.DROP))
    done = runs.run(lab, bed.settings(), bed.run_dir())
    assert at == [0, 10]
    assert lab.happened == 3
    assert lab.line.to_host.done == [(10, Fault.DROP)]
    assert done.exit_code == 0


def test_an_exception_of_ours_is_a_bug_and_the_board_is_off(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hilagent.probe.judge", lambda *a, **k: 1 / 0)
    lab = bed.lab()
    done = runs.run(lab, bed.settings(), bed.run_dir())
    assert done.exit_code == 70 or done.exit_code not in {0, 1, 125}
    assert lab.switch.did[-1] == "off"


@pytest.mark.parametrize(
    ("traits", "did", "powered"),
    [
        (SwitchTraits(), ["on", "off"], False),
        (SwitchTraits(sticks_off=True), ["on", "off"], True),
        (SwitchTraits(sticks_on=True), ["on", "off"], False),
        (SwitchTraits(late_s=2.0), ["on", "off"], False),
    ],
)
def test_a_switch_lies_as_it_is_told(traits: SwitchTraits, did: list[str], powered: bool) -> None:
    clock = ManualClock()
    line = Line(board := ScriptedBoard(clock=clock, powered=False), clock)
    switch = Switch(board.power, clock, line.later, traits)
    switch.on()
    assert board.powered is not (traits.sticks_on or bool(traits.late_s))
    switch.off()
    clock.advance(traits.late_s)
    line.deliver()
    assert (switch.did, board.powered) == (did, powered)


def test_a_switch_that_fails_says_so_and_one_that_tells_may_lie() -> None:
    clock = ManualClock()
    line = Line(board := ScriptedBoard(clock=clock, powered=False), clock)
    switch = Switch(board.power, clock, line.later, SwitchTraits(fails_every=2))
    switch.on()
    with pytest.raises(errors.LabError, match="didn't answer"):
        switch.off()
    assert switch.state() is None
    switch.traits = SwitchTraits(tells=True)
    assert switch.state() is True
    switch.traits = SwitchTraits(tells=True, honest=False, sticks_off=True)
    switch.off()
    assert (switch.state(), board.powered) == (False, True)


def test_a_simulation_is_a_host(bed: Bed) -> None:
    lab = bed.lab()
    assert isinstance(lab, Simulation)
    assert lab.payload().data[56:60] == b"ARM\x64"
