# SPDX-License-Identifier: Apache-2.0
"""Faults around a real line: a stream, a socket, a pty. One thread each.

::

    bad = Faults.spread(0.01, arm_after=b"HELLO")
    with FaultyStream(stream, to_host=bad, seed=7) as worse:
        console = Console(worse, ...)

    with faulty_pty(board.path, to_board=bad) as (path, proxy):
        serial.Serial(path)
        proxy.arm()

    with faulty_socket(("127.0.0.1", 2000), to_host=bad) as ((host, port), proxy):
        ...
"""

from __future__ import annotations

import contextlib
import math
import os
import selectors
import socket
import threading
import tty
from collections.abc import Iterator

from hilagent import errors
from hilagent.clock import SYSTEM
from hilagent.testing.faults import NONE, Faults, Injector
from hilagent.transport.base import FdStream, Stream

_LONGEST_S = 3600.0


class Proxy:
    """Carries bytes between two streams, through an injector each way.

    Args:
        host, board: the ends; both are closed when either ends.

    Attributes:
        to_board, to_host: the injectors; what they did is in ``done``.
    """

    def __init__(
        self,
        host: Stream,
        board: Stream,
        *,
        to_board: Faults = NONE,
        to_host: Faults = NONE,
        seed: int = 0,
    ) -> None:
        self.to_board = Injector(to_board, seed=seed * 2)
        self.to_host = Injector(to_host, seed=seed * 2 + 1)
        self._host, self._board = host, board
        self._unsent = {self.to_board: b"", self.to_host: b""}
        self._lock = threading.Lock()
        self._wake, self._waker = os.pipe()
        self._thread = threading.Thread(target=self._run, name="faulty line", daemon=True)
        self._thread.start()

    def arm(self) -> None:
        """Begin with the faults of both directions."""
        with self._lock:
            self.to_board.arm()
            self.to_host.arm()

    def close(self) -> None:
        """End it; harmless a second time."""
        with contextlib.suppress(OSError):
            os.write(self._waker, b"!")
        self._thread.join()
        for fd in (self._wake, self._waker):
            with contextlib.suppress(OSError):
                os.close(fd)
        self._wake = self._waker = -1

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector, contextlib.suppress(errors.LinkError):
            for source in (self._host, self._board):
                selector.register(source.fileno(), selectors.EVENT_READ)
            selector.register(self._wake, selectors.EVENT_READ)
            while self._turn(selector):
                pass
        self._host.close()
        self._board.close()

    def _turn(self, selector: selectors.BaseSelector) -> bool:
        with self._lock:
            self._pass(self.to_board, self._board, selector)
            self._pass(self.to_host, self._host, selector)
            if self.to_board.cut or self.to_host.cut:
                return False
            ready_s = min(self.to_board.ready_s, self.to_host.ready_s)
        wait_s = ready_s - SYSTEM.now_s()
        timeout = None if math.isinf(wait_s) else min(max(0.0, wait_s), _LONGEST_S)
        for key, _ in selector.select(timeout):
            if key.fd == self._wake:
                return False
            with self._lock:
                if key.fd == self._host.fileno() and key.events & selectors.EVENT_READ:
                    self.to_board.push(self._host.read())
                elif key.fd == self._board.fileno():
                    self.to_host.push(self._board.read())
        return True

    def _pass(self, injector: Injector, to: Stream, selector: selectors.BaseSelector) -> None:
        """Write what is due; where the far end takes no more, come back when it does."""
        data = self._unsent[injector] + injector.pull()
        while data:
            count = to.write(data)
            data = data[count:]
            if not count:
                break
        self._unsent[injector] = data
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if data else 0)
        selector.modify(to.fileno(), events)


class FaultyStream:
    """A `hilagent.transport.base.Stream` around another one, which it owns from then on."""

    def __init__(
        self,
        stream: Stream,
        *,
        to_board: Faults = NONE,
        to_host: Faults = NONE,
        seed: int = 0,
    ) -> None:
        near, far = socket.socketpair()
        self._near = FdStream(near.detach(), "a faulty line")
        host = FdStream(far.detach(), "a faulty line")
        self.proxy = Proxy(host, stream, to_board=to_board, to_host=to_host, seed=seed)

    def __enter__(self) -> FaultyStream:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def arm(self) -> None:
        """Begin with the faults."""
        self.proxy.arm()

    def fileno(self) -> int:
        return self._near.fileno()

    def read(self) -> bytes:
        return self._near.read()

    def write(self, data: bytes) -> int:
        return self._near.write(data)

    def close(self) -> None:
        self.proxy.close()
        self._near.close()


@contextlib.contextmanager
def faulty_pty(
    path: str, *, to_board: Faults = NONE, to_host: Faults = NONE, seed: int = 0
) -> Iterator[tuple[str, Proxy]]:
    """Put faults between a tty and whoever opens the pty whose path this gives."""
    far, near = os.openpty()
    tty.setraw(near)
    board = os.open(path, os.O_RDWR | os.O_NOCTTY)
    tty.setraw(board)
    proxy = Proxy(
        FdStream(far, "a pty"), FdStream(board, path),
        to_board=to_board, to_host=to_host, seed=seed,
    )  # fmt: skip
    try:
        yield os.ttyname(near), proxy
    finally:
        proxy.close()
        os.close(near)


@contextlib.contextmanager
def faulty_socket(
    address: tuple[str, int] | str,
    *,
    to_board: Faults = NONE,
    to_host: Faults = NONE,
    seed: int = 0,
) -> Iterator[tuple[tuple[str, int], SocketProxy]]:
    """Put faults between a TCP or unix socket and whoever connects to the address that
    this gives; one connection at a time, each with the next seed."""
    with SocketProxy(address, to_board, to_host, seed) as proxy:
        yield proxy.address, proxy


class SocketProxy:
    """Listens, and gives each connection a `Proxy`; see `faulty_socket`."""

    def __init__(
        self, to: tuple[str, int] | str, to_board: Faults, to_host: Faults, seed: int
    ) -> None:
        self._to, self._faults, self._seed = to, (to_board, to_host), seed
        self._proxies: list[Proxy] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._listener.getsockname()
        self._thread = threading.Thread(target=self._run, name="faulty socket", daemon=True)

    def __enter__(self) -> SocketProxy:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        for proxy in self._proxies:
            proxy.close()

    def arm(self) -> None:
        """Begin with the faults of the connections so far."""
        for proxy in self._proxies:
            proxy.arm()

    def _run(self) -> None:
        while True:
            try:
                host, _ = self._listener.accept()
            except OSError:
                return
            family = socket.AF_UNIX if isinstance(self._to, str) else socket.AF_INET
            board = socket.socket(family, socket.SOCK_STREAM)
            try:
                board.connect(self._to)
            except OSError:
                host.close()
                board.close()
                continue
            to_board, to_host = self._faults
            self._proxies.append(
                Proxy(
                    FdStream(host.detach(), "a faulty socket"),
                    FdStream(board.detach(), str(self._to)),
                    to_board=to_board,
                    to_host=to_host,
                    seed=self._seed + len(self._proxies),
                )
            )
