# SPDX-License-Identifier: Apache-2.0
"""However much a board prints: the agent's memory is bounded, and nothing is lost on disk."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from hilagent.console.tape import KEEP_BYTES
from tests import tree
from tests.fault.flood import END, KINDS

MIB_IN_CI = 48
MOST_KIB = 3 * KEEP_BYTES // 1024 + (24 << 10)
"""Twice what is kept, while it is cut, and what the interpreter needs meanwhile."""


def flood(kind: str, mib: int) -> dict[str, Any]:
    """Return what came of a flood; a process of its own."""
    argv = [sys.executable, "-m", "tests.fault.flood", kind, str(mib)]
    done = subprocess.run(argv, cwd=tree.TOP, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def check(found: dict[str, Any], size: int) -> None:
    """Assert that all was written down, the end was seen, and memory is bounded."""
    assert found["found"], found
    assert found["bytes"] == size + len(END), found
    assert found["grown_kib"] < MOST_KIB, found


@pytest.mark.parametrize("kind", KINDS)
def test_a_board_that_never_stops_costs_no_memory(kind: str) -> None:
    check(flood(kind, MIB_IN_CI), len(KINDS[kind]) * MIB_IN_CI)
