# SPDX-License-Identifier: Apache-2.0
"""What JSON must look like: each shape, and what doesn't fit it."""

from __future__ import annotations

from typing import Any

import pytest

from hilagent import records
from hilagent.shape import fits, maybe, word


@pytest.mark.parametrize(
    ("shape", "good", "bad"),
    [
        (int, [0, -5, 10**30], [True, 1.0, "1", None]),
        (float, [0, 1.5], [True, float("nan"), float("inf"), 10**30, "1", None]),
        (str, ["", "x"], [1, None, []]),
        (bool, [True], [1, None]),
        (object, [None, 1, []], []),
        ([int], [[], [1, 2]], [1, {}, ["1"], [1, None]]),
        ((int, str), [[1, "a"]], [[1], [1, "a", 2], ["a", 1], "ab"]),
        ({"a": int, "b?": str}, [{"a": 1}, {"a": 1, "b": "", "c": 5}],
         [{}, {"a": "1"}, {"a": 1, "b": None}, [], None]),
        ({"*": int}, [{}, {"x": 1}], [{"x": "1"}, []]),
        (maybe(int), [None, 1], ["1"]),
        (word, ["x19"], ["", "\ud800", 1]),
    ],
)  # fmt: skip
def test_what_fits(shape: Any, good: list[Any], bad: list[Any]) -> None:
    assert [each for each in good if not fits(each, shape)] == []
    assert [each for each in bad if fits(each, shape)] == []


@pytest.mark.parametrize(
    "record",
    [
        {"kind": 1, "t": 0},
        {"kind": "outcome", "t": 0, "test": "x"},
        {"kind": "plan", "t": 0, "tests": "x"},
        {"kind": "note", "text": "x"},
        {"kind": "observation", "t": 0, "what": "dispatch", "ranges": [[0, 1, "unknown", "x"]]},
        {"kind": "observation", "t": 0, "what": "leg", "way": "crash", "times": {}},
    ],
)
def test_a_record_that_does_not_fit_is_damaged(record: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not a"):
        records.check(record)


def test_what_nobody_knows_may_be_anything() -> None:
    records.check({"kind": "later", "t": 5, "x": []})
    records.check({"kind": "observation", "t": 5, "what": "later"})
    records.check({"kind": "run", "version": 99})
