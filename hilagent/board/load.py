# SPDX-License-Identifier: Apache-2.0
"""From a board's name to a :class:`Board`: search path, ``extends``, options, checks.

A board is found by its file's name, ``NAME.yaml``, in the given folders, then
``$HILAGENT_BOARDS`` (separated by ``:``), ``~/.config/hilagent/boards`` and the
boards that come with hilagent; the first wins. ``extends: OTHER`` lays a file
over another: mappings merge, everything else replaces.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from hilagent import data, document, errors, text
from hilagent.board.model import Board, Option
from hilagent.document import Node

ENVIRONMENT = "HILAGENT_BOARDS"
MAX_EXTENDS = 8


def search_path(dirs: Sequence[Path] = (), env: Mapping[str, str] | None = None) -> list[Path]:
    """Return the folders that boards are looked for in, first first.

    Raises UsageError for a folder that was named and isn't there.
    """
    env = os.environ if env is None else env
    named = [*dirs, *(Path(part) for part in env.get(ENVIRONMENT, "").split(":") if part)]
    for folder in named:
        if not folder.is_dir():
            raise errors.UsageError(
                f"{folder}: no such folder of boards", hint=f"look at --boards and ${ENVIRONMENT}"
            )
    home = Path(env.get("HOME") or "/nonexistent") / ".config" / "hilagent" / "boards"
    return [*named, *([home] if home.is_dir() else []), data.data_dir("boards")]


def names(dirs: Sequence[Path] = (), env: Mapping[str, str] | None = None) -> dict[str, Path]:
    """Return every board's name and file, sorted by name; the files are not read."""
    found: dict[str, Path] = {}
    for folder in search_path(dirs, env):
        for path in sorted(folder.glob("*.yaml")):
            found.setdefault(path.stem, path)
    return dict(sorted(found.items()))


def load(
    name: str,
    *,
    options: Mapping[str, str] | None = None,
    dirs: Sequence[Path] = (),
    env: Mapping[str, str] | None = None,
) -> Board:
    """Return the board called ``name`` (or of the file ``name``, if it ends in .yaml).

    Args:
        name: of the board.
        options: overrides of its declared options, e.g. ``{"cpu": "max"}``.
        dirs: folders to look in first (``--boards``).
        env: environment, for tests.

    Raises:
        UsageError: no such board, folder or option.
        InputError: the file is wrong; says every error in it.
    """
    known = names(dirs, env)
    path = Path(name) if name.endswith(".yaml") else _find(name, known)
    tree = _extended(path, known)
    board = _validated(tree, path)
    if not options:
        return board
    for option, value in options.items():
        tree = _overridden(tree, board, option, value)
    return _validated(tree, path)


def _find(name: str, known: Mapping[str, Path]) -> Path:
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, 3, 0.5)
    shown = text.scrub_line(name, limit=80)
    raise errors.UsageError(
        f"no board '{shown}'" + (f"; did you mean {' or '.join(near)}?" if near else ""),
        hint=f"known boards: {', '.join(known) or 'none'}; more folders: --boards DIR",
    )


def _extended(path: Path, known: Mapping[str, Path], above: tuple[Path, ...] = ()) -> Node:
    """Return the tree of ``path``, laid over what it extends."""
    tree = document.read(path)
    if not isinstance(tree.value, dict):
        raise errors.InputError(path, "expected fields (name: value)", line=tree.line)
    base = tree.value.pop("extends", None)
    if base is None:
        return tree
    if not isinstance(base.value, str) or base.value not in known:
        raise _extends_error(base, known)
    other = known[base.value]
    if other == path or other in above or len(above) >= MAX_EXTENDS:
        raise errors.InputError(
            path, "extends itself, or too deep", line=base.line, field="extends"
        )
    return document.merge(_extended(other, known, (*above, path)), tree)


def _extends_error(base: Node, known: Mapping[str, Path]) -> errors.InputError:
    found = text.scrub_line(str(base.value), limit=80)
    near = difflib.get_close_matches(found, known, 3, 0.5)
    return errors.InputError(
        base.path,
        f"no board '{found}'" + (f"; did you mean {' or '.join(near)}?" if near else ""),
        line=base.line,
        field="extends",
        hint=f"known boards: {', '.join(known)}",
    )


def _validated(tree: Node, path: Path) -> Board:
    source = tree.get("source")
    if source is not None:
        raise errors.InputError(source.path, "unknown field", line=source.line, field="source")
    board = document.validate(tree, Board)
    problems = []
    name = tree.get("name")
    if name is not None and (board.name != path.stem or name.path != path):
        problems.append(_wrong(name, "name", f"expected '{path.stem}', as the file is called"))
    for key, option in board.options.items():
        place = _at(tree, f"options.{key}")
        for field in option.sets:
            if not _settable(tree, field):
                said = f"'{field}' is not a field that this board has"
                problems.append(_wrong(place or tree, f"options.{key}.sets", said))
    if problems:
        raise document.gather(problems)
    return dataclasses.replace(board, source=path)


def _wrong(node: Node, field: str, message: str) -> errors.InputError:
    return errors.InputError(node.path, message, line=node.line, field=field)


def _at(tree: Node, field: str) -> Node | None:
    """Return the node at the dotted path ``field``."""
    place: Node | None = tree
    for part in field.split("."):
        place = place.get(part) if place else None
    return place


def _settable(tree: Node, field: str) -> bool:
    """Whether ``field`` is a single value that the file gives (and an option may change)."""
    node = _at(tree, field)
    fixed = field.split(".")[0] in {"options", "name", "schema", "extends"}
    return node is not None and not isinstance(node.value, dict | list) and not fixed


def _overridden(tree: Node, board: Board, option: str, value: str) -> Node:
    """Return ``tree`` with every field that ``option`` sets replaced by ``value``."""
    spec = board.options.get(option)
    if spec is None:
        near = difflib.get_close_matches(option, board.options, 1, 0.5)
        said = f"; did you mean '{near[0]}'?" if near else ""
        raise errors.UsageError(
            f"board {board.name} has no option '{text.scrub_line(option, limit=40)}'{said}",
            hint=f"its options: {', '.join(board.options) or 'none'}",
        )
    typed = _typed(board, option, spec, value)
    for field in spec.sets:
        node = Node(typed, Path(f"option {option}"), None)
        for part in reversed(field.split(".")):
            node = Node({part: node}, tree.path, tree.line)
        tree = document.merge(tree, node)
    return tree


def _typed(board: Board, option: str, spec: Option, value: str) -> document.Scalar:
    if not spec.choices:
        return document.scalar(value)
    for choice in spec.choices:
        if str(choice) == value:
            return choice
    choices = ", ".join(str(choice) for choice in spec.choices)
    raise errors.UsageError(
        f"option {option} of board {board.name}: expected one of {choices};"
        f" found '{text.scrub_line(value, limit=60)}'"
    )
