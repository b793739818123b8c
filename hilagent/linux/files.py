# SPDX-License-Identifier: Apache-2.0
"""Small things that every question to a running system needs: files read and written.

Everything goes over SSH, nothing over the console: a printk can fall into the
middle of any line there. Paths are arguments, never part of a script.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from hilagent.clock import Deadline
from hilagent.transport.ssh import Connection, Done

_READ = """\
mark=$1; shift
for file; do
    printf '%s' "$mark"
    if [ -r "$file" ]; then printf '+'; cat -- "$file" 2>/dev/null; else printf -- '-'; fi
done
"""
_WRITE = 'export LC_ALL=C; [ -e "$1" ] || exit 2; printf %s "$2" | cat >"$1"'
"""By cat, because a shell's own printf may keep the kernel's reason to itself."""
ABSENT = 2


def read(
    connection: Connection, paths: Sequence[str], deadline: Deadline, doing: str = ""
) -> dict[str, bytes]:
    """Return the contents of files, all in one question; what isn't there is left out."""
    mark = secrets.token_hex(16)
    raw = connection.must(
        ["sh", "-c", _READ, "sh", mark, *paths],
        deadline=deadline,
        doing=doing or f"reading {', '.join(paths)}",
    )
    parts = raw.split(mark.encode())[1:]
    return {path: part[1:] for path, part in zip(paths, parts, strict=False) if part[:1] == b"+"}


def write(connection: Connection, path: str, text: str, deadline: Deadline, doing: str) -> Done:
    """Write to a file that is there; its status is ABSENT if it isn't."""
    argv = ["sh", "-c", _WRITE, "sh", path, text]
    return connection.run(argv, deadline=deadline, doing=doing)
