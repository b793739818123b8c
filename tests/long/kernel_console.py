# SPDX-License-Identifier: Apache-2.0
"""A kernel started by QEMU itself, and its console: no session, no firmware before it."""

from __future__ import annotations

import re
import select
from pathlib import Path

from hilagent.clock import Deadline
from tests.emulator import Emulator

_MACHINE = ("-M", "virt,virtualization=on", "-smp", "2", "-m", "1G", "-nic", "none")
_DEAD = re.compile(rb"end Kernel panic|nVHE hyp panic")
_TAIL = 2000


class Console(Emulator):
    """QEMU with its console on a socket. Each wait goes on behind what the last one found."""

    def __init__(self, folder: Path, image: Path, initrd: Path, cpu: str, cmdline: str) -> None:
        what = ("-kernel", image, "-initrd", initrd, "-append", cmdline, "-cpu", cpu)
        super().__init__(folder, *_MACHINE, "-no-reboot", *what)
        self._text, self._at = b"", 0

    def send(self, text: str) -> None:
        """Type ``text``."""
        self.serial.sendall(text.encode())

    def wait(self, pattern: bytes, deadline: Deadline) -> None:
        """Wait for ``pattern``; a panic, the end of QEMU and silence fail with the last words."""
        while not (found := re.search(pattern, self._text[self._at :])):
            dead = _DEAD.search(self._text[self._at :])
            ready, _, _ = select.select([self.serial], [], [], deadline.left_s())
            more = self.serial.recv(65536) if ready and not dead else b""
            assert more, f"no {pattern!r}: ...{self._text[-_TAIL:].decode(errors='replace')}"
            self._text += more
        self._at += found.end()
