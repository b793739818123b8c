# SPDX-License-Identifier: Apache-2.0
"""A session whose restarts lead where a test says, on kernels of the imagination."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

from hilagent import errors
from hilagent.link.wire import CpuState
from hilagent.payload.trouble import PayloadFault
from hilagent.result import CpuFacts
from hilagent.session.linux import Boot, Linux
from hilagent.session.restart import Trip, Way
from hilagent.session.session import Session
from tests.probe import arrivals
from tests.probe.legs import BYE, DMESG, START
from tests.suites.fakes import World

BOOT = Boot("patched", "nvhe")
NEW = "f" * 16
Travel = Callable[[Trip], None]


class FakePayload:
    """A payload that was entered; ``fault``: reading x0 faults."""

    def __init__(self, cpus: tuple[CpuFacts, ...], *, fault: bool = False) -> None:
        self._cpus, self._fault = cpus, fault
        self.hello = SimpleNamespace(
            image=arrivals.IMAGE, image_size=arrivals.SIZE, cpus=len(cpus), psci_conduit=1
        )
        self.elsewhere: tuple[int, ...] = ()
        self.stuck = ""

    def cpu_states(self) -> dict[int, Any]:
        other = CpuState.ELSEWHERE if self.hello.psci_conduit else CpuState.OFF
        return {cpu.cpu: other if cpu.cpu else CpuState.READY for cpu in self._cpus}

    def start_cpus(self, elsewhere: tuple[int, ...]) -> tuple[CpuFacts, ...]:
        self.elsewhere = elsewhere
        if self.stuck:
            raise errors.LabError(self.stuck)
        return self._cpus

    def cpus(self) -> tuple[CpuFacts, ...]:
        return self._cpus[:1] if self.stuck else self._cpus

    def read(self, at: int, size: int) -> bytes:
        if self._fault:
            raise PayloadFault("nothing there", vector=4, esr=0, far=at, elr=0, spsr=0)
        return bytes.fromhex("d00dfeed00002000")


@dataclass
class Roads:
    """Where each restart leads; ``go`` changes a trip that went well."""

    world: World
    go: Travel = lambda trip: None
    home: Callable[[], Linux] | None = None
    trips: list[Trip] = field(default_factory=list)
    power: bool = True


class RoadSession(Session):
    """A session whose restarts lead where the roads say."""

    roads: Roads

    def restart(self, boot: Boot, way: Way, to: Boot) -> Trip:
        trip = Trip(way, boot, to.kernel, NEW, console=BYE + START, found_run_id=NEW, dmesg=DMESG)
        trip.left_s, trip.first_s, trip.ready_s, trip.powered = 0.1, 0.5, 2.0, True
        trip.linux = self.linux(boot)
        return self._gone(trip)

    def enter_payload(self, boot: Boot, way: Way) -> Trip:
        trip = Trip(way, boot, "payload", NEW, console=BYE, powered=True)
        kind = "crash under nVHE" if way.kind == "crash" else "kexec"
        trip.payload = cast(Any, FakePayload(arrivals.kinds()[kind].cpus))
        memory = SimpleNamespace(start=0x4000_0000, end=0x8000_0000)
        bundle = SimpleNamespace(start=0x4800_0000, end=0x4900_0000)
        tree_at = SimpleNamespace(size=0x2000)
        cargo = SimpleNamespace(memory=lambda: (memory,), bundle=bundle, tree_at=tree_at)
        cargo.crash, cargo.lpi = way.kind == "crash", ()
        trip.cargo = cast(Any, cargo)
        return self._gone(trip)

    def _gone(self, trip: Trip) -> Trip:
        self.roads.go(trip)
        self.roads.trips.append(trip)
        return trip

    def leave_payload(self, trip: Trip) -> Linux:
        return self.roads.home() if self.roads.home else self.linux(trip.sender)

    def starts_from_power(self) -> bool:
        return self.roads.power
