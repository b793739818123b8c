# SPDX-License-Identifier: Apache-2.0
"""A recorded run, replayed in simulated time over a line that damages it.

As ``hilagent run recorded:RUN``: the board says what it said then, once it has heard what
it had heard. Two things are added. What it says may be damaged on its way, and a message
that is sent once more, byte by byte, is answered as it was: the payload answers a repeat
from its cache. Anything else that wasn't said then ends the replay, as the lab's fault::

    line = Injector(Faults(at={1234: Fault.DROP}), clock=clock)
    done = runs.run(Replay(recorded.boots(folder), clock, line), settings, run_dir)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hilagent import errors
from hilagent.clock import Deadline
from hilagent.power.recorded import RecordedPower
from hilagent.session.host import Host
from hilagent.testing.clock import ManualClock
from hilagent.testing.faults import Injector
from hilagent.transport.recorded import Boot, RecordedStream

if TYPE_CHECKING:
    from hilagent.board import Board
    from hilagent.board.model import Console as Wiring
    from hilagent.journal import Record
    from hilagent.place import Place


class ReplayedStream:
    """One boot of a recording, over a line with faults: a `Timed` stream that `Answers`.

    Args:
        boot: a strict recording.
        to_host: the line; it outlives this boot.

    Attributes:
        again: how many messages were answered once more.
    """

    def __init__(self, boot: RecordedStream, to_host: Injector, clock: ManualClock) -> None:
        self._boot, self._line, self._clock = boot, to_host, clock
        self._asked = self._answer = b""
        self.again = 0

    def fileno(self) -> int:
        """Return -1: nobody can wait for it."""
        return -1

    def answers(self) -> None:
        """Say that what comes next is there as soon as something was written."""

    def read(self) -> bytes:
        """Return what was said then, as it comes over this line."""
        self._listen()
        data = self._line.pull()
        if not data and self._line.cut:
            raise errors.LinkError("the replayed console ended: unplugged")
        return data

    def write(self, data: bytes) -> int:
        """Say what was said then, or the last message once more."""
        if self._line.cut:
            raise errors.LinkError("the replayed console ended: unplugged")
        if not self._boot.expects(data) and self._asked.endswith(data):
            self.again += 1
            self._line.push(self._answer)
            return len(data)
        if self._answer:
            self._asked = self._answer = b""
        self._asked += data
        return self._boot.write(data)

    def until(self, deadline: Deadline) -> None:
        """Move the clock to when something comes over the line, or to the deadline."""
        self._listen()
        if not self._line.cut:
            self._clock.advance_to(min(self._line.ready_s, deadline.at_s))

    def close(self) -> None:
        """End it."""
        self._boot.close()

    def _listen(self) -> None:
        said = self._boot.read()
        self._answer += said
        self._line.push(said)


class Replay(Host):
    """A host whose board is a recording.

    Args:
        boots: of the recorded run, see :func:`hilagent.transport.recorded.boots`.
        to_host: the line from it, through all of them.
    """

    def __init__(self, boots: Sequence[Boot], clock: ManualClock, to_host: Injector) -> None:
        self.clock, self._clock, self._line = clock, clock, to_host
        self.switch = RecordedPower(boots)

    def power(self, board: Board, served: Path, place: Place | None) -> RecordedPower:
        return self.switch

    def stream(self, wiring: Wiring, power: object, place: Place | None) -> ReplayedStream:
        return ReplayedStream(self.switch.next_boot(), self._line, self._clock)

    def pause(self, seconds: float) -> None:
        self._clock.advance(seconds)

    def heard(self, record: Record) -> None:
        """Hear what the journal says: nothing depends on it."""
