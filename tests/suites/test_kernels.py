# SPDX-License-Identifier: Apache-2.0
"""What a running kernel is asked before it is judged, and what it is not accused of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hilagent import errors
from hilagent.build.kernel import Kernel
from hilagent.clock import Deadline
from hilagent.linux.facts import Entry, Facts, gather
from hilagent.linux.system import KvmState
from hilagent.linux.wire import Feature
from hilagent.suites import alive, kernels
from hilagent.suites.alive import Alive

FACTS = gather({}, ())
KERNEL = Kernel("patched", Path("Image"), "6.12.0", "6.12.0", "iss-6.12", "0" * 64)


class System:
    """Switches CPUs as it is told: ``fails`` by CPU."""

    def __init__(self, **fails: Exception) -> None:
        self.fails = {int(name[3:]): exc for name, exc in fails.items()}
        self.switched: list[tuple[int, bool]] = []
        self.connection = None
        self.found: Facts = FACTS

    def hotplug(self, cpu: int, *, on: bool, deadline: Deadline) -> None:
        if cpu in self.fails:
            raise self.fails[cpu]
        self.switched.append((cpu, on))

    def cpus_online(self, deadline: Deadline) -> tuple[int, ...]:
        return (0, 1, 2)

    def facts(self, deadline: Deadline) -> Facts:
        return self.found


def _linux(system: System, probe: Any = None) -> Any:
    return SimpleNamespace(system=system, probe=probe, position=5, kernel=KERNEL)


def _session(said: bytes = b"") -> Any:
    console = SimpleNamespace(cut=lambda start, size: (start, said[start:]))
    board = SimpleNamespace(payload=SimpleNamespace(entry_el=2))
    return SimpleNamespace(
        console=lambda: console, board=board, tainted=[], taint=lambda why: None,
        journal=SimpleNamespace(note=lambda *args: None), linux=lambda boot: None,
    )  # fmt: skip


def test_a_kernel_whose_el_nobody_saw_is_not_judged() -> None:
    with pytest.raises(errors.PreconditionError, match="nobody saw at which EL"):
        kernels.need_el2(_session(), replace(FACTS, entry=Entry.UNKNOWN))
    with pytest.raises(errors.PreconditionError, match="entered at EL1"):
        kernels.need_el2(_session(), replace(FACTS, entry=Entry.EL1))
    kernels.need_el2(_session(), replace(FACTS, entry=Entry.EL2))


def test_what_its_log_lost_the_console_still_tells() -> None:
    old, said = b"at EL", b"[    0.0] CPU: All CPU(s) started at EL2\r\n"
    linux = _linux(System())
    assert kernels.facts_of(linux).entry is Entry.UNKNOWN
    assert kernels.facts_of(linux, _session(old)).entry is Entry.UNKNOWN
    assert kernels.facts_of(linux, _session(old + said)).entry is Entry.EL2
    linux.system.found = replace(FACTS, entry=Entry.EL1)
    assert kernels.facts_of(linux, _session(old + said)).entry is Entry.EL1


def test_a_cpu_that_can_not_be_switched_is_nobodys_fault() -> None:
    system = System(cpu1=errors.Unsupported("it can't be switched"), cpu2=errors.LabError("EBUSY"))
    with pytest.raises(errors.Unsupported):
        kernels.restored(_linux(system), 1)
    assert kernels.restored(_linux(system), 2) == "EBUSY"
    assert kernels.restored(_linux(system), 0) == ""
    assert system.switched == [(0, False), (0, True)]


def test_cpus_that_can_be_switched_have_a_file_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    there = {"/sys/devices/system/cpu/cpu1/online": b"1\n"}
    monkeypatch.setattr("hilagent.linux.files.read", lambda connection, paths, deadline: there)
    assert kernels.switchable(_linux(System())) == (1,)
    monkeypatch.setattr("hilagent.linux.files.read", lambda connection, paths, deadline: {})
    assert kernels.switchable(_linux(System())) == ()


@pytest.mark.parametrize(
    ("system", "restores"),
    [(System(), (1, 2)), (System(cpu1=errors.LabError("EBUSY")), ())],
)
def test_kvm_must_survive_the_switch_of_every_cpu(
    monkeypatch: pytest.MonkeyPatch, system: System, restores: tuple[int, ...]
) -> None:
    monkeypatch.setattr(kernels, "switchable", lambda linux: (1, 2))
    monkeypatch.setattr(kernels, "kvm_on", lambda linux, cpu: "")
    session = _session()
    session.linux = lambda boot: _linux(system)
    identity, boot = SimpleNamespace(online=(0, 1, 2)), SimpleNamespace()
    some: Any = Alive(identity, "nvhe", "kvm", kvm=(KvmState.OK, None))  # type: ignore[arg-type]
    assert alive._restores(session, boot, some) == restores  # type: ignore[arg-type]


class Probe:
    """A module that answers, or refuses."""

    def __init__(self, refuses: Exception | None = None) -> None:
        self.refuses = refuses

    def identify(self) -> Any:
        return SimpleNamespace(online=(0, 1), features=Feature(0))

    def server(self, profile: Any, cpu: int) -> str:
        if self.refuses is not None:
            raise self.refuses
        return ("kvm", "hyp-stub")[cpu]


def test_each_cpu_is_asked_who_serves_it() -> None:
    assert kernels.servers(_linux(System(), Probe())) == {0: "kvm", 1: "hyp-stub"}
    for exc in (errors.Unsupported("VHE"), errors.PreconditionError("no module")):
        assert kernels.servers(_linux(System(), Probe(exc))) == {}
