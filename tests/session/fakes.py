# SPDX-License-Identifier: Apache-2.0
"""A bench without a board: says what it was asked to do, and fails on command."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from hilagent import board as boards
from hilagent import errors
from hilagent.abi import Profile
from hilagent.board import Board
from hilagent.console import Console
from hilagent.console.uboot import UBoot
from hilagent.journal import Journal
from hilagent.linux.system import System
from hilagent.payload import Payload
from hilagent.session.linux import Boot, Linux
from hilagent.session.machine import Machine, State
from hilagent.session.session import Session
from hilagent.session.settings import Request, Settings
from hilagent.session.subject import Subject

STUB = Subject("reference-stub", "hyp-stub")
KVM = Subject("reference-kvm", "kvm")


class FakeThing:
    """U-Boot or payload: remembers which boot it belongs to."""

    def __init__(self, boot: int) -> None:
        self.boot = boot

    def echo(self, data: bytes) -> bytes:
        return data


class FakeBench:
    """Does what it is told: ``fail[name]`` is a list of errors, one a call, None for none."""

    def __init__(self) -> None:
        self.did: list[str] = []
        self.fail: dict[str, list[BaseException | None]] = {}
        self.boot = 0
        self.has_power: bool | None = None
        self.starts_in = State.UBOOT
        self.payload_class: type = FakeThing
        self.is_by_hand = False
        self.resets = True
        self.advice = ""

    def _do(self, name: str) -> None:
        self.did.append(name)
        planned = self.fail.get(name)
        if planned and (error := planned.pop(0)) is not None:
            raise error

    def on(self) -> None:
        self.boot += 1
        self._do("on")

    def off(self) -> None:
        self._do("off")

    @property
    def base(self) -> State:
        return self.starts_in

    def uboot(self) -> UBoot:
        self._do("uboot")
        return cast(UBoot, FakeThing(self.boot))

    def own_system(self) -> System:
        self._do("own_system")
        return cast(System, FakeThing(self.boot))

    @property
    def by_hand(self) -> bool:
        return self.is_by_hand

    def reset(self, ran: Payload | Linux) -> bool:
        self._do("reset Linux" if isinstance(ran, Linux) else "reset")
        self.boot += self.resets
        return self.resets

    def given_up(self, tries: Sequence[errors.LabError]) -> str:
        self._do("given up")
        return self.advice

    def payload(self, base: UBoot | System | None) -> Payload:
        self._do("payload")
        return cast(Payload, self.payload_class(self.boot))

    def load(self, payload: Payload, subject: Subject) -> None:
        self._do(f"load {subject.name}")

    def prepare(self, boot: Boot) -> None:
        self._do(f"prepare {boot}")

    def linux(self, base: UBoot | System, boot: Boot) -> Linux:
        self._do(f"linux {boot}")
        return self.runs(boot)

    def runs(self, boot: Boot, run_id: str = "0" * 16) -> Linux:
        """Return a kernel that is said to run."""
        nothing: Any = None
        return Linux(boot, nothing, run_id, nothing, nothing, 0)

    def powered(self) -> bool | None:
        return self.has_power

    def console(self) -> Console:
        return cast(Console, "console")


def settings(**options: Any) -> Settings:
    """Return settings of the emulated board, without building anything."""
    board: Board = boards.load("qemu-virt")
    request = Request(**options)
    profile = cast(Profile, type("P", (), {"name": "iss-2015"})())
    return Settings(request, board, profile, (STUB, KVM), "tftp")


def session(tmp_path: Path, bench: FakeBench) -> Session:
    """Return a session on ``bench`` with its journal in ``tmp_path``."""
    journal = Journal(tmp_path)
    return Session(boards.load("qemu-virt"), journal, Machine(bench, journal), bench.console)


@contextlib.contextmanager
def opened(bench: FakeBench, chosen: Settings, journal: Journal) -> Iterator[Session]:
    """Stand in for ``session.open``."""
    machine = Machine(bench, journal)
    try:
        yield Session(chosen.board, journal, machine, bench.console)
    finally:
        machine.off()
