# SPDX-License-Identifier: Apache-2.0
"""From a board's name to a :class:`Board`: search path, ``extends``, options, checks.

A board is found by its file's name, ``NAME.yaml``, in the given folders, then
``$HILAGENT_BOARDS`` (separated by ``:``), ``~/.config/hilagent/boards`` and the
boards that come with hilagent; the first wins. ``extends: OTHER`` lays a file
over another: mappings merge, everything else replaces.

A file with ``model: true`` describes a type of board, and lacks what only a lab knows:
see :data:`OF_THE_LAB`. It can be extended and not run.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hilagent import data, document, errors, text
from hilagent.board import memory
from hilagent.board.model import Board, Option, Place
from hilagent.board.placed import placed
from hilagent.document import Node

ENVIRONMENT = "HILAGENT_BOARDS"
MAX_EXTENDS = 8
OF_A_FILE = {
    "extends": "The board whose file this one is laid over.",
    "model": "True: describes a type of board, for a lab's own files to extend.",
}
"""What a file says beside the fields of a :class:`Board`; nothing of it is inherited."""
OF_THE_LAB: dict[str, Any] = {
    "cpus": 1,
    "console": {"kind": "tcp", "host": "lab", "port": 1},
    "power": {"kind": "command", "on": ["on"], "off": ["off"]},
    "os.ssh": {"host": "lab"},
    "linux.ssh": {"host": "lab"},
}
"""What a model may lack, and what stands in for it while the rest is checked."""


@dataclass(frozen=True)
class Entry:
    """What one file turned out to be.

    Attributes:
        path: of the file.
        tree: what it says, laid over what it extends; None: it couldn't be read.
        board: None where something is wrong; of a model, with stand-ins for what it needs.
        needs: the fields that a model leaves to the lab; empty for a whole board.
        problems: everything that is wrong with it.
        model: whether it is one.
    """

    path: Path
    tree: Node | None
    board: Board | None
    needs: tuple[str, ...]
    problems: tuple[errors.InputError, ...]
    model: bool = False


@dataclass
class _Chain:
    """What is found while a file and all that it extends are read.

    Attributes:
        known: files by the names that ``extends`` may say.
        problems: that don't keep the rest from being read.
        models: the files that say ``model``, with what they say.
    """

    known: Mapping[str, Path]
    problems: list[errors.InputError] = dataclasses.field(default_factory=list)
    models: dict[Path, Node] = dataclasses.field(default_factory=dict)


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
    place: Place | None = None,
) -> Board:
    """Return the board called ``name`` (or of the file ``name``, if it ends in .yaml).

    Args:
        name: of the board.
        options: overrides of its declared options, e.g. ``{"cpu": "max"}``.
        dirs: folders to look in first (``--boards``).
        env: environment, for tests.
        place: where it is (``--place``); then a model will do.

    Raises:
        UsageError: no such board, folder or option; or it can't be at a place.
        InputError: the file is wrong; says every error in it.
    """
    known = names(dirs, env)
    entry = examine(Path(name) if name.endswith(".yaml") else _find(name, known), known, place)
    board, tree = entry.board, entry.tree
    if board is None or tree is None:
        raise document.gather(list(entry.problems))
    if entry.model and not (place and not entry.needs):
        hint = f"describe yours in a file of its own that says 'extends: {entry.path.stem}'"
        lacks = f": it needs {', '.join(entry.needs)}" if entry.needs else ""
        raise errors.UsageError(f"{board.name} is a model of boards{lacks}", hint=hint)
    for option, value in (options or {}).items():
        tree = _overridden(tree, board, option, value)
    return _validated(tree, entry.path) if options else board


def examine(path: Path, known: Mapping[str, Path], place: Place | None = None) -> Entry:
    """Return what the file ``path`` is, with everything that is wrong with it.

    Args:
        path: of the file.
        known: files by the names that ``extends`` may say.
        place: where it is, instead of where its file says.
    """
    found = _Chain(known)
    problems = found.problems
    try:
        tree = _extended(path, found)
    except errors.InputError as error:
        return Entry(path, None, None, (), (*problems, error))
    tree = placed(tree, place) if place else tree
    own = found.models.get(path)
    if own is not None and own.value is not True:
        problems.append(_wrong(own, "model", f"expected true, found {own.plain()!r}"))
    whole, needs = _stood_in(tree) if found.models else (tree, ())
    if own is None:
        model = ", ".join(each.stem for each in found.models)
        said = f"missing: the model {model} leaves it to the lab"
        problems += (errors.InputError(path, said, line=tree.line, field=each) for each in needs)
        needs = ()
    board, wrong = document.check(whole, Board)
    problems += [*wrong, *_mismatches(whole, path, board)]
    if board is not None:
        board = dataclasses.replace(board, source=path)
    return Entry(path, tree, None if problems else board, needs, tuple(problems), own is not None)


def _stood_in(tree: Node) -> tuple[Node, tuple[str, ...]]:
    """Return a model's tree with stand-ins for what only a lab knows, and the names of that."""
    needs = []
    for field, given in OF_THE_LAB.items():
        path = field.split(".")
        if len(path) > 1 and not isinstance(getattr(_at(tree, path[0]), "value", None), dict):
            continue  # this model has no such block at all
        asked = [*path, next(iter(given))] if isinstance(given, dict) else path
        if _at(tree, *asked) is None:
            needs.append(field if asked[-1] in {"kind", field} else ".".join(asked))
            tree = document.merge(_node(given, tree, *path), tree)
    return tree, tuple(needs)


