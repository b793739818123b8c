# SPDX-License-Identifier: Apache-2.0
"""``hilagent console`` on the emulated board: a person at real U-Boot."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.cli.person import Person
from tests.power.test_qemu import gone

pytestmark = pytest.mark.hil
ESCAPE = b"\x1d"


def _children(pid: int) -> list[int]:
    """Return the running children of a process (proc_pid_task(5); wrappers have exec'ed)."""
    return [
        int(child)
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]


def _prompt(person: Person) -> None:
    person.sees(b"Hit any key to stop autoboot")
    person.types(b" ")
    person.sees(b"=> ")


def test_u_boot_by_hand_and_no_emulator_afterwards(tmp_path: Path) -> None:
    with Person(tmp_path, "console", "qemu-virt", "-o", "smp=1") as person:
        person.sees(b"qemu-virt: Ctrl-] q quits")
        _prompt(person)
        person.types(b"version\r")
        person.sees(b"version\r\r\nU-Boot 20")
        person.sees(b"=> ")
        (first,) = _children(person.process.pid)
        person.types(ESCAPE + b"b")
        person.sees(b"break sent")
        person.types(ESCAPE + b"c")
        person.sees(b"power was cycled")
        _prompt(person)
        assert gone(first)
        (second,) = _children(person.process.pid)
        person.types(ESCAPE + b"q")
        assert person.ends() == 0
        assert gone(second)
        assert person.settings() == person.before
    raw = (tmp_path / "runs/latest/console.raw").read_bytes()
    assert raw.count(b"Hit any key to stop autoboot") == 2


def test_an_emulator_that_dies_is_told_and_ends_it(tmp_path: Path) -> None:
    with Person(tmp_path, "console", "qemu-virt", "-o", "smp=1") as person:
        _prompt(person)
        (qemu,) = _children(person.process.pid)
        os.kill(qemu, signal.SIGKILL)
        assert person.ends() == 125
        assert b"QEMU was killed by signal 9 by itself" in person.seen
        assert person.settings() == person.before
