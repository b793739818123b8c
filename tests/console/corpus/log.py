# SPDX-License-Identifier: Apache-2.0
"""The corpus of console logs: real kernels, U-Boot and firmware, and what to find in each.

A log's file begins with a head, then an empty line, then the bytes as the console gave them.
The head has ``FROM``, how it was made, and of each incident ``TITLE``, ``TYPE``, ``FATAL``,
``START`` and ``END``, in bytes from the beginning of what the console said. A log without
incidents is a negative.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hilagent.console.watch import Incident

FOLDER = Path(__file__).parent.parent / "logs"


@dataclass(frozen=True)
class Expected:
    """One incident of a log, as a person sees it."""

    title: str
    type: str
    fatal: bool
    start: int
    end: int

    @classmethod
    def of(cls, found: Incident) -> Expected:
        """Return what the program says, to be compared."""
        return cls(found.title, found.type, found.fatal, found.start, found.end)

    def head(self) -> str:
        """Return its lines of the head."""
        return (
            f"TITLE: {self.title}\nTYPE: {self.type}\nFATAL: {'yes' if self.fatal else 'no'}\n"
            f"START: {self.start}\nEND: {self.end}\n"
        )


@dataclass(frozen=True)
class Log:
    """One log: what to find in it, and what the console said."""

    name: str
    made: str
    expected: tuple[Expected, ...]
    text: bytes

    def write(self, folder: Path = FOLDER) -> None:
        """Write its file."""
        head = "".join(each.head() for each in self.expected) + f"FROM: {self.made}\n\n"
        (folder / f"{self.name}.log").write_bytes(head.encode() + self.text)


def read(path: Path) -> Log:
    """Return the log in a file."""
    head, _, text = path.read_bytes().partition(b"\n\n")
    fields: dict[str, list[str]] = {}
    for line in head.decode().splitlines():
        name, _, value = line.partition(": ")
        fields.setdefault(name, []).append(value)
    names = ("TITLE", "TYPE", "FATAL", "START", "END")
    groups = zip(*(fields.get(name, []) for name in names), strict=True)
    expected = tuple(
        Expected(title, sort, fatal == "yes", int(start), int(end))
        for title, sort, fatal, start, end in groups
    )
    return Log(path.stem, fields["FROM"][0], expected, text)


def logs() -> list[Log]:
    """Return every log, by name."""
    return [read(path) for path in sorted(FOLDER.glob("*.log"))]
