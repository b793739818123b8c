# SPDX-License-Identifier: Apache-2.0
"""The state that a board is in, and the cheapest right way to another one.

::

                  power on          booti
       off ------------------> U-Boot ------> payload(vectors) --.
        ^                        |  ^   \\        ^  \\____ other vectors
        |                        |  |    \\       | kexec, crash |
        |                        |  |     '-> Linux(boot) <-----' boot
        |                        v  '-- power ----'
        '------- power --------- unknown <---- a crash, a hang, a failed transition

A board without a U-Boot boots a system of its own instead, and kexec is what leaves
that; or its emulator starts the payload. From *unknown* there is one way only: power. A
handle (U-Boot, payload) that was lent in a state raises StateError once that state has
been left.
"""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar, cast

from hilagent import errors
from hilagent.journal import Journal
from hilagent.session.early import before_the_test

if TYPE_CHECKING:
    from hilagent.console import Console
    from hilagent.console.uboot import UBoot
    from hilagent.linux.system import System
    from hilagent.payload import Payload
    from hilagent.session.linux import Boot, Linux
    from hilagent.session.restart import Trip
    from hilagent.session.subject import Subject

T = TypeVar("T")
TRIES = 3
"""How often a start from power is tried before the board is given up for this run."""


class State(enum.Enum):
    """Where the board is, as far as the session knows."""

    OFF = "off"
    UBOOT = "U-Boot"
    OS = "its own system"
    PAYLOAD = "payload"
    LINUX = "Linux"
    UNKNOWN = "unknown"


class Bench(Protocol):
    """What the machine needs of the rooms below; ``open.py`` holds the real one.

    Each call raises an error of the tree and leaves no half-open thing behind:
    ``off`` always works, from whatever an earlier call left.
    """

    @property
    def base(self) -> State:
        """Where power brings the board: U-Boot, its own system, or the payload."""

    def on(self) -> None:
        """Switch on, and open the console if power made a new one."""

    def off(self) -> None:
        """Switch off; what is connected to nothing any more is closed."""

    def uboot(self) -> UBoot:
        """Return U-Boot's prompt; the board has just been switched on."""

    def own_system(self) -> System:
        """Return the board's own system; the board has just been switched on."""

    @property
    def by_hand(self) -> bool:
        """Whether it is a person who switches."""

    def reset(self, ran: Payload | Linux) -> bool:
        """Let what ran last reset its board; return whether it could be asked.

        What comes then must still show itself.
        """

    def given_up(self, tries: Sequence[errors.LabError]) -> str:
        """Hear that the base was never reached; return what is to be done about it."""

    def payload(self, base: UBoot | System | None) -> Payload:
        """Load the payload, verify it, start it, and say hello; None: power started it."""

    def load(self, payload: Payload, subject: Subject) -> None:
        """Put other vectors under test."""

    def prepare(self, boot: Boot) -> None:
        """Build what ``boot`` needs; takes minutes where nothing is cached."""

    def linux(self, base: UBoot | System, boot: Boot) -> Linux:
        """Load a kernel, start it, and wait until it answers."""

    def console(self) -> Console:
        """Return the console that is open now."""

    def powered(self) -> bool | None:
        """Return whether the board has power; None where that can't be told."""


class Handle:
    """Lends ``thing`` until its state is left; then every use raises StateError."""

    def __init__(self, thing: object, stale: Callable[[], str]) -> None:
        self._thing, self._stale = thing, stale

    def __getattr__(self, name: str) -> object:
        if why := self._stale():
            raise errors.StateError(why, hint="ask the session for a new one")
        return getattr(self._thing, name)


