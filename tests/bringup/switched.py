# SPDX-License-Identifier: Apache-2.0
"""A QEMU with U-Boot, described nowhere: its console on a port, and power by a program."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_START_S = 20.0
SWITCH = """\
import json, socket, sys
with socket.socket(socket.AF_UNIX) as line:
    line.connect({path!r})
    said = line.makefile()
    said.readline()
    for name in ("qmp_capabilities", *sys.argv[1:]):
        line.sendall(json.dumps({{"execute": name}}).encode())
        while "return" not in (answer := json.loads(said.readline())):
            assert "error" not in answer, answer
"""
"""Power as QMP has it: off is a machine that stands still, on one that starts anew."""


@dataclass(frozen=True)
class Machine:
    """One that runs.

    Attributes:
        port: of its console, on loopback.
        on, off: commands that switch it.
    """

    port: int
    on: str
    off: str


@contextlib.contextmanager
def switched(folder: Path, arguments: Sequence[str], lines_before: int = 0) -> Iterator[Machine]:
    """Run QEMU for the ``with`` block; it is off at first."""
    folder.mkdir(parents=True, exist_ok=True)
    program, qmp = folder / "switch.py", folder / "qmp"
    program.write_text(SWITCH.format(path=str(qmp)))
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as control:
        port = server.getsockname()[1]
        control.bind(str(qmp))
        control.listen()
        fds = (server.fileno(), control.fileno())
        qemu = subprocess.Popen(
            ["qemu-system-aarch64", "-display", "none", "-monitor", "none", "-nic", "none", "-S",
             *["-serial", "null"] * lines_before,
             "-chardev", f"socket,id=console,fd={fds[0]},server=on,wait=off",
             "-serial", "chardev:console",
             "-chardev", f"socket,id=qmp,fd={fds[1]},server=on,wait=off",
             "-mon", "chardev=qmp,mode=control", *arguments],
            stdin=subprocess.DEVNULL, pass_fds=fds,
        )  # fmt: skip
    try:
        switch = f"{sys.executable} {program}"
        yield Machine(port, f"{switch} system_reset cont", f"{switch} stop")
    finally:
        qemu.kill()
        qemu.wait(_START_S)
