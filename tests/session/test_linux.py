# SPDX-License-Identifier: Apache-2.0
"""A kernel is believed by its run id, and accused only with evidence of time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from hilagent import board as boards
from hilagent import errors
from hilagent.build.kernel import Kernel
from hilagent.build.rootfs import Rootfs
from hilagent.console import Console
from hilagent.journal import Journal
from hilagent.session.linux import MODES, Boot, Built, Linux, LinuxBench, run_id_in
from hilagent.session.linux import boots as boots_of
from tests.console.helper import FarEnd
from tests.console.test_watch import PANIC

ID, OTHER = "0123456789abcdef", "f" * 16
BOOT = Boot("patched")


def ready(run_id: str) -> bytes:
    return f"hilagent-rootfs ready RUN={run_id}\r\n".encode()


class Bench(LinuxBench):
    """One whose kernel is nowhere and whose SSH always answers."""

    def _build(self, name: str) -> Built:
        kernel = Kernel(name, Path("Image"), "6.12.0", "6.12.0", "iss-6.12", "0" * 64)
        return Built(kernel, Rootfs(Path("archive"), "0" * 64))

    def _connect(self, boot: Boot, built: Built, run_id: str, position: int) -> Linux:
        nothing: Any = None
        return Linux(boot, built.kernel, run_id, nothing, nothing, position)


class Switch:
    def __init__(self, *, alive: bool | None = True) -> None:
        self._alive = alive

    def alive(self) -> bool | None:
        return self._alive

    def state(self) -> bool | None:
        return self._alive


def bench(
    tmp_path: Path,
    console: Console,
    *,
    alive: bool = True,
    stalled_s: Callable[[float], float] = lambda since_s: 0.0,
    seconds: float = 5.0,
) -> Bench:
    board = boards.load("qemu-virt")
    assert board.linux is not None
    board = dataclasses.replace(
        board, linux=dataclasses.replace(board.linux, boot_timeout_s=seconds)
    )
    power = cast(Any, Switch(alive=alive))
    return Bench(board, Journal(tmp_path), power, lambda: console, stalled_s, tmp_path)


def test_the_words_of_an_older_boot_are_not_believed(tmp_path: Path) -> None:
    with FarEnd() as board:
        line = board.console.take("Linux")
        board.say(ready(OTHER) + b"[    1.0] something\r\n" + ready(ID))
        assert bench(tmp_path, board.console).arrived(BOOT, ID, line).run_id == ID


def test_a_kernel_that_panics_on_its_way_up_crashed(tmp_path: Path) -> None:
    with FarEnd() as board:
        line = board.console.take("Linux")
        board.say(PANIC)
        with pytest.raises(errors.TargetCrash):
            bench(tmp_path, board.console).arrived(BOOT, ID, line)


def test_a_kernel_that_never_gets_ready_hangs_and_what_it_said_is_shown(tmp_path: Path) -> None:
    with FarEnd() as board:
        line = board.console.take("Linux")
        board.say(b"[    0.1] the last words\r\n" + ready(OTHER))
        with pytest.raises(errors.TargetHang, match=r"(?s)within 0.1 s; it last.*the last words"):
            bench(tmp_path, board.console, seconds=0.1).arrived(BOOT, ID, line)


def test_a_silent_kernel_is_told_as_silent(tmp_path: Path) -> None:
    with FarEnd() as board:
        line = board.console.take("Linux")
        with pytest.raises(errors.TargetHang, match="it said nothing at all"):
            bench(tmp_path, board.console, seconds=0.1).arrived(BOOT, ID, line)


def test_nobody_is_accused_while_the_host_stood_still(tmp_path: Path) -> None:
    with FarEnd() as board:
        line = board.console.take("Linux")
        late = bench(tmp_path, board.console, seconds=0.1, stalled_s=lambda since_s: 2.0)
        with pytest.raises(errors.HostOverloaded):
            late.arrived(BOOT, ID, line)


def test_nobody_is_accused_while_the_emulator_does_not_answer(tmp_path: Path) -> None:
    with FarEnd() as board:
        line = board.console.take("Linux")
        with pytest.raises(errors.HostOverloaded):
            bench(tmp_path, board.console, seconds=0.1, alive=False).arrived(BOOT, ID, line)


def test_each_mode_is_on_the_command_line_and_a_crash_kernel_reserves_nothing(
    tmp_path: Path,
) -> None:
    with FarEnd() as board:
        some = bench(tmp_path, board.console)
        for mode, words in MODES.items():
            said = some.cmdline(Boot("patched", mode), ID)
            assert words in said
            assert run_id_in(said) == ID
            assert " crashkernel=160M" in said
        assert "crashkernel" not in some.cmdline(BOOT, ID, crash=True)


def test_a_board_that_declares_no_linux_is_not_asked(tmp_path: Path) -> None:
    with FarEnd() as board:
        some = bench(tmp_path, board.console)
        some._board = dataclasses.replace(some._board, linux=None)
        with pytest.raises(errors.Unsupported, match="no 'linux' block"):
            some.prepare(BOOT)


def test_kernels_and_modes_that_nobody_knows_are_the_callers_mistake() -> None:
    assert boots_of(["patched"], ["default", "none"]) == (Boot("patched"), Boot("patched", "none"))
    assert {boot.mode for boot in boots_of(["patched"], [])} == {"", "nvhe", "none"}
    with pytest.raises(errors.UsageError, match="no kernel named 'pached'"):
        boots_of(["pached"], [])
    with pytest.raises(errors.UsageError, match="no mode 'vhe'"):
        boots_of(["patched"], ["vhe"])


@pytest.mark.parametrize("cmdline", ["", "hilagent.run=12", f"xhilagent.run={ID}", "run=1"])
def test_no_run_id_is_made_up(cmdline: str) -> None:
    assert run_id_in(cmdline) == ""
