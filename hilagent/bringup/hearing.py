# SPDX-License-Identifier: Apache-2.0
"""Listening to a board of which nothing is known yet: is it text, is it a prompt?"""

from __future__ import annotations

import re

from hilagent.clock import Deadline
from hilagent.console import Console
from hilagent.console.prompt import INTERRUPT
from hilagent.text import scrub

_TEXT = frozenset((*range(0x20, 0x7F), *b"\r\n\t\b\x1b\a"))
_SHARE = 0.85
"""Of random bytes 4 of 10 look like text; of a console's, all but noise at power on."""
_LEAST, _ENOUGH = 8, 64
_QUIET_S, _GARBAGE_S = 0.5, 4.0
_LAST = re.compile(r"[^\n]{0,60}[#$>%:\]] ?\Z")
_MOST = 4096


def is_text(data: bytes) -> bool:
    """Return whether the end of ``data`` is what a person would read."""
    tail = data[-_ENOUGH:]
    return len(tail) >= _LEAST and sum(byte in _TEXT for byte in tail) >= _SHARE * len(tail)


def heard(console: Console, since: int, deadline: Deadline, *, poke: bool = False) -> bytes:
    """Return what came from ``since`` on, at most its end: as soon as it is text, or at the
    deadline; of what stays garbage, after some seconds. A silent board is poked.

    Args:
        poke: at once, not only after a silence.
    """
    garbage = deadline
    if poke:
        console.write(INTERRUPT, deadline)
    while True:
        end = console.position()
        data = console.cut(max(since, end - _MOST), _MOST)[1]
        quiet = not console.wait(end, deadline.sooner(_QUIET_S))
        if is_text(data) and (quiet or len(data) >= _ENOUGH):
            return data
        if garbage.expired() or deadline.expired():
            return data
        if quiet:
            console.write(INTERRUPT, deadline)
        if data and garbage is deadline:
            garbage = deadline.sooner(_GARBAGE_S)


def prompt(console: Console, deadline: Deadline) -> str:
    """Return the unfinished line that stands there after each of two Ctrl-C, "" for none."""
    lines = []
    for _ in range(2):
        start = console.position()
        console.write(INTERRUPT, deadline)
        while console.wait(console.position(), deadline.sooner(_QUIET_S)):
            if deadline.expired():
                return ""
        found = _LAST.search(scrub(console.cut(start, _MOST)[1]).replace("\r", "\n"))
        lines.append(found[0] if found else "")
    return lines[0] if lines[0] == lines[1] else ""
