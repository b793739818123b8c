# SPDX-License-Identifier: Apache-2.0
"""Verdicts over lines that damage bytes: right, or none; never wrong, never for ever."""

from pathlib import Path

import pytest

from tests.fault.legs import LEGS, Came, Scored, Truth, run, tallied
from tests.long.conftest import Tell


@pytest.mark.parametrize(("leg", "runs", "right"), [("a", 100, 95), ("b", 100, 80), ("c", 20, 18)])
def test_a_bad_line_gives_the_right_verdict_or_none(
    tmp_path: Path, tell: Tell, leg: str, runs: int, right: int
) -> None:
    truth, scored = Truth(tmp_path), list[Scored]()
    for seed in range(1000, 1000 + runs):
        scored.append(run(LEGS[leg], seed, tmp_path, truth))
    tell(LEGS[leg].name, f"{right} right of {runs}, the rest infra", tallied(scored))
    bad = [each for each in scored if each.came in {Came.WRONG, Came.STUCK}]
    assert not bad, "\n".join(f"{each}\n{each.ran.story()}" for each in bad)
    assert [each.came for each in scored].count(Came.RIGHT) >= right, "\n".join(map(str, scored))
