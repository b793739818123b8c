# SPDX-License-Identifier: Apache-2.0
"""Limits for fields of strict models: plain markers for ``typing.Annotated``.

They cost nothing at import; a validator (pydantic, imported by
:mod:`hilagent.document` alone) asks them for their check when it is built, and
for what a JSON schema says of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Between:
    """An integer or float from ``low`` to ``high``, both included."""

    low: float
    high: float

    def check(self, value: float) -> float:
        """Return ``value``; raises ValueError outside the limits."""
        if not self.low <= value <= self.high:
            high = f" to {_number(self.high)}" if self.high != self.low else ""
            raise ValueError(f"expected {_number(self.low)}{high}")
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return _after(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> Any:
        return {**handler(schema), "minimum": self.low, "maximum": self.high}


@dataclass(frozen=True)
class Matches:
    """A string that matches ``pattern`` as a whole; ``what`` says it to a person."""

    pattern: str
    what: str

    def check(self, value: str) -> str:
        """Return ``value``; raises ValueError if it doesn't match."""
        if not re.fullmatch(self.pattern, value):
            raise ValueError(f"expected {self.what}")
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return _after(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> Any:
        return {**handler(schema), "pattern": f"^(?:{self.pattern})$"}


@dataclass(frozen=True)
class Length:
    """A string or list with ``low`` to ``high`` items."""

    low: int
    high: int

    def check(self, value: Any) -> Any:
        """Return ``value``; raises ValueError if it is too short or too long."""
        if not self.low <= len(value) <= self.high:
            raise ValueError(f"expected {self.low} to {self.high} items or characters")
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return _after(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> Any:
        made = handler(schema)
        what = "Length" if made.get("type") == "string" else "Items"
        return {**made, f"min{what}": self.low, f"max{what}": self.high}


_PASSWORD = re.compile(
    r"[a-z][a-z0-9+.-]*://[^/\s@]*:[^/\s@]+@"  # a URL with a user and a password
    r"|(?:^|\s)--?pass(?:word|wd|phrase)?(?:=|\s)\S"
    r"|\bipmi\S*\s(?:.*\s)?-P\s?\S"
    r"|\bcurl\s(?:.*\s)?(?:-u|--user)[\s=]*[^\s:]+:\S"
)


@dataclass(frozen=True)
class NoPassword:
    """Words of a command without a password among them, as far as it can be told: a board's
    file is in each run's journal, and a command in ``ps``."""

    def check(self, value: Any) -> Any:
        """Return ``value``; raises ValueError where a word gives a password."""
        if _PASSWORD.search(" ".join(value)):
            raise ValueError(
                "a password in it would be in every report: give the program a file that has it"
                " (ipmitool -f, curl --netrc-file)"
            )
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return _after(self.check, handler(source))


def _after(check: Any, schema: Any) -> Any:
    from pydantic_core import core_schema

    return core_schema.no_info_after_validator_function(check, schema)


def _number(value: float) -> str:
    return f"{value:#x}" if isinstance(value, int) and value >= 1 << 20 else f"{value:g}"
