# SPDX-License-Identifier: Apache-2.0
"""The arguments of ``hilagent boards``; its work is in ``hilagent.cli.boards``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hilagent.cli.completion import boards_named
from hilagent.cli.placing import place_of, place_options


@click.group("boards", invoke_without_command=True)
@click.option("--boards", "folders", multiple=True, metavar="DIR",
              type=click.Path(file_okay=False, path_type=Path),
              help="A folder of board files, looked at first.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="For machines.")
@click.pass_context
def boards(context: click.Context, folders: tuple[Path, ...], as_json: bool) -> int:
    """List the boards that can be named; or check their files.

    A model describes a type of board: the listing says what a lab's own file, which
    extends it, must add.
    """
    from hilagent.cli.boards import boards as listing

    if context.invoked_subcommand is None:
        return listing(folders, as_json=as_json)
    if as_json:
        raise click.UsageError("--json is for the listing alone")
    context.obj = folders
    return 0


@boards.command("check")
@click.argument("paths", nargs=-1, metavar="[FILE|DIR]...", type=click.Path(path_type=Path))
@click.pass_obj
def _check(folders: tuple[Path, ...], paths: tuple[Path, ...]) -> int:
    """Say everything that is wrong with board files.

    FILE or DIR: which ones (default: all that are listed). In each file: fields, types,
    memory that overlaps. Between them: names, serial ports, power commands and addresses
    that two boards use.
    """
    from hilagent.cli.boards import check

    return check(paths, folders)


@boards.command("release")
@click.argument("names", nargs=-1, required=True, metavar="BOARD...",
                shell_complete=boards_named)  # fmt: skip
@place_options
@click.pass_obj
def _release(folders: tuple[Path, ...], /, names: tuple[str, ...], **at: Any) -> int:
    """End the quarantine of boards that were repaired.

    A BOARD whose switch lied about power is refused by every run on this host until
    then. The listing of 'hilagent boards' shows what was seen.
    """
    from hilagent.cli.boards import release

    place = place_of(**at)
    if place is not None and (len(names) > 1 or not place.name):
        raise click.UsageError("one board at one place, by its name")
    return release(names, folders, place)


@boards.command("schema")
def _schema() -> int:
    """Print the JSON schema of a board file, for editors."""
    from hilagent.cli.boards import schema

    return schema()
