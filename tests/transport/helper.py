# SPDX-License-Identifier: Apache-2.0
"""What the tests of streams and of SSH share."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import tty
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import cast

from hilagent import transport
from hilagent.board.model import Console
from hilagent.clock import Deadline
from hilagent.transport.base import Returns, Stream
from hilagent.transport.labgrid import Place
from tests.transport import servers
from tests.transport.cable import Cable


def soon(seconds: float = 20) -> Deadline:
    """Return a deadline that is far enough for what works."""
    return Deadline.after(seconds)


@dataclass
class Ends:
    """A stream under test, and the far end of it as a descriptor."""

    stream: Stream
    far: int

    def hang_up(self) -> None:
        """End the line at the far end."""
        far, self.far = self.far, -1
        os.close(far)


class FakeEmulator:
    """Stands in for a power back-end that runs an emulator."""

    def __init__(self) -> None:
        self.near, self.far = socket.socketpair()
        self.breaks = 0

    def console(self) -> socket.socket:
        return self.near.dup()

    def epitaph(self) -> str:
        return "QEMU was killed by signal 9 by itself"

    def send_break(self) -> None:
        self.breaks += 1


@contextlib.contextmanager
def _between(stream: Stream, far: int) -> Iterator[Ends]:
    ends = Ends(stream, far)
    try:
        yield ends
    finally:
        stream.close()
        if ends.far >= 0:
            ends.hang_up()


@contextlib.contextmanager
def serial() -> Iterator[Ends]:
    """A pty as a serial port that is not waited for."""
    far, near = os.openpty()
    tty.setraw(near)
    stream = transport.open(Console(kind="serial", path=os.ttyname(near), replug_s=0))
    os.close(near)
    with _between(stream, far) as ends:
        yield ends


@contextlib.contextmanager
def replugged() -> Iterator[Ends]:
    """A serial port that was unplugged and came back, and will not be for long."""
    with Cable() as cable:
        stream = transport.open(Console(kind="serial", path=str(cable.path), replug_s=0.3))
        cable.unplug()
        assert readable(stream)
        assert stream.read() == b""
        far = cable.plug()
        while cast(Returns, stream).away_since_s is not None:
            assert readable(stream)
            assert stream.read() == b""
        with _between(stream, os.dup(far)) as ends:
            cable.let_go()
            yield ends


@contextlib.contextmanager
def tcp() -> Iterator[Ends]:
    """A raw TCP port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()
        stream = transport.open(Console(kind="tcp", host=host, port=port))
        far = server.accept()[0].detach()
    with _between(stream, far) as ends:
        yield ends


class FakePlace(Place):
    """A place that nobody takes away until a test says so."""

    def __init__(self) -> None:
        self.gone = ""

    @property
    def lost(self) -> str:
        return self.gone

    def why(self) -> str:
        return self.gone or "exporter east of place a keeps the port"


@contextlib.contextmanager
def labgrid(server: servers.Start | None = None) -> Iterator[Ends]:
    """The port of a place: raw, or that of a console server."""
    with contextlib.ExitStack() as stack:
        if server is None:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            host, port = listener.getsockname()
            stream = transport.open(Console(kind="tcp", host=host, port=port), None, FakePlace())
            far = listener.accept()[0].detach()
        else:
            it = stack.enter_context(server())
            there = Console(kind="rfc2217", host=it.host, port=it.port)
            stream, far = transport.open(there, None, FakePlace()), it.far
        yield stack.enter_context(_between(stream, far))


@contextlib.contextmanager
def qemu() -> Iterator[Ends]:
    """What an emulator gives."""
    emulator = FakeEmulator()
    stream = transport.open(Console(kind="qemu"), emulator)
    emulator.near.close()
    with _between(stream, emulator.far.detach()) as ends:
        yield ends


@contextlib.contextmanager
def rfc2217(server: servers.Start) -> Iterator[Ends]:
    """A pty behind a console server."""
    with server() as it:
        stream = transport.open(Console(kind="rfc2217", host=it.host, port=it.port))
        with _between(stream, it.far) as ends:
            yield ends


@contextlib.contextmanager
def command() -> Iterator[Ends]:
    """The terminal of a socat that is connected to us."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()
        argv = ("socat", "-t0.1", "-", f"TCP:{host}:{port}")
        stream = transport.open(Console(kind="command", argv=argv))
        far = server.accept()[0].detach()
    with _between(stream, far) as ends:
        yield ends


Kind = Callable[[], AbstractContextManager[Ends]]
KINDS: dict[str, Kind] = {
    "serial": serial,
    "replugged": replugged,
    "tcp": tcp,
    "qemu": qemu,
    "ser2net": partial(rfc2217, servers.ser2net),
    "command": command,
    "pyserial": partial(rfc2217, servers.pyserial),
    "labgrid": labgrid,
    "labgrid-rfc2217": partial(labgrid, servers.ser2net),
}


def readable(stream: Stream, seconds: float = 5.0) -> bool:
    """Return whether there is something to read, as a user of a stream finds out."""
    return bool(select.select([stream.fileno()], [], [], seconds)[0])


def receive(stream: Stream, size: int) -> bytes:
    """Return the next ``size`` bytes."""
    data = b""
    while len(data) < size:
        assert readable(stream), f"only {len(data)} of {size} bytes came"
        data += stream.read()
    return data


def send(stream: Stream, data: bytes) -> None:
    """Write all of ``data``."""
    deadline = Deadline.after(10)
    while data:
        data = data[stream.write(data) :]
        select.select([], [stream.fileno()], [], deadline.left_s())


def heard(far: int, size: int) -> bytes:
    """Return the next ``size`` bytes that come out at the far end."""
    data = b""
    while len(data) < size:
        data += os.read(far, size - len(data))
    return data
