# SPDX-License-Identifier: Apache-2.0
"""The host's end of an upload: a window of blocks on their way, each sent until it is here.

The line has no flow control and the board's FIFO 16 bytes, so no more is ever on its way
than the loader has room for. It says which blocks it has and the newest *turn* that came: on
a line bytes don't overtake each other, so what was sent before that and isn't here is lost,
and sent again at once. Only for the last ones a time must pass.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from hilagent import errors
from hilagent.clock import Deadline
from hilagent.link.frame import cobs_encode
from hilagent.link.memory import UPLOAD_STATUS, UPLOAD_WINDOW, Uploaded

from .channel import Channel, numbers
from .trouble import Patience, Silence

_TAIL_S = 0.3  # beside the bytes' own time: both ways through two USB adapters of 16 ms
_TAIL_MOST_S, _FORGETS = 4.0, 0.9  # a line that is slower than it says learns to wait
_OVER_S = 3.0
_STUBBORN_S = 30.0


@dataclass
class Counts:
    """What an upload took.

    Attributes:
        blocks, repeats: sent, the repeats among them.
        line_bytes: all that was written to the line.
        damaged, lost: frames that the board couldn't read, and bytes that its UART lost.
    """

    blocks: int = 0
    repeats: int = 0
    line_bytes: int = 0
    damaged: int = 0
    lost: int = 0


@dataclass(frozen=True)
class Status:
    """The fields of ``wire.UPLOAD_STATUS``."""

    state: int
    base: int
    have: int
    turn: int
    lost: int
    damaged: int
    done: int


class Sender:
    """Sends one stream to a loader that has just been started.

    Args:
        stream: its bytes, in pieces of any size; asked for the next as they are needed.
        size: of a block, as the loader was told.
        byte_s: how long a byte takes on the line.
        heard: called with each status that tells something new.
    """

    def __init__(
        self,
        channel: Channel,
        stream: Iterator[bytes],
        size: int,
        byte_s: float,
        heard: Callable[[Status], None] = lambda status: None,
    ) -> None:
        self._channel, self._blocks, self._byte_s = channel, _blocks(stream, size), byte_s
        self._heard = heard
        self._kept: dict[int, bytes] = {}  # blocks that aren't known to be here
        self._sent: dict[int, int] = {}  # the turn in which each of those went last
        self._next = self._base = self._turn = 0
        self._ahead: bytes | None = b""  # the block that is next; None: all were sent
        self._began_s = channel.clock.now_s()
        self._free_s = self._began_s  # when the line will have carried all of it
        self._moved_s = self._free_s  # when something new was heard
        self._tail_s = _TAIL_S
        self._answered = 0  # frames that were damaged, and sent again for that
        self._status: Status | None = None
        self.counts = Counts()

    def run(self, deadline: Deadline) -> int:
        """Send all of it; return how the loader says that it ended, an `Uploaded`. Where its
        word may be lost, that is DONE: only the result of its call is sure.

        Raises:
            Silence: nothing was heard any more.
            errors.LinkError: it is heard, and nothing gets through.
            errors.BoardReset: the board restarted.
            errors.LabError: not done by ``deadline``.
        """
        channel, self._ahead = self._channel, next(self._blocks, None)
        quiet = Patience(channel.silence_s, channel.clock, channel.evidence)
        stuck = Patience(_STUBBORN_S, channel.clock, channel.evidence)
        while True:
            heard_s, before = channel.session.heard_s, self._progress()
            wait = self._fill(quiet)
            channel.listen(quiet.deadline.sooner(wait))
            self._take_statuses()
            if self._status is not None and self._status.state != Uploaded.RUNNING:
                return self._status.state
            if channel.fresh or self._surely_over():
                return Uploaded.DONE
            self._repeat(quiet)
            if channel.session.heard_s != heard_s:
                quiet.renew()
            if self._progress() != before:
                stuck.renew()
            self._give_up(quiet, stuck, deadline)

    def _surely_over(self) -> bool:
        """Whether all was sent, and a loader that runs would have said something since."""
        heard_s = max(self._began_s, self._channel.session.heard_s)
        return self._ahead is None and self._channel.clock.now_s() - heard_s > _OVER_S

    def _progress(self) -> tuple[int, int]:
        return self._base, len(self._kept)

    def _fill(self, patience: Patience) -> float:
        """Send the next block if the window has room; return how long to listen then."""
        if self._next < self._base + UPLOAD_WINDOW and self._ahead is not None:
            self._kept[self._next] = self._ahead
            self._next += 1
            self._send(self._next - 1, patience)
            self._ahead = next(self._blocks, None)
            return 0.0
        return max(0.01, min(_TAIL_S, self._free_s + _TAIL_S - self._channel.clock.now_s()))

    def _send(self, number: int, patience: Patience) -> None:
        self._turn += 1
        self._sent[number] = self._turn
        data = frame(number, self._turn, self._kept[number])
        self.counts.blocks += 1
        self.counts.line_bytes += len(data)
        self._channel.send(data, patience)
        self._free_s = max(self._free_s, self._channel.clock.now_s()) + len(data) * self._byte_s

    def _take_statuses(self) -> None:
        for body in self._channel.uploads:
            status = Status(**numbers(UPLOAD_STATUS.unpack(body)))
            if self._status is not None and status == self._status:
                continue
            self._tail_s = max(_TAIL_S, self._tail_s * _FORGETS)
            self._status, self._moved_s = status, self._channel.clock.now_s()
            self._base = status.base
            self.counts.lost, self.counts.damaged = status.lost, status.damaged
            for number in list(self._kept):
                offset = number - status.base
                if offset < 0 or status.have >> offset & 1:
                    del self._kept[number], self._sent[number]
            self._heard(status)
        self._channel.uploads.clear()

    def _repeat(self, patience: Patience) -> None:
        """Send again what is lost; and the oldest block, where the line has been idle."""
        newest = self._status.turn if self._status is not None else 0
        lost = [number for number, turn in sorted(self._sent.items()) if turn < newest]
        if not lost and self._sent and self._idle():
            lost = [min(self._sent)]
        for number in lost:
            self.counts.repeats += 1
            self._send(number, patience)

    def _idle(self) -> bool:
        """Whether the line has carried all, and more can't be under way: a frame was damaged,
        or enough time has passed."""
        now_s = self._channel.clock.now_s()
        if now_s > self._free_s and self.counts.damaged > self._answered:
            self._answered = self.counts.damaged
            self._tail_s = _TAIL_S
            return True
        late = now_s > max(self._free_s, self._moved_s) + self._tail_s
        if late:
            self._tail_s = min(_TAIL_MOST_S, self._tail_s * 2)
        return late

    def _give_up(self, quiet: Patience, stuck: Patience, deadline: Deadline) -> None:
        where = f"after {self._base} blocks; {self.counts.repeats} repeats so far"
        if quiet.over():
            raise Silence(
                f"upload: nothing heard for {self._channel.silence_s:g} s, {where}",
                hint="did the board reset, or the cable come out? look at console.raw",
            )
        if stuck.over():
            raise errors.LinkError(
                f"upload: nothing got through for {_STUBBORN_S:g} s, {where}",
                hint="the line is too bad: check cable, ground and baud rate",
            )
        if deadline.expired():
            raise errors.LabError(
                f"upload: not done within {deadline.budget_s:.0f} s, {where}",
                hint="is the baud rate of the board's file the line's? is it shared?",
            )


def frame(number: int, turn: int, block: bytes) -> bytes:
    """Return a block on the wire."""
    plain = number.to_bytes(4, "little") + turn.to_bytes(4, "little") + block
    return b"\0" + cobs_encode(plain + zlib.crc32(plain).to_bytes(4, "little")) + b"\0"


def _blocks(stream: Iterator[bytes], size: int) -> Iterator[bytes]:
    """Cut the stream; the last block is filled up with zeros."""
    held = b""
    for piece in stream:
        held += piece
        whole = len(held) // size * size
        yield from (held[at : at + size] for at in range(0, whole, size))
        held = held[whole:]
    if held:
        yield held.ljust(size, b"\0")
