# SPDX-License-Identifier: Apache-2.0
"""Boards by what their files say: all of a lab, or those with a tag or a field.

``nightly`` is a word among a board's ``tags``; ``soc=rk3399`` is a field of :data:`FIELDS`.
Models are never chosen, for nobody has them. A file with a mistake is: whether it matches
can't be said, and a board that silently isn't run looks like one that passed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hilagent import errors
from hilagent.board.load import examine, names
from hilagent.board.model import Board

FIELDS: Mapping[str, Callable[[Board], object]] = {
    "soc": lambda board: board.soc,
    "cpus": lambda board: board.cpus,
    "emulated": lambda board: board.emulated,
    "entry_el": lambda board: board.payload.entry_el,
    "psci": lambda board: board.payload.psci,
    "vhe": lambda board: board.payload.vhe,
}
"""What ``FIELD=VALUE`` can ask for."""


@dataclass(frozen=True)
class Choice:
    """One board that was chosen.

    Attributes:
        name: as it is named on a command line.
        board: None where its file is wrong.
    """

    name: str
    board: Board | None


def choose(tags: Sequence[str], dirs: Sequence[Path] = ()) -> list[Choice]:
    """Return every board for which all of ``tags`` hold; all boards for none.

    Raises:
        errors.UsageError: a field that nobody knows, or no board.
    """
    wanted = [_parsed(tag) for tag in tags]
    known = names(dirs)
    found = []
    for name, path in known.items():
        entry = examine(path, known)
        if entry.model:
            continue
        if entry.board is None or all(_holds(entry.board, *each) for each in wanted):
            found.append(Choice(name, entry.board))
    if not any(choice.board for choice in found):
        said = " and ".join(tags)
        hint = "hilagent boards lists them; more folders: --boards DIR"
        raise errors.UsageError(f"no board has {said}" if tags else "no boards", hint=hint)
    return found


def _parsed(tag: str) -> tuple[str, str]:
    field, equals, value = tag.partition("=")
    if not equals:
        return "", tag
    if field not in FIELDS:
        hint = f"fields: {', '.join(FIELDS)}; or a word of 'tags'"
        raise errors.UsageError(f"--tag {tag}: no such field '{field}'", hint=hint)
    return field, value


def _holds(board: Board, field: str, value: str) -> bool:
    if not field:
        return value in board.tags
    found = FIELDS[field](board)
    said = str(found).lower() if isinstance(found, bool) else str(found)
    return found is not None and said == value.lower()
