# SPDX-License-Identifier: Apache-2.0
"""Layers of a bench: each is looked at once those that it stands on are well.

::

    rows = [row for row in examined(patient, LAYERS)]
    first = broken(rows)
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from hilagent import errors
from hilagent.text import scrub_line

P = TypeVar("P")
LONGEST = 400


class Mark(enum.Enum):
    """What came of one layer.

    UNREACHED: something below it is broken, and nothing is known of it.
    """

    OK = "ok"
    BAD = "broken"
    ABSENT = "not applicable"
    UNREACHED = "not reached"


@dataclass(frozen=True)
class Seen:
    """What was seen at one layer.

    Attributes:
        text: that, in a line.
        hint: what to do; only where it is broken.
    """

    mark: Mark
    text: str
    hint: str = ""


def ok(text: str) -> Seen:
    """Return what a layer that is well has seen."""
    return Seen(Mark.OK, scrub_line(text, limit=LONGEST))


def bad(text: str, hint: str) -> Seen:
    """Return what a broken layer has seen, and what to do about it."""
    return Seen(Mark.BAD, scrub_line(text, limit=LONGEST), scrub_line(hint, limit=LONGEST))


def absent(why: str) -> Seen:
    """Return why there is nothing to look at."""
    return Seen(Mark.ABSENT, scrub_line(why, limit=LONGEST))


@dataclass(frozen=True)
class Layer(Generic[P]):
    """One layer.

    Attributes:
        name: as it is shown and named.
        look: returns what is seen; an error of the world that it raises means broken.
        needs: names of layers before it, without which it can't be looked at.
    """

    name: str
    look: Callable[[P], Seen]
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """One layer, and what was seen of it."""

    name: str
    seen: Seen


def examined(
    patient: P, layers: Sequence[Layer[P]], begin: Callable[[str], None] = lambda name: None
) -> Iterator[Row]:
    """Look at ``layers`` in their order; yield each as soon as it has been looked at.

    Args:
        begin: hears the name of each before.
    """
    marks: dict[str, Mark] = {}
    for layer in layers:
        begin(layer.name)
        under = [n for n in layer.needs if marks[n] in {Mark.BAD, Mark.UNREACHED}]
        if under:
            seen = Seen(Mark.UNREACHED, f"it stands on {under[0]}")
        else:
            seen = _looked(patient, layer)
        marks[layer.name] = seen.mark
        yield Row(layer.name, seen)


def broken(rows: Sequence[Row]) -> Row | None:
    """Return the first row that is broken."""
    return next((row for row in rows if row.seen.mark is Mark.BAD), None)


def _looked(patient: P, layer: Layer[P]) -> Seen:
    try:
        return layer.look(patient)
    except errors.Unsupported as exc:
        return absent(exc.message)
    except errors.WorldError as exc:
        return bad(exc.message, exc.hint or "the run directory has what the board said")
