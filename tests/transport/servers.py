# SPDX-License-Identifier: Apache-2.0
"""Real console servers with a pty behind them."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

import serial
import serial.rfc2217

from hilagent.clock import Deadline

_START_S = 20.0


class Server(NamedTuple):
    """A console server that runs.

    Attributes:
        far: the board's side of the port, a descriptor.
        breaks: the states that the break was set to, where the server tells.
    """

    host: str
    port: int
    far: int
    breaks: list[bool]


@contextlib.contextmanager
def ser2net(accepter: str = "telnet(rfc2217)", settings: str = "9600n81") -> Iterator[Server]:
    """Debian's ser2net; its port is closed when the ``with`` block is left."""
    far, near = os.openpty()
    tty.setraw(near)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = (
        f"connection: &c#  accepter: {accepter},tcp,127.0.0.1,{port}"
        f"#  connector: serialdev,{os.ttyname(near)},{settings},local"
    )
    child = subprocess.Popen(
        ["/usr/sbin/ser2net", "-n", "-u", "-Y", config], stderr=subprocess.DEVNULL
    )
    try:
        until_open(port)
        yield Server("127.0.0.1", port, far, [])
    finally:
        child.kill()
        child.wait()
        os.close(near)
        with contextlib.suppress(OSError):
            os.close(far)


def until_open(port: int) -> None:
    """Wait until somebody listens, by asking the kernel: to connect would take the port."""
    wanted, deadline = f"0100007F:{port:04X}", Deadline.after(_START_S)
    while not any(
        line.split()[1] == wanted and line.split()[3] == "0A"
        for line in Path("/proc/net/tcp").read_text().splitlines()
    ):
        assert not deadline.expired(), "ser2net does not listen"
        threading.Event().wait(0.01)


class _Told(serial.Serial):
    """A port whose breaks are remembered; a pty has neither those nor modem lines."""

    cts = dsr = ri = cd = False

    def __init__(self, path: str) -> None:
        self.breaks: list[bool] = []
        super().__init__(path, 9600, timeout=0)

    def _update_break_state(self) -> None:
        self.breaks.append(self.break_condition)


class _PortManager:
    """pyserial's own server, which leaves the sockets to us."""

    def __init__(self, port: _Told, client: socket.socket) -> None:
        self._port, self._client = port, client
        self._manager = serial.rfc2217.PortManager(port, self)  # type: ignore[arg-type]

    def write(self, data: bytes) -> None:
        """Send; the manager calls this."""
        self._client.sendall(data)

    def run(self) -> None:
        """Carry bytes until the client goes."""
        while True:
            ready, _, _ = select.select([self._port.fileno(), self._client.fileno()], [], [])
            if self._client.fileno() in ready:
                chunk = self._client.recv(65536)
                if not chunk:
                    return
                data = b"".join(self._manager.filter(chunk))
                while data:
                    data = data[self._port.write(data) or 0 :]
            if self._port.fileno() in ready:
                self._client.sendall(b"".join(self._manager.escape(self._port.read(4096))))


@contextlib.contextmanager
def pyserial() -> Iterator[Server]:
    """The server that pyserial brings, for one client."""
    far, near = os.openpty()
    tty.setraw(near)
    port = _Told(os.ttyname(near))
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError, serial.SerialException):
            client, _ = listener.accept()
            with client:
                _PortManager(port, client).run()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield Server("127.0.0.1", listener.getsockname()[1], far, port.breaks)
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        with contextlib.suppress(OSError):
            os.close(far)
        os.close(near)
        thread.join(_START_S)
        port.close()


Start = Callable[[], AbstractContextManager[Server]]
SERVERS: dict[str, Start] = {"ser2net": ser2net, "pyserial": pyserial}
