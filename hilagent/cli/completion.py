# SPDX-License-Identifier: Apache-2.0
"""``hilagent completion``, and the names that a shell can complete: boards, ABIs, runs.

All of them are names of files; none is read.
"""

from __future__ import annotations

from pathlib import Path

import click

from hilagent import errors

_VARIABLE = "_HILAGENT_COMPLETE"
"""click looks at it, with the command's name in capitals."""


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> int:
    """Print the script that lets SHELL complete this command.

    SHELL is bash (4.4 or newer), zsh or fish. It completes verbs, options and their values,
    and the names of boards and runs.
    """
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    assert made is not None
    click.echo(made(context.find_root().command, {}, "hilagent", _VARIABLE).source())
    return 0


def boards_named(context: click.Context, _: click.Parameter, begun: str) -> list[str]:
    """Return the boards whose names begin so, of the folders that were given too."""
    from hilagent.board.load import names

    try:
        found = names([Path(each) for each in context.params.get("folders") or ()])
    except errors.HilagentError:
        return []
    return [name for name in found if name.startswith(begun)]


def abis(_: click.Context, __: click.Parameter, begun: str) -> list[str]:
    """Return the hcall contracts that come along."""
    from hilagent.abi import profiles

    return [name for name in profiles() if name.startswith(begun)]


def runs_kept(_: click.Context, __: click.Parameter, begun: str) -> list[str]:
    """Return the runs that are kept here, the newest first."""
    from hilagent.journal import runs_dir

    try:
        found = sorted((path.name for path in runs_dir().iterdir()), reverse=True)
    except OSError:
        return []
    return [name for name in found if name.startswith(begun)]
