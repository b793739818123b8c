# SPDX-License-Identifier: Apache-2.0
"""Board files of these tests: the emulated board with something wrong, and a scripted one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from hilagent.testing import ScriptedBoard, on_pty

SCRIPTED = """\
schema: 1
name: {name}
description: a scripted board on a pty
soc: scripted
emulated: false
cpus: 1
console: {{kind: serial, path: {pty}}}
power:
  kind: command
  on: [sh, -c, "echo on >> {switched}"]
  off: [sh, -c, "echo off >> {switched}"]
  off_s: 0.1
uboot:
  prompt: "=> "
  autoboot: Hit any key to stop autoboot
  load_addr: 0x40200000
  prompt_timeout_s: 1
  network: {{mode: none}}
payload: {{timeout_s: 1}}
"""


def emulated(folder: Path, name: str, changes: str) -> list[str]:
    """Write a board that is ``qemu-virt`` but for ``changes``; return arguments that name it."""
    return write(folder, name, f"extends: qemu-virt\nname: {name}\n{changes}\n")


def write(folder: Path, name: str, text: str) -> list[str]:
    """Write ``NAME.yaml``; return arguments that name the board."""
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.yaml").write_text(text)
    return [name, "--boards", str(folder)]


@contextlib.contextmanager
def scripted(folder: Path, board: ScriptedBoard) -> Iterator[tuple[list[str], Path]]:
    """Run ``board`` on a pty; give arguments that name it, and the file that tells how it
    was switched."""
    switched = folder / "switched"
    with on_pty(board) as pty:
        text = SCRIPTED.format(name="scripted", pty=pty, switched=switched)
        yield write(folder, "scripted", text), switched
