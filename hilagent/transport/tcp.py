# SPDX-License-Identifier: Apache-2.0
"""A raw TCP port of a console server (ser2net's ``raw``, a terminal server).

::

    console: {kind: tcp, host: lab7, port: 4001}

The socket is ours and read in large pieces: pyserial's ``socket://`` reads a
byte at a time. Keep-alive probes find a console server that died without a word.
"""

from __future__ import annotations

import socket

from hilagent.errors import LabError
from hilagent.transport.base import FdStream

CONNECT_S = 10.0
_KEEPALIVE = (
    (socket.TCP_KEEPIDLE, 10),
    (socket.TCP_KEEPINTVL, 5),
    (socket.TCP_KEEPCNT, 3),
    (socket.TCP_USER_TIMEOUT, 25_000),  # ms, for data that nobody acknowledges
)


def connect(host: str, port: int, *, connect_s: float = CONNECT_S) -> FdStream:
    """Connect to a raw console port; raises LabError."""
    return FdStream(dial(host, port, "raw", connect_s).detach(), f"{host}:{port}")


def dial(host: str, port: int, kind: str, connect_s: float) -> socket.socket:
    """Return a socket connected to a console port; raises LabError.

    Args:
        kind: of the port, for a hint.
    """
    try:
        sock = socket.create_connection((host, port), timeout=connect_s)
    except OSError as error:
        raise LabError(
            f"can't connect to the console at {host}:{port}: {error.strerror or error}",
            hint=f"is the console server running, and is this its {kind} port?",
        ) from error
    tune(sock)
    return sock


def tune(sock: socket.socket) -> None:
    """Send at once what is written, and find out when the other side died without a word."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEPALIVE:
        sock.setsockopt(socket.IPPROTO_TCP, option, value)
