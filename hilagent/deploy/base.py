# SPDX-License-Identifier: Apache-2.0
"""What a way to load an image by U-Boot is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from hilagent.clock import Deadline
from hilagent.console.uboot import UBoot

Progress = Callable[[int, int], None]
"""Called with the bytes done and the bytes in all; from the thread that loads."""


class Transfer(Protocol):
    """Puts bytes into a board's memory."""

    @property
    def name(self) -> str:
        """``tftp`` or ``ymodem``."""
        ...

    def load(
        self, uboot: UBoot, addr: int, image: bytes, deadline: Deadline, progress: Progress
    ) -> None:
        """Load ``image`` to ``addr`` once; whoever calls verifies what has arrived.

        Raises LabError when this attempt failed; another may succeed.
        """
        ...


def silent(done: int, total: int) -> None:
    """Be a progress callback that does nothing."""
