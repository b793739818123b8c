# SPDX-License-Identifier: Apache-2.0
"""A kernel is believed by its run id, and accused only with evidence of time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, cast

import pytest

from hilagent import board as boards
from hilagent import errors
from hilagent.board.model import Console as Serial
from hilagent.board.model import Power, Ssh
from hilagent.build import cache
from hilagent.build.given import Paths
from hilagent.build.kernel import Kernel
from hilagent.build.rootfs import Rootfs
from hilagent.clock import Deadline
from hilagent.console import Console
from hilagent.journal import Journal, read
from hilagent.report.kernels import sections
from hilagent.session.built import Built, fragments
from hilagent.session.linux import MODES, Boot, Linux, LinuxBench, run_id_in
from hilagent.session.linux import boots as boots_of
from tests.build.test_given import IMAGE
from tests.console.helper import FarEnd
from tests.console.test_watch import PANIC, STALL

ID, OTHER = "0123456789abcdef", "f" * 16
BOOT = Boot("patched")


def ready(run_id: str) -> bytes:
    return f"hilagent-rootfs ready RUN={run_id}\r\n".encode()


def up(run_id: str) -> bytes:
    return f"hilagent-rootfs up RUN={run_id}\r\n".encode()


class Bench(LinuxBench):
    """One whose kernel is nowhere and whose SSH always answers, to whoever is to be reached."""

    answering = ""

    def _build(self, name: str) -> Built:
        kernel = Kernel(name, Path("Image"), "6.12.0", "6.12.0", "iss-6.12", "0" * 64)
        return Built(kernel, Rootfs(Path("archive"), "0" * 64))

    def who(self) -> str:
        return self.answering

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


def test_a_kernel_that_is_up_and_finds_no_network_is_the_labs(tmp_path: Path) -> None:
    with FarEnd() as board:
        line = board.console.take("Linux")
        board.say(up(ID) + b"hilagent-rootfs: no network: no interface with a carrier\r\n")
        said = "^patched runs, but no network: no interface with a carrier, and it was not ready"
        with pytest.raises(errors.LabError, match=said) as caught:
            bench(tmp_path, board.console, seconds=0.1).arrived(BOOT, ID, line)
        assert "cable" in caught.value.hint


def test_a_kernel_whose_word_the_console_lost_is_asked_by_ssh_before_it_is_accused(
    tmp_path: Path,
) -> None:
    with FarEnd() as board:
        line = board.console.take("Linux")
        board.say(b"hilagent-rootfs rea\xffy RUN=" + ID.encode() + b"\r\n")
        some = bench(tmp_path, board.console, seconds=0.1)
        some.answering = OTHER
        with pytest.raises(errors.TargetHang):
            some.arrived(BOOT, ID, line)
        some.answering = ID
        assert some.arrived(BOOT, ID, line).run_id == ID
    notes = [r["text"] for r in read(tmp_path).records if r["kind"] == "note"]
    assert notes == ["patched answers, and the console lost its word"]


@pytest.mark.parametrize("said", [up(OTHER), up(ID) + STALL])
def test_an_older_boots_up_and_a_stall_do_not_excuse_a_kernel(tmp_path: Path, said: bytes) -> None:
    with FarEnd() as board:
        line = board.console.take("Linux")
        board.say(said)
        with pytest.raises(errors.TargetHang):
            bench(tmp_path, board.console, seconds=0.1).arrived(BOOT, ID, line)


def test_the_kernel_itself_is_never_told_of_the_network(tmp_path: Path) -> None:
    with FarEnd() as board:
        words = bench(tmp_path, board.console).cmdline(BOOT, ID).split()
        assert "hilagent.ip=10.0.2.15::10.0.2.2:255.255.255.0::eth0:off" in words
        assert not [word for word in words if word.startswith("ip=")]


def test_a_real_boards_kernel_is_built_for_boards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Path, ...]] = []

    def build(name: str, *, config: tuple[Path, ...], progress: object) -> Kernel:
        asked.append(config)
        raise errors.LabError("enough")

    monkeypatch.setattr("hilagent.build.kernel.build_kernel", build)
    virt = boards.load("qemu-virt")
    assert virt.linux is not None
    own = tmp_path / "own.config"
    own.touch()
    spec = dataclasses.replace(virt.linux, config=(str(own),))
    power = Power("command", on=("true",), off=("true",))
    real = dataclasses.replace(
        virt, emulated=False, qemu=None, power=power, console=Serial("serial", path="/dev/x"),
        transfers=("ymodem",), linux=dataclasses.replace(virt.linux, ssh=Ssh(host="board")),
    )  # fmt: skip
    spec = dataclasses.replace(spec, ssh=Ssh(host="board"))
    with FarEnd() as board:
        some = bench(tmp_path, board.console)
        for each in (virt, real, dataclasses.replace(real, linux=spec)):
            some._board = each
            with pytest.raises(errors.LabError, match="enough"):
                LinuxBench._build(some, "patched")
    names = [[path.stem for path in each] for each in asked]
    assert names == [[], ["boards"], ["own"]]
    with pytest.raises(errors.UsageError, match="no kernel configuration 'bords'"):
        fragments(dataclasses.replace(real, linux=dataclasses.replace(spec, config=("bords",))))


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


def test_ssh_is_waited_for_as_long_as_the_board_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(target: object, deadline: Deadline) -> NoReturn:
        raise errors.LabError(f"no SSH within {deadline.budget_s:g} s")

    monkeypatch.setattr("hilagent.transport.ssh.connect", connect)
    monkeypatch.setattr(LinuxBench, "target", lambda self: None)
    with FarEnd() as board:
        some = bench(tmp_path, board.console)
        built, spec = some.prepare(BOOT), some._board.linux
        assert spec is not None
        with pytest.raises(errors.LabError, match="within 60 s"):
            LinuxBench._connect(some, BOOT, built, ID, 0)
        slow = dataclasses.replace(spec, ssh=dataclasses.replace(spec.ssh, timeout_s=90))
        some._board = dataclasses.replace(some._board, linux=slow)
        with pytest.raises(errors.LabError, match="within 90 s"):
            LinuxBench._connect(some, BOOT, built, ID, 0)


def test_kernels_and_modes_that_nobody_knows_are_the_callers_mistake() -> None:
    assert boots_of(["patched"], ["default", "none"]) == (Boot("patched"), Boot("patched", "none"))
    assert {boot.mode for boot in boots_of(["patched"], [])} == {"", "nvhe", "none"}
    with pytest.raises(errors.UsageError, match="no kernel named 'pached'"):
        boots_of(["pached"], [])
    with pytest.raises(errors.UsageError, match="no kernel 'given' was named") as caught:
        boots_of(["given"], [])
    assert "--image FILE" in caught.value.hint
    assert boots_of(["given"], ["none"], own=True) == (Boot("given", "none"),)
    with pytest.raises(errors.UsageError, match="no mode 'vhe'"):
        boots_of(["patched"], ["vhe"])


def test_a_labs_own_kernel_brings_its_tree_and_files_and_says_what_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, dtb, initrd, ours = (tmp_path / name for name in ("Image", "dtb", "initrd", "ours"))
    image.write_bytes(IMAGE)
    dtb.write_bytes(b"\xd0\x0d\xfe\xed")
    initrd.write_bytes(b"theirs")
    ours.write_bytes(b"ours")
    monkeypatch.setenv(cache.ENV, str(tmp_path / "cache"))
    monkeypatch.setattr(
        "hilagent.build.rootfs.build_rootfs", lambda **parts: Rootfs(ours, str(parts["module"]))
    )
    (tmp_path / "run").mkdir()
    journal = Journal(tmp_path / "run")
    journal.run()
    own = Paths(image=image, dtb=str(dtb), initrd=initrd)
    bench = LinuxBench(
        boards.load("qemu-virt"), journal, cast(Any, Switch()), lambda: cast(Any, None),
        lambda since_s: 0.0, tmp_path, own,
    )  # fmt: skip
    built = bench.prepare(Boot("given"))
    journal.close()
    assert (built.kernel.name, built.kernel.release, built.dtb) == ("given", "6.12.9-lab", dtb)
    assert built.initrd() == b"theirs\0\0ours"
    assert "there are no headers" in built.no_module
    assert built.rootfs.digest == "None"
    run = read(tmp_path / "run")
    assert set(run.facts["kernel given"]["absent"]) == {"modules", "vmlinux", "headers"}
    (said,) = sections(run)
    assert "    no headers: the probe module can't be built" in said


@pytest.mark.parametrize("cmdline", ["", "hilagent.run=12", f"xhilagent.run={ID}", "run=1"])
def test_no_run_id_is_made_up(cmdline: str) -> None:
    assert run_id_in(cmdline) == ""
