# SPDX-License-Identifier: Apache-2.0
"""Restarts: what is loaded, who is waited for, and who is accused when nobody comes."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from hilagent import errors
from hilagent.board import Board
from hilagent.build.kernel import Kernel
from hilagent.build.rootfs import Rootfs
from hilagent.clock import Deadline
from hilagent.console.line import Line
from hilagent.deploy import bundle
from hilagent.journal import Journal
from hilagent.payload import Payload, Silence
from hilagent.session import restart as restarts
from hilagent.session.built import Built
from hilagent.session.linux import Boot, Linux, run_id_in
from hilagent.session.restart import Restarts, Way
from tests.console.helper import FarEnd
from tests.console.test_watch import PANIC, STALL
from tests.session.test_linux import Bench, bench, ready, up

BOOT, NEXT = Boot("patched"), Boot("patched", "none")
CRASH = Way("crash")
DYING = PANIC + b"Starting crashdump kernel...\r\nBye!\r\n"


@dataclass
class FakeSystem:
    """Takes what it is given; ``leaves`` is what happens when it is told to go."""

    leaves: Callable[[FakeSystem], None] = lambda system: None
    loaded: dict[str, Any] = field(default_factory=dict)
    refuses: errors.HilagentError | None = None

    def kexec_load(self, image: bytes, **given: Any) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.loaded = {"image": image, **given}

    def kexec_exec(self, deadline: Deadline) -> None:
        self.leaves(self)

    def crash(self, deadline: Deadline) -> None:
        self.leaves(self)

    @property
    def run_id(self) -> str:
        return run_id_in(self.loaded["cmdline"])


class Lab(Bench):
    """A bench with small files, whose old kernel may still answer."""

    stays = ""

    def _build(self, name: str) -> Built:
        (self._folder / "Image").write_bytes(b"kernel")
        (self._folder / "archive").write_bytes(b"rootfs")
        kernel = Kernel(name, self._folder / "Image", "6.12.0", "6.12.0", "iss-6.12", "0" * 64)
        return Built(kernel, Rootfs(self._folder / "archive", "0" * 64))

    def who(self) -> str:
        return self.stays

    def dmesg(self, linux: Linux) -> str:
        return "its log"


@dataclass
class Scene:
    board: FarEnd
    lab: Lab
    restarts: Restarts
    system: FakeSystem
    running: Linux


@contextlib.contextmanager
def scene(
    tmp_path: Path, connect: Callable[[Line, Deadline], Payload] | None = None, **of: Any
) -> Iterator[Scene]:
    with FarEnd() as board:
        made = bench(tmp_path, board.console, seconds=2.0)
        lab = Lab(made._board, made._journal, made._power, made._console, made._stalled_s, tmp_path)
        system = FakeSystem(**of)
        kernel: Any = None
        running = Linux(BOOT, kernel, "a" * 16, cast(Any, system), cast(Any, None), 0)

        def nobody(line: Line, deadline: Deadline) -> Payload:
            raise Silence("no payload answered")

        (tmp_path / "j").mkdir()
        journal = Journal(tmp_path / "j")
        some = Restarts(lab, journal, lambda: board.console, lambda: b"payload", connect or nobody)
        yield Scene(board, lab, some, system, running)


def test_the_next_kernel_is_waited_for_by_its_own_run_id(tmp_path: Path) -> None:
    with scene(tmp_path) as at:
        at.system.leaves = lambda system: at.board.say(
            b"Bye!\r\n[    0.0] Booting Linux on physical CPU 0x0\r\n"
            + ready("a" * 16)
            + ready(system.run_id)
        )
        trip = at.restarts.into_linux(at.running, Way(syscall="load"), NEXT)
        assert trip.arrived
        assert trip.found_run_id == trip.run_id == at.system.run_id != at.running.run_id
        assert at.system.loaded["image"] == b"kernel"
        assert at.system.loaded["initrd"] == b"rootfs"
        assert (at.system.loaded["crash"], at.system.loaded["syscall"]) == (False, "load")
        assert "kvm-arm.mode=none" in at.system.loaded["cmdline"]
        assert trip.left_s is not None
        assert trip.first_s is not None
        assert trip.ready_s is not None
        assert trip.left_s <= trip.first_s <= trip.ready_s
        assert trip.console.startswith(b"Bye!")


def test_what_the_kernel_refuses_is_no_restart(tmp_path: Path) -> None:
    with scene(tmp_path) as at:
        at.system.refuses = errors.Unsupported("protected KVM holds EL2 for good")
        at.system.leaves = lambda system: pytest.fail("it was started all the same")
        trip = at.restarts.into_linux(at.running, Way(), NEXT)
        assert trip.refused is at.system.refuses
        assert not trip.arrived


def test_a_crash_kernels_start_is_no_crash_of_what_comes_next(tmp_path: Path) -> None:
    with scene(tmp_path) as at:
        at.system.leaves = lambda system: at.board.say(DYING + ready(system.run_id))
        trip = at.restarts.into_linux(at.running, CRASH, BOOT)
        assert trip.arrived
        assert at.system.loaded["crash"] is True
        assert "crashkernel" not in at.system.loaded["cmdline"]


def test_a_panic_of_the_second_kernel_is_seen_to_its_end(tmp_path: Path) -> None:
    with scene(tmp_path) as at:
        end = b"---[ end Kernel panic - not syncing ]---\r\n"
        at.system.leaves = lambda system: at.board.say(DYING + PANIC + end)
        trip = at.restarts.into_linux(at.running, CRASH, BOOT)
        assert not trip.arrived
        assert trip.console.endswith(end)


def test_a_stall_of_the_next_kernel_does_not_end_the_wait_for_it(tmp_path: Path) -> None:
    with scene(tmp_path) as at:
        at.system.leaves = lambda system: at.board.say(b"Bye!\r\n" + STALL + ready(system.run_id))
        trip = at.restarts.into_linux(at.running, Way(), BOOT)
        assert trip.arrived
        assert STALL in trip.console


def test_a_kernel_that_arrives_without_a_network_is_the_labs(tmp_path: Path) -> None:
    with scene(tmp_path) as at:
        at.lab._board = seconds(at.lab, 0.1)
        at.system.leaves = lambda system: at.board.say(b"Bye!\r\n" + up(system.run_id))
        with pytest.raises(errors.LabError, match="patched, none runs, but SSH was not ready"):
            at.restarts.into_linux(at.running, Way(), NEXT)


def test_a_stall_after_up_is_left_to_the_judge(tmp_path: Path) -> None:
    with scene(tmp_path) as at:
        at.lab._board = seconds(at.lab, 0.1)
        at.system.leaves = lambda system: at.board.say(b"Bye!\r\n" + up(system.run_id) + STALL)
        trip = at.restarts.into_linux(at.running, Way(), NEXT)
        assert not trip.arrived
        assert STALL in trip.console


def seconds(lab: Lab, some: float) -> Board:
    spec = lab._board.linux
    assert spec is not None
    return dataclasses.replace(lab._board, linux=dataclasses.replace(spec, boot_timeout_s=some))


def test_a_panic_that_starts_no_crash_kernel_waits_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restarts, "EXEC_S", 0.1)
    with scene(tmp_path) as at:
        at.system.leaves = lambda system: at.board.say(PANIC)
        trip = at.restarts.into_linux(at.running, CRASH, BOOT)
        assert not trip.arrived
        assert trip.waited_s < 1.5


def test_whether_the_old_kernel_still_answers_is_seen(tmp_path: Path) -> None:
    with scene(tmp_path) as at:
        assert at.restarts.into_linux(at.running, Way(), NEXT).found_run_id == ""
        at.lab.stays = "b" * 16
        assert at.restarts.into_linux(at.running, Way(), NEXT).found_run_id == ""
        at.lab.stays = "a" * 16
        assert at.restarts.into_linux(at.running, Way(), NEXT).found_run_id == "a" * 16


def test_a_kernel_whose_word_the_console_lost_is_asked_by_ssh_before_it_is_accused(
    tmp_path: Path,
) -> None:
    with scene(tmp_path) as at:
        at.system.leaves = lambda system: setattr(at.lab, "stays", system.run_id)
        trip = at.restarts.into_linux(at.running, Way(), NEXT)
        assert not trip.arrived
        assert trip.found_run_id == trip.run_id


@pytest.mark.parametrize("way", [Way(), CRASH])
def test_a_network_that_is_lost_before_the_jump_accuses_no_kernel(tmp_path: Path, way: Way) -> None:
    def lose(system: FakeSystem) -> None:
        raise errors.LinkError("the connection was lost")

    with scene(tmp_path, leaves=lose) as at, pytest.raises(errors.LinkError, match="was lost"):
        at.restarts.into_linux(at.running, way, NEXT)


@pytest.mark.parametrize("powered", [True, None, False])
def test_a_cable_that_is_pulled_after_the_jump_accuses_no_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, powered: bool | None
) -> None:
    """Where power went with it, that is what is told."""
    with scene(tmp_path) as at:
        at.system.leaves = lambda system: at.board.far.close()
        monkeypatch.setattr(at.lab, "powered", lambda: powered)
        if powered is False:
            assert at.restarts.into_linux(at.running, Way(), NEXT).powered is False
        else:
            with pytest.raises(errors.LinkError, match="under test"):
                at.restarts.into_linux(at.running, Way(), NEXT)


def test_a_network_that_is_lost_after_the_next_kernel_was_ready_is_told_by_the_trip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(boot: Boot, run_id: str, position: int) -> Linux:
        raise errors.LinkError("the connection was lost")

    with scene(tmp_path) as at:
        monkeypatch.setattr(at.lab, "reach", lose)
        at.system.leaves = lambda system: at.board.say(b"Bye!\r\n" + ready(system.run_id))
        trip = at.restarts.into_linux(at.running, Way(), NEXT)
        assert not trip.arrived
        assert trip.ready_s is not None


def test_a_payload_that_never_arrives_leaves_the_consoles_words(tmp_path: Path) -> None:
    with scene(tmp_path) as at:

        def leave(system: FakeSystem) -> None:
            before = at.board.console.position()
            at.board.say(b"kexec_core: Starting new kernel\r\n")
            assert at.board.console.wait(before, Deadline.after(5))

        at.system.leaves = leave
        trip = at.restarts.into_payload(at.running, Way(), BOOT)
        assert not trip.arrived
        assert b"Starting new kernel" in trip.console
        assert at.system.loaded["image"] == b"payload"
        members = bundle.unpack(at.system.loaded["initrd"])
        assert (members["kernel"], members["rootfs"]) == (b"kernel", b"rootfs")
        assert run_id_in(members["cmdline"].decode()) == trip.run_id


def test_a_payload_that_can_not_be_asked_says_why(tmp_path: Path) -> None:
    def at_el1(line: Line, deadline: Deadline) -> Payload:
        raise errors.PreconditionError("the payload was entered at EL1 and has no EL2")

    with scene(tmp_path, at_el1) as at:
        trip = at.restarts.into_payload(at.running, Way(), BOOT)
        assert "entered at EL1" in trip.trouble
        with pytest.raises(errors.StateError):
            at.restarts.home(cast(Payload, None), trip, BOOT)
