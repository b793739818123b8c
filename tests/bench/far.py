# SPDX-License-Identifier: Apache-2.0
"""A talkative far end for consoles, in a process of its own, and what is measured with it.

At the first byte it says a mebibyte of lines and a sentinel; then it is an echo.
"""

from __future__ import annotations

import contextlib
import os
import socket
import statistics
import subprocess
import sys
import time
import tty
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

SIZE = 1 << 20
SENTINEL = b"\nthat was all of it\n"
_FAR = """
import os, socket, sys
far, size, sentinel = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3].encode()
if sys.argv[4:] == ["tcp"]:
    peer = socket.socket(fileno=far).accept()[0]
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    far = peer.fileno()
text = (b"[    1.234567] what a kernel prints while it comes up, on and on\\r\\n" * 20000)[:size]
os.read(far, 1)
text = memoryview(text + sentinel)
while text:
    text = text[os.write(far, text):]
while heard := os.read(far, 4096):
    os.write(far, heard)
"""


@contextlib.contextmanager
def _speaking(far: int, size: int, *how: str) -> Iterator[None]:
    argv = [sys.executable, "-I", "-S", "-c", _FAR, str(far), str(size), SENTINEL.decode(), *how]
    child = subprocess.Popen(argv, pass_fds=[far])
    os.close(far)
    try:
        yield
    finally:
        child.kill()
        child.wait()


@contextlib.contextmanager
def pty(size: int = SIZE) -> Iterator[str]:
    """Yield the path of a raw pty on which ``size`` bytes are said."""
    far, near = os.openpty()
    tty.setraw(near)
    try:
        with _speaking(far, size):
            yield os.ttyname(near)
    finally:
        os.close(near)


@contextlib.contextmanager
def tcp(size: int = SIZE) -> Iterator[tuple[str, int]]:
    """Yield host and port of a raw console server on which ``size`` bytes are said."""
    server = socket.create_server(("127.0.0.1", 0))
    host, port = server.getsockname()
    with _speaking(server.detach(), size, "tcp"):
        yield host, port


class Took(NamedTuple):
    """What was measured on one line.

    Attributes:
        drain_s: from the first word to the sentinel's match.
        trips_s: of a line that was written until its echo was matched, each.
    """

    drain_s: float
    trips_s: list[float]


def took(write: Callable[[bytes], object], until: Callable[[bytes], object], trips: int) -> Took:
    """Measure a console by how it writes and how it waits for a pattern without specials."""
    began = time.perf_counter()
    write(b"!")
    until(SENTINEL)
    drained = time.perf_counter()
    spent = []
    for number in range(trips):
        sent = time.perf_counter()
        write(b"line %06d\n" % number)
        until(b"line %06d\n" % number)
        spent.append(time.perf_counter() - sent)
    return Took(drained - began, spent)


def best_s(many: Sequence[Took]) -> float:
    """Return the best drain, in seconds: a neighbour's load only ever adds."""
    return min(each.drain_s for each in many)


def trip_ms(many: Sequence[Took]) -> float:
    """Return the best median round trip of a line, in milliseconds."""
    return min(statistics.median(each.trips_s) for each in many) * 1000
