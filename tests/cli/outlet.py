# SPDX-License-Identifier: Apache-2.0
"""A board on an outlet of its own: a program that notes what it is told, and holds its state."""

from __future__ import annotations

from pathlib import Path

BOARD = """\
schema: 1
name: rock
description: a board on a shelf
soc: scripted
emulated: false
cpus: 1
console: {{kind: serial, path: {port}}}
power: {{kind: command, "on": [{outlet}, "on"], "off": [{outlet}, "off"], off_s: 0.1{more}}}
payload: {{entry_el: 2, psci: smc}}
os: {{ssh: {{host: 192.0.2.1}}}}
"""
SCRIPT = """\
#!/bin/sh
cd "{folder}" || exit 9
test ! -e "fails-$1" || {{ echo "the relay sticks" >&2; exit 3; }}
case $1 in
state) test ! -e silent || exit 7; exec test -e live ;;
on | cycle) test -e stuck || : >live ;;
off) test -e stuck || rm -f live ;;
esac
echo "$1" >>log
"""


class Outlet:
    """An outlet in a folder, and the file of a board called ``rock`` that hangs on it.

    A file ``fails-VERB`` in the folder makes that verb fail; ``stuck`` keeps the state as
    it is; ``silent`` makes the state unknown.

    Args:
        port: the board's console.
        state: whether the outlet can be asked.
        cycle: whether it has a command for that.
    """

    def __init__(
        self, folder: Path, port: str = "/dev/null", *, state: bool = True, cycle: bool = False
    ) -> None:
        self.folder = folder
        path = folder / "outlet"
        path.write_text(SCRIPT.format(folder=folder))
        path.chmod(0o755)
        more = f', state: [{path}, "state"]' if state else ""
        more += f', cycle: [{path}, "cycle"]' if cycle else ""
        (folder / "rock.yaml").write_text(BOARD.format(port=port, outlet=path, more=more))

    def is_on(self) -> bool:
        """Return whether the board has power."""
        return (self.folder / "live").exists()

    def did(self) -> list[str]:
        """Return what it was told so far, but for questions."""
        log = self.folder / "log"
        return [verb for verb in log.read_text().split() if verb != "state"] if log.exists() else []

    def let(self, *names: str) -> None:
        """Put files into the folder, see above."""
        for name in names:
            (self.folder / name).touch()
