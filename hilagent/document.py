# SPDX-License-Identifier: Apache-2.0
"""Strict YAML: a file becomes typed data, or errors that name file, line and field.

The file is read as YAML *events*, not with ``safe_load``: that loses duplicate
keys and reads ``22:22`` as 1342; and not with ``compose``: that recurses, so
that a hostile file ends in a RecursionError. Anchors, aliases, tags and further
documents are refused, size and depth are capped.

:func:`read` gives a tree of :class:`Node` that keeps lines, :func:`merge` lays one
tree over another (each node keeps its own file), and :func:`validate` makes a
dataclass of it. All errors of a file are reported together, as one
:class:`~hilagent.errors.InputError`; whoever has more to say of a file takes them as a
list, from :func:`check`.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from hilagent import errors, text

MAX_BYTES = 256 * 1024
MAX_DEPTH = 16
MAX_NODES = 20_000
MAX_TWICE = 20  # fields that stand there twice, before a file is given up

T = TypeVar("T")
Scalar = str | int | float | bool | None

_INT = re.compile(r"-?(?:0|[1-9][0-9]{0,30})")
_HEX = re.compile(r"0x[0-9a-fA-F]{1,16}")
_FLOAT = re.compile(r"-?[0-9]{1,15}\.[0-9]{1,15}")
_CONSTANTS: dict[str, Scalar] = {"true": True, "false": False, "null": None, "~": None, "": None}


@dataclass(frozen=True)
class Node:
    """A value with the place that it was read from; ``line`` counts from 1, None: not a file."""

    value: Scalar | dict[str, Node] | list[Node]
    path: Path
    line: int | None

    def plain(self) -> Any:
        """Return the value without places: dicts, lists and scalars."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def get(self, key: str) -> Node | None:
        """Return the node of ``key``, or None (also when this isn't a mapping)."""
        return self.value.get(key) if isinstance(self.value, dict) else None


def read(path: Path, problems: list[errors.InputError] | None = None) -> Node:
    """Return the tree of the one document in ``path``, as :func:`parse` does."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise errors.InputError(path, f"can't be read: {error.strerror}") from error
    return parse(raw, path, problems)


def parse(raw: bytes, path: Path, problems: list[errors.InputError] | None = None) -> Node:
    """Return the tree of the one document in ``raw``.

    Args:
        raw: UTF-8.
        path: for messages.
        problems: takes what doesn't keep the rest from being read (fields that stand
            there twice: the last one counts); without a list that is raised, too.

    Raises:
        errors.InputError: it can't be read.
    """
    import yaml

    if len(raw) > MAX_BYTES:
        raise errors.InputError(path, f"larger than {MAX_BYTES} bytes")
    try:
        content = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        lines = raw[: error.start].count(b"\n") + 1
        raise errors.InputError(path, "not UTF-8", line=lines) from error
    try:
        build = _build(yaml.parse(content, Loader=yaml.SafeLoader), path)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else None
        problem = text.scrub_line(error.problem or "unreadable")
        raise errors.InputError(path, f"not YAML: {problem}", line=line) from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        problem = text.scrub_line(str(error))
        raise errors.InputError(path, f"not YAML: {problem}") from error
    if build.root is None:
        raise errors.InputError(path, "empty")
    if build.problems and problems is None:
        raise gather(build.problems)
    if problems is not None:
        problems += build.problems
    return build.root


class _Builder:
    """Turns events into nodes with a stack of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.root: Node | None = None
        self.count = 0
        self.keys: list[tuple[str, int] | None] = []
        self.stack: list[Node] = []
        self.problems: list[errors.InputError] = []

    def fail(self, event: Any, message: str) -> errors.InputError:
        return errors.InputError(self.path, message, line=event.start_mark.line + 1)

    def add(self, event: Any, value: Scalar | dict[str, Node] | list[Node]) -> Node:
        """Put a value where the stack says; returns its node."""
        line: int | None = event.start_mark.line + 1
        self.count += 1
        if self.count > MAX_NODES:
            raise self.fail(event, f"more than {MAX_NODES} values")
        if not self.stack:
            self.root = Node(value, self.path, line)
            return self.root
        parent = self.stack[-1].value
        if isinstance(parent, list):
            parent.append(Node(value, self.path, line))
            return parent[-1]
        key = self.keys[-1]
        assert isinstance(parent, dict)
        assert key is not None
        self.keys[-1] = None
        parent[key[0]] = Node(value, self.path, key[1])
        return parent[key[0]]

    def key(self, event: Any) -> None:
        """Take a scalar as the next key of the innermost mapping."""
        parent = self.stack[-1].value
        assert isinstance(parent, dict)
        if event.value in parent:
            first = parent[event.value].line
            name = text.scrub_line(event.value, limit=60)
            said = f"field '{name}' stands here twice (first on line {first})"
            self.problems.append(self.fail(event, said))
            if len(self.problems) >= MAX_TWICE:
                raise gather(self.problems)
        self.keys[-1] = (event.value, event.start_mark.line + 1)

    def wants_key(self) -> bool:
        return bool(self.stack) and isinstance(self.stack[-1].value, dict) and self.keys[-1] is None

    def open(self, event: Any, value: dict[str, Node] | list[Node]) -> None:
        if self.wants_key():
            raise self.fail(event, "a field's name must be a plain word")
        if len(self.stack) >= MAX_DEPTH:
            raise self.fail(event, f"nested deeper than {MAX_DEPTH}")
        self.stack.append(self.add(event, value))
        self.keys.append(None)

    def close(self) -> None:
        self.stack.pop()
        self.keys.pop()


