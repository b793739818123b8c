# SPDX-License-Identifier: Apache-2.0
"""What a run was worth: right, none, or one of the things that must never be."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass

from hilagent.journal import Run


class Came(enum.Enum):
    """What came of a run."""

    RIGHT = "right"
    INFRA = "infra"  # 125, and nobody accused
    STOPPED = "stopped"  # by a signal, and nobody accused
    KILLED = "killed"  # its journal has no end, and nobody is accused
    WRONG_PASS = "wrong pass"
    WRONG_ACCUSATION = "wrong accusation"
    HANG = "hang"
    BUG = "bug"
    LEFT_ON = "left on"

    @property
    def never(self) -> bool:
        """Whether it may come of no run."""
        return self not in {Came.RIGHT, Came.INFRA, Came.STOPPED, Came.KILLED}


Accused = frozenset[tuple[str, str]]
"""Each test that accuses, by its verdict and id, and each finding, by rule and what it says."""


@dataclass(frozen=True)
class Scored:
    """One run.

    Attributes:
        why: what it said, or what is wrong with it.
        said: everything that a person may read of it.
    """

    came: Came
    why: str
    said: str


def accused(run: Run) -> Accused:
    """Return all that a run accuses."""
    tests = {(each.verdict.name, each.test) for each in run.outcomes.values()
             if each.verdict.accuses}  # fmt: skip
    found = {(f.rule, f"{f.hcall} {f.what}") for o in run.outcomes.values() for f in o.findings}
    return frozenset(tests | found)


def score(run: Run, guilty: Accused, *, off: bool = True) -> Scored:
    """Judge a run.

    Args:
        guilty: what its subject is accused of on a good line; empty for reference vectors.
        off: whether the board was switched off at the end.
    """
    came, why = _came(run, guilty)
    if not came.never and came is not Came.KILLED and not off:
        came, why = Came.LEFT_ON, "the board was not switched off at the end"
    return Scored(came, why, "\n".join(_said(run)))


def _came(run: Run, guilty: Accused) -> tuple[Came, str]:
    found, code = accused(run), run.exit_code
    if found - guilty:
        return Came.WRONG_ACCUSATION, f"accused of {sorted(found - guilty)}"
    if code == 0:
        return (Came.WRONG_PASS, "it passed") if guilty else (Came.RIGHT, "")
    if code == 1:
        return (Came.RIGHT, "") if found else (Came.WRONG_ACCUSATION, "exit code 1 of nobody")
    if code in {130, 143}:
        return Came.STOPPED, f"exit code {code}"
    if run.end is None:
        return Came.KILLED, "no end in its journal"
    if code == 125:
        return Came.INFRA, next(iter(_said(run)), "")
    return Came.BUG, f"exit code {code}: {run.end} {next(iter(_said(run)), '')}"


def _said(run: Run) -> Iterable[str]:
    """Yield what a person reads of what went wrong."""
    fine = {"PASS", "UNSUPPORTED"}
    for each in run.all_outcomes():
        if each.verdict.name not in fine:
            yield f"{each.verdict.name} {each.message}"
    if run.end:
        yield from (str(value) for value in run.end.values())
    for record in run.records:
        if record["kind"] == "note":
            yield str(record["text"])
