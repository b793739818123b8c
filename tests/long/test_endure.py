# SPDX-License-Identifier: Apache-2.0
"""A day's worth of sweeps and restarts in one process, with a byte in a thousand damaged."""

from __future__ import annotations

import json
import subprocess
import sys

from tests import kernels, tree
from tests.long.conftest import Tell

SWEEPS, RESTARTS, RATE = 2_000, 200, 0.001
RIGHT = 0.9
"""The least share that must come to the right verdict; the others may be INFRA."""
GROWN_KIB = 32 << 10


def test_nothing_is_wrong_and_nothing_grows(tell: Tell) -> None:
    kernels.built("patched")
    argv = [sys.executable, "-m", "tests.fault.endure", *map(str, (SWEEPS, RESTARTS, RATE))]
    done = subprocess.run(argv, cwd=tree.TOP, stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(done.stdout)
    for what, said in (("measured", f"{found['sweeps']} sweeps"), ("restarted", "restarts")):
        tell(f"{said}, {RATE:.1%} of bytes damaged", "none wrong", str(found[what]))
    for when, held in found["held"].items():
        tell(f"the process, {when}", "does not grow", str(held))
    for what in ("measured", "restarted"):
        counts = found[what]
        assert set(counts) <= {"right", "infra"}, counts
        assert counts["right"] >= RIGHT * sum(counts.values()), counts
    held = found["held"]
    for before, after in (("warm", "swept"), ("restarts warm", "end")):
        assert held[after]["rss_kib"] < held[before]["rss_kib"] + GROWN_KIB, held
        assert held[after]["files"] <= held[before]["files"], held
        assert held[after]["threads"] <= held[before]["threads"], held
