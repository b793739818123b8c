# SPDX-License-Identifier: Apache-2.0
"""How a board is switched; a part of :mod:`hilagent.board.model`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from hilagent.board.console import Command, Seconds
from hilagent.board.hardware import STRICT, Text
from hilagent.limits import Between, Matches

_FIELDS = {
    "qemu": frozenset[str](),
    "manual": frozenset[str](),
    "labgrid": frozenset[str](),
    "recorded": frozenset[str](),
    "command": frozenset({"on", "off", "cycle", "state"}),
    "http": frozenset({"device", "url", "outlet", "pdu", "user", "password_file"}),
}
_NEEDED = {"command": ("on", "off"), "http": ("device", "url", "outlet")}


@dataclass(frozen=True)
class Power:
    """How the board is switched.

    Attributes:
        kind: ``qemu`` (start and end the emulator), ``command``, ``http`` (a switch on the
            network), ``labgrid`` (the place's), ``manual`` (a person at the terminal; not for
            CI) or ``recorded``
            (nothing is switched: ``hilagent run recorded:RUN``).
        on, off, cycle, state: argv lists of ``command``; without ``cycle`` it is
            off, ``off_s`` seconds, on. ``state`` exits 0 for on and 1 for off.
        device: what speaks HTTP: ``tasmota``, ``shelly1`` and ``shelly2`` (by generation;
            Plus, Pro and later are ``shelly2``) or ``pdudaemon``.
        url: of the device, e.g. ``http://192.0.2.40``.
        outlet: its number as the device counts: Tasmota from 1, Shelly from 0.
        pdu: of ``pdudaemon``: the name of the PDU in its configuration.
        user, password_file: of a ``tasmota`` or ``shelly1`` that asks for them; the file
            holds the password alone.
        off_s: how long the board stays off, for its capacitors.
        timeout_s: for one command or request; default 30, for a person 300.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    kind: Literal["qemu", "command", "http", "labgrid", "manual", "recorded"]
    on: Command | None = None
    off: Command | None = None
    cycle: Command | None = None
    state: Command | None = None
    device: Literal["tasmota", "shelly1", "shelly2", "pdudaemon"] | None = None
    url: (
        Annotated[str, Matches(r"https?://[A-Za-z0-9.:\[\]-]{1,200}/?", "http://HOST[:PORT]")]
        | None
    ) = None
    outlet: Annotated[int, Between(0, 1000)] | None = None
    pdu: Annotated[str, Matches(r"[A-Za-z0-9._-]{1,100}", "the name of a PDU")] | None = None
    user: Text | None = None
    password_file: Text | None = None
    off_s: Seconds = 2.0
    timeout_s: Seconds | None = None

    def __post_init__(self) -> None:
        if self.kind == "command" and not (self.on and self.off):
            raise ValueError("power by command needs 'on' and 'off'")
        if self.kind == "qemu" and (self.on or self.off or self.cycle or self.state):
            raise ValueError("power by qemu has no commands")
        for name in sorted(frozenset[str]().union(*_FIELDS.values()) - _FIELDS[self.kind]):
            if getattr(self, name) is not None:
                raise ValueError(f"power by {self.kind} has no '{name}'")
        for name in _NEEDED.get(self.kind, ()):
            if getattr(self, name) is None:
                raise ValueError(f"power by {self.kind} needs '{name}'")
        if (self.device == "pdudaemon") != (self.pdu is not None):
            raise ValueError("'pdu' belongs to device pdudaemon, and it needs one")
        if (self.user is None) != (self.password_file is None):
            raise ValueError("'user' and 'password_file' need each other")
        if self.user is not None and self.device not in {"tasmota", "shelly1"}:
            raise ValueError(
                f"no password can be given to {self.device} yet: keep it on the lab's own network"
            )
        if self.device == "tasmota" and self.outlet == 0:
            raise ValueError("outlet 0 of a tasmota is all of them; they begin at 1")

    @property
    def limit_s(self) -> float:
        """``timeout_s``, or what is usual for the kind."""
        return self.timeout_s or (300.0 if self.kind == "manual" else 30.0)
