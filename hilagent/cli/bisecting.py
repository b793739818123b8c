# SPDX-License-Identifier: Apache-2.0
"""Exit codes that ``git bisect run`` reads aright: nothing but evidence calls a commit bad.

git (git-bisect(1), "Bisect run") takes 0 for good, 125 for a commit that can't be judged,
every other code below 128 for bad, and stops at 128 and above.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hilagent import errors, result
from hilagent.cli.ending import say

if TYPE_CHECKING:
    from hilagent.journal import Run

OPTION = "--bisect"
STOP = 128
"""Nobody can go on: the command is wrong, or this program is."""
_SAID = {
    result.EXIT_OK: "good: everything asked for passed",
    result.EXIT_ACCUSED: "bad: what is under test is accused",
    result.EXIT_LAB: "skipped: it could not be judged, which is no fault of the commit's",
    STOP: "stopped: the command or hilagent itself is wrong, and no commit is to blame",
}
_SIGNALS = (result.EXIT_SIGINT, result.EXIT_SIGTERM)


def asked(argv: Sequence[str] | None) -> bool:
    """Return whether the command line (None: this process's) is one for ``git bisect run``.

    It is asked before the line is understood: a mistake in it must not be a commit's.
    """
    return OPTION in (sys.argv[1:] if argv is None else argv)


def told(code: int) -> int:
    """Say what git is told instead of ``code``, and return it."""
    if code in _SIGNALS:
        return code
    code = code if code in _SAID else STOP
    say(f"git bisect: {_SAID[code]}")
    return code


def of_run(run: Run) -> int:
    """Return the exit code of ``run``, in which a kernel that doesn't build accuses nobody."""
    accused = [each for each in run.outcomes.values() if each.verdict.accuses]
    if accused and all(each.message.startswith(errors.NotBuilt.SAYS) for each in accused):
        return result.EXIT_LAB
    return run.exit_code
