# SPDX-License-Identifier: Apache-2.0
"""Agents of several hosts in the queue for two places: one at a time, and each has its turn."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from pathlib import Path

import pytest

from hilagent import journal
from tests import labgrid_env
from tests.long.conftest import Tell
from tests.place.test_lab_hil import agent, gate, helper_of, holders, laboratory, runs_at

AGENTS = 12
HANGS_S = 40
"""Labgrid's drivers know no time-out; the helper's own is a quarter of this."""
LIMIT_S = 900


def test_agents_take_turns_at_two_places(
    tmp_path: Path, tell: Tell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HILAGENT_LABGRID_PYTHON", labgrid_env.python())
    with laboratory(tmp_path) as lab, contextlib.ExitStack() as stack:
        agents = [
            stack.enter_context(
                agent(lab, "one", "--reserve", "pool=x", "--wait", "15m",
                      LG_HOSTNAME=f"host{number}", HILAGENT_STATE=str(tmp_path / f"host{number}"))
            )
            for number in range(AGENTS)
        ]  # fmt: skip
        codes = [each.ends(LIMIT_S) for each in agents]
        places = [journal.read(each.run_dir).facts["place"] for each in agents]
        assert holders(lab) == {}
        told = {n: [on for name, on in lab.outlets.told if name == n] for n in ("1", "2")}
    passed = codes.count(0)
    share = ", ".join(f"{places.count(name)} at {name}" for name in sorted({*places}))
    tell(f"{AGENTS} agents, two places", f"{AGENTS} pass", f"{passed} pass: {share}")
    assert passed == AGENTS
    for did in told.values():  # nobody switched on what another one still used
        assert did == [number % 2 == 0 for number in range(len(did))]


def test_a_driver_that_hangs_keeps_neither_place_nor_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HILAGENT_LABGRID_PYTHON", labgrid_env.python())
    with laboratory(tmp_path) as lab, gate(lab, "a"), runs_at(lab, "a") as it:
        helper = os.pidfd_open(helper_of(it.process.pid))
        it.signal(signal.SIGKILL)
        it.process.wait()
        ended, _, _ = select.select([helper], [], [], HANGS_S)
        os.close(helper)
        assert ended
        assert holders(lab) == {}
