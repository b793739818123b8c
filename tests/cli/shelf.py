# SPDX-License-Identifier: Apache-2.0
"""A shelf of scripted boards, each on a pty and an outlet of its own, in one process::

    python -m tests.cli.shelf FOLDER '{"one": "good", "two": "clobbers"}'

The outlet of a board is a FIFO, NAME.outlet, that takes the words on and off; what it was
told stands in NAME.log. Where there is a FIFO NAME.outlet.slow, off waits for a line in it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from hilagent.result import Sig
from hilagent.testing import PtyBoard, ScriptedBoard, Traits, UBootTraits, behaviour
from tests import tree

UBOOT = """\
uboot:
  prompt: "=> "
  autoboot: Hit any key to stop autoboot
  load_addr: 0x40200000
  prompt_timeout_s: {prompt_s}
  network: {{mode: none}}
payload: {{psci: smc}}
"""
"""Of a scripted board's file."""
BOARD = (
    """\
schema: 1
name: {name}
description: a scripted board on a shelf
soc: scripted
emulated: false
tags: [shelf, {kind}]
cpus: 1
console: {{kind: serial, path: {pty}}}
power:
  kind: command
  "on": [sh, -c, "echo on > {outlet}"]
  "off": [sh, -c, "test ! -e {outlet}.slow || read _ < {outlet}.slow; echo off > {outlet}"]
  off_s: 0.1
"""
    + UBOOT
)
VERDICTS = {"good": "pass", "clobbers": "fail", "silent": "infra"}
"""What each kind of board must come to; ``waits`` is silent for longer than a test lasts."""
CLOBBERED = 19


def _clobbers(sig: Sig) -> Sig:
    return dataclasses.replace(sig, gpr_changed=sig.gpr_changed | 1 << CLOBBERED)


def scripted(kind: str, seed: int) -> ScriptedBoard:
    """Return a board of that kind, without power."""
    acts: behaviour.Behaviour = behaviour.hyp_stub
    if kind == "clobbers":
        acts = behaviour.changed(acts, {0xBEEF: _clobbers})
    # A busy host gets to a countdown late.
    uboot = UBootTraits(autoboot_s=30.0, never_prompts=kind in {"silent", "waits"})
    return ScriptedBoard(
        uboot=uboot, payload=Traits(cpus=1), behaviour=acts, powered=False, seed=seed
    )


def _switch(outlet: Path, pty: PtyBoard, board: ScriptedBoard) -> None:
    with os.fdopen(os.open(outlet, os.O_RDWR), "r") as words:  # to write, too: it has no end
        for word in words:
            on = word.strip() == "on"
            pty.change(lambda on=on: board.power(on))  # type: ignore[misc]
            with outlet.with_suffix(".log").open("a") as log:
                log.write(word)


def main(folder: Path, kinds: Mapping[str, str]) -> None:
    """Run the boards until stdin is at its end; say when they are there."""
    with contextlib.ExitStack() as stack:
        for seed, (name, kind) in enumerate(kinds.items(), 1):
            board = scripted(kind, seed)
            pty = stack.enter_context(PtyBoard(board))
            outlet = folder / f"{name}.outlet"
            os.mkfifo(outlet)
            threading.Thread(target=_switch, args=(outlet, pty, board), daemon=True).start()
            said = BOARD.format(
                name=name, kind=kind, pty=pty.path, outlet=outlet,
                prompt_s={"silent": 1, "waits": 600}.get(kind, 30),
            )  # fmt: skip
            (folder / f"{name}.yaml").write_text(said)
        print("ready", flush=True)
        sys.stdin.read()


@contextlib.contextmanager
def shelf(folder: Path, kinds: Mapping[str, str]) -> Iterator[list[str]]:
    """Run boards, by their names, for the ``with`` block; give arguments that find them."""
    folder.mkdir(exist_ok=True)
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.cli.shelf", str(folder), json.dumps(kinds)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=tree.TOP,
    )  # fmt: skip
    assert child.stdout is not None
    try:
        assert child.stdout.readline() == b"ready\n"
        yield ["--boards", str(folder)]
    finally:
        child.communicate(b"", 30)


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
