# SPDX-License-Identifier: Apache-2.0
"""A scripted board is a machine: bytes in, bytes out, and a clock. Three ways to run one:

* `MachineLine`: in memory, on a `ManualClock`; no thread, no waiting, repeatable;
* `MachineStream`: in memory too, as a `hilagent.transport.base.Stream`;
* `PtyBoard`: on a pty, in a thread, for whole programs.
"""

from __future__ import annotations

import contextlib
import math
import os
import selectors
import socket
import threading
import tty
from collections.abc import Callable, Iterator
from typing import Protocol

from hilagent import errors
from hilagent.clock import SYSTEM, Deadline
from hilagent.testing.clock import ManualClock
from hilagent.testing.faults import NONE, Faults, Injector
from hilagent.transport.base import Stream

_CHUNK = 4096
_LONGEST_S = 3600.0


class Machine(Protocol):
    """Something at the far end of a console. Pure: no thread, no file."""

    def feed(self, data: bytes) -> bytes:
        """Take bytes from the host, return what is said at once."""
        ...

    def tick(self) -> bytes:
        """Return what is said by now, unasked."""
        ...

    def next_s(self) -> float:
        """When `tick` will have something, by the machine's clock; infinite for never."""
        ...


class MachineLine:
    """A `hilagent.payload.ByteLine` to a machine, on a clock that nobody waits for.

    ::

        clock = ManualClock()
        line = MachineLine(PayloadTwin(clock=clock), clock, to_host=Faults.spread(0.01))
        payload = connect(line, run_id=1, deadline=Deadline.after(20, clock))

    Args:
        to_board, to_host: faults of the two directions.
        latency_s: of each exchange, so that time passes.
    """

    def __init__(
        self,
        machine: Machine,
        clock: ManualClock,
        *,
        to_board: Faults = NONE,
        to_host: Faults = NONE,
        seed: int = 0,
        latency_s: float = 0.001,
    ) -> None:
        self.machine, self.clock = machine, clock
        self.to_board = Injector(to_board, seed=seed * 2, clock=clock)
        self.to_host = Injector(to_host, seed=seed * 2 + 1, clock=clock)
        self.ended = False
        self.sent = 0
        self._latency_s = latency_s

    def arm(self) -> None:
        """Begin with the faults of both directions."""
        self.to_board.arm()
        self.to_host.arm()

    def write(self, data: bytes, deadline: Deadline) -> None:
        """Send ``data`` to the machine."""
        self._check()
        self.sent += len(data)
        self.to_board.push(data)
        self._deliver()

    def read(self, deadline: Deadline) -> bytes:
        """Return what is there, moving the clock to when something is; b"" at the deadline."""
        self.clock.advance(self._latency_s)
        while True:
            self._deliver()
            self.to_host.push(self.machine.tick())
            data = self.to_host.pull()
            if data:
                return data
            self._check()
            wake_s = min(self.machine.next_s(), self.to_host.ready_s, self.to_board.ready_s)
            if wake_s > deadline.at_s or deadline.expired():
                self.clock.advance_to(deadline.at_s)
                return b""
            self.clock.advance_to(wake_s + 1e-9)

    def _deliver(self) -> None:
        self.to_host.push(self.machine.feed(self.to_board.pull()))

    def _check(self) -> None:
        if self.ended or self.to_board.cut or self.to_host.cut:
            raise errors.LinkError("the line to the scripted board ended")


class MachineStream:
    """The same as a non-blocking `hilagent.transport.base.Stream`.

    ``fileno`` is readable after something was said in answer to a write, or once
    `poll` has looked at the machine's clock.
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self._out = b""
        self._near, self._far = socket.socketpair()
        self.poll()

    def fileno(self) -> int:
        return self._near.fileno()

    def poll(self) -> None:
        """Take what the machine says by now."""
        self._say(self.machine.tick())

    def read(self) -> bytes:
        self.poll()
        data, self._out = self._out, b""
        if data:
            self._near.recv(_CHUNK)
        return data

    def write(self, data: bytes) -> int:
        self._say(self.machine.feed(data))
        return len(data)

    def close(self) -> None:
        self._near.close()
        self._far.close()

    def _say(self, data: bytes) -> None:
        if data and not self._out:
            self._far.send(b"!")
        self._out += data


class StreamLine:
    """A `hilagent.payload.ByteLine` straight over a stream: without a console, its log
    and its reader."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream

    def write(self, data: bytes, deadline: Deadline) -> None:
        """Send all of ``data``."""
        with selectors.DefaultSelector() as selector:
            selector.register(self.stream.fileno(), selectors.EVENT_WRITE)
            while data:
                if not selector.select(deadline.left_s()):
                    raise errors.LinkStuck(f"{len(data)} bytes were not taken in time")
                data = data[self.stream.write(data) :]

    def read(self, deadline: Deadline) -> bytes:
        """Return the next bytes; b"" at the deadline."""
        with selectors.DefaultSelector() as selector:
            selector.register(self.stream.fileno(), selectors.EVENT_READ)
            return self.stream.read() if selector.select(deadline.left_s()) else b""


class PtyBoard:
    """Runs a machine on a pty, in a thread, in real time::

        with PtyBoard(ScriptedBoard()) as board:
            serial.Serial(board.path)

    Attributes:
        path: of the pty to open.
        error: what ended the thread, where something did.
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.error: BaseException | None = None
        self._far, near = os.openpty()
        tty.setraw(near)
        self.path = os.ttyname(near)
        self._near = near  # kept open: the line does not hang up between two users
        self._wake, self._waker = os.pipe()
        self._thread = threading.Thread(target=self._run, name=f"board {self.path}", daemon=True)
        self._lock = threading.Lock()

    def __enter__(self) -> PtyBoard:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        os.write(self._waker, b"!")
        self._thread.join()
        for fd in (self._far, self._near, self._wake, self._waker):
            os.close(fd)
        if self.error is not None:
            raise self.error

    def change(self, what: Callable[[], None]) -> None:
        """Do something to the machine while it runs, e.g. switch it on."""
        with self._lock:
            what()
        os.write(self._waker, b"?")

    def _run(self) -> None:
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(self._far, selectors.EVENT_READ)
                selector.register(self._wake, selectors.EVENT_READ)
                while self._turn(selector):
                    pass
        except BaseException as error:  # handed to whoever ends the board
            self.error = error

    def _turn(self, selector: selectors.BaseSelector) -> bool:
        with self._lock:
            self._say(self.machine.tick())
            wait_s = self.machine.next_s() - SYSTEM.now_s()
        timeout = None if math.isinf(wait_s) else min(max(0.0, wait_s), _LONGEST_S)
        for key, _ in selector.select(timeout):
            if key.fd == self._wake:
                if os.read(self._wake, 1) == b"!":
                    return False
                continue
            data = os.read(self._far, _CHUNK)
            with self._lock:
                self._say(self.machine.feed(data))
        return True

    def _say(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._far, data) :]


@contextlib.contextmanager
def on_pty(machine: Machine) -> Iterator[str]:
    """Run a machine on a pty for the length of a ``with``; gives the pty's path."""
    with PtyBoard(machine) as board:
        yield board.path
