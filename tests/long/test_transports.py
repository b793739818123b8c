# SPDX-License-Identifier: Apache-2.0
"""The console engine beside labgrid's and pexpect's, in one run."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests import labgrid_env, tree
from tests.bench import far, test_transports
from tests.bench.far import Took
from tests.long.conftest import Tell

TCP_SIZE = 1 << 15
"""labgrid reads a raw TCP port by single bytes: a mebibyte would take minutes."""
LIMIT_S = 600


def _labgrids(*where: str, trips: int) -> Took:
    argv = [labgrid_env.python(), "-m", "tests.long.labgrid_console", str(trips), *where]
    said = subprocess.run(
        argv, cwd=tree.TOP, capture_output=True, text=True, check=True, timeout=LIMIT_S
    )
    return Took(*json.loads(said.stdout))


@pytest.mark.parametrize("kind", ["pty", "tcp"])
def test_the_console_engine_beside_others(kind: str, tmp_path: Path, tell: Tell) -> None:
    mine = [test_transports.ours(kind, tmp_path, number) for number in range(5)]
    pexpects = [test_transports.pexpects(kind) for _ in range(5)]
    if kind == "pty":
        with far.pty() as path:
            theirs = _labgrids(path, trips=200)
        drained = theirs.drain_s
    else:
        with far.tcp(TCP_SIZE) as (host, port):
            theirs = _labgrids(host, str(port), trips=20)
        drained = theirs.drain_s * far.SIZE / TCP_SIZE
    goal = f"{test_transports.DRAIN_S} s, {test_transports.TRIP_MS[kind]} ms"
    for name, drain_s, trip_ms in (
        ("hilagent", far.best_s(mine), far.trip_ms(mine)),
        ("pexpect", far.best_s(pexpects), far.trip_ms(pexpects)),
        (f"labgrid ({'a' if kind == 'pty' else 'by 32 KiB for a'} MiB)", drained,
         far.trip_ms([theirs])),
    ):  # fmt: skip
        tell(f"1 MiB and a line, {kind}: {name}", goal, f"{drain_s:.3f} s, {trip_ms:.3f} ms")
    assert far.best_s(mine) < test_transports.DRAIN_S
    assert far.best_s(mine) < min(drained, far.best_s(pexpects))
    assert far.trip_ms(mine) < min(far.trip_ms([theirs]), far.trip_ms(pexpects))
