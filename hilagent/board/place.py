# SPDX-License-Identifier: Apache-2.0
"""Which place of a labgrid coordinator a board is at; a part of :mod:`hilagent.board.model`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from hilagent.board.hardware import STRICT
from hilagent.limits import Matches

PlaceName = Annotated[str, Matches(r"[^\s/+\x00-\x1f\x7f]{1,100}", "the name of a place")]
Tag = Annotated[str, Matches(r"[a-z][a-z0-9_]{1,60}", "a tag of a place: a-z, 0-9, '_'")]
Value = Annotated[str, Matches(r"[^\s,=\x00-\x1f\x7f]{1,100}", "the value of a tag")]
Coordinator = Annotated[str, Matches(r"[A-Za-z0-9.:\[\]-]{1,200}", "HOST or HOST:PORT")]


@dataclass(frozen=True)
class Place:
    """Where a labgrid coordinator keeps the board: that gives its console and its power.

    Attributes:
        name: of the place.
        tags: instead of a name: the next free place that has all of these.
        coordinator: ``HOST`` or ``HOST:PORT``; by default ``$LG_COORDINATOR``.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    name: PlaceName | None = None
    tags: Mapping[Tag, Value] = field(default_factory=dict)
    coordinator: Coordinator | None = None

    def __post_init__(self) -> None:
        if (self.name is None) == (not self.tags):
            raise ValueError("a place has a 'name', or 'tags' to choose one by")

    def __str__(self) -> str:
        wanted = ",".join(f"{key}={value}" for key, value in self.tags.items())
        return f"place {self.name}" if self.name else f"a place with {wanted}"
