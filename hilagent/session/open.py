# SPDX-License-Identifier: Apache-2.0
"""Opens a session on a real bench: the one place that joins the rooms below.

What it takes it gives back on every way out, in this order: the board is
switched off (signals can't interrupt that, and it has a time budget of its
own), the console is closed, the lock is freed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from hilagent import errors
from hilagent.board import Board
from hilagent.clock import Deadline
from hilagent.console import Console
from hilagent.journal import Journal, parts
from hilagent.session import quarantine, recording, recovery
from hilagent.session.alone import refuse_kernels, trips_of
from hilagent.session.firmware import with_firmware
from hilagent.session.held import held
from hilagent.session.host import Host
from hilagent.session.linux import Boot, Linux, LinuxBench
from hilagent.session.machine import Machine, State
from hilagent.session.own import KEXEC_S, OwnSystem
from hilagent.session.reading import reading
from hilagent.session.restart import Restarts
from hilagent.session.session import Session
from hilagent.session.settings import Settings
from hilagent.session.starved import Starvation
from hilagent.session.subject import Subject
from hilagent.session.switch import surely_off

if TYPE_CHECKING:
    from hilagent.board.model import Console as Wiring
    from hilagent.console.line import Line
    from hilagent.console.uboot import UBoot
    from hilagent.deploy.base import Transfer
    from hilagent.linux.system import System
    from hilagent.payload import Payload
    from hilagent.place import Place
    from hilagent.power import Power


STALE_S = 4.0
"""How long a payload is asked for that should be gone."""
BOOT_SIGN = rb"\r\n:[A-Za-z0-9+/]{12}"
"""How the payload's first, armoured message begins; U-Boot prints no such line."""


@contextlib.contextmanager
def open(settings: Settings, journal: Journal, host: Host | None = None) -> Iterator[Session]:
    """Hold the board of ``settings`` until the ``with`` block is left; nothing is switched yet.

    Args:
        host: what the board is reached by; None: this host.

    Raises:
        errors.LabError: the board is in use (names by whom) or in quarantine (says why), or
            the payload can't be built.
    """
    host = host or Host()
    with bench(settings, journal, host=host) as real:
        machine = Machine(real, journal)
        with contextlib.ExitStack() as stack:
            stack.callback(surely_off, real.board, machine.off, real.powered, journal, host.pause)
            restarts = Restarts(
                real.linux_bench, journal, real.console, real.image, real.connect_unasked
            )
            yield Session(real.board, journal, machine, real.console, restarts)


@contextlib.contextmanager
def bench(
    settings: Settings, journal: Journal, *, marked: bool = False, host: Host | None = None
) -> Iterator[RealBench]:
    """Hold the board of ``settings``, with the payload built; whoever switches it on
    switches it off, before the ``with`` block is left.

    Args:
        marked: one in quarantine will do.
        host: what the board is reached by; None: this host.

    Raises:
        errors.LabError: the board is in use (names by whom) or in quarantine (says why), or
            the payload can't be built.
    """
    board = settings.board
    with contextlib.ExitStack() as stack:
        have = stack.enter_context(held(board, journal, settings.request.wait_s))
        board = have.board
        if not marked:
            quarantine.refuse(board)
        settings = dataclasses.replace(settings, board=with_firmware(board, journal))
        served = stack.enter_context(_private_dir())
        real = RealBench(settings, journal, served, have.place, host)
        real.build()
        yield real


@contextlib.contextmanager
def _private_dir() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="hilagent-") as name:
        yield Path(name)


