# SPDX-License-Identifier: Apache-2.0
"""A console that belongs to a place of a labgrid coordinator.

::

    place: {name: rock-a, coordinator: lab7}
    console: {kind: labgrid}

It is a ``tcp`` or ``rfc2217`` console once the place is ours, and its bytes come straight
from the exporter's port. It ends when the place does: whoever has the place then has the
port, too.
"""

from __future__ import annotations

from typing import Protocol

from hilagent.errors import LinkError, Unsupported
from hilagent.transport.base import Breaks, Pauses, Stream


class Place(Protocol):
    """What a stream must know of it."""

    @property
    def lost(self) -> str:
        """Why it isn't ours any more; empty while it is."""
        ...

    def why(self) -> str:
        """Return why its console may have ended; may wait for somebody to say so."""
        ...


class PlaceStream:
    """``stream``, until ``place`` is lost."""

    def __init__(self, stream: Stream, place: Place) -> None:
        self._stream, self._place = stream, place

    def fileno(self) -> int:
        return self._stream.fileno()

    def read(self) -> bytes:
        if why := self._place.lost:
            raise LinkError(f"the console ended: {why}")
        try:
            return self._stream.read()
        except LinkError as exc:
            raise LinkError(f"{exc.message} ({self._place.why()})", hint=exc.hint) from exc

    def write(self, data: bytes) -> int:
        if why := self._place.lost:
            raise LinkError(f"the console ended: {why}")
        return self._stream.write(data)

    def close(self) -> None:
        self._stream.close()

    @property
    def paused(self) -> bool:
        """Whether the server has said that it takes nothing at present."""
        return isinstance(self._stream, Pauses) and self._stream.paused

    def send_break(self) -> None:
        """Send a break, where the exporter's port can."""
        if not isinstance(self._stream, Breaks):
            raise Unsupported("this console can't send a break: its line carries bytes only")
        self._stream.send_break()
