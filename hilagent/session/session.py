# SPDX-License-Identifier: Apache-2.0
"""One board in one run: what tests and verbs ask for things."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from hilagent import errors
from hilagent.board import Board
from hilagent.journal import Journal
from hilagent.result import CpuFacts
from hilagent.session.machine import Machine, State
from hilagent.session.subject import Subject

if TYPE_CHECKING:
    from hilagent.console import Console
    from hilagent.console.uboot import UBoot
    from hilagent.payload import Hello, Payload
    from hilagent.session.linux import Boot, Linux
    from hilagent.session.restart import Restarts, Trip, Way

T = TypeVar("T")
_PARTS = {
    0xD03: "Cortex-A53", 0xD04: "Cortex-A35", 0xD05: "Cortex-A55", 0xD07: "Cortex-A57",
    0xD08: "Cortex-A72", 0xD09: "Cortex-A73", 0xD0A: "Cortex-A75", 0xD0B: "Cortex-A76",
    0xD0C: "Neoverse-N1", 0xD0D: "Cortex-A77", 0xD40: "Neoverse-V1", 0xD41: "Cortex-A78",
    0xD44: "Cortex-X1", 0xD46: "Cortex-A510", 0xD47: "Cortex-A710", 0xD49: "Neoverse-N2",
}  # fmt: skip
_ARM = 0x41


def cpu_name(midr: int) -> str:
    """Return the name of a CPU by its MIDR_EL1 (DDI 0487, D19.2.127), else its numbers."""
    implementer, part = midr >> 24 & 0xFF, midr >> 4 & 0xFFF
    if implementer == _ARM and part in _PARTS:
        return _PARTS[part]
    if implementer == 0 and part == 0x51:
        return "QEMU max"
    return f"MIDR {midr:#x}"


class Session:
    """Lends the board's console, U-Boot and payload; caches what was observed.

    Attributes:
        raw_log: ``console.raw``, every byte that the board sent.
        cpus: the CPUs that the payload last started; ``hello``: what it said.
    """

    def __init__(
        self,
        board: Board,
        journal: Journal,
        machine: Machine,
        console: Callable[[], Console],
        restarts: Restarts | None = None,
    ) -> None:
        self.board, self.journal = board, journal
        self.run_dir: Path = journal.run_dir
        self.raw_log = self.run_dir / "console.raw"
        self._machine, self._console, self._restarts = machine, console, restarts
        self._observed: dict[tuple[str, int], Any] = {}
        self._measurement = 1
        self.cpus: tuple[CpuFacts, ...] = ()
        self.hello: Hello | None = None

    @property
    def state(self) -> State:
        """Where the board is now."""
        return self._machine.state

    @property
    def boots(self) -> int:
        """How often the board was switched on in this run."""
        return self._machine.boots

    @property
    def measurement(self) -> int:
        """1, or 2 while what had accused is measured again."""
        return self._measurement

    def console(self) -> Console:
        """Return the console of the board, which is switched on for it if it is off."""
        if self.state is State.OFF:
            self._machine.reach_base()
        return self._console()

    def uboot(self) -> UBoot:
        """Return U-Boot, reached from power if need be."""
        return self._machine.uboot()

    def payload(self, subject: Subject) -> Payload:
        """Return the payload with ``subject`` under test, the cheapest right way."""
        return self._machine.payload(subject)

    def linux(self, boot: Boot) -> Linux:
        """Return a kernel that runs as ``boot`` says and answers by SSH."""
        return self._machine.linux(boot)

    def restart(self, boot: Boot, way: Way, to: Boot) -> Trip:
        """Let the kernel of ``boot`` start another one, and return what was seen of it."""
        restarts = self._restarting()
        what = f"{way} from {boot} into {to}"
        return self._machine.leave_linux(
            boot, what, lambda running: restarts.into_linux(running, way, to)
        )

    def enter_payload(self, boot: Boot, way: Way) -> Trip:
        """Let the kernel of ``boot`` start the payload, with itself in a bundle."""
        restarts = self._restarting()
        what = f"{way} from {boot} into the payload"
        return self._machine.leave_linux(
            boot, what, lambda running: restarts.into_payload(running, way, boot)
        )

    def leave_payload(self, trip: Trip) -> Linux:
        """Let the payload of ``trip`` start the kernel that came along; return it."""
        restarts = self._restarting()
        return self._machine.payload_to_linux(
            f"the payload starts {trip.sender}",
            lambda payload: restarts.home(payload, trip, trip.sender),
        )

    def starts_from_power(self) -> bool:
        """Return whether the board comes up from power: evidence after a silence."""
        self.taint("does it start from power?")
        try:
            self._machine.reach_base()
        except errors.LabError:
            return False
        return True

    def _restarting(self) -> Restarts:
        if self._restarts is None:
            raise errors.Unsupported("this bench can't restart a kernel")
        return self._restarts

    def taint(self, why: str) -> None:
        """Forget what runs on the board: the next that is asked for begins at power."""
        self._machine.taint(why)

    def lost_power(self) -> bool:
        """Whether the board has no power although nobody here switched it off."""
        return self._machine.lost_power()

    def learn(self, hello: Hello, cpus: tuple[CpuFacts, ...]) -> None:
        """Remember which payload answered and which CPUs were started."""
        if cpus != self.cpus:
            midrs = sorted({f"{cpu.midr:#x}" for cpu in cpus})
            self.journal.write(
                "facts",
                cpu=", ".join(sorted({cpu_name(cpu.midr) for cpu in cpus})),
                midr=midrs,
                cpus_started=[cpu.cpu for cpu in cpus],
                cpus_in_dtb=hello.cpus,
            )
        self.hello, self.cpus = hello, cpus

    def seen(self, key: str) -> bool:
        """Whether ``key`` was already observed, without trouble, in this measurement."""
        found = self._observed.get((key, self._measurement))
        return found is not None and not isinstance(found, errors.WorldError)

    def observe(self, key: str, measure: Callable[[], T]) -> T:
        """Return what ``measure`` returned, or raise what it raised, once a key.

        A second measurement (:meth:`again`) has results of its own.
        """
        place = (key, self._measurement)
        if place not in self._observed:
            if self._measurement > 1 and not any(n > 1 for _, n in self._observed):
                self.taint("what accused is measured again after a fresh boot")
            try:
                self._observed[place] = measure()
            except errors.WorldError as exc:
                self._observed[place] = exc
                self.taint(exc.message)
        found = self._observed[place]
        if isinstance(found, errors.WorldError):
            raise found.with_traceback(None)
        return found  # type: ignore[no-any-return]

    @contextlib.contextmanager
    def again(self) -> Iterator[None]:
        """Within it everything is measured once more, after a fresh boot.

        What is observed (:meth:`observe`) shares one such boot; what uses the
        board directly gets a boot of its own.
        """
        self._measurement = 2
        try:
            yield
        finally:
            self._measurement = 1

    def forget(self, prefix: str) -> None:
        """Drop what was observed under keys that begin with ``prefix``, to free memory."""
        self._observed = {k: v for k, v in self._observed.items() if not k[0].startswith(prefix)}
