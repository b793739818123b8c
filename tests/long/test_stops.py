# SPDX-License-Identifier: Apache-2.0
"""A stop of 8 s in mid-sweep, of the emulator or of the agent, is nobody's hang."""

import os
import select
import signal
from pathlib import Path

import pytest

from hilagent.clock import Deadline
from tests.fault.harness import started
from tests.long.conftest import Tell

STOP_S = 8.0
RUNS = 5
ARGV = ["run", "qemu-virt", "--suite", "architecture", "--suite", "dispatch", "--suite", "clobber"]


def stop(pid: int) -> None:
    """Stop a process for `STOP_S`."""
    os.kill(pid, signal.SIGSTOP)
    try:
        select.select([], [], [], STOP_S)
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("who", ["emulator", "agent"])
def test_a_stop_in_mid_sweep_is_no_hang(tmp_path: Path, tell: Tell, who: str) -> None:
    codes = []
    for number in range(RUNS):
        with started(ARGV, tmp_path / str(number)) as agent:
            assert agent.until(lambda agent=agent: agent.swept() > 0, Deadline.after(60))  # type: ignore[misc]
            stop(agent.emulators()[0] if who == "emulator" else agent.process.pid)
            done = agent.ended()
        codes.append(done.code)
        assert not done.findings, done.story()
        allowed = {0, 125} if who == "emulator" else {0}
        assert done.code in allowed, done.story()
        assert done.verdicts <= {"PASS", "INFRA"}, done.story()
        assert not done.emulators, done.story()
    goal = "pass" if who == "agent" else "pass or infra"
    tell(f"{who} stopped for {STOP_S:.0f} s in mid-sweep", goal, f"exit codes {codes}")
