# SPDX-License-Identifier: Apache-2.0
"""Boards by tag and field: nobody who was meant is left out in silence."""

from __future__ import annotations

from pathlib import Path

import pytest

from hilagent import errors
from hilagent.board.choose import FIELDS, choose


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, more in {
        "one": "soc: abc\ntags: [nightly, desk]\npayload: {psci: none, vhe: false}",
        "two": "soc: abc\ncpus: 2\nqemu: {smp: 2}\ntags: [nightly]\npayload: {vhe: true}",
    }.items():
        (tmp_path / f"{name}.yaml").write_text(f"extends: qemu-virt\nname: {name}\n{more}\n")
    return tmp_path


@pytest.mark.parametrize(
    ("tags", "names"),
    [
        (["nightly"], ["one", "two"]),
        (["desk"], ["one"]),
        (["nightly", "desk"], ["one"]),
        (["soc=abc"], ["one", "two"]),
        (["soc=abc", "cpus=2"], ["two"]),
        (["soc=ABC", "psci=none"], ["one"]),
        (["soc=abc", "vhe=true"], ["two"]),
        (["soc=abc", "emulated=true", "entry_el=2"], ["one", "two"]),
    ],
)
def test_each_tag_must_hold(folder: Path, tags: list[str], names: list[str]) -> None:
    assert [choice.name for choice in choose(tags, [folder])] == names


def test_all_are_those_that_can_be_run(folder: Path) -> None:
    found = {choice.name for choice in choose([], [folder])}
    assert {"one", "two", "qemu-virt"} <= found
    assert "rock-5b" not in found


def test_a_file_with_a_mistake_is_chosen_for_nobody_knows_what_it_is(folder: Path) -> None:
    (folder / "wrong.yaml").write_text("extends: one\nname: wrong\nnonsense: 1\n")
    found = {choice.name: choice.board for choice in choose(["desk"], [folder])}
    assert set(found) == {"one", "wrong"}
    assert found["wrong"] is None


def test_nobody_and_what_nobody_knows_are_the_callers_mistakes(folder: Path) -> None:
    with pytest.raises(errors.UsageError, match="no board has nightly and soc=other"):
        choose(["nightly", "soc=other"], [folder])
    with pytest.raises(errors.UsageError, match="no such field 'colour'") as seen:
        choose(["colour=red"], [folder])
    assert all(field in seen.value.hint for field in FIELDS)
