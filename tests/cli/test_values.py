# SPDX-License-Identifier: Apache-2.0
"""What was typed for many boards is typed again for each of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest

from hilagent.cli import _hilagent
from hilagent.cli.values import given


def parsed(argv: list[str]) -> click.Context:
    run = _hilagent.commands["run"]
    return run.make_context("run", list(argv))


TYPED = [
    "-o", "smp=1", "-o", "cpu=max", "--suite", "clobber", "--vectors", "mutant:x", "-k", "a and b",
    "--chain", "3", "--wait", "30m", "--kernel", "patched", "--mode", "none",
    "--transfer", "ymodem", "--abi", "iss-6.12",
]  # fmt: skip


def test_every_option_comes_through_with_its_value(tmp_path: Path) -> None:
    typed = [*TYPED, "--boards", str(tmp_path), "--tests", str(tmp_path), "--artifacts", "."]
    context = parsed(["a", "b", *typed])
    again = parsed(["a", "b", *given(context, without=())])
    assert again.params == context.params


def test_what_was_not_typed_is_left_to_the_default_and_some_is_left_out() -> None:
    assert given(parsed(["a", "b"]), without=()) == []
    assert given(parsed(["--all", "--json", "--jobs", "3"]), without={"every", "jobs"}) == [
        "--json"
    ]


@pytest.mark.parametrize(
    "param", [p for p in _hilagent.commands["run"].params if p.name != "names"]
)
def test_no_option_of_run_is_of_a_kind_that_would_be_lost(param: Any) -> None:
    assert isinstance(param, click.Option)
    assert param.nargs == 1
    assert not param.count
    assert not param.secondary_opts
