# SPDX-License-Identifier: Apache-2.0
"""A board with SSH alone that is interrupted while a batch is on its way."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from hilagent.clock import Deadline
from tests import kernels
from tests.fault.harness import Agent, started

ARGV = ["run", "qemu-virt-ssh", "--suite", "clobber", "--vectors", "reference-stub"]


def under_way(agent: Agent) -> bool:
    """Whether the payload has been started, and nothing has come back yet."""
    return any(record.get("what", "").startswith("wait for") for record in agent.records())


@pytest.mark.hil
def test_a_run_that_is_interrupted_switches_it_off(tmp_path: Path) -> None:
    kernels.built()
    with started(ARGV, tmp_path) as agent:
        assert agent.until(lambda: under_way(agent), Deadline.after(60))
        os.kill(agent.process.pid, signal.SIGINT)
        done = agent.ended(60)
    assert done.code == 130, done.story()
    assert not done.emulators
    assert done.verdicts <= {"UNFINISHED"}, done.story()
