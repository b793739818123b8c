# SPDX-License-Identifier: Apache-2.0
"""A sample of `tests/long/test_bad_lines.py`: the verdict on a line that damages bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fault.legs import LEGS, Came, Truth, run

pytestmark = pytest.mark.hil


@pytest.mark.parametrize(("leg", "seeds"), [("a", (2, 9)), ("b", (0, 9)), ("c", (9,))])
def test_a_bad_line_gives_the_right_verdict_or_none(
    tmp_path: Path, leg: str, seeds: tuple[int, ...]
) -> None:
    truth = Truth(tmp_path)
    scored = [run(LEGS[leg], seed, tmp_path, truth) for seed in seeds]
    said = "\n".join(f"{each}\n{each.ran.story()}" for each in scored)
    assert {each.came for each in scored} <= {Came.RIGHT, Came.INFRA}, said
    assert Came.RIGHT in {each.came for each in scored}, said
    if leg != "c":
        assert sum(each.faults for each in scored) > 0
