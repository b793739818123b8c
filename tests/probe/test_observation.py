# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilagent import abi
from hilagent.probe import observation
from tests.probe import sim

PASSES, _ = sim.observe(profile=abi.load("iss-2015"), cpus=(0,))
WRITTEN: dict[str, Any] = json.loads(json.dumps(observation.to_json(PASSES[0])))


def test_what_was_written_is_read_back_the_same() -> None:
    for swept in PASSES:
        assert observation.from_json(json.loads(json.dumps(observation.to_json(swept)))) == swept


def test_an_exchange_is_an_observation_of_one_immediate() -> None:
    exchange = PASSES[0].frames[2]
    swept = observation.of_exchange(exchange, cpu=0, origin=5)
    assert swept.runs == ((exchange.after.imm, 1, 0),)
    assert observation.exchange_from(observation.exchange_json(exchange)) == exchange


@pytest.mark.parametrize("field", sorted(WRITTEN))
@pytest.mark.parametrize("value", [None, "x", {}, [[]], True, 1.5], ids=repr)
def test_a_damaged_field_is_named_and_never_a_traceback(field: str, value: object) -> None:
    damaged = {**WRITTEN, field: value}
    if value == WRITTEN[field]:
        return
    if (field, value) == ("frames", {}):
        assert observation.from_json(damaged).frames == {}
        return
    with pytest.raises(ValueError, match="expected"):
        observation.from_json(damaged)


def _leaves(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    out = []
    for key, value in items:
        nested = isinstance(value, dict | list)
        out += _leaves(value, (*path, key)) if nested else [(*path, key)]
    return out


@given(st.sampled_from(_leaves(WRITTEN)), st.sampled_from([None, "", [], {}, 0.5]))
def test_a_damaged_value_anywhere_is_an_error(path: tuple[Any, ...], value: object) -> None:
    damaged = copy.deepcopy(WRITTEN)
    place = damaged
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    with pytest.raises(ValueError, match="not an observation"):
        observation.from_json(damaged)


@settings(max_examples=40)
@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda c: st.lists(c) | st.dictionaries(st.text(), c)
    )
)
def test_anything_else_is_an_error(data: object) -> None:
    with pytest.raises(ValueError, match="not an observation"):
        observation.from_json(data)
