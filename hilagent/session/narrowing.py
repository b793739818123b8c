# SPDX-License-Identifier: Apache-2.0
"""Finds where in a sequence of sweeps a board that does everything on one CPU fell silent."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

from hilagent.payload import SweepRequest
from hilagent.payload.trouble import Place, Silence

BLOCK = 4096
"""Immediates between heartbeats where one CPU does everything (wire.JOB.block)."""


def narrowed(requests: Sequence[SweepRequest], silence: Silence) -> tuple[SweepRequest, ...]:
    """Return the same sequence with a heartbeat before each hvc of the block of ``silence``."""
    place = silence.place
    if place is None or not 0 <= place.request < len(requests):
        return tuple(requests)
    request = requests[place.request]
    start = start_of(request)
    end = start + request.count
    at = next_imm(requests, silence)
    cuts = [start, at, min(at + BLOCK, end), end]
    pieces = [
        dataclasses.replace(begun_at(request, a), count=b - a, block=1 if n == 1 else request.block)
        for n, (a, b) in enumerate(itertools.pairwise(cuts))
        if b > a
    ]
    return (*requests[: place.request], *pieces, *requests[place.request + 1 :])


def start_of(request: SweepRequest) -> int:
    """Return where a sweep counts from: its first immediate, or 0 of a sweep over x0."""
    return 0 if request.swept == "x0" else request.first


def begun_at(request: SweepRequest, at: int) -> SweepRequest:
    """Return a sweep that begins ``at`` an immediate, or at an index of a sweep over x0."""
    if request.swept != "x0":
        return dataclasses.replace(request, first=at)
    x0 = (request.x0_first + at * request.x0_step) % (1 << 64)
    return dataclasses.replace(request, x0_first=x0)


def index_of(whole: SweepRequest, piece: SweepRequest) -> int:
    """Return the index in a sweep over x0 that a piece of it begins at; 0 of other sweeps."""
    if whole.swept != "x0" or piece.swept != "x0":
        return 0
    return next(
        (n for n in range(whole.count) if begun_at(whole, n).x0_first == piece.x0_first), -1
    )


def next_imm(requests: Sequence[SweepRequest], trouble: Exception) -> int:
    """Return the immediate after those that are known to have come home, -1 if unknown;
    of a sweep over x0 the index."""
    place: Place | None = getattr(trouble, "place", None)
    if place is None or not 0 <= place.request < len(requests):
        return -1
    return start_of(requests[place.request]) + (place.done if place.reported else 0)
