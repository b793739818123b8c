# SPDX-License-Identifier: Apache-2.0
"""The root file system on real kernels: SSH, KVM, and both ways to load the next kernel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hilagent.build.module import build_module
from hilagent.build.rootfs import build_rootfs
from hilagent.clock import Deadline
from hilagent.linux import wire
from tests import kernels
from tests.build.booted import READY, Booted, booted, cmdline, run

pytestmark = pytest.mark.hil


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Booted]:
    kernel = kernels.built()
    rootfs = build_rootfs(kernel=kernel)
    with booted(tmp_path_factory.mktemp("boot"), kernel, rootfs, "crashkernel=160M") as machine:
        yield machine


def test_it_is_ready_once_and_tells_which_boot_it_is(machine: Booted) -> None:
    assert machine.lines.count(f"{READY}first") == 1
    with machine.connect() as board:
        assert "hilagent.run=first" in run(board, "cat", "/proc/cmdline")
        said = run(board, "uname", "-rv")
    assert said.startswith(f"{machine.kernel.release} #{machine.kernel.build} ")


def test_kvm_runs_instructions(machine: Booted) -> None:
    with machine.connect() as board:
        assert run(board, "hilkvm") == "kvm ok\n"


def test_without_kvm_hilkvm_says_so(machine: Booted) -> None:
    with machine.connect() as board:
        run(board, "mv", "/dev/kvm", "/dev/kvm-away")
        done = board.run(["hilkvm"], deadline=Deadline.after(30))
        run(board, "mv", "/dev/kvm-away", "/dev/kvm")
    assert (done.status, done.out) == (3, b"kvm none\n")


@pytest.mark.parametrize(
    ("argv", "status", "said"),
    [
        ((), 2, "hilkexec load IMAGE"),
        (("load", "/init", "--sideways"), 2, "hilkexec load IMAGE"),
        (("load", "/init", "--dtb", "/init"), 2, "hilkexec load IMAGE"),
        (("load", "/nothing"), 1, "/nothing: No such file or directory"),
        (("load", "/init"), 1, "kexec_file_load: "),
        (("load", "/init", "--syscall", "load"), 1, "/init: Invalid argument"),
        (("exec",), 1, "exec: Invalid argument"),
    ],
)
def test_hilkexec_says_why_not(
    machine: Booted, argv: tuple[str, ...], status: int, said: str
) -> None:
    with machine.connect() as board:
        done = board.run(["hilkexec", *argv], deadline=Deadline.after(30))
    assert done.status == status
    assert said in done.err.decode()


@pytest.mark.parametrize("way", ["file", "load"])
def test_the_next_kernel_starts_by_either_system_call(machine: Booted, way: str) -> None:
    load(machine, way, "--cmdline", cmdline(f"next-{way}", "crashkernel=160M"))
    with machine.connect() as board:
        board.start(["hilkexec", "exec"], deadline=Deadline.after(30))
    machine.ready(f"next-{way}")
    with machine.connect() as board:
        assert f"hilagent.run=next-{way}" in run(board, "cat", "/proc/cmdline")
        assert "started at EL2" in run(board, "dmesg")


def load(machine: Booted, way: str, *words: str) -> None:
    with machine.connect() as board:
        board.put(machine.kernel.image, "/tmp/Image", Deadline.after(60))
        board.put(machine.rootfs.archive, "/tmp/rootfs", Deadline.after(60))
        named = ("--initrd", "/tmp/rootfs", "--syscall", way, *words)
        run(board, "hilkexec", "load", "/tmp/Image", *named)


@pytest.mark.parametrize("way", ["file", "load"])
def test_a_crash_kernel_starts_in_its_own_memory(tmp_path: Path, way: str) -> None:
    kernel = kernels.built()
    rootfs = build_rootfs(kernel=kernel)
    with booted(tmp_path, kernel, rootfs, "crashkernel=160M") as machine:
        load(machine, way, "--crash", "--cmdline", cmdline("crash"))
        with machine.connect() as board:
            crash = ["sh", "-c", "echo c > /proc/sysrq-trigger"]
            board.start(crash, deadline=Deadline.after(30))
        machine.ready("crash")
        with machine.connect() as board:
            total = run(board, "grep", "MemTotal", "/proc/meminfo").split()[1]
    assert int(total) < 160 * 1024


def test_the_module_is_loaded_at_boot(tmp_path: Path) -> None:
    kernel = kernels.built()
    module = build_module(kernel, wire.c_header())
    rootfs = build_rootfs(kernel=kernel, module=module)
    with booted(tmp_path, kernel, rootfs) as machine, machine.connect() as board:
        assert run(board, "ls", "/dev/hilhvc") == "/dev/hilhvc\n"


@pytest.mark.long
def test_debians_own_kernel_boots_and_restarts_with_all_of_it(tmp_path: Path) -> None:
    kernel = kernels.built("debian")
    module = build_module(kernel, wire.c_header())
    rootfs = build_rootfs(kernel=kernel, module=module)
    with booted(tmp_path, kernel, rootfs) as machine:
        load(machine, "load", "--cmdline", cmdline("again"))
        with machine.connect() as board:
            assert run(board, "hilkvm") == "kvm ok\n"
            assert run(board, "ls", "/dev/hilhvc") == "/dev/hilhvc\n"
            board.start(["hilkexec", "exec"], deadline=Deadline.after(30))
        machine.ready("again")
