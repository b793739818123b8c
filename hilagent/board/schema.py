# SPDX-License-Identifier: Apache-2.0
"""The JSON schema of a board file, for editors: generated from the model alone.

It can't say everything (whether a load address is aligned, who needs what) and demands
little, for a file may leave to ``extends`` whatever it wants: ``hilagent boards check``
judges, the schema helps to write. Descriptions are the ``Attributes`` of the docstrings.
"""

from __future__ import annotations

import inspect
import re
from dataclasses import is_dataclass
from typing import Any

from hilagent.board import hardware, model
from hilagent.board.load import OF_A_FILE
from hilagent.board.model import Board

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_ITEM = re.compile(r"    ([a-z_]+(?:, [a-z_]+)*): (.*)")


def schema() -> dict[str, Any]:
    """Return the schema of one board file."""
    from pydantic import TypeAdapter

    made: dict[str, Any] = TypeAdapter(Board).json_schema()
    kinds = {
        name: kind
        for room in (hardware, model)
        for name, kind in vars(room).items()
        if is_dataclass(kind) and isinstance(kind, type)
    }
    for name, part in {**made["$defs"], "Board": made}.items():
        _describe(part, kinds[name])
    del made["properties"]["source"]
    required = made.pop("required")
    for part in made["$defs"].values():
        part.pop("required", None)
    for name, said in OF_A_FILE.items():
        kind = {"const": True} if name == "model" else {"type": "string"}
        made["properties"][name] = {**kind, "description": said}
    anyone = [{"required": [name]} for name in OF_A_FILE]
    return {
        "$schema": DIALECT,
        **made,
        "required": ["name"],
        "anyOf": [*anyone, {"required": required}],
    }


def _describe(part: dict[str, Any], kind: Any) -> None:
    """Give ``part``, made of the dataclass ``kind``, the words of its docstring."""
    doc = inspect.cleandoc(kind.__doc__ or "")
    part["description"] = _plain(doc.partition("\n\n")[0])
    part.pop("title", None)
    said = attributes(doc)
    for name, field in part["properties"].items():
        field.pop("title", None)
        if name in said:
            field["description"] = said[name]


def attributes(doc: str) -> dict[str, str]:
    """Return what the section ``Attributes`` of ``doc`` says of each name."""
    said: dict[str, str] = {}
    names: list[str] = []
    for line in doc.partition("\nAttributes:\n")[2].splitlines():
        item = _ITEM.fullmatch(line)
        if item:
            names = item[1].split(", ")
        for name in names:
            said[name] = _plain(f"{said.get(name, '')} {item[2] if item else line}")
    return said


def _plain(words: str) -> str:
    return " ".join(words.replace("``", "'").split())
