# SPDX-License-Identifier: Apache-2.0
"""QEMU as tests start it themselves, with a serial line on a socket: no session around it."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

_START_S = 20.0


class Emulator:
    """A QEMU that runs until the ``with`` block is left; what speaks to it is made from it.

    Args:
        folder: for the socket.
        arguments: they choose the machine and what it starts.
        unused: how many serial lines come before ours.

    Attributes:
        serial: the serial line.
    """

    def __init__(self, folder: Path, *arguments: str | Path, unused: int = 0) -> None:
        path = folder / "serial"
        path.unlink(missing_ok=True)
        lines = ["-serial", "null"] * unused + ["-serial", f"unix:{path}"]
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
            server.listen(1)
            server.settimeout(_START_S)
            self._qemu = subprocess.Popen(
                ["qemu-system-aarch64", "-display", "none", "-monitor", "none", *arguments,
                 *lines],
                stdin=subprocess.DEVNULL,
            )  # fmt: skip
            self.serial = server.accept()[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self.end()

    def end(self) -> None:
        """Switch it off."""
        self._qemu.kill()
        self._qemu.wait()
        self.serial.close()

    def ended(self, seconds: float = _START_S) -> int:
        """Wait until QEMU ends by itself; return its exit status."""
        return self._qemu.wait(seconds)
