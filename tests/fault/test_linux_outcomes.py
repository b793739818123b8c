# SPDX-License-Identifier: Apache-2.0
"""What goes wrong around a kernel: the right class, exit code and message, on the real parts."""

from __future__ import annotations

from pathlib import Path

import pytest

from hilagent.testing.ssh import new_key
from hilagent.transport import known
from tests import kernels
from tests.fault import boards
from tests.fault.agent import Spec
from tests.fault.harness import faulty, ran
from tests.fault.test_outcomes import LAB, check

PAYLOAD = ["--suite", "architecture", "-k", "cpu0"]
RESTART = ["--suite", "restart", "--mode", "default", "-k", "kexec-file and kernel"]
SMALL = ["qemu-virt", "-o", "smp=1"]
NOBODYS = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"


@pytest.fixture(autouse=True)
def _own_known_hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(known.ENVIRONMENT, str(tmp_path / "hosts"))


@pytest.mark.hil
def test_a_board_of_its_own_system_is_used_by_ssh_and_kexec_alone(tmp_path: Path) -> None:
    board = boards.own(tmp_path / "boards")
    only = ["-k", "test_dispatch or (kexec-file and payload)"]
    what = ["--suite", "dispatch", "--suite", "restart", "--mode", "default", *only]
    done = ran(["run", *board, *what], tmp_path)
    check(done, 0, {"PASS"}, "trans-pgd 2")
    assert done.run is not None
    assert len(list(done.run.observations("handover"))) == 1
    states = [record["state"] for record in done.run.records if record["kind"] == "state"]
    assert "its own system" in states
    assert "U-Boot" not in states


@pytest.mark.hil
def test_a_host_key_that_changed_sends_nothing_to_the_board(tmp_path: Path) -> None:
    board = boards.own(tmp_path / "boards")
    known.pin(known.path_of("own"), "own/os", known.HostKey.parse(NOBODYS))
    done = ran(["run", *board, *PAYLOAD], tmp_path)
    check(done, LAB, {"INFRA"}, "own/os", "host key", "hilagent trust own")


@pytest.mark.hil
def test_a_key_that_the_board_refuses_is_the_labs(tmp_path: Path) -> None:
    board = boards.own(tmp_path / "boards", key=new_key(tmp_path / "key"))
    done = ran(["run", *board, *PAYLOAD], tmp_path)
    check(done, LAB, {"INFRA"}, "own/os", "refused the key", "authorized_keys")


@pytest.mark.hil
def test_a_full_disk_of_the_board_is_the_labs(tmp_path: Path) -> None:
    """An initramfs lives in half of the memory; the kernel is made longer than that."""
    image = tmp_path / "Image"
    image.write_bytes(kernels.built("patched").image.read_bytes() + bytes(200 << 20))
    board = boards.own(tmp_path / "boards", memory_mib=256)
    done = ran(["run", *board, "--image", str(image), *RESTART], tmp_path)
    what = "no space for /run/hilagent/next-image (217"
    check(done, LAB, {"INFRA"}, what, "free some space on the board")


@pytest.mark.hil
def test_a_network_that_is_lost_in_the_upload_is_the_labs(tmp_path: Path) -> None:
    done = ran(["run", *SMALL, *RESTART], tmp_path, faulty(Spec(ssh_cut=1 << 20)))
    lost = "the connection was lost in the upload of /run/hilagent/next-image, after"
    check(done, LAB, {"INFRA"}, lost)


@pytest.mark.hil
def test_a_panic_of_the_second_kernel_is_its_crash(tmp_path: Path) -> None:
    board = boards.own(tmp_path / "boards", cmdline="rdinit=/nowhere")
    done = ran(["run", *board, *RESTART], tmp_path)
    assert done.code == 1, done.story()
    assert done.verdicts == {"CRASH"}, done.story()
    assert "Unable to mount root fs" in done.out, done.story()


@pytest.mark.hil
def test_a_kernel_that_is_entered_at_el1_is_the_boot_paths(tmp_path: Path) -> None:
    changes = "qemu: {machine: virt}\npayload: {psci: hvc}"
    board = boards.emulated(tmp_path / "boards", "no-el2", changes)
    done = ran(["run", *board, "-o", "smp=1", *RESTART], tmp_path)
    check(done, LAB, {"PRECONDITION"}, "the kernel was entered at EL1", "entry_el: 1")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"\x7fELF" + bytes(600), "an ELF file"),
        (bytes(0x1FE) + b"\x55\xaaHdrS", "an x86 boot image"),
        (bytes(0x38) + b"RSC\x05", "a RISC-V Image"),
    ],
)
def test_an_image_of_another_architecture_is_the_callers_mistake(
    tmp_path: Path, content: bytes, what: str
) -> None:
    image = tmp_path / "Image"
    image.write_bytes(content)
    done = ran(["run", *SMALL, "--image", str(image), *RESTART], tmp_path)
    check(done, 2, set(), str(image), "not a kernel for arm64", what)
    assert done.run is None