def _node(value: Any, like: Node, *path: str) -> Node:
    """Return ``value`` as a tree below the fields ``path``, at the place of ``like``."""
    if path:
        value = {path[0]: _node(value, like, *path[1:])}
    elif isinstance(value, list):
        value = [_node(each, like) for each in value]
    elif isinstance(value, dict):
        value = {key: _node(each, like) for key, each in value.items()}
    return Node(value, like.path, like.line)


def _find(name: str, known: Mapping[str, Path]) -> Path:
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, 3, 0.7)
    shown = text.scrub_line(name, limit=80)
    raise errors.UsageError(
        f"no board '{shown}'" + (f"; did you mean {' or '.join(near)}?" if near else ""),
        hint=f"known boards: {', '.join(known) or 'none'}; more folders: --boards DIR",
    )


def _extended(path: Path, found: _Chain, above: tuple[Path, ...] = ()) -> Node:
    """Return the tree of ``path``, laid over what it extends."""
    tree = document.read(path, found.problems)
    if not isinstance(tree.value, dict):
        raise errors.InputError(path, "expected fields (name: value)", line=tree.line)
    base = tree.value.pop("extends", None)
    if "model" in tree.value:
        found.models[path] = tree.value.pop("model")
    if base is None:
        return tree
    if not isinstance(base.value, str) or base.value not in found.known:
        raise _extends_error(base, found.known)
    other = found.known[base.value]
    if other == path or other in above or len(above) >= MAX_EXTENDS:
        raise errors.InputError(
            path, "extends itself, or too deep", line=base.line, field="extends"
        )
    return document.merge(_extended(other, found, (*above, path)), tree)


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
    board = document.validate(tree, Board)
    problems = list(_mismatches(tree, path, board))
    if problems:
        raise document.gather(problems)
    return dataclasses.replace(board, source=path)


def _mismatches(tree: Node, path: Path, board: Board | None) -> Iterator[errors.InputError]:
    """Yield what is wrong though each field by itself is right."""
    source = tree.get("source")
    if source is not None:
        yield _wrong(source, "source", "unknown field")
    name = tree.get("name")
    if name is not None and isinstance(name.value, str):
        found = f", found '{text.scrub_line(name.value, limit=60)}'"
        if name.value != path.stem or name.path != path:
            yield _wrong(name, "name", f"expected '{path.stem}', as the file is called{found}")
    for key, option in board.options.items() if board else ():
        place = _at(tree, "options", key)
        for field in option.sets:
            if not _settable(tree, field):
                said = f"'{field}' is not a field that this board has"
                yield _wrong(place or tree, f"options.{key}.sets", said)
    for field, said in memory.overlaps(board) if board else ():
        yield _wrong(nearest(tree, field), field, said)


def _wrong(node: Node, field: str, message: str) -> errors.InputError:
    return errors.InputError(node.path, message, line=node.line, field=field)


def _at(tree: Node, *field: str) -> Node | None:
    """Return the node of the field at ``field``, from the top down."""
    place: Node | None = tree
    for part in field:
        place = place.get(part) if place else None
    return place


def nearest(tree: Node, field: str) -> Node:
    """Return the node of the dotted path ``field``, or of as much of it as there is."""
    for part in field.split("."):
        inside = tree.value
        if isinstance(inside, list) and part.isdigit() and int(part) < len(inside):
            tree = inside[int(part)]
        else:
            tree = tree.get(part) or tree
    return tree


def _settable(tree: Node, field: str) -> bool:
    """Whether ``field`` is a single value that the file gives (and an option may change)."""
    node = _at(tree, *field.split("."))
    fixed = field.split(".")[0] in {"options", "name", "schema"}
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
