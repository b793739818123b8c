# SPDX-License-Identifier: Apache-2.0
"""kill -9 at every boundary of a run's journal, then its report, and in between new runs."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests import kernels
from tests.cli.person import environment
from tests.cli.shelf import shelf
from tests.cli.test_many import SHORT
from tests.fault import boundaries
from tests.long.conftest import Tell

NEW_RUN = 8
"""After so many killed ones; the next is a killed one again, on a board that was left on."""
SUBJECTS = {
    "a scripted board": (),
    "qemu-virt": ("-o", "smp=2", "--suite", "clobber", "--vectors", "mutant:get_clobbers_x19"),
    "restarts": ("-o", "smp=1", "--suite", "restart", "--mode", "default", "-k", "kexec-file"),
    "qemu-virt-ssh": ("--suite", "clobber", "--vectors", "mutant:get_clobbers_x19"),
}


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HILAGENT_STATE", environment(tmp_path)["HILAGENT_STATE"])


@contextlib.contextmanager
def _argv(folder: Path, what: str) -> Iterator[Sequence[str]]:
    if what == "a scripted board":
        with shelf(folder / "shelf", {"rock": "clobbers"}) as named:
            yield ["run", "rock", *named, *SHORT]
        return
    kernels.built("patched")
    yield ["run", "qemu-virt" if what == "restarts" else what, *SUBJECTS[what]]


@pytest.mark.parametrize("what", SUBJECTS)
def test_nothing_measured_is_lost_or_counted_twice(tmp_path: Path, tell: Tell, what: str) -> None:
    runs = tmp_path / "runs"
    with _argv(tmp_path, what) as argv:
        expected = boundaries.whole(argv, runs / "whole")
        measured = again = last = 0
        ended = False
        while not ended:
            lines = last + 1
            torn = lines % 2 * (1 + lines * 7 % 90)
            done = boundaries.killed(argv, runs / f"killed-{lines}", lines, torn)
            ended = done.code == expected.code
            if not ended:
                assert done.code == -signal.SIGKILL, done.story()
                measured += len(boundaries.check(done, lines, bool(torn), expected))
                last = lines
            if lines % NEW_RUN == 0 or ended:
                whole = boundaries.whole(argv, runs / f"after-{lines}")
                assert whole.verdicts == expected.verdicts
                again += 1
    said = f"{last} killed, {measured} outcomes kept, {again} runs after them right"
    tell(f"killed at every boundary: {what}", "nothing lost, nothing twice", said)
    assert last > expected.lines // 2
