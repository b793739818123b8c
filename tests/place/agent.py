# SPDX-License-Identifier: Apache-2.0
"""A ``hilagent`` beside others, each a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from threading import Event
from typing import Any

from hilagent import journal
from hilagent.clock import Deadline
from tests.cli.person import environment, hilagent
from tests.place.lab import Lab

SOON_S = 60.0


class Agent:
    """A ``hilagent`` that runs; use with ``with``.

    Args:
        env: what it has in its environment besides.
    """

    def __init__(self, lab: Lab, run_dir: Path, *argv: str, **env: str) -> None:
        self.run_dir = run_dir
        own = ["--boards", str(lab.folder / "boards"), "--coordinator", lab.address]
        self.process = subprocess.Popen(
            hilagent(*argv, *own, "--run-dir", str(run_dir)), cwd=lab.folder, text=True,
            env=environment(lab.folder, **{"LG_USERNAME": "alice", "LG_HOSTNAME": "host1", **env}),
            start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self.out = self.err = ""

    def __enter__(self) -> Agent:
        return self

    def __exit__(self, *exc: object) -> None:
        self.process.kill()
        self.process.communicate()

    def ends(self, seconds: float = SOON_S) -> int:
        """Wait until it ends; return its exit code."""
        self.out, self.err = self.process.communicate(timeout=seconds)
        assert "Traceback" not in self.err
        assert "Warning" not in self.err
        return self.process.returncode

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.process.pid, number)

    def says(self, what: str) -> dict[str, Any]:
        """Wait until its journal says ``what``; return that record."""
        name = f"{what!r} in {self.run_dir}"
        found: dict[str, Any] = until(lambda: self._said(what), name, self.process)
        return found

    def _said(self, what: str) -> dict[str, Any] | None:
        path = self.run_dir / journal.NAME
        lines = path.read_text().splitlines() if path.exists() else []
        found: dict[str, Any] | None = next((json.loads(x) for x in lines if what in x), None)
        return found

    def verdicts(self) -> set[str]:
        """Return the verdicts of its tests."""
        return {each.verdict.value for each in journal.read(self.run_dir).outcomes.values()}


def until(look: Any, what: str, process: subprocess.Popen[str] | None = None) -> Any:
    """Wait until ``look`` returns something; files tell nobody that they have changed."""
    deadline = Deadline.after(SOON_S)
    while not (found := look()):
        assert not deadline.expired(), what
        if process is not None and process.poll() is not None:
            found = look()
            assert found, (what, process.communicate())
            return found
        Event().wait(0.05)
    return found
