# SPDX-License-Identifier: Apache-2.0
"""The JSON schema of board files: all fields, each described, and no file against it."""

from __future__ import annotations

import json
import re
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

from hilagent import board, document
from hilagent.board import hardware, model
from hilagent.board.schema import attributes

HERE = {"HOME": "/nonexistent"}
SCHEMA = board.schema()
KINDS = {
    name: kind
    for room in (model, hardware)
    for name, kind in vars(room).items()
    if is_dataclass(kind) and kind.__module__.startswith("hilagent.board")
}


def _parts() -> dict[str, Any]:
    return {**SCHEMA["$defs"], "Board": SCHEMA}


@pytest.mark.parametrize("name", sorted(KINDS))
def test_every_field_of_the_model_is_in_the_schema_and_described(name: str) -> None:
    part = _parts()[name]
    names = {field.name for field in fields(KINDS[name])} - {"source"}
    own = {"extends", "model"} if name == "Board" else set()
    assert set(part["properties"]) == names | own
    assert part["additionalProperties"] is False
    assert part["description"]
    blocks = {"$ref", "anyOf"}
    for field, said in part["properties"].items():
        assert said.get("description") or blocks & set(said), f"{name}.{field}"


def test_it_is_json_and_says_which_dialect() -> None:
    assert json.loads(json.dumps(SCHEMA))["$schema"].startswith("https://json-schema.org/")


def test_limits_of_the_model_are_in_the_schema() -> None:
    console = SCHEMA["$defs"]["Console"]["properties"]
    assert (console["baud"]["minimum"], console["baud"]["maximum"]) == (1200, 4_000_000)
    assert re.search(SCHEMA["properties"]["name"]["pattern"], "rpi-4b")
    assert not re.search(SCHEMA["properties"]["name"]["pattern"], "Rpi")
    assert SCHEMA["properties"]["transfers"]["maxItems"] == 3


def _against(value: Any, part: dict[str, Any], place: str = "") -> list[str]:
    """Return where ``value`` is against ``part``; as much of JSON schema as pydantic makes here."""
    if "$ref" in part:
        return _against(value, SCHEMA["$defs"][part["$ref"].rpartition("/")[2]], place)
    if "anyOf" in part and "properties" not in part:
        found = [_against(value, each, place) for each in part["anyOf"]]
        return min(found, key=len)
    kinds: dict[str, Any] = {
        "object": dict, "array": list, "string": str, "integer": int, "number": (int, float),
        "boolean": bool, "null": type(None),
    }  # fmt: skip
    if "type" in part and not isinstance(value, kinds[part["type"]]):
        return [f"{place}: not {part['type']}"]
    wrong = []
    if "enum" in part and value not in part["enum"]:
        wrong.append(f"{place}: not in enum")
    if "const" in part and value != part["const"]:
        wrong.append(f"{place}: not const")
    if "pattern" in part and not re.search(part["pattern"], value):
        wrong.append(f"{place}: pattern")
    if isinstance(value, int) and not (
        part.get("minimum", value) <= value <= part.get("maximum", value)
    ):
        wrong.append(f"{place}: limits")
    return wrong + _inside(value, part, place)


def _inside(value: Any, part: dict[str, Any], place: str) -> list[str]:
    wrong: list[str] = []
    if isinstance(value, list) and "items" in part:
        for at, each in enumerate(value):
            wrong += _against(each, part["items"], f"{place}.{at}")
    for key, each in value.items() if isinstance(value, dict) else ():
        known = part.get("properties", {}).get(key) or next(
            (
                said
                for name, said in part.get("patternProperties", {}).items()
                if re.search(name, key)
            ),
            None,
        )
        wrong += _against(each, known, f"{place}.{key}") if known else [f"{place}.{key}: unknown"]
    if isinstance(value, dict):
        wrong += [f"{place}: lacks {key}" for key in part.get("required", ()) if key not in value]
    if isinstance(value, dict) and "anyOf" in part:
        rules = [set(each["required"]) <= set(value) for each in part["anyOf"]]
        wrong += [] if any(rules) else [f"{place}: requires"]
    return wrong


@pytest.mark.parametrize("path", board.names(env=HERE).values(), ids=lambda path: path.stem)
def test_every_shipped_file_is_valid_by_the_schema(path: Path) -> None:
    assert _against(document.read(path).plain(), SCHEMA) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: x\n", ": requires"),
        ("extends: a\n", ": lacks name"),
        ("extends: a\nname: X\n", ".name: pattern"),
        ("extends: a\nname: x\nnonsense: 1\n", ".nonsense: unknown"),
        ("extends: a\nname: x\nconsole: {kind: telnet}\n", ".console.kind: not in enum"),
        ("extends: a\nname: x\nconsole: {baud: 3}\n", ".console.baud: limits"),
        ("extends: a\nname: x\nmodel: false\n", ".model: not const"),
        ("extends: a\nname: x\npower: {on: outlet}\n", ".power.on: not array"),
        ("extends: a\nname: x\nmemory: [{use: rom}]\n", ".memory.0.use: not in enum"),
    ],
)
def test_the_schema_finds_what_an_editor_should_mark(text: str, said: str) -> None:
    assert _against(document.parse(text.encode(), Path("x.yaml")).plain(), SCHEMA) == [said]


def test_a_file_that_extends_may_leave_out_what_a_block_needs() -> None:
    text = b"extends: a\nname: x\nconsole: {baud: 9600}\nuboot: {prompt: '> '}\nlinux: ~\n"
    assert _against(document.parse(text, Path("x.yaml")).plain(), SCHEMA) == []


def test_a_docstrings_attributes_are_read_over_several_lines_and_for_several_names() -> None:
    doc = "What.\n\nAttributes:\n    a, b: one\n        and two.\n    c_d: ``three``\n"
    assert attributes(doc) == {"a": "one and two.", "b": "one and two.", "c_d": "'three'"}
    assert attributes("What.") == {}
