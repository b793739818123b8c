# SPDX-License-Identifier: Apache-2.0
"""Strict YAML: typed, or an error with file and line; never a traceback."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilagent import document, errors
from hilagent.limits import Between, Length, Matches

PATH = Path("a.yaml")


@dataclass(frozen=True)
class Inner:
    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "strict": True}

    size: Annotated[int, Between(1, 8)]
    kind: Literal["a", "b"] = "a"


@dataclass(frozen=True)
class Outer:
    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "strict": True}

    name: Annotated[str, Matches(r"[a-z]+", "small letters")]
    inner: Inner
    words: Annotated[tuple[str, ...], Length(0, 2)] = ()
    ratio: float = 1.0
    more: dict[str, Inner] = field(default_factory=dict)


def _parse(text: str) -> Any:
    return document.parse(text.encode(), PATH).plain()


def _fails(text: str | bytes) -> errors.InputError:
    raw = text.encode() if isinstance(text, str) else text
    with pytest.raises(errors.InputError) as caught:
        document.validate(document.parse(raw, PATH), Outer)
    return caught.value


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("22:22", "22:22"),
        ("on", "on"),
        ("no", "no"),
        ("010", "010"),
        ("1_000", "1_000"),
        ("0x10", 16),
        ("-3", -3),
        ("1.5", 1.5),
        ("1e3", "1e3"),
        (".inf", ".inf"),
        ("true", True),
        ("True", "True"),
        ("~", None),
        ('"12"', "12"),
        ("2024-01-01", "2024-01-01"),
    ],
)
def test_a_word_is_what_it_looks_like(word: str, value: object) -> None:
    assert _parse(f"a: {word}") == {"a": value}


def test_nested_values_keep_their_shape() -> None:
    text = "name: x\ninner: {size: 3}\nwords: [a, 'b']\nratio: 2\nmore:\n  k:\n    size: 1\n"
    outer = document.validate(document.parse(text.encode(), PATH), Outer)
    assert outer == Outer("x", Inner(3), ("a", "b"), 2.0, {"k": Inner(1)})


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("name: x\nname: y\n", 2, "twice (first on line 1)"),
        ("a: {b: 1,\n b: 2}", 2, "twice"),
        ("a: &x 1\n", 1, "anchors"),
        ("a: 1\nb: *x\n", 2, "anchors"),
        ("a: !!python/object/apply:os.system ['id']", 1, "tags"),
        ("a: 1\n---\nb: 2\n", 2, "second document"),
        ("? [a]\n: b\n", 1, "plain word"),
        ("a: [1,\n", 2, "not YAML"),
        ("a: b: c\n", 1, "not YAML"),
        ("", None, "empty"),
        ("\t", 1, "not YAML"),
        ("[" * 100_000, 1, "nested deeper"),
        ("a: " + "{b: " * 50, 1, "nested deeper"),
        ("- 1\n" * 30_000, 20_000, "more than 20000 values"),
        ("x" * 300_000, None, "larger than"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_hostile_or_broken_yaml_is_an_error_with_its_line(
    text: str, line: int | None, said: str
) -> None:
    error = _fails(text)
    assert error.line == line
    assert said in error.message
    assert error.message.startswith("a.yaml")


def test_every_field_that_stands_there_twice_is_told_and_the_last_one_counts() -> None:
    raw = b"name: x\nname: y\ninner: {size: 1, size: 2}\nname: z\n"
    told = [
        "a.yaml:2: field 'name' stands here twice (first on line 1)",
        "a.yaml:3: field 'size' stands here twice (first on line 3)",
        "a.yaml:4: field 'name' stands here twice (first on line 2)",
    ]
    assert _fails(raw).message.splitlines() == told
    problems: list[errors.InputError] = []
    tree = document.parse(raw, PATH, problems)
    assert [each.message for each in problems] == told
    assert tree.plain() == {"name": "z", "inner": {"size": 2}}


def test_a_file_of_nothing_but_doubles_is_given_up() -> None:
    problems: list[errors.InputError] = []
    with pytest.raises(errors.InputError) as caught:
        document.parse(b"a: 1\n" * 10_000, PATH, problems)
    assert len(caught.value.message.splitlines()) == document.MAX_TWICE


def test_bytes_that_are_not_text_are_an_error_with_their_line() -> None:
    error = _fails(b"name: x\ninner: \xff\n")
    assert (error.line, "UTF-8" in error.message) == (2, True)
    assert "not YAML" in _fails(b"a: \x00").message


def test_all_errors_of_a_file_are_reported_together() -> None:
    error = _fails("nam: X\ninner:\n  size: 9\n  kind: c\n  sise: 1\nwords: [1, b, c]\nratio: x\n")
    assert error.message.splitlines() == [
        "a.yaml:1: nam: unknown field; did you mean 'name'?",
        "a.yaml:1: name: missing",
        "a.yaml:3: inner.size: expected 1 to 8, found 9",
        "a.yaml:4: inner.kind: expected 'a' or 'b', found \"c\"",
        "a.yaml:5: inner.sise: unknown field; did you mean 'size'?",
        "a.yaml:6: words.0: expected a valid string, found 1",
        'a.yaml:7: ratio: expected a valid number, found "x"',
    ]


def test_nothing_is_converted() -> None:
    for wrong in ("size: '3'", "size: 3.0", "size: true", "size:", "size: [3]", "size: {a: 3}"):
        assert "inner.size" in _fails(f"name: x\ninner: {{{wrong}}}").message
    assert "expected small letters" in _fails("name: X\ninner: {size: 1}").message
    assert "expected 0 to 2 items" in _fails("name: x\ninner: {size: 1}\nwords: [a, b, c]").message


def test_a_laid_over_file_keeps_each_values_own_place() -> None:
    base = document.parse(b"name: x\ninner: {size: 0}\nwords: [a]\n", Path("base.yaml"))
    over = document.parse(b"\n\ninner: {kind: q}\nwords: [b]\n", Path("over.yaml"))
    tree = document.merge(base, over)
    assert tree.plain() == {"name": "x", "inner": {"size": 0, "kind": "q"}, "words": ["b"]}
    with pytest.raises(errors.InputError) as caught:
        document.validate(tree, Outer)
    assert [line.split(" ")[0] for line in caught.value.message.splitlines()] == [
        "base.yaml:2:",
        "over.yaml:3:",
    ]


def test_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(errors.InputError, match="can't be read: No such file"):
        document.read(tmp_path / "none.yaml")
    with pytest.raises(errors.InputError, match="can't be read"):
        document.read(tmp_path)


def test_what_a_file_says_can_not_drive_a_terminal() -> None:
    error = _fails('name: "\\e[31mred"\n"\\e]0;x\\a": 1\ninner: {size: 1}')
    assert "\x1b" not in error.message


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
TREES = st.recursive(
    SCALARS, lambda c: st.lists(c) | st.dictionaries(st.text(max_size=5), c), max_leaves=20
)


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda t: t.encode("utf-8", "replace")))
def test_any_bytes_give_data_or_an_input_error(raw: bytes) -> None:
    with contextlib.suppress(errors.InputError):
        document.validate(document.parse(raw, PATH), Outer)


@given(TREES)
def test_any_tree_gives_data_or_an_input_error(tree: object) -> None:
    import yaml

    with contextlib.suppress(errors.InputError):
        document.validate(document.parse(yaml.safe_dump(tree).encode(), PATH), Outer)
