# SPDX-License-Identifier: Apache-2.0
"""What a run of ansible-playbook came to."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass


@dataclass(frozen=True)
class Played:
    """One run on one host.

    Attributes:
        status: its exit code.
        said: everything that it printed.
    """

    status: int
    said: str

    @classmethod
    def of(cls, done: subprocess.CompletedProcess[str]) -> Played:
        """Return what a process came to."""
        return cls(done.returncode, done.stdout)

    @property
    def words(self) -> str:
        """What it printed, without the ends of its lines: it folds what is long."""
        return " ".join(self.said.split())

    @property
    def recap(self) -> str:
        """The host's own line under PLAY RECAP, without the padding."""
        lines = self.said.partition("PLAY RECAP")[2].splitlines()
        return " ".join(lines[1].partition(":")[2].split()) if len(lines) > 1 else self.said[-4000:]

    def count(self, what: str) -> int:
        """Return how many tasks were ``changed``, ``failed`` and so on; -1: nobody said so."""
        found = re.search(rf"\b{what}=(\d+)", self.recap)
        return int(found[1]) if found else -1

    @property
    def changed(self) -> list[str]:
        """What changed: ``TASK`` or ``TASK: ITEM``, in order."""
        task, found = "", list[str]()
        for line in self.said.splitlines():
            if head := re.match(r"(?:TASK|RUNNING HANDLER) \[(?:\w+ : )?(.*)\] \*+$", line):
                task = head[1]
            elif line.startswith("changed:"):
                item = re.search(r"\(item=(.*)\)", line)
                found.append(f"{task}: {item[1]}" if item else task)
        return found
