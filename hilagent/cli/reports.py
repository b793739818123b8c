# SPDX-License-Identifier: Apache-2.0
"""The arguments of ``hilagent report``, ``diff`` and ``history``; the work is in other files."""

from __future__ import annotations

from pathlib import Path

import click

from hilagent.cli.completion import boards_named, runs_kept
from hilagent.cli.values import Number

FORMATS = ("text", "html", "junit", "ktap", "kcidb", "json", "markdown")


def _results_schema(context: click.Context, wanted: bool) -> None:
    if wanted:
        from hilagent.report.results import schema

        click.echo(schema(), nl=False)
        context.exit()


@click.command("report")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", shell_complete=runs_kept)
@click.option("--format", "form", type=click.Choice(FORMATS),
              help="Write this on stdout (default: make the files of each run again).")  # fmt: skip
@click.option("-o", "--output", "out", type=click.Path(dir_okay=False, path_type=Path),
              metavar="FILE", help="Where to, instead of stdout.")  # fmt: skip
@click.option("--schema", is_flag=True, is_eager=True, expose_value=False,
              callback=lambda context, _, wanted: _results_schema(context, wanted),
              help="Print the JSON schema of results.json.")  # fmt: skip
@click.option("--origin", default="hilagent", metavar="NAME", show_default=True,
              help="Of --format kcidb: the lab's name there.")  # fmt: skip
def report(runs: tuple[str, ...], form: str | None, out: Path | None, origin: str) -> int:
    """Make the reports of runs again.

    RUN is a directory, an id or its beginning, or latest. Everything is told from the run's
    own directory, also of a run that was killed. Nothing is submitted anywhere.
    """
    from hilagent.cli.report import made

    return made(runs, form or "", out, origin)


@click.command("diff")
@click.argument("before", metavar="RUN", shell_complete=runs_kept)
@click.argument("after", metavar="RUN", shell_complete=runs_kept)
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def diff(before: str, after: str, as_json: bool) -> int:
    """Say what changed from the first RUN to the second.

    What began to fail, stopped failing, fails otherwise, or could not be judged by the lab's
    fault; then dispatch, clobbers, times and the facts of kernel, payload and board. A
    directory, an id or its beginning, or latest.
    """
    from hilagent.cli.history import diff as compared

    return compared(before, after, as_json=as_json)


@click.command("history")
@click.argument("board", metavar="BOARD|prune", shell_complete=boards_named)
@click.option("--last", type=click.IntRange(1), default=None, metavar="N",
              help="Only the newest N runs.")  # fmt: skip
@click.option("--test", "pattern", default="", metavar="PATTERN",
              help="Only tests with such names, those that always passed too.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="For machines.")
@click.option("--keep-days", type=click.FloatRange(0), metavar="N",
              help="prune: remove what is older.")  # fmt: skip
@click.option("--max-bytes", type=Number(), metavar="N",
              help="prune: remove the oldest until what is left fits.")  # fmt: skip
@click.option("--dry-run", "dry", is_flag=True, help="prune: say what would go, and keep it.")
def history(
    board: str,
    last: int | None,
    pattern: str,
    as_json: bool,
    keep_days: float | None,
    max_bytes: int | None,
    dry: bool,
) -> int:
    """Say how often BOARD's tests passed, and since when not.

    What could not be judged, by the lab's fault mostly, is counted apart. The runs are those
    in $HILAGENT_RUNS or ./hilagent-runs.

    history prune removes old runs instead, but never the last accusation of a board, the
    latest run, or one that may be going on. (A board called prune has no history here.)
    """
    from hilagent.cli.history import pruned, show

    if board == "prune":
        return pruned(keep_days, max_bytes, dry=dry)
    if dry or keep_days is not None or max_bytes is not None:
        raise click.UsageError("--keep-days, --max-bytes and --dry-run are of history prune")
    return show(board, last or 0, pattern, as_json=as_json)
