# SPDX-License-Identifier: Apache-2.0
"""A board's console: the reader that never stops draining, and who may use it.

One thread reads from open to close. It writes the tape, feeds the crash watch
and wakes whoever waits; matching is done by the waiter, on the tape. What goes
wrong is told to the waiters in this order: a crash beats a lost line beats
silence. Over a stream in a time of its own there is no thread: the waiter reads.
"""

from __future__ import annotations

import os
import select
import selectors
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from hilagent.clock import SYSTEM, Clock, Deadline
from hilagent.console.late import TICK_S, Lateness
from hilagent.console.line import Line
from hilagent.console.tape import KEEP_BYTES, Tape
from hilagent.console.watch import Crash, CrashWatch, Incident, Kind
from hilagent.errors import AgentBug, HilagentError, HostError, LinkError, LinkStuck, Unsupported
from hilagent.text import scrub
from hilagent.transport.base import Answers, Breaks, Pauses, Returns, Stream, Timed

_BLOCKED_S = 0.02
_MAX_CRASHES = 100


class Console:
    """Reads ``stream`` until it is closed; owns it.

    Args:
        stream: an open stream.
        folder: of the log files, see :class:`~hilagent.console.tape.Tape`.
        keep_bytes: of received bytes in memory.
        told: hears, from the reader's thread, that the line went away or came back.
        happened: hears, from there, of each incident, once it is over.
        clock: that every time here is of; of a stream in a time of its own: that time.
    """

    def __init__(
        self,
        stream: Stream,
        folder: Path | None = None,
        *,
        keep_bytes: int = KEEP_BYTES,
        told: Callable[[str], None] = lambda text: None,
        happened: Callable[[Incident], None] = lambda incident: None,
        clock: Clock = SYSTEM,
    ) -> None:
        self._stream, self._told, self._happened, self.clock = stream, told, happened, clock
        self._timed = stream if isinstance(stream, Timed) else None
        self._away_since_s: float | None = None
        self._tape = Tape(folder, keep_bytes, self._now_ns())
        self._watch = CrashWatch(self._tape.end)
        self._begin = self._seen = self._tape.end
        self._crashes: list[Crash] = []
        self._incidents = 0
        self._resets_from: int | None = None
        # Entered as a lock: a signal's exception within Condition.__enter__, which is Python,
        # would leave it locked for ever.
        self._lock = threading.RLock()
        self._news = threading.Condition(self._lock)
        self._writing = threading.Lock()
        self._reading = threading.Lock()
        self._lost: HilagentError | None = None
        self._late = Lateness(clock.now_s())
        self._closing = False
        self._wanted = sys.maxsize  # the least position that somebody waits beyond
        self._owner: Line | None = None
        self._wake_read, self._wake_write = os.pipe()
        self._thread = threading.Thread(target=self._read, name="console reader", daemon=True)
        if self._timed is None:
            self._thread.start()
        else:
            self._late.due_s = float("inf")

    def take(self, owner: str) -> Line:
        """Return the only handle that works from now on; every earlier one is stale.

        It goes on reading where the handle before it stopped.
        """
        with self._lock:
            since = self._owner.position if self._owner is not None else self._begin
            self._owner = Line(self, owner, since)
            self._news.notify_all()
            return self._owner

    def owns(self, line: Line) -> bool:
        """Return whether ``line`` is the handle that was taken last."""
        return self._owner is line

    def position(self) -> int:
        """Return the number of bytes received so far."""
        self._seen = end = self._tape.end
        return end

    def cut(self, start: int, size: int) -> tuple[int, bytes]:
        """Return received bytes, see :meth:`Tape.cut`."""
        with self._lock:
            start, data = self._tape.cut(start, size)
            self._seen = max(self._seen, start + len(data))
            return start, data

    def tail(self, lines: int = 8, since: int = 0) -> str:
        """Return the last lines received, scrubbed, for a person."""
        start = max(since, self._tape.end - 4096)
        with self._lock:
            raw = self._tape.cut(start, 4096)[1]
        text = scrub(raw).replace("\r", "")
        return "\n".join([line for line in text.split("\n") if line.strip()][-lines:])

    def wait(self, position: int, deadline: Deadline) -> bool:
        """Wait until something follows ``position``; returns whether it does.

        Raises LabError when nothing will come any more, or nothing that comes
        is kept, because the disk is full.
        """
        with self._lock:
            while self._tape.end <= position:
                if self._lost is not None:
                    raise self._lost
                if deadline.expired():
                    return False
                self._wanted = min(self._wanted, position)
                self._until_news(deadline)
            self._check_disk()
            self._seen = max(self._seen, position + 1)
            return True

    def write(self, data: bytes, deadline: Deadline) -> None:
        """Write all of ``data``; LinkError if the line is lost, LinkStuck if it takes no more.

        An unplugged adapter is waited for beyond the deadline: it comes back, or is lost.
        """
        view = memoryview(data)
        with self._writing:
            with self._lock:
                self._tape.seen(self._seen, self._now_ns())
            while view:
                if self._lost is not None:
                    raise self._lost
                taken = self._stream.write(bytes(view))
                if taken:
                    with self._lock:
                        self._tape.sent(bytes(view[:taken]), self._now_ns())
                    view = view[taken:]
                    if isinstance(self._stream, Answers):
                        self._receive()
                elif deadline.expired() and self._away_since_s is None:
                    late = f"the console took no more bytes within {deadline.budget_s:g} s"
                    raise LinkStuck(late, hint="flow control, or a console server that hangs?")
                else:
                    self._until_writable(deadline)

    def send_break(self) -> None:
        """Send a break; Unsupported where this kind of console has none, LabError."""
        with self._writing:
            if not isinstance(self._stream, Breaks):
                raise Unsupported("this console can't send a break: its line carries bytes only")
            self._stream.send_break()

    def crash(self, since: int = 0) -> Crash | None:
        """Return the first crash that starts at ``since`` or later; a stall is none."""
        with self._lock:
            return next((crash for crash in self._crashes if crash.start >= since), None)

    def crash_by(self, deadline: Deadline, since: int = 0) -> Crash | None:
        """Return the first crash that starts at ``since`` or later; wait for one.

        A connection to a kernel ends before the kernel has said of what. None at the
        deadline, or when this line is at its end.
        """
        more = True
        while True:
            end, crash = self.position(), self.crash(since)
            if crash is not None or not more:
                return crash
            try:
                more = self.wait(end, deadline)
            except HilagentError:
                more = False

    def expect_resets(self, *, expected: bool) -> None:
        """Say whether a bootloader's banner is news from here on; at first it is not."""
        with self._lock:
            self._resets_from = None if expected else self._tape.end

    def late_s(self, since_s: float) -> float:
        """Return the worst lateness of the reader's tick since a monotonic time.

        A line that was away counts: nobody could hear the board meanwhile.
        """
        now_s = self.clock.now_s()
        away_s = now_s - self._away_since_s if self._away_since_s is not None else 0.0
        return max(away_s, self._late.worst_s(since_s, now_s))

    @property
    def lost(self) -> HilagentError | None:
        """Why the reader ended, None while it reads."""
        return self._lost

    def close(self) -> None:
        """End the reader, close stream and files; what was received can still be read."""
        with self._lock:
            if self._closing:
                return
            self._closing = True
        os.write(self._wake_write, b"x")
        if self._timed is None:
            self._thread.join()
        elif self._lost is None:
            self._ended(LinkError("the console was closed"))
        self._stream.close()
        self._tape.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def __enter__(self) -> Console:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _until_news(self, deadline: Deadline) -> None:
        """Block until something may have come or the line is lost, at most to the deadline."""
        if self._timed is None:
            self._news.wait(deadline.left_s())
            return
        self._timed.until(deadline)
        try:
            self._listen()
        except HilagentError as error:
            self._ended(error)

    def _now_ns(self) -> int:
        return int(self.clock.now_s() * 1e9)

    def _read(self) -> None:
        lost: HilagentError = LinkError("the console was closed")
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(self._wake_read, selectors.EVENT_READ)
                heard = -1
                while not self._closing:
                    heard = _follow(selector, heard, self._stream.fileno())
                    selector.select(max(0.0, self._late.due_s - self.clock.now_s()))
                    self._late.tick(self.clock.now_s())
                    self._listen()
        except HilagentError as error:
            lost = error
        except Exception as error:  # whatever it is, nobody may wait for ever
            lost = AgentBug(f"the console's reader failed: {error!r}")
        self._ended(lost)

    def _ended(self, lost: HilagentError) -> None:
        with self._lock:
            self._note(self._watch.end())  # a last line without an end counts, too
            self._lost = lost
            self._late.due_s = float("inf")
            self._news.notify_all()
        self._report()

    def _listen(self) -> None:
        if not self._receive() and isinstance(self._stream, Returns):
            self._mind_the_line(self._stream.away_since_s)

    def _receive(self) -> bool:
        """Take what there is; return whether there was anything."""
        with self._reading:
            if chunk := self._stream.read():
                self._received(chunk)
            return bool(chunk)

    def _received(self, chunk: bytes) -> None:
        now_ns = self._now_ns()
        with self._lock:
            self._tape.received(chunk, now_ns)
            self._note(self._watch.feed(chunk))
            if self._tape.end > self._wanted:  # most bytes come alone: wake nobody too early
                self._wanted = sys.maxsize
                self._news.notify_all()
        self._report()

    def _note(self, crashes: list[Crash]) -> None:
        for crash in crashes:
            if not crash.fatal or (crash.kind is Kind.RESET and not self._is_news(crash)):
                continue
            if len(self._crashes) < _MAX_CRASHES:
                self._crashes.append(crash)

    def _report(self) -> None:
        """Tell of the incidents that are over, as many as a person would read."""
        for incident in self._watch.incidents()[: _MAX_CRASHES - self._incidents]:
            self._incidents += 1
            with suppress(HilagentError):  # a full disk is told to those who wait
                self._happened(incident)

    def _mind_the_line(self, since_s: float | None) -> None:
        """Note that the line went away, or that it is back and where bytes may be missing."""
        before_s, self._away_since_s = self._away_since_s, since_s
        if before_s == since_s:
            return
        now_s, at = self.clock.now_s(), f"at byte {self._tape.end} of its log"
        if since_s is not None:
            self._told(f"the console's adapter was unplugged, {at}")
            return
        assert before_s is not None
        self._late.note(now_s, now_s - before_s)
        with self._lock:
            self._tape.gap(self._now_ns())
            self._watch.cut()
        self._told(f"the console's adapter is back after {now_s - before_s:.1f} s:"
                   f" bytes may be missing {at}")  # fmt: skip

    def _is_news(self, reset: Crash) -> bool:
        return self._resets_from is not None and reset.start >= self._resets_from

    def _check_disk(self) -> None:
        if self._tape.broken is not None:
            reason = self._tape.broken.strerror
            raise HostError(f"the console's log can't be written: {reason}")

    def _until_writable(self, deadline: Deadline) -> None:
        if self._timed is not None:
            self._until_news(deadline.sooner(_BLOCKED_S))
            return
        poller = select.poll()
        if not (isinstance(self._stream, Pauses) and self._stream.paused):
            with suppress(OSError, ValueError):
                poller.register(self._stream.fileno(), select.POLLOUT)
        # In slices: the descriptor of a stream promises to become readable, no more.
        away = self._away_since_s is not None
        poller.poll(1000 * (_BLOCKED_S if away else min(deadline.left_s(), _BLOCKED_S)))


def _follow(selector: selectors.BaseSelector, heard: int, fd: int) -> int:
    """Have ``selector`` wait for ``fd`` instead of ``heard``; return it."""
    if fd != heard:
        selector.register(fd, selectors.EVENT_READ)
        if heard >= 0:
            selector.unregister(heard)
    return fd


__all__ = ["TICK_S", "Console"]
