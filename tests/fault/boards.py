# SPDX-License-Identifier: Apache-2.0
"""Board files of these tests: the emulated board with something wrong, and a scripted one."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hilagent.build.keys import lab_keys
from hilagent.build.rootfs import build_rootfs
from hilagent.testing import ScriptedBoard, on_pty
from hilagent.transport import known
from tests import kernels

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


NETWORK = "10.0.2.15::10.0.2.2:255.255.255.0::eth0:off"


def own(
    folder: Path, *, key: Path | None = None, memory_mib: int = 1024, **linux: Any
) -> list[str]:
    """Write ``own.yaml``, a board that QEMU boots into a Linux of its own, without a U-Boot,
    and pin its host key; return arguments that name it.

    Args:
        key: that it is asked with; by default the one that it knows.
        linux: more fields of the block of that name.
    """
    kernel, keys = kernels.built("patched"), lab_keys()
    known.pin(known.path_of("own"), "own/os", known.HostKey.parse(keys.host_public))
    qemu = {"machine": "virt,virtualization=on", "cpu": "cortex-a57", "smp": 2,
            "memory_mib": memory_mib, "kernel": str(kernel.image),
            "initrd": str(build_rootfs(kernel=kernel).archive),
            "append": f"console=ttyAMA0 hilagent.ip={NETWORK}"}  # fmt: skip
    board = {
        "schema": 1, "name": "own", "description": "boots a system of its own",
        "soc": "qemu-virt", "emulated": True, "cpus": 2, "console": {"kind": "qemu"},
        "power": {"kind": "qemu"}, "payload": {"entry_el": 2, "psci": "smc"}, "qemu": qemu,
        "os": {"ssh": {"via": "qemu", "key": str(key or keys.client)}, "boot_timeout_s": 60},
        "linux": {"console": "ttyAMA0", "ssh": {"via": "qemu"}, "ip": NETWORK, **linux},
    }  # fmt: skip
    return write(folder, "own", json.dumps(board))


@contextlib.contextmanager
def scripted(folder: Path, board: ScriptedBoard) -> Iterator[tuple[list[str], Path]]:
    """Run ``board`` on a pty; give arguments that name it, and the file that tells how it
    was switched."""
    switched = folder / "switched"
    with on_pty(board) as pty:
        text = SCRIPTED.format(name="scripted", pty=pty, switched=switched)
        yield write(folder, "scripted", text), switched
