# SPDX-License-Identifier: Apache-2.0
"""Values of options as people write them, and options that several verbs have."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

import click

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?) ?([a-z]*)")


class Number(click.ParamType[int]):
    """An integer as people write registers: 17, 0x11, 0b10001."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return ``value`` as a number of at most 64 bits."""
        try:
            number = value if isinstance(value, int) else int(value, 0)
        except ValueError:
            self.fail(f"{value!r} is not a number", param, ctx)
        if not 0 <= number < 1 << 64:
            self.fail(f"{value} does not fit 64 bits", param, ctx)
        return number


class Duration(click.ParamType[float]):
    """A time: 90, 90s, 30m, 1.5h."""

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return ``value`` in seconds."""
        if isinstance(value, int | float):
            return float(value)
        match = _DURATION.fullmatch(value.strip().lower())
        if match is None or match[2] not in _UNITS:
            self.fail(f"{value!r} is not a time: expected 90s, 30m or 2h", param, ctx)
        return float(match[1]) * _UNITS[match[2]]


wait_option = click.option(
    "--wait", "wait_s", type=Duration(), default=0.0, metavar="TIME",
    help="Wait for whoever uses the board, e.g. 30m (default: be refused at once).",
)  # fmt: skip


def given(context: click.Context, without: Collection[str]) -> list[str]:
    """Return the options of a command as they would be typed for another of the same.

    Args:
        without: the names of those that are left out.
    """
    argv = []
    for param in context.command.params:
        name = param.name or ""
        if not isinstance(param, click.Option) or name in without or name not in context.params:
            continue
        value, word = context.params[name], param.opts[-1]
        if param.is_flag:
            argv += [word] if value else []
        elif param.multiple:
            argv += [part for each in value for part in (word, str(each))]
        elif value is not None and value != param.get_default(context):
            argv += [word, str(value)]
    return argv
