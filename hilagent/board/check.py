# SPDX-License-Identifier: Apache-2.0
"""Whole folders of board files at once: what is wrong in each, and between them.

Between them: one name for two boards, and one serial port, power command or address
that two boards say is theirs. Two boards that are one by intent (a variant that
``extends`` the other) are said to share as well: an option does that better.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hilagent import errors, text
from hilagent.board.load import Entry, examine, names, nearest
from hilagent.document import Node

SSH_PORT = 22
_Use = tuple[str, str, str]  # what it is; its name; the field that says it


def check(
    paths: Sequence[Path] = (),
    *,
    dirs: Sequence[Path] = (),
    env: Mapping[str, str] | None = None,
) -> tuple[int, list[errors.InputError]]:
    """Return how many files were looked at, and everything that is wrong with them.

    Args:
        paths: files, and folders of which every ``*.yaml`` is looked at; none: the boards
            that can be named.
        dirs: folders that ``extends`` looks in first (``--boards``).
        env: environment, for tests.

    Raises:
        errors.UsageError: a path that isn't there.
    """
    folders = [path for path in paths if path.is_dir()]
    known = names([*folders, *dirs], env)
    files, problems = _files(paths) if paths else (list(known.values()), [])
    entries = [examine(path, known) for path in files]
    for entry in entries:
        problems += entry.problems
    problems += [*_same_names(entries), *_shared(entries)]
    unique = {problem.message: problem for problem in problems}.values()
    return len(files), sorted(unique, key=lambda each: (str(each.path), each.line or 0, each.field))


def _files(paths: Sequence[Path]) -> tuple[list[Path], list[errors.InputError]]:
    files: dict[Path, Path] = {}
    problems = []
    for path in paths:
        if not path.exists():
            raise errors.UsageError(f"{path}: no such file or folder of boards")
        try:
            inside = sorted(path.iterdir()) if path.is_dir() else [path]
        except OSError as error:
            raise errors.UsageError(f"{path}: can't be read: {error.strerror}") from error
        for file in inside:
            if file.suffix == ".yaml":
                files.setdefault(file.resolve(), file)
            elif file.suffix == ".yml" or file == path:
                said = f"expected a name that ends in .yaml, found '{file.name}'"
                problems.append(errors.InputError(file, said))
    return list(files.values()), problems


def _same_names(entries: Sequence[Entry]) -> Iterator[errors.InputError]:
    first: dict[str, Path] = {}
    for entry in entries:
        name = entry.path.stem
        if name in first:
            node = entry.tree.get("name") if entry.tree else None
            said = f"expected a name of its own, found '{name}', which {first[name]} has, too"
            line = node.line if node else None
            yield errors.InputError(entry.path, said, line=line, field="name")
        first.setdefault(name, entry.path)


def _shared(entries: Sequence[Entry]) -> Iterator[errors.InputError]:
    """Yield what two boards say is theirs; once for each two boards and kind of thing."""
    owners: dict[tuple[str, str], tuple[Entry, str]] = {}
    told = set()
    for entry in entries:
        for what, name, field in _uses(entry):
            owner, _ = owners.setdefault((what, name), (entry, field))
            if owner is entry or (what, owner.path, entry.path) in told:
                continue
            told.add((what, owner.path, entry.path))
            yield _taken(entry, owner, what, name, field, owners[what, name][1])


def _taken(
    entry: Entry, owner: Entry, what: str, name: str, field: str, theirs: str
) -> errors.InputError:
    place, other = _place(entry, field), _place(owner, theirs)
    said = (
        f"expected {what} of its own, found '{text.scrub_line(name, limit=120)}', which"
        f" board {owner.path.stem} uses, too ({other.path}:{other.line})"
    )
    if place.path != entry.path:
        said = f"(of board {entry.path.stem}) {said}"
    return errors.InputError(place.path, said, line=place.line, field=field)


def _uses(entry: Entry) -> Iterator[_Use]:
    """Yield what a file says its board is reached and switched by, whatever else is wrong."""
    said = entry.tree.plain() if entry.tree else None
    said = said if isinstance(said, dict) else {}
    console, power = _block(said, "console"), _block(said, "power")
    if isinstance(console.get("path"), str) and console["path"]:
        yield "a serial port", _real(console["path"]), "console.path"
    yield from _address(console, None, "console.host")
    yield from _command(console, "argv", "a console command", "console.argv")
    for field in ("on", "off", "cycle"):
        yield from _command(power, field, "a power outlet", f"power.{field}")
    if isinstance(power.get("url"), str):
        outlet = " ".join(str(power[each]) for each in ("url", "pdu", "outlet") if each in power)
        yield "a power outlet", outlet.lower(), "power.outlet"
    place = _block(said, "place")
    if isinstance(place.get("name"), str):
        yield "a place", f"{place['name']} of {place.get('coordinator', 'labgrid')}", "place.name"
    for name in ("os", "linux"):
        yield from _address(_block(_block(said, name), "ssh"), SSH_PORT, f"{name}.ssh.host")


def _real(path: str) -> str:
    """Return ``path`` as the lock of a session knows it; one that can't be is itself."""
    try:
        return os.path.realpath(path)
    except ValueError:  # a zero byte
        return path


def _block(said: dict[str, Any], name: str) -> dict[str, Any]:
    block = said.get(name)
    return block if isinstance(block, dict) else {}


def _address(block: dict[str, Any], port: int | None, field: str) -> Iterator[_Use]:
    host = block.get("host")
    if isinstance(host, str) and host:
        yield "an address", f"{host.lower()}:{block.get('port', port)}", field


def _command(block: dict[str, Any], name: str, what: str, field: str) -> Iterator[_Use]:
    command = block.get(name)
    if isinstance(command, list) and command:
        yield what, shlex.join(map(str, command)), field


def _place(entry: Entry, field: str) -> Node:
    assert entry.tree is not None
    return nearest(entry.tree, field)
