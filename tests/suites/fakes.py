# SPDX-License-Identifier: Apache-2.0
"""A session on a kernel of the imagination: its system, its module, its console."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from hilagent import board as boards
from hilagent import errors
from hilagent.abi import Profile
from hilagent.build.kernel import Kernel as BuiltKernel
from hilagent.clock import Deadline
from hilagent.console import Console
from hilagent.journal import Journal
from hilagent.linux.exchange import Identity, LiveExchange, LiveSweep
from hilagent.linux.facts import Conduit, Entry, Facts, KernelLine, Kvm
from hilagent.linux.request import Request
from hilagent.linux.system import KvmCheck, KvmState
from hilagent.linux.wire import Conduit as ModuleConduit
from hilagent.linux.wire import Feature
from hilagent.session.linux import Boot, Linux
from hilagent.session.machine import Machine
from hilagent.session.session import Session
from hilagent.session.settings import Settings
from tests.probe.livesim import SLOT, VBAR, Kernel
from tests.session.fakes import FakeBench, settings

RUN = "0123456789abcdef"
TEXT = 0xFFFF_8000_0000_0000
SYMBOLS = (
    f"{TEXT:x} T _text\n{SLOT:x} T __hyp_stub_vectors\n"
    f"{SLOT + 0x800:x} T __kvm_nvhe___kvm_hyp_init\n"
    f"  {VBAR - (SLOT - TEXT) & 0xFFFFFFFFFF:x}-40ffffff : Kernel code\n"
)


@dataclass
class Done:
    """How a command ended."""

    status: int = 0
    out: bytes = b""
    err: bytes = b""


def facts(kvm: Kvm = Kvm.NVHE, entry: Entry = Entry.EL2, cpus: int = 2) -> Facts:
    """Return what a kernel says about itself."""
    return Facts(
        release="6.12.117-hilagent", version="#1", cmdline="", run_id=RUN, boot_id="b", entry=entry,
        kvm=kvm, kvm_line="", psci=Conduit.SMC, psci_version="1.1",
        cpus_online=tuple(range(cpus)), cpus_possible=tuple(range(cpus)), crash_bytes=1,
        kexec_loaded=False, crash_loaded=False, memory_bytes=1 << 30, available_bytes=1 << 29,
    )  # fmt: skip


@dataclass
class World:
    """What every boot of the fake board is like; tests change it.

    Attributes:
        stops: raises instead of an answer, for the requests that it says so of.
        kvm: what virtual machines do, one a try; the last goes on.
        did: what was done, in order; ``batches``: how many hvcs went together.
    """

    kernel: Kernel
    facts: Facts = field(default_factory=facts)
    refused: str = ""
    features: Feature = Feature.KVM
    abi: str = "iss-6.12-scs"
    name: str = "patched"
    stops: Callable[[Request], errors.HilagentError | None] = lambda request: None
    hotplug: Callable[[int, bool], errors.HilagentError | None] = lambda cpu, on: None
    kvm: list[KvmState] = field(default_factory=lambda: [KvmState.OK])
    console: bytes = b""
    did: list[str] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)


class FakeProbe:
    """The module of one boot."""

    def __init__(self, world: World) -> None:
        self._world = world

    def identify(self) -> Identity:
        world = self._world
        return Identity(
            module=1, release="6.12.117-hilagent", current_el=1, conduit=ModuleConduit.SMC,
            features=world.features, cpus=len(world.facts.cpus_online),
            online=world.facts.cpus_online, refused=world.refused, page_size=4096,
            stub_vectors=0, catch=(), lost_cpu=None,
        )  # fmt: skip

    def server(self, profile: Profile, cpu: int) -> str:
        return self._world.kernel.server

    def hvc(self, request: Request) -> LiveExchange:
        return self.hvcs([request])[0]

    def hvcs(self, requests: Sequence[Request]) -> list[LiveExchange]:
        for request in requests:
            if (why := self._world.stops(request)) is not None:
                raise why
        return [self._world.kernel.hvc(request) for request in requests]

    def some(
        self, requests: Sequence[Request]
    ) -> tuple[list[LiveExchange], errors.HilagentError | None]:
        done: list[LiveExchange] = []
        self._world.batches.append(len(requests))
        for request in requests:
            why = self._world.stops(request)
            if isinstance(why, errors.LinkError):  # the whole batch's answer is lost
                raise why
            if why is not None:
                return done, why
            done.append(self._world.kernel.hvc(request))
        return done, None

    def sweep(self, request: Request) -> LiveSweep:
        if (why := self._world.stops(request)) is not None:
            raise why
        return self._world.kernel.sweep(request)


class FakeConnection:
    """Answers the few commands that the suites run."""

    def __init__(self, world: World) -> None:
        self._world = world

    def run(self, argv: Sequence[str], **more: Any) -> Done:
        if argv[0] == "taskset":
            return Done(0 if self._world.kvm[0] is KvmState.OK else 1)
        return Done(0, SYMBOLS.encode())

    def must(self, argv: Sequence[str], **more: Any) -> bytes:
        if argv[0] == "sh":  # files.read: a mark before each file
            mark, paths = argv[4], argv[5:]
            return b"".join(mark.encode() + b"+1\n" for _ in paths)
        self._world.did.append(" ".join(argv))
        return b""


class FakeSystem:
    """The kernel of one boot."""

    def __init__(self, world: World) -> None:
        self._world, self.connection = world, FakeConnection(world)

    def facts(self, deadline: object) -> Facts:
        return self._world.facts

    def dmesg(self, deadline: object) -> tuple[KernelLine, ...]:
        return (KernelLine(6, 0.0, "CPU: All CPU(s) started at EL2"),)

    def cpus_online(self, deadline: object) -> tuple[int, ...]:
        return self._world.facts.cpus_online

    def hotplug(self, cpu: int, *, on: bool, deadline: object) -> None:
        self._world.did.append(f"CPU {cpu} {'on' if on else 'off'}")
        if (why := self._world.hotplug(cpu, on)) is not None:
            raise why

    def kvm_check(self, deadline: object) -> KvmCheck:
        states = self._world.kvm
        return KvmCheck(states.pop(0) if len(states) > 1 else states[0], "")


class FakeConsole:
    """A console that said everything already."""

    def __init__(self, world: World) -> None:
        self._world = world

    def cut(self, start: int, size: int) -> tuple[int, bytes]:
        return 0, self._world.console

    def crash_by(self, deadline: Deadline, since: int = 0) -> None:
        return None


class LiveBench(FakeBench):
    """A board whose kernels are the world's."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world

    def runs(self, boot: Boot, run_id: str = RUN) -> Linux:
        world: Any = self.world
        built = BuiltKernel(
            world.name, Path(), "6.12.117-hilagent", "6.12.117", world.abi, "0" * 64, None, None,
            None,
        )  # fmt: skip
        system, module = cast(Any, FakeSystem(world)), cast(Any, FakeProbe(world))
        return Linux(boot, built, run_id, system, module, 0)

    def console(self) -> Console:
        return cast(Console, FakeConsole(self.world))


def session(tmp_path: Path, world: World) -> Session:
    """Return a session on a board whose kernels are the world's."""
    tmp_path.mkdir(exist_ok=True)
    bench, journal = LiveBench(world), Journal(tmp_path)
    return Session(boards.load("qemu-virt"), journal, Machine(bench, journal), bench.console)


def chosen(*boots: Boot, **options: Any) -> Settings:
    """Return settings with these boots."""
    import dataclasses

    return dataclasses.replace(settings(**options), boots=boots)
