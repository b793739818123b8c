# SPDX-License-Identifier: Apache-2.0
"""Configuration fragments of a kernel, and whether each option survived.

kconfig drops an option whose dependencies are missing and says nothing, so
what was asked for is compared with what came out, line by line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hilagent.errors import InputError

_SET = re.compile(r"CONFIG_(\w+)=(.+)")
_UNSET = re.compile(r"# CONFIG_(\w+) is not set")
_SHOWN = 10


@dataclass(frozen=True)
class Wanted:
    """One option that a fragment asks for; ``n`` means that it is to be absent."""

    path: Path
    line: int
    option: str
    value: str

    @property
    def text(self) -> str:
        """The line that kconfig reads."""
        if self.value == "n":
            return f"# CONFIG_{self.option} is not set"
        return f"CONFIG_{self.option}={self.value}"


def read(paths: Iterable[Path]) -> list[Wanted]:
    """Return the options of these fragments; a later file wins over an earlier one.

    Raises InputError for a line that isn't an option, and for one that a single
    file gives twice.
    """
    wanted: dict[str, Wanted] = {}
    for path in paths:
        own: dict[str, Wanted] = {}
        for each in _lines(path):
            if each.option in own:
                first = own[each.option].line
                raise InputError(path, f"given twice, first on line {first}",
                                 line=each.line, field=f"CONFIG_{each.option}")  # fmt: skip
            own[each.option] = each
        wanted |= own
    return list(wanted.values())


def _lines(path: Path) -> Iterable[Wanted]:
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(path, f"can't be read as a configuration fragment: {error}") from error
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if found := _SET.fullmatch(line):
            yield Wanted(path, number, found[1], found[2])
        elif found := _UNSET.fullmatch(line):
            yield Wanted(path, number, found[1], "n")
        elif line and not line.startswith("#"):
            raise InputError(
                path, f"not an option: {line[:60]}", line=number,
                hint="a line is CONFIG_X=value, # CONFIG_X is not set, or a comment",
            )  # fmt: skip


def values(config: str) -> dict[str, str]:
    """Return the options of a ``.config``."""
    return {m[1]: m[2] for line in config.splitlines() if (m := _SET.fullmatch(line))}


def merge(base: str, wanted: Sequence[Wanted]) -> str:
    """Return ``base`` (a ``.config``) with the wanted options in place of its own."""
    mine = {each.option for each in wanted}
    kept = [
        line
        for line in base.splitlines()
        if not ((m := _SET.fullmatch(line) or _UNSET.fullmatch(line)) and m[1] in mine)
    ]
    return "\n".join([*kept, *(each.text for each in wanted), ""])


def check(config: str, wanted: Sequence[Wanted]) -> None:
    """Raise InputError that names each option which did not survive, and what was found."""
    found = values(config)
    lost = [each for each in wanted if found.get(each.option, "n") != each.value]
    if not lost:
        return
    first, *rest = (_told(each, found) for each in lost[:_SHOWN])
    more = [f"and {len(lost) - _SHOWN} more"] if len(lost) > _SHOWN else []
    raise InputError(
        lost[0].path, "\n".join([first, *rest, *more]), line=lost[0].line,
        hint="an option goes when one that it depends on is missing: its `depends on`, in the"
        " Kconfig file that defines it",
    )  # fmt: skip


def _told(each: Wanted, found: Mapping[str, str]) -> str:
    value = found.get(each.option, "n")
    text = f"CONFIG_{each.option}: wanted {each.value}, found {value} after olddefconfig"
    return text if value != "n" else f"{text} (not set)"