class Machine:
    """Brings one board from state to state; nobody else switches it."""

    def __init__(self, bench: Bench, journal: Journal) -> None:
        self._bench, self._journal = bench, journal
        self._state = State.OFF
        self._epoch = 0
        self._subject: Subject | None = None
        self._base: UBoot | System | None = None
        self._payload: Payload | None = None
        self._linux: Linux | None = None
        self._ran: Payload | Linux | None = None
        self._boot_wanted: Boot | None = None
        self._given_up: dict[State, errors.WorldError] = {}
        self.boots = 0

    @property
    def state(self) -> State:
        """Where the board is now."""
        return self._state

    def uboot(self) -> UBoot:
        """Return a handle of U-Boot's prompt, from power if need be.

        Raises:
            errors.Unsupported: this board has none.
            errors.LabError: it wasn't reached in ``TRIES`` tries.
        """
        base = self._bench.base
        if base is not State.UBOOT:
            raise errors.Unsupported(f"this board has no U-Boot; it boots {base.value}")
        self.reach_base()
        return cast("UBoot", self._lend(self._base))

    def reach_base(self) -> None:
        """Be where power brings the board; raises as :meth:`uboot` does."""
        if self._state is not self._bench.base:
            self._from_power(self._bench.base)

    def payload(self, subject: Subject) -> Payload:
        """Return a handle of the payload with ``subject`` under test.

        Raises:
            errors.LabError: it wasn't reached in ``TRIES`` tries.
            errors.PreconditionError: it was entered where it can do nothing.
        """
        if self._state is not State.PAYLOAD:
            self._from_power(State.PAYLOAD)
        if subject != self._subject:
            self._load(subject)
        return cast("Payload", self._lend(self._payload))

    def linux(self, boot: Boot) -> Linux:
        """Return a handle of a running kernel, started as ``boot`` says.

        Raises:
            errors.LabError: it wasn't reached in ``TRIES`` tries.
            errors.TargetError: the kernel doesn't build, crashes or hangs.
        """
        if self._state is not State.LINUX or self._linux is None or self._linux.boot != boot:
            self._bench.prepare(boot)
            self._boot_wanted = boot
            self._from_power(State.LINUX)
        return cast("Linux", self._lend(self._linux))

    def leave_linux(self, boot: Boot, what: str, go: Callable[[Linux], Trip]) -> Trip:
        """Let the kernel of ``boot`` start something, by ``go``; the board is then what arrived.

        Every handle from before is stale as soon as it begins. Where nothing arrived, the
        state is unknown; where nothing was started, the kernel is still there.
        """
        self.linux(boot)
        assert self._linux is not None
        running = self._linux
        trip = self._restart(what, lambda: go(running))
        if trip.refused is not None:
            self._enter(State.LINUX)
        elif trip.linux is not None:
            self._linux = trip.linux
            self._enter(State.LINUX)
            trip.linux = cast("Linux", self._lend(self._linux))
        elif trip.payload is not None:
            self._payload = trip.payload
            self._enter(State.PAYLOAD)
            trip.payload = cast("Payload", self._lend(self._payload))
        return trip

    def payload_to_linux(self, what: str, go: Callable[[Payload], Linux]) -> Linux:
        """Let the payload that runs now start a kernel; lend that.

        Raises:
            errors.StateError: no payload runs.
        """
        if self._state is not State.PAYLOAD or self._payload is None:
            raise errors.StateError(f"no payload runs; the board is {self._state.value}")
        payload = self._payload
        self._linux = self._restart(what, lambda: go(payload))
        self._enter(State.LINUX)
        return cast("Linux", self._lend(self._linux))

    def _restart(self, what: str, go: Callable[[], T]) -> T:
        self._enter(State.UNKNOWN, why=f"{what}, from {self._state.value}")
        with self._journal.step(what):
            return go()

    def lost_power(self) -> bool:
        """Whether the board has no power although it was switched on and not off."""
        return self._state is not State.OFF and self._bench.powered() is False

    def taint(self, why: str) -> None:
        """Forget what is running: the next state begins at power."""
        if self._state not in {State.OFF, State.UNKNOWN}:
            self._enter(State.UNKNOWN, why=why)

    def off(self) -> None:
        """Switch off, also where the journal takes no word of it: a full disk keeps no board on."""
        with contextlib.suppress(errors.LabError):
            self._enter(State.OFF)
        self._bench.off()

    def _from_power(self, goal: State) -> None:
        if goal in self._given_up:
            raise self._given_up[goal]
        failures: list[errors.LabError] = []
        prompted = False
        for attempt in range(1, TRIES + 1):
            try:
                self._boot(goal)
                return
            except errors.LabError as exc:
                failures.append(exc)
                prompted = prompted or self._state is self._bench.base
                self._enter(State.UNKNOWN)
                self._journal.note(f"try {attempt} of {TRIES}: {exc}", blame="infra")
            except errors.WorldError as exc:
                self._enter(State.UNKNOWN)
                if goal is not State.LINUX:  # of a kernel it says nothing about the board
                    self._given_up[goal] = exc
                raise
            except BaseException:
                self._enter(State.UNKNOWN)
                raise
        failure = failures[-1]
        hints = [failure.hint, "" if prompted else self._bench.given_up(failures)]
        message = f"{goal.value} not reached in {TRIES} tries: {failure}"
        given_up = errors.LabError(message, hint="; ".join(filter(None, hints)))
        for lost in [goal] if prompted else State:  # what the base can't start, it alone is lost
            self._given_up[lost] = given_up
        raise given_up from failure

    def _boot(self, goal: State) -> None:
        base = self._bench.base
        if not (self._state is base and goal is not base):
            self._power_to_base()
        if goal is base:
            return
        assert self._base is not None
        if goal is State.PAYLOAD:
            with self._journal.step("start the payload"), before_the_test():
                self._payload = self._bench.payload(self._base)
            self._enter(State.PAYLOAD)
        if goal is State.LINUX:
            assert self._boot_wanted is not None
            with self._journal.step(f"start {self._boot_wanted}"):
                self._linux = self._bench.linux(self._base, self._boot_wanted)
            self._enter(State.LINUX)

    def _power_to_base(self) -> None:
        if not self._was_reset():
            if self._state is not State.OFF:
                self.off()
            with self._journal.step("power on"):
                self._enter(State.UNKNOWN)
                self._bench.on()
        self.boots += 1
        base = self._bench.base
        with self._journal.step(f"reach {base.value}"), before_the_test():
            if base is State.PAYLOAD:
                self._payload = self._bench.payload(None)
            else:
                uboot = base is State.UBOOT
                self._base = self._bench.uboot() if uboot else self._bench.own_system()
        self._enter(base)

    def _was_reset(self) -> bool:
        ran, self._ran = self._ran, None  # it is asked once
        if ran is None or not self._bench.by_hand:
            return False
        with self._journal.step("reset without power"):
            self._enter(State.UNKNOWN)
            return self._bench.reset(ran)

    def _load(self, subject: Subject) -> None:
        assert self._payload is not None
        try:
            with self._journal.step(f"load vectors {subject.name}"):
                self._bench.load(self._payload, subject)
        except BaseException:
            self._enter(State.UNKNOWN)
            raise
        self._enter(State.PAYLOAD, subject)

    def _enter(self, state: State, subject: Subject | None = None, *, why: str = "") -> None:
        self._epoch += 1
        self._state, self._subject = state, subject
        if state is not State.UNKNOWN:
            running = {State.PAYLOAD: self._payload, State.LINUX: self._linux}
            self._ran = running.get(state)
        values = {"vectors": subject.name} if subject else {"why": why} if why else {}
        if state is State.LINUX and self._linux is not None:
            values = {"boot": str(self._linux.boot), "run_id": self._linux.run_id}
        self._journal.write("state", state=state.value, **values)

    def _lend(self, thing: object) -> Handle:
        epoch, left = self._epoch, self._state.value

        def stale() -> str:
            if self._epoch == epoch:
                return ""
            return (
                f"this handle belongs to {left}, which was left; the board is {self._state.value}"
            )

        return Handle(thing, stale)