def _build(events: Iterator[Any], path: Path) -> _Builder:
    import yaml

    build = _Builder(path)
    for event in events:
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise build.fail(event, "anchors and aliases are not allowed here")
        if getattr(event, "tag", None):
            raise build.fail(event, "tags (!) are not allowed here")
        if isinstance(event, yaml.DocumentStartEvent) and build.root is not None:
            raise build.fail(event, "a second document is not allowed here")
        if isinstance(event, yaml.MappingStartEvent):
            build.open(event, {})
        elif isinstance(event, yaml.SequenceStartEvent):
            build.open(event, [])
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            build.close()
        elif isinstance(event, yaml.ScalarEvent):
            if build.wants_key():
                build.key(event)
            else:
                build.add(event, scalar(event.value, quoted=event.style is not None))
    return build


def scalar(word: str, *, quoted: bool = False) -> Scalar:
    """Return what ``word`` means: true, false, null, decimal or 0x integer, float, or text.

    Nothing else is a number: ``22:22``, ``on``, ``1_000`` and ``010`` are text.
    """
    if quoted:
        return word
    if word in _CONSTANTS:
        return _CONSTANTS[word]
    if _INT.fullmatch(word):
        return int(word)
    if _HEX.fullmatch(word):
        return int(word, 16)
    return float(word) if _FLOAT.fullmatch(word) else word


def merge(base: Node, over: Node) -> Node:
    """Return ``base`` with ``over`` laid over it: mappings merge, all else is replaced."""
    if not isinstance(base.value, dict) or not isinstance(over.value, dict):
        return over
    merged = dict(base.value)
    for key, node in over.value.items():
        merged[key] = merge(merged[key], node) if key in merged else node
    return Node(merged, over.path, over.line)


def validate(node: Node, kind: type[T]) -> T:
    """Return ``node`` as a ``kind`` (a dataclass with strict configuration).

    Raises InputError with every error of the file, one a line.
    """
    made, problems = check(node, kind)
    if made is None:
        raise gather(problems)
    return made


def check(node: Node, kind: type[T]) -> tuple[T | None, list[errors.InputError]]:
    """Return ``node`` as a ``kind``, or None and everything that is wrong with it."""
    from pydantic import TypeAdapter, ValidationError

    try:
        return cast(T, _adapter(kind, TypeAdapter).validate_json(json.dumps(node.plain()))), []
    except ValidationError as error:
        return None, [_problem(node, kind, item) for item in error.errors(include_url=False)]


def gather(problems: list[errors.InputError]) -> errors.InputError:
    """Return one error that says all of ``problems``, in the order of their lines."""
    unique = {problem.message: problem for problem in problems}.values()
    first, *rest = sorted(unique, key=lambda each: (str(each.path), each.line or 0, each.field))
    if rest:
        first.message = "\n".join([first.message, *(problem.message for problem in rest)])
        first.args = (first.message,)
    return first


_ADAPTERS: dict[type[Any], Any] = {}
"""By kind: to make one takes 5 ms, and a run asks for ten."""


def _adapter(kind: type[Any], factory: Any) -> Any:
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = factory(kind)
    return _ADAPTERS[kind]


def _problem(root: Node, kind: type[Any], item: Any) -> errors.InputError:
    """Return one pydantic error as ours: the place that it means, expected and found."""
    place, names = root, list[str]()
    for part in item["loc"]:
        inside = place.value
        if isinstance(inside, dict) and part in inside:
            place = inside[str(part)]
        elif isinstance(inside, list) and isinstance(part, int) and part < len(inside):
            place = inside[part]
        elif item["type"] not in {"missing", "missing_argument"}:
            continue  # the name of a union's member, not a field
        names.append(str(part))
    field = text.scrub_line(".".join(names))
    return errors.InputError(
        place.path, _message(item, place, kind, names), line=place.line, field=field
    )


def _message(item: Any, place: Node, kind: type[Any], names: list[str]) -> str:
    if item["type"] in {"missing", "missing_argument"}:
        return "missing"
    if item["type"] in {"unexpected_keyword_argument", "extra_forbidden"}:
        known = _field_names(kind, names[:-1])
        near = difflib.get_close_matches(names[-1], known, 1)
        return "unknown field" + (f"; did you mean '{near[0]}'?" if near else "")
    said: str = item["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if item["type"] != "value_error":
        said = f"expected {said}"
    if isinstance(place.value, dict | list):
        return said
    return f"{said}, found {text.scrub_line(json.dumps(place.value), limit=80)}"


def _field_names(kind: Any, names: list[str]) -> list[str]:
    """Return the fields of the dataclass that ``names`` lead to, as far as it can be told."""
    from typing import get_args, get_type_hints

    for name in names:
        kinds = get_type_hints(kind) if is_dataclass(kind) else {}
        found: Any = kinds.get(name)
        kind = next((k for k in (found, *get_args(found)) if is_dataclass(k)), None)
    return [f.name for f in fields(kind)] if is_dataclass(kind) else []