class RealBench:
    """Power, console, U-Boot and payload of one board.

    Args:
        served: the folder that TFTP serves; private to this run.
        place: that the board is at.
        host: what it is reached by; None: this host.
    """

    def __init__(
        self,
        settings: Settings,
        journal: Journal,
        served: Path,
        place: Place | None = None,
        host: Host | None = None,
    ) -> None:
        self._host = host or Host()
        self._settings, self._journal, self._served = settings, journal, served
        self.place = place
        self._power: Power = self._host.power(settings.board, served, place)
        self._console: Console | None = None
        self._image = b""
        self._switched = False
        self._payload: Payload | None = None
        self._starvation: Starvation | None = None
        self._boot_ids: set[int] = set()
        self._recording = settings.recording
        replay = self._recording
        seed = int(replay.facts["chance"], 16) if replay else self._host.seed()
        self._chance = recording.chance(seed)
        self._run_id = self._chance.randrange(1, 1 << 32)
        journal.write("facts", chance=f"{seed:x}", parallel=self._parallel())
        self.linux_bench = LinuxBench(
            settings.board, journal, self._power, self.console, self._stalled_s, served,
            settings.request.own,
        )  # fmt: skip
        self._own = OwnSystem(settings.board, journal, self._power, self.console, served)

    def build(self) -> None:
        """Build the payload, once a run and before power is on."""
        with self._journal.step("build the payload"):
            built = self._host.payload()
            self._image = built.data
        if self._recording:
            self._recording.check_payload(built.build_id)
        self._journal.write("facts", payload_build_id=built.build_id)

    def console(self) -> Console:
        """Return the console that is open now."""
        if self._console is None:
            raise errors.StateError("the board is off: there is no console")
        return self._console

    def powered(self) -> bool | None:
        """Return whether the board has power."""
        return self._power.state()

    @property
    def board(self) -> Board:
        """The board, with its firmware at hand."""
        return self._settings.board

    @property
    def base(self) -> State:
        """Where power brings the board."""
        board = self._settings.board
        if board.uboot is not None:
            return State.UBOOT
        return State.OS if board.os is not None else State.PAYLOAD

    def on(self) -> None:
        board = self._settings.board
        if not board.emulated:  # what is printed at power on must not be missed
            if not self._switched and self._power.state() is not False:
                self._power.off()  # it may be on since before this run
            self._switched = True
            self._open_console(board.console)
            self._power.on()
        else:
            self._power.on()
            self._open_console(board.console)
            self._watch_threads()

    def off(self) -> None:
        if self._starvation is not None:
            self._starvation.close()
            self._starvation = None
        self._note_link()
        try:
            self._power.off()
        finally:
            console, self._console = self._console, None
            if console is not None:
                console.close()

    def reopen(self, console: Wiring) -> None:
        """Open the console anew, as ``console`` says; power stays as it is."""
        before, self._console = self._console, None
        if before is not None:
            before.close()
        self._open_console(console)

    def transfer(self, name: str = "") -> Transfer:
        """Return the way to load called ``name``; by default that of the run."""
        from hilagent import deploy

        chosen = name or self._settings.transfer
        board, served = self._settings.board, self._served
        return deploy.transfer(board, chosen, tftp_dir=served, chance=self._chance)

    def uboot(self) -> UBoot:
        from hilagent.console.uboot import UBoot

        board = self._settings.board
        assert board.uboot is not None  # settings.look_up refused a board without
        uboot = UBoot(self.console(), board.uboot, board.console.fifo_bytes, self._chance)
        try:
            version = uboot.attach()
        except errors.LabError:
            self._check_power()
            raise
        self._journal.write("facts", uboot=version)
        return uboot

    def _check_power(self) -> None:
        """Raise PowerLied where a payload from before power was cycled still answers."""
        from hilagent import payload as payloads

        if self._settings.board.emulated or not self._boot_ids:
            return
        try:
            line = self.console().take("a payload from before power was cycled")
            answers = payloads.connect(line, run_id=self._run_id, deadline=self._after(STALE_S))
        except errors.WorldError:
            return  # nobody is there: that says nothing of the switch
        if answers.hello.boot_id in self._boot_ids:
            saw = "the payload from before power was cycled still runs, and U-Boot never came"
            raise quarantine.lied(self._settings.board, self._journal, saw)

    def own_system(self) -> System:
        return self._own.reach()

    @property
    def by_hand(self) -> bool:
        return self._settings.board.power.kind == "manual"

    def reset(self, ran: Payload | Linux) -> bool:
        self._note_link()
        return recovery.reset(ran, self.board, self.console, self._journal)

    def given_up(self, tries: Sequence[errors.LabError]) -> str:
        return recovery.given_up(self.board, self._journal, tries)

    def payload(self, base: UBoot | System | None) -> Payload:
        from hilagent import deploy
        from hilagent.console.uboot import UBoot

        board = self._settings.board
        if base is None:
            return self._connect(self._after(board.payload.timeout_s))
        if not isinstance(base, UBoot) and board.console.kind == "none":
            trips = trips_of(self._settings, self._journal, self._own, self.linux_bench)
            alone = trips.payload(base, self._image, lambda: self._chance.randrange(1, 1 << 32))
            return cast("Payload", alone)  # as far as suites ask it
        if not isinstance(base, UBoot):
            with self._journal.step("kexec the payload") as share:
                line = self._own.kexec(base, self._image, progress=parts(share))
            return self._connect(self._after(KEXEC_S + board.payload.timeout_s), line)
        by = self.transfer()
        with self._journal.step(f"load the payload by {by.name}") as share:
            started = deploy.start_payload(
                base,
                self._image,
                by,
                progress=parts(share),
                signs=[BOOT_SIGN],
            )
        for note in started.notes:
            self._journal.note(note)
        return self._connect(self._after(board.payload.timeout_s))

    def prepare(self, boot: Boot) -> None:
        refuse_kernels(self.board)
        self.linux_bench.prepare(boot)

    def linux(self, base: UBoot | System, boot: Boot) -> Linux:
        from hilagent.console.uboot import UBoot

        if not isinstance(base, UBoot):
            return self.linux_bench.start_by_kexec(self._own, base, boot)
        why = self.linux_bench.needs_uboot(boot)
        if self._settings.transfer != "loader" or why:
            if self._settings.transfer == "loader":
                self._journal.note(f"{boot} is loaded by U-Boot itself: {why}")
            return self.linux_bench.start(base, boot, self.transfer())
        payload = self.payload(base)
        try:
            return self.linux_bench.start_by_loader(payload, boot)
        finally:
            self._note_link()

    def load(self, payload: Payload, subject: Subject) -> None:
        payload.vectors(subject.target, subject.blob, subject.offset, serves_el2=subject.serves_el2)

    def _open_console(self, wiring: Wiring) -> None:
        stream = self._host.stream(wiring, self._power, self.place)
        self._console = reading(stream, self._journal, self._host.clock)

    def _after(self, seconds: float) -> Deadline:
        return Deadline.after(seconds, self._host.clock)

    def _watch_threads(self) -> None:
        from hilagent.power import QemuPower

        if isinstance(self._power, QemuPower) and (pid := self._power.pid) is not None:
            threads = tuple(self._power.threads().values())
            self._starvation = Starvation(pid, lambda: threads)

    def _stalled_s(self, since_s: float) -> float:
        """Return how long this host or the emulator stood still since a time, at worst."""
        starved_s = self._starvation.worst_s(since_s) if self._starvation is not None else 0.0
        return max(self.console().late_s(since_s), starved_s)

    def image(self) -> bytes:
        """Return the payload's Image."""
        return self._image

    def connect_unasked(self, line: Line, deadline: Deadline) -> Payload:
        """Wait on ``line`` for a payload that says BOOT by itself: a kernel may still be there."""
        return self._connect(deadline, line)

    def _connect(self, deadline: Deadline, unasked: Line | None = None) -> Payload:
        from hilagent import payload as payloads

        self._note_link()
        payload = self._payload = payloads.connect(
            unasked or self.console().take("payload"),
            run_id=self._run_id,
            deadline=deadline,
            late_s=self._stalled_s,
            alive=self._power.alive,
            emulated=self._settings.board.emulated,
            parallel=self._parallel(),
            unasked=unasked is not None,
            first_seq=self._chance.randrange(1 << 16),
        )
        self._check_boot(payload)
        return payload

    def _parallel(self) -> int:
        """Return how many CPUs may sweep at the same time; 0: all."""
        if self._recording:
            return int(self._recording.facts["parallel"])
        return len(os.sched_getaffinity(0)) if self._settings.board.emulated else 0

    def _note_link(self) -> None:
        """Write what the line to the payload that ran until now did to its frames."""
        payload, self._payload = self._payload, None
        if payload is not None:
            counters = dataclasses.asdict(payload.counters)
            with contextlib.suppress(errors.LabError):  # the board is switched off all the same
                self._journal.observation(
                    "link", rx_bytes=payload.bytes_rx, tx_bytes=payload.bytes_tx, **counters
                )

    def _check_boot(self, payload: Payload) -> None:
        hello = payload.hello
        if hello.boot_id in self._boot_ids:
            raise errors.LabError(
                "the payload says that it is still the boot from before power was cycled",
                hint="check that the power switch really switches this board",
            )
        self._boot_ids.add(hello.boot_id)
        self._journal.write(
            "facts",
            payload_build_id=hello.build_id,
            entry_el=hello.entry_el,
            encoding=payload.encoding,
        )
