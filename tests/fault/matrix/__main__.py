# SPDX-License-Identifier: Apache-2.0
"""The matrix, run and printed.

::

    python -m tests.fault.matrix --seeds 20                     # 20 runs of each cell
    python -m tests.fault.matrix --only 'XOFF' --first 7 --seeds 1
"""

from __future__ import annotations

import argparse
import sys
import time

from tests.fault.matrix.runner import Runner, work_folder
from tests.fault.matrix.table import cells
from tests.fault.matrix.tally import Tally, summary


def main() -> int:
    """Run the cells that were chosen; 1 where one breaks its rules."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--only", default="")
    parser.add_argument("--phase", default="")
    asked = parser.parse_args()
    began_s, folder = time.monotonic(), work_folder()
    runner, tallies = Runner(folder), list[Tally]()
    seeds = range(asked.first, asked.first + asked.seeds)
    for cell in cells():
        if asked.only in cell.trouble and asked.phase in cell.phase:
            tallies.append(Tally(cell, tuple(runner.cell(cell, seeds))))
            print(tallies[-1], *tallies[-1].wrong, sep="\n", flush=True)
    print(f"{summary(tallies)}; {time.monotonic() - began_s:.0f} s; what broke a rule: {folder}")
    return 1 if any(tally.wrong for tally in tallies) else 0


if __name__ == "__main__":
    sys.exit(main())
