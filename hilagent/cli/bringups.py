# SPDX-License-Identifier: Apache-2.0
"""The arguments of ``hilagent doctor`` and ``onboard``; each one's work is in its own file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hilagent.cli.completion import boards_named
from hilagent.cli.placing import place_of, place_options
from hilagent.cli.values import wait_option


@click.command("doctor")
@click.argument("board", default="qemu-virt", shell_complete=boards_named)
@click.option("-o", "--option", "options", multiple=True, metavar="KEY=VALUE",
              help="An option of the board, e.g. cpu=max; may be given again.")  # fmt: skip
@click.option("--boards", "folders", multiple=True, metavar="DIR",
              type=click.Path(file_okay=False, path_type=Path),
              help="A folder of board files, looked at first.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="For machines.")
@click.option("--run-dir", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
              help="Where the logs go (default: a new folder in $HILAGENT_RUNS "
                   "or ./hilagent-runs).")  # fmt: skip
@place_options
@wait_option
def doctor(
    board: str, options: tuple[str, ...], folders: tuple[Path, ...], as_json: bool,
    run_dir: Path | None, wait_s: float, **at: Any,
) -> int:  # fmt: skip
    """Look at BOARD layer by layer, and name what is broken first.

    From its port to KVM. Each layer says what was seen, and what to do; one whose
    foundation is broken is not reached. Nothing that lasts is changed on the board, and it
    is switched off at the end.
    """
    from hilagent.cli.doctor import doctor as look
    from hilagent.plugin.options import pairs
    from hilagent.session.settings import Request

    place = place_of(**at)
    request = Request(
        board=board, options=pairs(options), boards=folders, wait_s=wait_s, place=place
    )
    return look(request, run_dir, as_json=as_json)


@click.command("onboard")
@click.argument("port")
@click.option("--name", required=True, help="What the board, and its file, will be called.")
@click.option("--dir", "folder", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
              help="Where its file goes (default: ~/.config/hilagent/boards).")  # fmt: skip
@click.option(
    "--baud",
    default=115200,
    show_default=True,
    help="The rate that is tried first, in bits a second.",
)
@click.option("--power-on", default="", metavar="COMMAND", help="Switches it on.")
@click.option("--power-off", default="", metavar="COMMAND", help="Switches it off.")
@click.option("--emulated", is_flag=True, help="It is an emulator, and no silicon.")
@click.option("--wait", "wait_s", type=click.FloatRange(1, 3600), default=120.0, show_default=True,
              metavar="SECONDS", help="How long you may take to switch it on.")  # fmt: skip
@click.option("--run-dir", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
              help="Where the console's log goes.")  # fmt: skip
def onboard(port: str, name: str, folder: Path | None, run_dir: Path | None, **how: Any) -> int:
    """Ask the board at PORT what it is, and write its file.

    For one that nobody has described yet. PORT is a serial device, or tcp:HOST:PORT. Finds
    the baud rate, gets to U-Boot's prompt, and asks for its commands, variables, memory and
    device tree. Changes nothing on it.
    """
    from hilagent.cli.onboard import onboard as interrogate
    from hilagent.cli.onboard import wanted_of

    return interrogate(wanted_of(port, name, **how), folder, run_dir)
