# SPDX-License-Identifier: Apache-2.0
"""Whole runs in simulated time: a scripted board, its line and its switch, in one process.

Nothing waits, so that a run takes some milliseconds; everything between the suites and the
bytes is the program's own. What goes wrong is told when it is to happen::

    lab = Simulation(ScriptedBoard(clock=clock, powered=False), clock)
    lab.when("sweep", 100, lambda: lab.board.power(True))     # it restarts in mid-sweep
    done = runs.run(lab, settings, run_dir)                   # of hilagent.testing.runs
    assert done.exit_code == 125

A *moment* is the beginning of a step in the journal (or an outcome in it: ``outcome TEST``),
by its first words, and a number of bytes that the board has said since.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from hilagent import errors, journal
from hilagent.clock import Deadline
from hilagent.session.host import Host, Image
from hilagent.testing.clock import ManualClock
from hilagent.testing.faults import NONE, Faults, Injector
from hilagent.testing.machine import Machine
from hilagent.testing.scripted import IMAGE_HEADER
from hilagent.testing.switch import Switch, SwitchTraits

if TYPE_CHECKING:
    from hilagent.board import Board
    from hilagent.board.model import Console as Wiring
    from hilagent.place import Place

LATENCY_S = 0.0002
IMAGE = Image(IMAGE_HEADER + bytes(range(256)) * 12, "00" * 20)
"""A payload that is short to load."""
Happening = Callable[[], object]


class Powered(Machine, Protocol):
    """A machine with a plug."""

    powered: bool

    def power(self, on: bool) -> None:
        """Switch it."""
        ...


@dataclass
class _Moment:
    """When something is to happen: ``left`` bytes after a record that ``begins`` so."""

    begins: str
    left: int
    happening: Happening
    begun: bool = False


class Line:
    """The wire between host and board, through all openings of the console.

    Attributes:
        to_board, to_host: what it does to bytes.
        stopped: it takes nothing from the host (an XOFF that nobody took back).
        gone: it is unplugged for good; ``away_until_s``: until then.
        said: how many bytes have reached the host.
    """

    def __init__(
        self,
        board: Powered,
        clock: ManualClock,
        *,
        to_board: Faults = NONE,
        to_host: Faults = NONE,
        seed: int = 0,
        baud: int = 1_500_000,
    ) -> None:
        self.board, self.clock = board, clock
        self.to_board = Injector(to_board, seed=seed * 2, clock=clock)
        self.to_host = Injector(to_host, seed=seed * 2 + 1, clock=clock)
        self.stopped = self.gone = False
        self.away_until_s = -math.inf
        self.said = 0
        self.moments: list[_Moment] = []
        self._later: list[tuple[float, Happening]] = []
        self._byte_s = 10 / baud

    @property
    def away(self) -> bool:
        """Whether the adapter is unplugged, and will come back."""
        return self.clock.now_s() < self.away_until_s

    def write(self, data: bytes) -> int:
        """Send what is taken."""
        if self.stopped or self.away:
            return 0
        self.clock.advance(len(data) * self._byte_s)
        self.to_board.push(data)
        self.deliver()
        return len(data)

    def read(self) -> bytes:
        """Return what has come."""
        self.deliver()
        data = self.to_host.pull()
        self.clock.advance(len(data) * self._byte_s)
        return b"" if self.away else data

    def deliver(self) -> None:
        """Carry bytes to the board, and what it says back as far as they have come."""
        for due in [each for each in self._later if each[0] <= self.clock.now_s()]:
            self._later.remove(due)
            due[1]()
        self._say(self.board.feed(self.to_board.pull()))
        self._say(self.board.tick())

    def later(self, seconds: float, happening: Happening) -> None:
        """Have something happen in so many seconds."""
        self._later.append((self.clock.now_s() + seconds, happening))

    def next_s(self) -> float:
        """When something comes next."""
        times = [self.board.next_s(), self.to_host.ready_s, self.to_board.ready_s]
        comes_s = min(*times, *(at_s for at_s, _ in self._later))
        return max(comes_s, self.away_until_s)

    def _say(self, data: bytes) -> None:
        """Put on the wire what the board says; at the moments in it, what is to happen happens."""
        while data:
            begun = [each for each in self.moments if each.begun]
            size = min([len(data), *(each.left for each in begun)])
            self.to_host.push(data[:size])
            self.said += size
            data = data[size:]
            for moment in begun:
                moment.left -= size
                if moment.left <= 0:
                    self.moments.remove(moment)
                    moment.happening()


class SimulatedStream:
    """One opening of the console: a `hilagent.transport.base.Timed` stream."""

    def __init__(self, line: Line) -> None:
        self.line, self._open = line, True
        self._away_since_s: float | None = None

    def fileno(self) -> int:
        """Return -1: nobody can wait for it."""
        return -1

    @property
    def away_since_s(self) -> float | None:
        """Since when it is unplugged, as far as was noticed."""
        return self._away_since_s

    def read(self) -> bytes:
        """Return what the board has said by now; nothing where it has just been unplugged, or
        is just back: then that is the news."""
        self._check()
        if self._news():
            self._away_since_s = self.line.clock.now_s() if self.line.away else None
            return b""
        data = self.line.read()
        if not data:
            self._check()
        return data

    def write(self, data: bytes) -> int:
        """Say something to the board."""
        self._check()
        return self.line.write(data)

    def until(self, deadline: Deadline) -> None:
        """Move the clock to when there is something to read, or to the deadline."""
        line, clock = self.line, self.line.clock
        clock.advance(LATENCY_S)
        while not deadline.expired():
            line.deliver()
            comes = line.to_host.ready_s <= clock.now_s() and not line.away
            if comes or self._lost() or self._news():
                return
            clock.advance_to(min(line.next_s() + 1e-9, deadline.at_s))

    def close(self) -> None:
        """End it."""
        self._open = False

    def _news(self) -> bool:
        """Whether it was unplugged, or came back, and nobody has noticed yet."""
        return self.line.away is (self._away_since_s is None)

    def _lost(self) -> bool:
        line = self.line
        return line.gone or line.to_host.cut or line.to_board.cut or not self._open

    def _check(self) -> None:
        if self._lost():
            raise errors.LinkError("the simulated console ended: unplugged")


class Simulation(Host):
    """A host whose one board is scripted.

    Args:
        board: that is switched and spoken to; off.
        to_board, to_host: faults of the two directions of its line.
        seed: of all that is drawn by chance, by the faults and by the run.
        baud: of the line: so fast does time pass while bytes do.

    Attributes:
        switch: what was switched, and how it lies.
        happened: how many of the moments have come.
        sizes: how many bytes the board said in each step that has ended, by its words.
    """

    def __init__(
        self,
        board: Powered,
        clock: ManualClock,
        *,
        to_board: Faults = NONE,
        to_host: Faults = NONE,
        seed: int = 0,
        baud: int = 1_500_000,
        switch: SwitchTraits | None = None,
        image: Image = IMAGE,
    ) -> None:
        self.board, self.clock, self._clock = board, clock, clock
        self.line = Line(board, clock, to_board=to_board, to_host=to_host, seed=seed, baud=baud)
        self.switch = Switch(board.power, clock, self.line.later, switch or SwitchTraits())
        self.happened = 0
        self.sizes: dict[str, int] = {}
        self._begun: dict[int, int] = {}
        self._image, self._seed = image, seed

    def when(
        self, begins: str, after_bytes: int, happening: Happening, *, always: bool = False
    ) -> None:
        """Have something happen at a moment.

        Args:
            begins: its first words, e.g. ``load the payload``.
            after_bytes: that the board says in it.
            always: each time, not only the first.
        """

        def happens() -> None:
            self.happened += 1
            happening()
            if always:
                self.when(begins, after_bytes, happening, always=True)

        self.line.moments.append(_Moment(begins, after_bytes, happens))

    def heard(self, record: journal.Record) -> None:
        """Hear what the journal says: how a moment is known."""
        self._measure(record)
        what = _words(record)
        for moment in list(self.line.moments):
            if what and not moment.begun and what.startswith(moment.begins):
                moment.begun = True
                if moment.left <= 0:
                    self.line.moments.remove(moment)
                    moment.happening()

    def _measure(self, record: journal.Record) -> None:
        if record["kind"] == "step" and record["phase"] == "begin":
            self._begun[record["step"]] = self.line.said
        elif record["kind"] == "step":
            self.sizes[record["what"]] = self.line.said - self._begun[record["step"]]

    def power(self, board: Board, served: Path, place: Place | None) -> Switch:
        return self.switch

    def stream(self, wiring: Wiring, power: object, place: Place | None) -> SimulatedStream:
        if self.line.gone:
            raise errors.LinkError("the simulated console isn't there")
        return SimulatedStream(self.line)

    def seed(self) -> int:
        return self._seed

    def pause(self, seconds: float) -> None:
        self._clock.advance(seconds)

    def payload(self) -> Image:
        return self._image


def _words(record: journal.Record) -> str:
    """What a record is called where something is to happen at it; "" for most."""
    if record["kind"] == "step" and record["phase"] == "begin":
        return str(record["what"])
    return f"outcome {record['test']}" if record["kind"] == "outcome" else ""
