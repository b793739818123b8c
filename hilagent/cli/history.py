# SPDX-License-Identifier: Apache-2.0
"""``hilagent diff``, ``history BOARD`` and ``history prune``: runs beside other runs."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from hilagent import errors, journal
from hilagent.cli.ending import say
from hilagent.report import compare, compared, history, many, prune
from hilagent.report.index import Index
from hilagent.result import EXIT_LAB, EXIT_OK, worst_exit
from hilagent.text import scrub_line

MIB = 1 << 20


def diff(before: str, after: str, *, as_json: bool) -> int:
    """Print what changed from one run to another; return 1 if something began to fail.

    Raises:
        errors.InputError: one is no run.
    """
    pairs = _pairs(journal.read(journal.find(before)), journal.read(journal.find(after)))
    found = [compare.compare(*pair) for pair in pairs]
    if as_json:
        told = [compare.as_json(each) for each in found]
        print(json.dumps(told[0] if len(told) == 1 else told, indent=1))
    else:
        colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        print("\n".join(compared.text(each, colour=colour) for each in found), end="")
    return worst_exit(each.exit_code for each in found)


def _pairs(before: journal.Run, after: journal.Run) -> list[tuple[journal.Run, journal.Run]]:
    """Return the runs, or of many boards those of each board that is in both."""
    for run in (before, after):
        if "soak" in run.facts:
            hint = "name one of the rounds in it"
            raise errors.UsageError(f"{run.run_dir} is a soak, not a run", hint=hint)
    if ("boards" in before.facts) != ("boards" in after.facts):
        raise errors.UsageError("one is a run of many boards, the other of one: name a board's own")
    if "boards" not in before.facts:
        return [(before, after)]
    old, new = (
        {board.name: board.run for board in many.read(run.run_dir).boards}
        for run in (before, after)
    )
    for name in old.keys() ^ new.keys():
        say(f"{scrub_line(name)} is in one of them alone")
    if not old.keys() & new.keys():
        raise errors.UsageError("no board is in both of them")
    return [(old[name], new[name]) for name in old if name in new]


def show(board: str, last: int, pattern: str, *, as_json: bool) -> int:
    """Print how the kept runs of a board went; 125 where there are none.

    Args:
        last: only so many of the newest; 0: all.
        pattern: only tests with such names.
    """
    runs = journal.runs_dir()
    with Index(runs) as index:
        entries = index.of(board, last)
        boards = index.boards()
    if as_json:
        print(json.dumps(history.as_json(board, entries, pattern), indent=1))
    elif entries:
        print(history.text(board, entries, pattern), end="")
    else:
        known = ", ".join(scrub_line(each) for each in boards[:20] if each) or "none"
        say(f"{runs} keeps no run of {scrub_line(board)}; boards with runs: {known}")
    return EXIT_OK if entries else EXIT_LAB


def pruned(keep_days: float | None, max_bytes: int | None, *, dry: bool) -> int:
    """Remove old runs, and say which.

    Raises:
        errors.UsageError: nothing says what is too old.
    """
    if keep_days is None and max_bytes is None:
        raise errors.UsageError("what may go? give --keep-days, --max-bytes or both")
    runs: Path = journal.runs_dir()
    if not runs.is_dir():
        raise errors.UsageError(f"{runs}: there are no runs")
    keep_s = None if keep_days is None else keep_days * prune.DAY_S
    gone, held = prune.plan(runs, keep_s, max_bytes)
    for each in held:
        say(f"kept     {scrub_line(each.folder)}: {each.why}")
    for each in gone if dry else prune.remove(runs, gone):
        say(f"{'would go' if dry else 'removed '} {scrub_line(each.folder)}")
    size = sum(each.size for each in gone) / MIB
    count = f"{len(gone)} run{'' if len(gone) == 1 else 's'}, {size:.1f} MiB"
    say(f"{count}, if it were not a dry run" if dry else f"{count} removed")
    return EXIT_OK
