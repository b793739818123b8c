# SPDX-License-Identifier: Apache-2.0
"""A console whose far end is in the hands of the test."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from hilagent.console import Console
from hilagent.console.tape import KEEP_BYTES
from hilagent.console.watch import Incident
from hilagent.transport.base import FdStream


class FarEnd:
    """A console, and a socket that says what the board says.

    Attributes:
        incidents: that are over.
    """

    def __init__(self, folder: Path | None = None, keep_bytes: int = KEEP_BYTES) -> None:
        near, self.far = socket.socketpair()
        self.incidents: list[Incident] = []
        self.console = Console(
            FdStream(near.detach(), "under test"), folder, keep_bytes=keep_bytes,
            happened=self.incidents.append,
        )  # fmt: skip

    def say(self, data: bytes) -> None:
        """Let the board print something."""
        self.far.sendall(data)

    def say_slowly(self, data: bytes) -> None:
        """Let the board print something, each byte for itself."""
        for byte in data:
            self.say(bytes([byte]))

    def heard(self, size: int) -> bytes:
        """Return the next ``size`` bytes that the board was sent."""
        self.far.settimeout(5)
        data = b""
        while len(data) < size:
            data += self.far.recv(size - len(data))
        return data

    def close(self) -> None:
        """Close both ends."""
        self.console.close()
        self.far.close()

    def __enter__(self) -> FarEnd:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def open_files() -> int:
    """Return how many descriptors this process has open."""
    return len(os.listdir("/proc/self/fd"))
