# SPDX-License-Identifier: Apache-2.0
"""A line of QMP, QEMU's monitor protocol: one JSON object a line, each way.

Ours rather than the ``qemu.qmp`` package: that one is asyncio throughout, so it
would bring an event loop in a thread of its own for the one question that is
asked here, and what is asked is a request and a reply that carries its id.
Not thread-safe; the owner serialises.
"""

from __future__ import annotations

import itertools
import json
import socket
from collections.abc import Iterator
from typing import Any

from hilagent.clock import Deadline
from hilagent.errors import LabError

_MAX_LINE = 1 << 20


class Qmp:
    """A monitor connection over a connected socket that it owns."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._pending = b""
        self._ids = itertools.count(1)

    def greet(self, deadline: Deadline) -> None:
        """Wait for QEMU's greeting and leave negotiation mode."""
        for message in self._messages(deadline):
            if "QMP" in message:
                break
        self.execute("qmp_capabilities", deadline)

    def execute(self, command: str, deadline: Deadline, **arguments: Any) -> Any:
        """Return what ``command`` returns.

        Replies of earlier commands that came too late are dropped by their id.
        Raises LabError: refused, unanswered by the deadline, or QEMU is gone.
        """
        number = next(self._ids)
        request = {"execute": command, "arguments": arguments, "id": number}
        self._send(json.dumps(request).encode() + b"\n", deadline)
        for message in self._messages(deadline):
            if message.get("id") != number:
                continue
            if "error" in message:
                reason = str(message["error"].get("desc", "no reason given"))
                raise LabError(f"QEMU refused {command}: {reason}")
            return message.get("return")
        raise AssertionError("unreachable")  # _messages ends by raising

    def close(self) -> None:
        """Close the connection."""
        self._sock.close()

    def _send(self, line: bytes, deadline: Deadline) -> None:
        self._sock.settimeout(max(deadline.left_s(), 0.001))
        try:
            self._sock.sendall(line)
        except OSError as error:
            raise LabError(f"QEMU's monitor doesn't take commands: {error}") from error

    def _messages(self, deadline: Deadline) -> Iterator[dict[str, Any]]:
        while True:
            line, newline, rest = self._pending.partition(b"\n")
            if not newline:
                self._pending += self._receive(deadline)
                continue
            self._pending = rest
            try:
                message = json.loads(line)
            except ValueError as error:
                raise LabError("QEMU's monitor doesn't speak JSON") from error
            if isinstance(message, dict):
                yield message

    def _receive(self, deadline: Deadline) -> bytes:
        self._sock.settimeout(max(deadline.left_s(), 0.001))
        try:
            chunk = self._sock.recv(65536)
        except TimeoutError as error:
            message = f"QEMU's monitor didn't answer within {deadline.budget_s:g} s"
            raise LabError(message) from error
        except OSError as error:
            raise LabError(f"QEMU's monitor is gone: {error}") from error
        if not chunk or len(self._pending) > _MAX_LINE:
            raise LabError("QEMU's monitor is gone")
        return chunk
