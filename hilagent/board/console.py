# SPDX-License-Identifier: Apache-2.0
"""How a board's console is reached; a part of :mod:`hilagent.board.model`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from hilagent.board.hardware import STRICT, Text, Uart
from hilagent.limits import Between, Length, NoPassword

Command = Annotated[tuple[Text, ...], Length(1, 64), NoPassword()]
Seconds = Annotated[float, Between(0.1, 3600)]
Port = Annotated[int, Between(1, 65535)]

_NEEDS = {
    "serial": ("path",),
    "tcp": ("host", "port"),
    "rfc2217": ("host", "port"),
    "command": ("argv",),
    "recorded": ("path",),
    "qemu": (),
    "labgrid": (),
    "none": (),
}


@dataclass(frozen=True)
class Console:
    """How the board's console is reached.

    Attributes:
        kind: ``qemu`` (the emulator's own socket), ``serial``, ``tcp`` (raw), ``rfc2217``
            (a console server that is told the baud rate), ``command`` (a program's
            terminal), ``labgrid`` (the place's), ``none`` (nobody has a line to it: all goes over
            SSH) or ``recorded`` (a run's, by ``hilagent run recorded:RUN`` alone).
        path: of the serial device, better ``/dev/serial/by-path/...`` than ttyUSB0; or of
            the recorded run.
        baud: of the serial device or of the server's port, 8N1.
        replug_s: how long an unplugged serial adapter is waited for; 0: not at all.
        host, port: of ``tcp`` and ``rfc2217``.
        argv: of ``command``: the program and its arguments.
        uart: which one of the board it is.
        fifo_bytes: of the board's UART; a write to U-Boot is never longer
            without waiting for its echo.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    kind: Literal["qemu", "serial", "tcp", "rfc2217", "command", "labgrid", "none", "recorded"]
    path: Text | None = None
    baud: Annotated[int, Between(1200, 4_000_000)] = 115200
    replug_s: Annotated[float, Between(0, 600)] = 10.0
    host: Text | None = None
    port: Port | None = None
    argv: Command | None = None
    uart: Uart | None = None
    fifo_bytes: Annotated[int, Between(1, 256)] = 16

    def __post_init__(self) -> None:
        needs = _NEEDS[self.kind]
        for name in ("path", "host", "port", "argv"):
            if (getattr(self, name) is not None) != (name in needs):
                raise ValueError(
                    f"a {self.kind} console {'needs' if name in needs else 'has no'} '{name}'"
                )
