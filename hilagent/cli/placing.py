# SPDX-License-Identifier: Apache-2.0
"""Options of the verbs that can use a board at a place, and which board is there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from hilagent import errors
from hilagent.text import scrub_line

if TYPE_CHECKING:
    from hilagent.board import Place
    from hilagent.place.client import Listed

TAG = "board"
"""The tag of a place that says which board, or model of one, is there."""


PLACE_OPTIONS = ("place", "wanted_tags", "coordinator")
"""The names of what :func:`place_options` adds, in the order of :func:`place_of`."""


def place_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--place``, ``--reserve`` and ``--coordinator``."""
    for option in (
        click.option("--coordinator", metavar="HOST:PORT",
                     help="Of labgrid (default: $LG_COORDINATOR, else 127.0.0.1:20408)."),
        click.option("--reserve", "wanted_tags", metavar="TAG=VALUE,...",
                     help="The next free place with all of these tags, as --place."),
        click.option("--place", "place", metavar="NAME",
                     help="The board is at this place of a labgrid coordinator, which gives its "
                          "console and power. BOARD may be a model (default: the place's tag "
                          f"'{TAG}')."),
    ):  # fmt: skip
        command = option(command)
    return command


def place_of(place: str | None, wanted_tags: str | None, coordinator: str | None) -> Place | None:
    """Return the place that the options ask for; None for a board of this host.

    Raises:
        errors.UsageError: they contradict each other.
    """
    if not (place or wanted_tags):
        if coordinator:
            raise errors.UsageError("--coordinator is for --place and --reserve")
        return None
    if place and wanted_tags:
        raise errors.UsageError("--place names one place, --reserve any: give one of both")
    from hilagent.board import Place
    from hilagent.plugin.options import pairs

    wanted = pairs(wanted_tags.split(",")) if wanted_tags else {}
    return Place(place, wanted, coordinator)


def place_in(chosen: Mapping[str, str | None]) -> Place | None:
    """Return the place that the arguments of a command ask for, as :func:`place_of`."""
    return place_of(*(chosen.get(name) for name in PLACE_OPTIONS))


def board_at(place: Place) -> str:
    """Return which board is at ``place``, as the tag of it, or of all that would do, says.

    Raises:
        errors.UsageError: that isn't one board.
        errors.LabError: the coordinator doesn't answer.
    """
    from hilagent.place import Coordinator, address_of

    address = address_of(place.coordinator)
    with Coordinator.at(address) as lab:
        known = lab.places()
    found = [each for each in known if _would_do(each, place)]
    if not found:
        names = ", ".join(sorted(each.name for each in known)) or "none"
        raise errors.LabError(
            f"the coordinator at {address} has not {place}", hint=f"its places: {names}"
        )
    boards = {each.tags.get(TAG, "") for each in found}
    if len(boards) == 1 and (board := boards.pop()):
        return board
    names = ", ".join(f"{each.name}: {each.tags.get(TAG) or 'none'}" for each in found)
    hint = f"name it before the options, or: labgrid-client -p {found[0].name} set-tags {TAG}=BOARD"
    message = f"which board is it? The tag '{TAG}' says ({scrub_line(names, limit=400)})"
    raise errors.UsageError(message, hint=hint)


def _would_do(listed: Listed, place: Place) -> bool:
    if place.name:
        return listed.name == place.name
    return place.tags.items() <= {**listed.tags, "name": listed.name}.items()


def chosen_board(names: tuple[str, ...], place: Place | None, default: str) -> str:
    """Return the board that is meant: the only one named, that of the place, or the default."""
    if names:
        return names[0]
    return board_at(place) if place is not None else default
