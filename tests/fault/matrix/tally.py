# SPDX-License-Identifier: Apache-2.0
"""Counts what came of the cells, and prints it as a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tests.fault.matrix.runner import Ran
from tests.fault.matrix.score import Came
from tests.fault.matrix.table import Cell


@dataclass(frozen=True)
class Tally:
    """One cell, and what came of its runs."""

    cell: Cell
    ran: tuple[Ran, ...]

    @property
    def right(self) -> float:
        """The share of right verdicts."""
        return sum(each.scored.came is Came.RIGHT for each in self.ran) / len(self.ran)

    @property
    def wrong(self) -> list[str]:
        """Everything that breaks the rules of the cell; a share only means something of many."""
        found = [f"{self.name}, seed {each.seed}: {each.wrong}" for each in self.ran if each.wrong]
        few = len(self.ran) < FEW and self.cell.allowed.least < 1
        if self.right < self.cell.allowed.least and not few:
            found.append(f"{self.name}: {self.right:.0%} right, not {self.cell.allowed.least:.0%}")
        return found

    @property
    def name(self) -> str:
        """Which cell it is."""
        return f"{self.cell.trouble}, {self.cell.phase}"

    def __str__(self) -> str:
        counts = Counter(each.scored.came for each in self.ran)
        came = ", ".join(f"{counts[kind]} {kind.value}" for kind in Came if counts[kind])
        share = f"{self.right:4.0%} of {self.cell.allowed.least:4.0%}"
        return f"{self.cell.trouble:44} {self.cell.phase:7} {share}  {came}"


FEW = 10
"""With fewer runs a share below 100 % is left to the second tier."""


def summary(tallies: Sequence[Tally]) -> str:
    """Return the counts over all cells."""
    counts = Counter(ran.scored.came for tally in tallies for ran in tally.ran)
    came = ", ".join(f"{counts[kind]} {kind.value}" for kind in Came if counts[kind])
    return f"{len(tallies)} cells, {counts.total()} runs: {came}"
