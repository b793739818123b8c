# SPDX-License-Identifier: Apache-2.0
"""The suite ``restart``: each way of restarting, in a chain, judged leg by leg."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from hilagent import errors
from hilagent.journal import read
from hilagent.linux.facts import Kvm
from hilagent.linux.kexec import NoSuchCall
from hilagent.linux.system import KvmState
from hilagent.payload.places import Range
from hilagent.probe import lpi
from hilagent.probe.restart import Kind, Receiver
from hilagent.result import Finding
from hilagent.session.linux import Boot, Linux
from hilagent.session.restart import Trip, Way
from hilagent.session.session import Session
from hilagent.session.verdict import Accusation, Unfinished
from hilagent.suites import legs, restart
from hilagent.suites.restart import Case
from tests.probe import arrivals
from tests.probe.legs import BYE, DMESG
from tests.probe.livesim import SCS, Kernel, profile_of
from tests.suites import fakes
from tests.suites.fakes import World
from tests.suites.roads import BOOT, FakePayload, Roads, RoadSession


def _leaves(
    monkeypatch: pytest.MonkeyPatch, *findings: Finding, still: tuple[str, ...] = ()
) -> None:
    """Let the reference vectors, swept in the payload, show this."""
    judged = SimpleNamespace(findings=findings, open=still)
    monkeypatch.setattr(legs, "_sweep", lambda *args, **more: judged)


@pytest.fixture
def roads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[RoadSession, Roads]:
    world = World(Kernel(profile_of(SCS), "kvm"))
    session = fakes.session(tmp_path, world)
    session.__class__ = RoadSession
    found = cast(RoadSession, session)
    found.roads = Roads(world)
    _leaves(monkeypatch)
    return found, found.roads


def _run(session: Session, kind: Kind, receiver: Receiver, chain: int = 1) -> None:
    case = Case(BOOT, kind, receiver)
    restart.test_restart(session, fakes.chosen(BOOT, chain=chain), case)


EVERY = [(kind, receiver) for kind in Kind for receiver in Receiver]


@pytest.mark.parametrize(("kind", "receiver"), EVERY)
def test_each_way_that_goes_well_passes_as_often_as_it_was_asked_for(
    roads: tuple[RoadSession, Roads], kind: Kind, receiver: Receiver, tmp_path: Path
) -> None:
    session, found = roads
    _run(session, kind, receiver, chain=3)
    assert len(found.trips) == 3
    assert {trip.way for trip in found.trips} == {legs.WAYS[kind]}
    rows = [record for record in read(tmp_path).records if record.get("rows")]
    assert [(row["way"], row["server"], row["count"]) for row in rows[0]["rows"]] == [
        (kind.value, "kvm" if kind is Kind.CRASH else "trans-pgd", 3)
    ]


def test_every_case_is_there_and_has_its_boot() -> None:
    cases = list(restart._cases(fakes.chosen(BOOT, Boot("scs", ""))))
    assert len({str(case) for case in cases}) == 12
    assert str(cases[0]) == "patched-nvhe-kexec-file-kernel"
    assert [case.kind for case in cases[:6]].index(Kind.CRASH) == 4


def test_after_a_crash_the_board_is_reset(roads: tuple[RoadSession, Roads]) -> None:
    session, _ = roads
    _run(session, Kind.CRASH, Receiver.KERNEL, chain=2)
    _run(session, Kind.CRASH, Receiver.PAYLOAD, chain=2)
    assert session.boots == 4
    _run(session, Kind.FILE, Receiver.KERNEL, chain=4)
    assert session.boots == 5


def test_another_server_than_is_meant_stops_a_crash_before_it_is_done(
    roads: tuple[RoadSession, Roads],
) -> None:
    session, found = roads
    found.world.kernel.server = "hyp-stub"
    with pytest.raises(errors.PreconditionError, match=r"CPU 0 by hyp-stub.*kvm was expected"):
        _run(session, Kind.CRASH, Receiver.KERNEL)
    assert not found.trips


def test_a_breach_names_the_server_the_document_and_the_leg(
    roads: tuple[RoadSession, Roads],
) -> None:
    session, found = roads

    def wrong_second(trip: Trip) -> None:
        if len(found.trips) == 1:
            trip.payload = cast(Any, FakePayload(arrivals.arrival("trans-pgd", x1=1).cpus))

    found.go = wrong_second
    with pytest.raises(Accusation, match="trans-pgd: entry-x1: HVC_SOFT_RESTART x1") as seen:
        _run(session, Kind.FILE, Receiver.PAYLOAD, chain=3)
    assert len(found.trips) == 2
    assert "2 of this chain; 1 went well before it" in seen.value.details
    assert "booting.rst" in seen.value.details


def test_cpus_that_are_elsewhere_are_left_there(roads: tuple[RoadSession, Roads]) -> None:
    session, found = roads
    _run(session, Kind.CRASH, Receiver.PAYLOAD)
    assert cast(FakePayload, found.trips[0].payload).elsewhere == (1,)


def test_after_a_crash_without_psci_no_other_cpu_is_started(
    roads: tuple[RoadSession, Roads],
) -> None:
    session, found = roads

    def spin_table(trip: Trip) -> None:
        payload = cast(FakePayload, trip.payload)
        payload.hello.psci_conduit, trip.cargo, trip.no_cargo = 0, None, "no bundle"

    found.go = spin_table
    with pytest.raises(Unfinished, match="no bundle"):
        _run(session, Kind.CRASH, Receiver.PAYLOAD)
    assert cast(FakePayload, found.trips[0].payload).elsewhere == (1,)


@pytest.mark.parametrize("x1", [0, 1])
def test_a_cpu_that_does_not_start_hides_nothing_of_the_first(
    roads: tuple[RoadSession, Roads], x1: int
) -> None:
    session, found = roads

    def stuck(trip: Trip) -> None:
        first, *others = arrivals.kinds()["kexec"].cpus
        first = replace(first, entry={**first.entry, "x1": x1})
        payload = FakePayload((first, *others))
        payload.stuck, trip.payload = "CPU 1 does not start: STARTING", cast(Any, payload)

    found.go = stuck
    said = "entry-x1" if x1 else "it arrived, and CPU 1 does not start"
    with pytest.raises(Accusation if x1 else Unfinished, match=said):
        _run(session, Kind.FILE, Receiver.PAYLOAD)


@pytest.mark.parametrize(("tables", "closed"), [((0x1_0000,), True), ((0x9_0000,), False)])
def test_tables_that_nobody_finds_keep_the_circle_open(
    roads: tuple[RoadSession, Roads],
    monkeypatch: pytest.MonkeyPatch,
    tables: tuple[int, ...],
    closed: bool,
) -> None:
    session, found = roads

    def with_an_its(trip: Trip) -> None:
        cast(Any, trip.cargo).lpi = (Range(0x1_0000, 0x1_0000),)

    found.go = with_an_its
    monkeypatch.setattr(lpi, "interrupts", lambda log: lpi.Interrupts(True, tables=tables))
    if closed:
        _run(session, Kind.FILE, Receiver.PAYLOAD)
        return
    with pytest.raises(Unfinished, match=r"tables \(0x90000\) that its registers don't show"):
        _run(session, Kind.FILE, Receiver.PAYLOAD)


def test_a_silence_is_a_hang_only_after_power(roads: tuple[RoadSession, Roads]) -> None:
    session, found = roads

    def silent(trip: Trip) -> None:
        trip.linux, trip.found_run_id, trip.console, trip.waited_s = None, "", BYE, 30.0
        trip.first_s = trip.ready_s = None

    found.go = silent
    with pytest.raises(errors.TargetHang, match="served by trans-pgd: never arrived") as seen:
        _run(session, Kind.FILE, Receiver.KERNEL)
    assert [each.rule for each in seen.value.findings] == ["restart-arrives"]  # type: ignore[attr-defined]
    assert "an MMU left on" in seen.value.hint
    found.power = False
    session.forget("restart:")
    with pytest.raises(errors.LabError, match="doesn't start from power either"):
        _run(session, Kind.FILE, Receiver.KERNEL)


def test_a_payload_at_el1_is_accused_by_its_first_line(roads: tuple[RoadSession, Roads]) -> None:
    session, found = roads

    def at_el1(trip: Trip) -> None:
        trip.payload, trip.cargo, trip.trouble = None, None, "EL2 is needed"
        trip.console = BYE + b"\r\nHIL: payload at EL1, entered at EL1, boot 00000001\r\n"

    found.go = at_el1
    with pytest.raises(Accusation, match="kvm: entry-el: HVC_SOFT_RESTART CurrentEL"):
        _run(session, Kind.CRASH, Receiver.PAYLOAD)


@pytest.mark.parametrize("fault", [True, False])
def test_a_payload_without_a_tree_is_judged_by_what_x0_points_to(
    roads: tuple[RoadSession, Roads], fault: bool
) -> None:
    session, found = roads

    def lost(trip: Trip) -> None:
        cpus = arrivals.kinds()["kexec"].cpus
        trip.payload = cast(Any, FakePayload(cpus, fault=fault))
        trip.cargo, trip.no_cargo = None, "no bundle came along"

    found.go = lost
    if fault:
        with pytest.raises(Accusation, match="entry-dtb: HVC_SOFT_RESTART x0"):
            _run(session, Kind.FILE, Receiver.PAYLOAD)
    else:
        with pytest.raises(Unfinished, match="no bundle came along"):
            _run(session, Kind.FILE, Receiver.PAYLOAD)
    assert session.state.value == "unknown"


def test_what_the_reference_vectors_show_afterwards_is_accused(
    roads: tuple[RoadSession, Roads], monkeypatch: pytest.MonkeyPatch
) -> None:
    session, _ = roads
    left = Finding("clobber", "HVC_GET_VECTORS", "x19", "keeps its value", "changed", (0,))
    _leaves(monkeypatch, left)
    with pytest.raises(Accusation, match="trans-pgd: clobber: HVC_GET_VECTORS x19"):
        _run(session, Kind.FILE, Receiver.PAYLOAD)
    _leaves(monkeypatch, still=("not swept",))
    session.forget("restart:")
    with pytest.raises(Unfinished, match="after it, not swept"):
        _run(session, Kind.FILE, Receiver.PAYLOAD)


def test_protected_kvm_refuses_a_kexec_and_no_crash_is_tried(
    roads: tuple[RoadSession, Roads],
) -> None:
    session, found = roads
    found.world.facts = fakes.facts(Kvm.PROTECTED)

    def refused(trip: Trip) -> None:
        trip.refused = errors.Unsupported("protected KVM holds EL2 for good (EBUSY)")
        trip.linux = trip.payload = trip.cargo = None

    found.go = refused
    _run(session, Kind.FILE, Receiver.KERNEL, chain=3)
    _run(session, Kind.LOAD, Receiver.PAYLOAD, chain=3)
    assert len(found.trips) == 2
    with pytest.raises(errors.Unsupported, match="the crash image is taken, the hvc is refused"):
        _run(session, Kind.CRASH, Receiver.KERNEL)


def test_a_kernel_without_the_system_call_is_unsupported(
    roads: tuple[RoadSession, Roads],
) -> None:
    session, found = roads

    def refused(trip: Trip) -> None:
        trip.refused = NoSuchCall("this kernel has no such system call (ENOSYS)")
        trip.linux = None

    found.go = refused
    with pytest.raises(errors.Unsupported, match="ENOSYS"):
        _run(session, Kind.FILE, Receiver.KERNEL)


def test_a_crash_kernel_is_loaded_by_the_call_that_there_is(
    roads: tuple[RoadSession, Roads],
) -> None:
    session, found = roads

    def lacks(trip: Trip) -> None:
        if trip.way.syscall == "file":
            trip.refused = NoSuchCall("this kernel has no such system call (ENOSYS)")
            trip.linux = None

    found.go = lacks
    _run(session, Kind.CRASH, Receiver.KERNEL)
    assert [trip.way for trip in found.trips] == [Way("crash", "file"), Way("crash", "load")]


def test_nothing_restarts_from_a_kernel_that_arrived_wrong(
    roads: tuple[RoadSession, Roads],
) -> None:
    session, found = roads
    found.go = lambda trip: setattr(trip, "dmesg", DMESG.replace("at EL2", "at EL1"))
    with pytest.raises(Accusation, match="entry-el"):
        _run(session, Kind.FILE, Receiver.KERNEL)
    assert session.state.value == "unknown"


def test_a_kvm_that_worked_before_must_work_afterwards(roads: tuple[RoadSession, Roads]) -> None:
    session, found = roads
    found.world.kvm = [KvmState.OK, KvmState.BROKEN]
    with pytest.raises(Accusation, match="restart-kvm: HVC_SOFT_RESTART virtual machine"):
        _run(session, Kind.FILE, Receiver.KERNEL)


def test_a_circle_that_loses_cpus_or_is_not_safe_is_unfinished(
    roads: tuple[RoadSession, Roads],
) -> None:
    session, found = roads

    def poorer() -> Linux:
        found.world.facts = replace(found.world.facts, cpus_online=(0,))
        return session.linux(BOOT)

    found.home = poorer
    with pytest.raises(Unfinished, match="only 1 of 2 CPUs"):
        _run(session, Kind.FILE, Receiver.PAYLOAD)

    def unsafe() -> Linux:
        raise errors.PreconditionError("no handover: CPU 1 still runs")

    found.home = unsafe
    found.world.facts = fakes.facts()
    session.forget("restart:")
    with pytest.raises(Unfinished, match="the circle is not closed: no handover"):
        _run(session, Kind.LOAD, Receiver.PAYLOAD)
    assert session.state.value == "unknown"
