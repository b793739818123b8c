# SPDX-License-Identifier: Apache-2.0
"""What a bench gets from the host it runs on: time, a switch, a line, and the payload.

A simulation brings another one, see :mod:`hilagent.testing.simulated`.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from hilagent import errors
from hilagent.clock import SYSTEM, Clock

if TYPE_CHECKING:
    from hilagent.board import Board
    from hilagent.board.model import Console as Wiring
    from hilagent.place import Place
    from hilagent.power import Power
    from hilagent.transport import Stream

IMAGE_MAGIC = b"ARM\x64"
"""At byte 56 of an arm64 Image (Documentation/arch/arm64/booting.rst)."""


@dataclass(frozen=True)
class Image:
    """The payload as it is loaded."""

    data: bytes
    build_id: str


class Host:
    """This host, and the real things behind it.

    Attributes:
        clock: that every wait for the board is measured by.
    """

    clock: Clock = SYSTEM

    def power(self, board: Board, served: Path, place: Place | None) -> Power:
        """Return the switch of ``board``, see :func:`hilagent.power.open`."""
        from hilagent import power

        return power.open(board, served, place)

    def stream(self, wiring: Wiring, power: Power, place: Place | None) -> Stream:
        """Return the line to its console, see :func:`hilagent.transport.open`."""
        from hilagent import transport

        return transport.open(wiring, power, place)

    def seed(self) -> int:
        """Return what a run's chance is made from, 64 bits."""
        return secrets.randbits(64)

    def pause(self, seconds: float) -> None:
        """Wait for what has no event to wait for."""
        Event().wait(seconds)

    def payload(self) -> Image:
        """Return the payload, built if it has to be.

        Raises:
            errors.LabError: it can't be built, or what is kept of it isn't whole.
        """
        from hilagent.build.payload import build_payload

        built = build_payload()
        image, wanted = built.image.read_bytes(), _size_by_elf(built.elf)
        if len(image) != wanted or image[56:60] != IMAGE_MAGIC:
            raise errors.LabError(
                f"{built.image} is no whole arm64 Image: {len(image)} bytes of {wanted}",
                hint=f"remove {built.image.parent}: it will be built again",
            )
        return Image(image, built.build_id)


def _size_by_elf(elf: Path) -> int:
    """Return how long the image made from ``elf`` is, in bytes."""
    from elftools.elf.elffile import ELFFile

    with elf.open("rb") as stream:
        loads = [s for s in ELFFile(stream).iter_segments() if s["p_type"] == "PT_LOAD"]
        start = min(segment["p_paddr"] for segment in loads)
        return max(int(s["p_paddr"] + s["p_filesz"]) for s in loads) - int(start)
