# SPDX-License-Identifier: Apache-2.0
"""A board that never stops talking, and what the agent's memory makes of it.

::

    python -m tests.fault.flood line 1000     # MiB of one endless line

It is a program of its own: the greatest memory of a process is its past, too. It prints
JSON: how much more memory it took than before (KiB), and what was found at the end.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

from hilagent.clock import Deadline
from hilagent.console import Console
from hilagent.transport.base import FdStream

MIB = 1 << 20
STALL = b"[    1.5] watchdog: BUG: soft lockup - CPU#0 stuck for 22s!\r\n"
KINDS = {
    "line": b"A" * MIB,
    "nothing": bytes(MIB),
    "newlines": b"\r\n" * (MIB // 2),
    "escapes": b"\x1b[2J\x1b]0;" * (MIB // 8),
    "stalls": (STALL + b"[    1.5] printk: a line that says nothing\r\n" * 15) * (MIB // 700),
    "half a frame": b"\0" + b"\x05" * (MIB - 1),
    "half an armour": b"\r\n:" + b"U" * (MIB - 3),
}
END = b"\r\n=> the end\r\n"


def peak_kib() -> int:
    """Return the most memory that this process has had."""
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])


def flooded(kind: str, mib: int, folder: Path) -> dict[str, object]:
    """Let a console read ``mib`` MiB of ``kind`` and wait for the end behind it."""
    read, write = os.pipe()

    def talk() -> None:
        for _ in range(mib):
            view = memoryview(KINDS[kind])
            while view:
                view = view[os.write(write, view) :]
        os.write(write, END)

    began_s = time.monotonic()
    with Console(FdStream(read, "a pipe"), folder) as console:
        line = console.take("whoever waits")
        threading.Thread(target=talk, daemon=True).start()
        before_kib = peak_kib()
        match = line.expect([END.strip()], Deadline.after(600))
        grown_kib = peak_kib() - before_kib
    took_s = time.monotonic() - began_s
    size = (folder / "console.raw").stat().st_size
    return {"grown_kib": grown_kib, "found": match is not None, "bytes": size, "took_s": took_s}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="hilagent-flood-") as home:
        print(json.dumps(flooded(sys.argv[1], int(sys.argv[2]), Path(home))))
