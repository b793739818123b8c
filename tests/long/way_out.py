# SPDX-License-Identifier: Apache-2.0
"""An HTTP proxy in a network namespace that has nothing but its loopback.

apt and pip in there reach what this host reaches; nothing of this host's network is changed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

PORT = 3128
_NEW_NET = 0x40000000  # CLONE_NEWNET of sched.h
_HEAD = 1 << 16


@contextlib.contextmanager
def proxy(namespace: Path) -> Iterator[str]:
    """Serve at the loopback of ``namespace`` (``/proc/PID/ns/net``); give the address."""
    with _listening(namespace) as listener:
        threading.Thread(target=_serve, args=(listener,), name="way out", daemon=True).start()
        try:
            yield f"http://127.0.0.1:{PORT}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)


def _listening(namespace: Path) -> socket.socket:
    """Return a socket of that namespace: the thread that enters it ends there."""
    made: list[socket.socket] = []

    def enter() -> None:
        fd = os.open(namespace, os.O_RDONLY)
        if ctypes.CDLL(None, use_errno=True).setns(fd, _NEW_NET) == 0:
            made.append(socket.create_server(("127.0.0.1", PORT)))
        os.close(fd)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    return made[0]


def _serve(listener: socket.socket) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_one, args=(client,), daemon=True).start()


def _one(client: socket.socket) -> None:
    """One request: a tunnel, or a plain one after which the connection ends."""
    with client, contextlib.suppress(OSError, ValueError):
        head = b""
        while b"\r\n\r\n" not in head and len(head) < _HEAD and (got := client.recv(4096)):
            head += got
        verb, target, _ = head.split(b"\r\n", 1)[0].decode().split()
        url = urlsplit(target if verb != "CONNECT" else f"//{target}")
        with socket.create_connection((url.hostname, url.port or 80), timeout=60) as server:
            server.settimeout(None)
            if verb == "CONNECT":
                client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            else:
                server.sendall(_plain(head, target.split(url.netloc, 1)[1] or "/"))
            back = threading.Thread(target=_pour, args=(client, server), daemon=True)
            back.start()
            _pour(server, client)


def _plain(head: bytes, path: str) -> bytes:
    """Return the request as the server itself wants it, and only this one."""
    first, *fields = head.split(b"\r\n\r\n", 1)[0].split(b"\r\n")
    kept = [field for field in fields if b"connection:" not in field.lower()]
    verb = first.split()[0]
    return b"\r\n".join(
        [verb + b" " + path.encode() + b" HTTP/1.1", *kept, b"Connection: close"]
    ) + (b"\r\n\r\n")


def _pour(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while got := source.recv(1 << 16):
            sink.sendall(got)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
