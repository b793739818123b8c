# SPDX-License-Identifier: Apache-2.0
"""`history` over 10,000 kept runs, beside reading their journals one by one."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from hilagent import journal
from hilagent.report import history
from hilagent.report.index import Index

pytestmark = pytest.mark.bench

RUNS, TESTS, MOST_S = 10_000, 50, 1.0


def _kept(runs: Path) -> None:
    tests = [f"dispatch[hyp-stub-{n}]" for n in range(TESTS)]
    ends = "".join(
        json.dumps({"kind": "outcome", "t": 1.0, "test": test, "verdict": "pass"}) + "\n"
        for test in tests
    )
    plan = json.dumps({"kind": "plan", "t": 0.1, "tests": tests}) + "\n"
    for number in range(RUNS):
        folder = runs / f"run-{number:05}"
        folder.mkdir()
        first = {"kind": "run", "t": 0, "version": 1, "board": "rock", "vectors": ["a"],
                 "utc": f"2026-01-01T00:00:00.{number:06}+00:00"}  # fmt: skip
        text = json.dumps(first) + "\n" + plan + ends + '{"kind":"end","t":2}\n'
        if number == RUNS // 2:
            text = text.replace('"verdict": "pass"', '"verdict": "fail"', 1)
        (folder / journal.NAME).write_text(text)


def test_ten_thousand_runs(tmp_path: Path) -> None:
    _kept(tmp_path)
    began = time.monotonic()
    with Index(tmp_path):
        pass
    cold_s = time.monotonic() - began
    began = time.monotonic()
    with Index(tmp_path) as index:
        text = history.text("rock", index.of("rock"))
    warm_s = time.monotonic() - began
    print(f"history of {RUNS} runs: {warm_s:.2f} s, {cold_s / warm_s:.0f} x faster than reading "
          f"them all ({cold_s:.1f} s)")  # fmt: skip
    assert "passed 9999 of 10000" in text
    assert "FLAKY" in text
    assert warm_s < MOST_S
