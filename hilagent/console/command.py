# SPDX-License-Identifier: Apache-2.0
"""U-Boot's command line: what may be said, and how it is quoted.

A command is an argument list. Nothing in it can end the command or start
another; the only expansion is a :class:`Var`. What writes storage is not on
the list: ``saveenv`` least of all.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from hilagent.errors import UsageError

ALLOWED = frozenset(
    {
        *("base", "bdinfo", "bootefi", "booti", "cmp", "coninfo", "crc32", "dcache", "dhcp"),
        *("echo", "env", "false", "fdt", "go", "help", "icache", "iminfo", "itest", "loady"),
        *("md", "mw", "net"),
        *("printenv", "reset", "setenv", "sleep", "test", "tftpboot", "true", "unzip", "usb"),
        "version",
    }
)
_SUBCOMMANDS = {
    "env": {"print", "set", "exists"},
    "usb": {"stop", "start", "tree", "info"},
    "net": {"list"},
}
_PLAIN = re.compile(r"[A-Za-z0-9_./:,=+@%-]+")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


@dataclass(frozen=True)
class Var:
    """The value of a U-Boot variable, put in by U-Boot itself."""

    name: str

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise UsageError(f"not a name of a U-Boot variable: {self.name!r}")


Argument = str | int | Var
"""A number is written in hexadecimal, as U-Boot reads it."""


def command_line(argv: Sequence[Argument]) -> bytes:
    """Return ``argv`` quoted for U-Boot; UsageError for what may not be said."""
    words = [_quote(argument) for argument in argv]
    name = words[0].split(".")[0] if words else ""
    if name not in ALLOWED or argv[0] != words[0]:
        raise UsageError(
            f"U-Boot command not allowed: {words[0] if words else '(none)'}",
            hint="commands that write storage, or run other commands, are never sent",
        )
    allowed = _SUBCOMMANDS.get(name)
    if allowed is not None and (len(words) < 2 or words[1] not in allowed):
        raise UsageError(f"U-Boot command not allowed: {' '.join(words[:2])}")
    if name == "bootefi" and not isinstance(argv[1] if len(argv) > 1 else "", int):
        raise UsageError("bootefi is for an image at an address: its boot manager reads storage")
    return " ".join(words).encode()


def _quote(argument: Argument) -> str:
    if isinstance(argument, Var):
        return f"${{{argument.name}}}"
    text = f"{argument:x}" if isinstance(argument, int) else argument
    if _PLAIN.fullmatch(text):
        return text
    if not text.isascii() or not text.isprintable() or "'" in text or "\\" in text:
        raise UsageError(f"U-Boot can't be given this argument: {text!r}")
    return f"'{text}'"
