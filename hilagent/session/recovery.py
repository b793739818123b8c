# SPDX-License-Identifier: Apache-2.0
"""Getting a board back: without its power where a person switches it, and when to stop.

Power is the surest, and where a program switches it, the only way: a board that was reset
in another way keeps its memory, and what a driver or a debugger left. Where a person
switches, they are spared by the cheapest means that can still be asked:

1. the payload: PSCI SYSTEM_RESET (Arm DEN 0022, section 5.1.9), or the watchdog that the
   board's model names;
2. a kernel over SSH: the magic SysRq key, "b";
3. the same by a break on the console: Documentation/admin-guide/sysrq.rst of Linux 6.12.

That it was reset must show itself: U-Boot comes, or the system with another boot id.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from hilagent import errors
from hilagent.board import Board
from hilagent.clock import Deadline
from hilagent.journal import Journal
from hilagent.session import quarantine
from hilagent.session.linux import Linux

if TYPE_CHECKING:
    from hilagent.console import Console
    from hilagent.payload import Payload

_ASK_S = 10.0
_KEY = b"b"
_SAID = (errors.HostError, errors.PowerLied)
"""What is not the board's doing, and what has been said of it already."""


def reset(
    ran: Payload | Linux, board: Board, console: Callable[[], Console], journal: Journal
) -> bool:
    """Ask what ran last to reset its board; return whether anybody could be asked."""
    means = _of_linux(ran, console) if isinstance(ran, Linux) else _of_payload(ran, board)
    for how, ask in means:
        try:
            ask()
        except (errors.LabError, errors.Unsupported) as exc:
            journal.note(f"no reset by {how}: {exc}")
        else:
            journal.note(f"reset by {how}")
            return True
    return False


_Means = Sequence[tuple[str, Callable[[], object]]]


def _of_payload(payload: Payload, board: Board) -> _Means:
    from hilagent.payload import watchdog

    named = board.payload.watchdog
    stores = watchdog.stores(named) if named else ()
    return [("the payload", lambda: payload.reset(stores))]


def _of_linux(linux: Linux, console: Callable[[], Console]) -> _Means:
    def by_break() -> None:
        console().send_break()
        console().write(_KEY, Deadline.after(_ASK_S))

    by_ssh = linux.system.reset
    return [
        ("the kernel, over SSH", lambda: by_ssh(Deadline.after(_ASK_S))),
        ("a break and SysRq", by_break),
    ]


def given_up(board: Board, journal: Journal, tries: Sequence[errors.LabError]) -> str:
    """Leave a board alone that never came to where power brings it; return what to do.

    Not where a person switches it, who sees that for themselves; nor for what is not the
    board's doing: a host that was late, or whose disk is full.
    """
    if board.power.kind == "manual" or any(isinstance(each, _SAID) for each in tries):
        return ""
    seen = dict.fromkeys(each.message for each in tries)
    saw = f"not reached in {len(tries)} tries: {'; '.join(seen)}"
    try:
        if not quarantine.mark(board, saw, journal.run_dir):
            return ""
        journal.note(f"{board.name} is in quarantine now: {saw}", blame="infra")
    except errors.LabError as exc:
        return f"it can't be put into quarantine: {exc.message}"
    return f"it is in quarantine until '{quarantine.doctor(board)}' finds it well"
