# SPDX-License-Identifier: Apache-2.0
"""The verbs for a board at hand, without a run: its switch, its console, its host key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hilagent.cli.completion import boards_named
from hilagent.cli.placing import PLACE_OPTIONS, place_in, place_options
from hilagent.cli.values import wait_option

DEFAULT_BOARD = "qemu-virt"
"""Of every verb that can do without a name."""


@click.command("power")
@click.argument("board", shell_complete=boards_named)
@click.argument("what", type=click.Choice(["on", "off", "cycle", "state"]))
@click.option("--boards", "folders", multiple=True, metavar="DIR",
              type=click.Path(file_okay=False, path_type=Path),
              help="A folder of board files, looked at first.")  # fmt: skip
@place_options
@wait_option
def power(board: str, what: str, folders: tuple[Path, ...], wait_s: float, **at: Any) -> int:
    """Switch BOARD on or off, or say which it is.

    Says what was done, and what the board's own 'power.state' says of it afterwards.
    Refused while somebody uses the board.
    """
    from hilagent.cli import power as work

    return work.power(board, what, folders, wait_s, place_in(at))


@click.command("console")
@click.argument("board", default=DEFAULT_BOARD, shell_complete=boards_named)
@click.option(
    "--power-on",
    "begin",
    flag_value="on",
    help="Switch it on first; what was switched on here is switched off at the end.",
)
@click.option(
    "--cycle", "begin", flag_value="cycle", help="Switch it off and on first, and off at the end."
)
@click.option(
    "--timestamps", is_flag=True, help="Show the time before each line, in seconds since the start."
)
@click.option(
    "--watch",
    is_flag=True,
    help="Look on only: show the log of whoever holds the board, until they end.",
)
@click.option(
    "--quiet",
    "quiet_s",
    type=click.FloatRange(0.01, 3600),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="With a pipe as input: end after such a silence behind its end.",
)
@click.option(
    "-o",
    "--option",
    "options",
    multiple=True,
    metavar="KEY=VALUE",
    help="An option of the board, e.g. cpu=max; may be given again.",
)
@click.option(
    "--boards",
    "folders",
    multiple=True,
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="A folder of board files, looked at first.",
)
@click.option("--run-dir", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
              help="Where the log goes: console.raw, console.tx, console.idx (default: a new "
                   "folder in $HILAGENT_RUNS or ./hilagent-runs).")  # fmt: skip
@place_options
@wait_option
def console(board: str, watch: bool, begin: Any, **chosen: Any) -> int:
    """Connect this terminal to the console of BOARD.

    Every key goes to the board, Ctrl-C too, but Ctrl-] and a key: q quits, c cycles
    power, b sends a break, ? is help, and Ctrl-] sends itself. Of what the board says,
    only text (on a terminal with colours) is shown: it can't drive this terminal. The log
    has every byte, and when it came. A pipe as input is sent as it is.
    """
    place = place_in({name: chosen.pop(name) for name in PLACE_OPTIONS})
    if watch:
        if begin or chosen["run_dir"] or chosen["options"] or chosen["wait_s"]:
            raise click.UsageError("--watch only looks on: it switches, chooses and writes nothing")
        from hilagent.cli.following import watch as follow

        return follow(board, chosen["folders"], place, timestamps=chosen["timestamps"])
    from hilagent.cli import console as work
    from hilagent.plugin.options import pairs

    options = pairs(chosen.pop("options"))
    wanted = work.Wanted(begin=begin or "as it is", options=options, place=place, **chosen)
    return work.console(board, wanted)


@click.command("trust")
@click.argument("board", shell_complete=boards_named)
@click.option("--system", type=click.Choice(["os", "rootfs"]), default="os", show_default=True,
              help="Which system of the board is running now.")  # fmt: skip
@click.option("--yes", is_flag=True, help="Don't ask: the fingerprint was compared before.")
@click.option("--boards", "folders", multiple=True, metavar="DIR",
              type=click.Path(file_okay=False, path_type=Path),
              help="A folder of board files, looked at first.")  # fmt: skip
def trust(board: str, system: str, yes: bool, folders: tuple[Path, ...]) -> int:
    """Pin the SSH host key that BOARD shows, after asking."""
    from hilagent.cli import trust as work

    return work.trust(board, folders, system=system, yes=yes)
