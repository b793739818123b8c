# SPDX-License-Identifier: Apache-2.0
"""Boots a system in QEMU, types commands, and keeps what its console says to each."""

from __future__ import annotations

import re
import select
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.emulator import Emulator

MOST_BYTES = 6 << 10
_BEFORE_BYTES = 500
_SCENE_S = 120.0
_QUIET_S = 2.0


@dataclass(frozen=True)
class Command:
    """Something to type, and what its log is called.

    Attributes:
        name: of the log's file, without suffix; empty: it isn't kept.
        said: how the log was made, for its head.
        quiet_s: so long nothing more may come before it counts as over.
        limit_s: however much comes, it is over then.
    """

    name: str
    said: str
    text: str
    quiet_s: float = _QUIET_S
    limit_s: float = 30.0


@dataclass(frozen=True)
class Scene:
    """One start of QEMU.

    Attributes:
        prompt: what is waited for before each command is typed.
        whole: also keep everything up to the first prompt, by this name and description.
    """

    arguments: Sequence[str | Path]
    prompt: bytes = rb"hilagent# (?:\x1b\[6n)?$"
    commands: Sequence[Command] = ()
    whole: tuple[str, str] | None = None
    boot_s: float = _SCENE_S
    boot_quiet_s: float = 20.0
    enter: str = "\n"
    keys: tuple[bytes, bytes] | None = field(default=None)
    """A pattern, and what is typed when it appears while it boots."""


def play(scene: Scene, folder: Path) -> Iterator[tuple[str, str, bytes]]:
    """Yield (name, description, what the console said) of each log of a scene."""
    with Emulator(folder, "-no-reboot", *scene.arguments) as emulator:
        line = _Line(emulator)
        ready = line.until(scene.prompt, scene.boot_s, scene.boot_quiet_s, scene.keys)
        if scene.whole:
            yield (*scene.whole, line.text)
        for command in scene.commands if ready else ():
            start = len(line.text)
            line.send(command.text + scene.enter)
            alive = line.until(scene.prompt, command.limit_s, command.quiet_s, settle=True)
            if command.name:
                yield command.name, command.said, _cut(line.text, start)
            if not alive:
                return


class _Line:
    def __init__(self, emulator: Emulator) -> None:
        self._serial = emulator.serial
        self.text = b""

    def send(self, text: str) -> None:
        self._serial.sendall(text.encode())

    def until(
        self, prompt: bytes, limit_s: float, quiet_s: float,
        keys: tuple[bytes, bytes] | None = None, *, settle: bool = False,
    ) -> bool:  # fmt: skip
        """Read until the prompt is last, or it's quiet, or the end; return whether it is."""
        start, end, asked = len(self.text), time.monotonic() + limit_s, not settle
        while (left_s := end - time.monotonic()) > 0:
            there = re.search(prompt, self.text[start:][-60:]) is not None
            if there and not settle:
                return True
            ready, _, _ = select.select([self._serial], [], [], min(quiet_s, left_s))
            more = self._serial.recv(65536) if ready else b""
            if not more and ready:
                return False
            if not more and (there or asked):
                return there
            if not more:  # a message came behind the prompt
                self.send("\n")
                asked = True
            self.text += more
            if keys and re.search(keys[0], self.text[start:]):
                self._serial.sendall(keys[1])
                keys = None
        return re.search(prompt, self.text[start:][-60:]) is not None


def _cut(text: bytes, start: int) -> bytes:
    """Return what came of a command, with a little of what was before."""
    begin = text.rfind(b"\n", 0, max(0, start - _BEFORE_BYTES)) + 1
    end = start + 2 * MOST_BYTES - 2 * _BEFORE_BYTES
    return text[begin : text.rfind(b"\n", 0, end) + 1 if end < len(text) else len(text)]
