# SPDX-License-Identifier: Apache-2.0
"""A coordinator as this process knows it, and the place that it has there."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hilagent.clock import Deadline
from hilagent.errors import LabError
from hilagent.place.process import Helper, Said
from hilagent.text import scrub_line

ASK_S = 30.0
ACQUIRE_S = 120.0
"""An exporter has ten seconds for each resource, labgrid's own time-out."""
RELEASE_S = 30.0
PATIENCE_S = 2.0
"""How long after its console ended the coordinator may take to say why."""


@dataclass(frozen=True)
class Listed:
    """One place, as the coordinator lists it.

    Attributes:
        acquired: by whom, ``HOST/USER``; empty: by nobody.
    """

    name: str
    tags: Mapping[str, str]
    acquired: str

    @property
    def free(self) -> bool:
        """Whether nobody has it."""
        return not self.acquired


@dataclass(frozen=True)
class Reservation:
    """A turn in the coordinator's queue.

    Attributes:
        token: its name there.
        place: that is kept for us; empty: it isn't our turn yet.
        candidates: every place that would do.
    """

    token: str
    place: str
    candidates: Sequence[Listed]


@dataclass(frozen=True)
class Serial:
    """A place's serial port.

    Attributes:
        protocol: ``raw`` or ``rfc2217``.
    """

    host: str
    port: int
    protocol: str


class Place:
    """A place that this process has acquired.

    Args:
        told: hears, from a thread, that the coordinator went away or is back.

    Attributes:
        name: of the place; ``coordinator``: its address; ``exporters``: who have its
            resources.
    """

    def __init__(
        self, helper: Helper, name: str, said: Said, told: Callable[[str], object]
    ) -> None:
        self.name, self._helper, self._said, self._told = name, helper, said, told
        self.coordinator = helper.address
        self.exporters = tuple(scrub_line(str(each)) for each in said.get("exporters", ()))
        self._lost, self._away, self._is_lost = "", "", threading.Event()
        self._is_ours = True

    @property
    def lost(self) -> str:
        """Why it is lost: taken away, or its exporter is gone; empty while it is ours."""
        return self._lost

    def why(self) -> str:
        """Return why its console may have ended: waits a little for somebody to say it."""
        self._is_lost.wait(PATIENCE_S)
        kept = f"exporter {', '.join(self.exporters)} of place {self.name} still answers"
        return self._lost or self._away or kept

    def serial(self) -> Serial:
        """Return where its console is.

        Raises:
            LabError: it has none, or several.
        """
        said = self._part("serial")
        protocol = str(said.get("protocol"))
        if protocol not in {"raw", "rfc2217"}:
            raise LabError(f"place {self.name}: a serial port by {scrub_line(protocol)} is unknown")
        return Serial(str(said["host"]), int(said["port"]), protocol)

    def switch(self, verb: str, limit_s: float) -> bool | None:
        """Do ``verb``: on, off or get; return what ``get`` says, None where it says nothing.

        Raises:
            LabError: it has no switch, that fails, or the place isn't ours any more.
        """
        self._part("power")
        if not self._is_ours:
            hint = "whoever has it now switches it"
            raise LabError(f"power {verb}: {self._lost}: it was left as it is", hint=hint)
        state = self._helper.ask("power", Deadline.after(limit_s), verb=verb).get("state")
        return state if isinstance(state, bool) else None

    def hear(self, said: Said) -> None:
        """Take an event of the helper."""
        text = scrub_line(str(said.get("text", "")), limit=500)
        if said.get("event") == "lost":
            if not self._is_lost.is_set():
                self._is_ours = said.get("kind") in {"exporter", "bug"}
                self._lost = text
                self._is_lost.set()
        elif text:
            self._away = text if said.get("event") == "away" else ""
            with contextlib.suppress(LabError):  # a full disk is for somebody else to tell
                self._told(text)

    def release(self) -> None:
        """Give it back.

        Raises:
            LabError: the coordinator can't be told.
        """
        if self._is_ours:
            self._helper.ask("release", Deadline.after(RELEASE_S))

    def _part(self, name: str) -> Mapping[str, Any]:
        said = self._said.get(name)
        said = said if isinstance(said, dict) else {"error": "nothing"}
        if "error" in said:
            found = scrub_line(str(said["error"]), limit=500)
            raise LabError(f"place {self.name} has no {name} port to use: {found}")
        return said


class Coordinator:
    """One coordinator, while the ``with`` block of :meth:`at` lasts.

    Attributes:
        address: ``HOST:PORT``; ``name``: who acquires.
    """

    def __init__(self, helper: Helper, address: str) -> None:
        self._helper, self.address, self.name = helper, address, helper.name
        self._place: Place | None = None

    @classmethod
    @contextlib.contextmanager
    def at(cls, address: str) -> Iterator[Coordinator]:
        """Find the coordinator; in the end all that was taken is given back.

        Raises:
            LabError: it doesn't answer, or labgrid isn't there.
        """
        found: list[Coordinator] = []

        def heard(said: Said) -> None:
            for each in found:
                if each._place is not None:
                    each._place.hear(said)

        helper = Helper(address, heard)
        try:
            found.append(cls(helper, address))
            yield found[0]
        finally:
            helper.close()

    def places(self) -> list[Listed]:
        """Return all of its places."""
        return _listed(self._helper.ask("places", Deadline.after(ASK_S)))

    def acquire(self, name: str, told: Callable[[str], object]) -> Place:
        """Acquire a place.

        Raises:
            process.Refused: it is in use, or not there, or an exporter isn't.
        """
        said = self._helper.ask("acquire", Deadline.after(ACQUIRE_S), place=name)
        self._place = Place(self._helper, name, said, told)
        return self._place

    def reserve(self, tags: Mapping[str, str]) -> Reservation:
        """Queue for a place with ``tags``; the tag ``name`` is its name."""
        said = self._helper.ask("reserve", Deadline.after(ASK_S), tags=dict(tags))
        return _reservation(said)

    def poll(self, token: str) -> Reservation:
        """Return how far a reservation has got; one that isn't polled ends in a minute."""
        return _reservation(self._helper.ask("poll", Deadline.after(ASK_S), token=token))

    def cancel(self, token: str) -> None:
        """Leave the queue, or give up the place that is kept and not yet acquired."""
        self._helper.ask("cancel", Deadline.after(ASK_S), token=token)


def _listed(said: Said) -> list[Listed]:
    def text(value: object) -> str:
        return scrub_line(str(value or ""))

    return [
        Listed(text(each["name"]), {text(k): text(v) for k, v in each["tags"].items()},
               text(each["acquired"]))
        for each in said["places"]
    ]  # fmt: skip


def _reservation(said: Said) -> Reservation:
    return Reservation(str(said["token"]), str(said["place"] or ""), _listed(said))
