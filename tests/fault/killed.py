# SPDX-License-Identifier: Apache-2.0
"""The `hilagent` command, killed (SIGKILL) once its journal has so many lines.

::

    python -m tests.fault.killed 17 0 run qemu-virt     # right after the 17th line
    python -m tests.fault.killed 17 40 run qemu-virt    # after 40 bytes of the 18th

A run that writes fewer lines ends by itself.
"""

from __future__ import annotations

import os
import signal
import sys
from unittest import mock

from hilagent import cli
from hilagent.journal import Journal


def main(lines: int, torn_bytes: int, argv: list[str]) -> int:
    """Run ``hilagent ARGV`` and kill this process at that place; else return its exit code."""
    really, written = Journal._append, 0

    def append(self: Journal, line: bytes, durable: bool) -> None:
        nonlocal written
        if written < lines:
            really(self, line, durable)
            written += 1
            if written < lines or torn_bytes:
                return
        else:
            os.write(self._fd, line[: min(torn_bytes, len(line) - 1)])
        os.kill(os.getpid(), signal.SIGKILL)

    with mock.patch.object(Journal, "_append", append):
        return cli.main(argv)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
