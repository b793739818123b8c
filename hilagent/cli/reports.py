# SPDX-License-Identifier: Apache-2.0
"""The arguments of ``hilagent report``; its work is in its own file."""

from __future__ import annotations

from pathlib import Path

import click

FORMATS = ("text", "html", "junit", "ktap", "kcidb", "json", "markdown")


def _results_schema(context: click.Context, wanted: bool) -> None:
    if wanted:
        from hilagent.report.results import schema

        click.echo(schema(), nl=False)
        context.exit()


@click.command("report")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
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
    """Make a report of runs again: a directory, an id or its beginning, or latest.

    Everything is told from the run's own directory, also of a run that was killed. Nothing
    is submitted anywhere.
    """
    from hilagent.cli.report import made

    return made(runs, form or "", out, origin)
