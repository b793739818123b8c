# SPDX-License-Identifier: Apache-2.0
"""A booted Linux over SSH: a real shell at the other end, on a folder that stands for a board."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from hilagent.clock import Deadline
from hilagent.errors import InputError, LabError, PreconditionError, Unsupported
from hilagent.linux import kexec
from hilagent.linux.facts import Entry, Kvm
from hilagent.linux.system import KvmState, System
from hilagent.testing.ssh import SshServer
from hilagent.transport import ssh
from tests.linux import fake_board

RUN = "0123456789abcdef"
IMAGE = bytes(56) + b"ARM\x64" + bytes(1000)


def soon(seconds: float = 20) -> Deadline:
    return Deadline.after(seconds)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return fake_board.make(tmp_path / "board")


@pytest.fixture
def server(root: Path) -> Iterator[SshServer]:
    with SshServer(root=root) as server:
        yield server


@pytest.fixture
def linux(server: SshServer) -> Iterator[System]:
    with ssh.connect(server.target("fake/rootfs"), soon()) as connection:
        yield System(connection, RUN)


def test_the_kernel_of_this_run_is_recognised(linux: System) -> None:
    linux.verify(soon())


@pytest.mark.parametrize(
    ("cmdline", "who"),
    [
        ("quiet hilagent.run=feedfacefeedface", "the one of run feedfacefeedface"),
        ("quiet", "one that hilagent did not boot"),
        (f"quiet hilagent.run={RUN}0", f"the one of run {RUN}0"),
    ],
)
def test_another_kernel_is_stale(linux: System, root: Path, cmdline: str, who: str) -> None:
    (root / "proc/cmdline").write_text(cmdline + "\n")
    stale = f"fake/rootfs: stale: expected the kernel of run {RUN}, and {who} answers"
    with pytest.raises(LabError, match=stale):
        linux.verify(soon())


def test_a_system_that_we_did_not_boot_has_no_run_to_check(linux: System, root: Path) -> None:
    (root / "proc/cmdline").write_text("quiet\n")
    System(linux.connection, None).verify(soon())


def test_facts_come_from_the_board(linux: System) -> None:
    found = linux.facts(soon())
    assert (found.run_id, found.entry, found.kvm) == (RUN, Entry.EL2, Kvm.NVHE)
    assert found.psci_version == "1.1"


def test_the_log_can_be_asked_for_what_is_new(linux: System) -> None:
    assert [line.at_s for line in linux.dmesg(soon(), 0.075)] == [0.080321, 0.081234]


def test_a_cpu_is_switched_and_looked_at_again(linux: System, root: Path) -> None:
    online = root / "sys/devices/system/cpu/online"
    with pytest.raises(LabError, match="switching CPU 1 off: no error, and no effect"):
        linux.hotplug(1, on=False, deadline=soon())
    assert (root / "sys/devices/system/cpu/cpu1/online").read_text() == "0"
    online.write_text("0\n")
    linux.hotplug(1, on=False, deadline=soon())
    assert linux.cpus_online(soon()) == (0,)


def test_a_cpu_that_can_not_be_switched_is_unsupported(linux: System) -> None:
    with pytest.raises(Unsupported, match="switching CPU 0 off: it can't be switched"):
        linux.hotplug(0, on=False, deadline=soon())


def test_a_cpu_that_the_kernel_will_not_switch_is_named(linux: System, root: Path) -> None:
    path = root / "sys/devices/system/cpu/cpu1/online"
    path.unlink()
    path.symlink_to("/dev/full")
    with pytest.raises(LabError, match=r"switching CPU 1 off ended with \d+: .*No space left"):
        linux.hotplug(1, on=False, deadline=soon())


def test_a_kernel_is_uploaded_loaded_and_checked(linux: System, root: Path) -> None:
    linux.kexec_load(IMAGE, initrd=b"root", cmdline="a  'b' c", deadline=soon())
    folder = f"{root}/run/hilagent"
    assert (root / "calls").read_text() == (
        f"load {folder}/next-image --initrd {folder}/next-initrd "
        "--cmdline a  'b' c --syscall file\n"
    )
    assert (root / "run/hilagent/next-image").read_bytes() == IMAGE
    assert linux.facts(soon()).kexec_loaded


def test_a_crash_kernel_is_loaded_by_either_call(linux: System, root: Path) -> None:
    linux.kexec_load("/boot/there", cmdline="x", deadline=soon(), crash=True, syscall="load")
    assert (root / "calls").read_text() == (
        f"load {root}/boot/there --cmdline x --syscall load --crash\n"
    )
    assert linux.facts(soon()).crash_loaded
    linux.kexec_unload(soon(), crash=True)


def test_another_system_needs_kexec_tools(linux: System, root: Path) -> None:
    (root / "sbin/hilkexec").unlink()
    fake_board.program(root / "bin/kexec", 'echo "$@" >>"$HOME/calls"; exit 1')
    for crash, syscall in ((False, "file"), (True, "load")):
        with pytest.raises(LabError):
            linux.kexec_load(
                "/boot/x", initrd="/boot/i", cmdline="a b", deadline=soon(),
                crash=crash, syscall=syscall,  # type: ignore[arg-type]
            )  # fmt: skip
    assert (root / "calls").read_text() == (
        f"-s -l {root}/boot/x --initrd=/boot/i --command-line=a b\n"
        f"-c -p {root}/boot/x --initrd=/boot/i --command-line=a b\n"
    )


def test_a_system_without_a_loader_is_named(linux: System, root: Path, server: SshServer) -> None:
    (root / "sbin/hilkexec").unlink()
    with pytest.raises(LabError, match="no program on it can load a kernel") as caught:
        linux.kexec_load("/boot/x", cmdline="", deadline=soon())
    assert "kexec-tools" in caught.value.hint


@pytest.mark.parametrize(
    ("head", "what"),
    [
        (b"\x1f\x8b", ", but a gzip file"),
        (b"\x7fELF\x02", ", but an ELF file"),
        (bytes(0x202) + b"HdrS", ", but a kernel for x86"),
        (b"", " "),
    ],
)
def test_an_image_of_another_kind_is_the_callers_mistake(
    linux: System, tmp_path: Path, server: SshServer, head: bytes, what: str
) -> None:
    path = tmp_path / "image"
    path.write_bytes(head)
    before = len(server.ran)
    with pytest.raises(InputError) as caught:
        linux.kexec_load(path, cmdline="", deadline=soon())
    assert f"{path}: is not an arm64 Image{what}".strip() in caught.value.message
    assert len(server.ran) == before


def test_protected_kvm_refuses_and_that_is_a_fact_of_it(linux: System, root: Path) -> None:
    (root / "log").write_text(fake_board.LOG.replace("Hyp nVHE", "Protected nVHE"))
    stuck = "<3>[   20.1] kexec: Can'\\''t kexec: CPUs are stuck in the kernel."
    fake_board.refuses(root, "Device or resource busy", stuck)
    with pytest.raises(Unsupported, match=r"protected KVM holds EL2 for good.*\(EBUSY\)"):
        linux.kexec_load(IMAGE, cmdline="", deadline=soon())


def test_cpus_in_a_spin_table_refuse_and_are_named(linux: System, root: Path) -> None:
    stuck = "<3>[   20.1] kexec: Can'\\''t kexec: CPUs are stuck in the kernel."
    fake_board.refuses(root, "Device or resource busy", stuck)
    with pytest.raises(Unsupported, match="secondary CPUs can't be switched off") as caught:
        linux.kexec_load(IMAGE, cmdline="", deadline=soon())
    assert "nr_cpus=1" in caught.value.hint


@pytest.mark.parametrize(
    ("why", "kind", "message"),
    [
        ("Device or resource busy", LabError, r"is busy \(EBUSY\), and doesn't say why"),
        ("Function not implemented", kexec.NoSuchCall, r"no such system call \(ENOSYS\)"),
        ("Operation not permitted", PreconditionError, "not permitted"),
        ("Exec format error", LabError, "refused: hilkexec: kexec_file_load: Exec format error$"),
        ("Invalid argument", LabError, "refused: .*Invalid argument"),
    ],
)
def test_each_refusal_has_its_class_and_message(
    linux: System, root: Path, why: str, kind: type[Exception], message: str
) -> None:
    fake_board.refuses(root, why)
    with pytest.raises(kind, match=f"loading the next kernel by kexec_file_load: .*{message}"):
        linux.kexec_load(IMAGE, cmdline="", deadline=soon())


def test_a_crash_kernel_without_reserved_memory_says_how_to_reserve_it(
    linux: System, root: Path
) -> None:
    (root / "sys/kernel/kexec_crash_size").write_text("0\n")
    fake_board.refuses(root, "Cannot assign requested address")
    with pytest.raises(LabError, match="no memory is reserved for a crash kernel") as caught:
        linux.kexec_load(IMAGE, cmdline="", deadline=soon(), crash=True)
    assert "crashkernel=" in caught.value.hint


def test_a_loader_that_did_nothing_is_caught(linux: System, root: Path) -> None:
    fake_board.program(root / "sbin/hilkexec", "exit 0")
    with pytest.raises(LabError, match=r"kexec_file_load: no error, and none is loaded"):
        linux.kexec_load(IMAGE, cmdline="", deadline=soon())


def test_going_to_no_kernel_is_refused_and_the_connection_stays(linux: System) -> None:
    with pytest.raises(PreconditionError, match="no kernel is loaded to go to"):
        linux.kexec_exec(soon())
    with pytest.raises(PreconditionError, match="no crash kernel is loaded"):
        linux.crash(soon())
    assert linux.connection.alive()


def test_going_to_a_kernel_ends_the_connection_and_happens(linux: System, root: Path) -> None:
    linux.kexec_load(IMAGE, cmdline="", deadline=soon())
    gone = root / "gone"
    os.mkfifo(gone)
    fake_board.program(root / "sbin/hilkexec", 'echo "$@" >"$HOME/gone"')
    linux.kexec_exec(soon())
    assert gone.read_text() == "exec\n"
    assert not linux.connection.alive()


def test_a_reset_is_asked_of_sysrq(linux: System, root: Path) -> None:
    (root / "proc/sysrq-trigger").unlink()
    os.mkfifo(root / "proc/sysrq-trigger")
    linux.reset(soon())
    assert (root / "proc/sysrq-trigger").read_text() == "b\n"
    assert not linux.connection.alive()


def test_a_crash_is_asked_for_on_the_cpu_that_was_named(
    linux: System, root: Path, server: SshServer
) -> None:
    (root / "sys/kernel/kexec_crash_loaded").write_text("1\n")
    (root / "proc/sysrq-trigger").unlink()
    os.mkfifo(root / "proc/sysrq-trigger")
    linux.crash(soon(), cpu=0)
    assert (root / "proc/sysrq-trigger").read_text() == "c\n"
    assert server.ran[-1][4:6] == ["taskset", "1"]
    assert not linux.connection.alive()


@pytest.mark.parametrize(
    ("script", "state", "said"),
    [
        ("echo kvm ok", KvmState.OK, "kvm ok"),
        ("echo kvm none; exit 3", KvmState.ABSENT, "kvm none"),
        (
            "echo 'hilkvm: KVM_RUN: Bad address' >&2; exit 1",
            KvmState.BROKEN,
            "hilkvm: KVM_RUN: Bad",
        ),
        ("exit 0", KvmState.BROKEN, ""),
    ],
)
def test_kvm_is_tried_and_its_answer_told(
    linux: System, root: Path, script: str, state: KvmState, said: str
) -> None:
    fake_board.program(root / "sbin/hilkvm", script)
    check = linux.kvm_check(soon())
    assert check.state is state
    assert check.said.startswith(said)


def test_a_system_that_can_not_try_kvm_is_unsupported(linux: System, root: Path) -> None:
    (root / "sbin/hilkvm").unlink()
    with pytest.raises(Unsupported, match="has no /sbin/hilkvm to try KVM with"):
        linux.kvm_check(soon())


def test_what_panics_is_set_and_told(linux: System) -> None:
    assert linux.panic_on(soon()) == {"oops": 0, "reboot_s": 0}
    found = linux.panic_on(soon(), oops=1, reboot_s=5, hung_task=1)
    assert found == {"oops": 1, "reboot_s": 5}


@pytest.mark.parametrize(
    ("out", "news", "found"),
    [
        (b"image 0x40000000 0xc80000\n", [], (0x40000000, 0x40C7FFFF)),
        (
            b"",
            ["kexec_image: Loaded kernel at 0x40e00000 bufsz=0x8d2200 memsz=0xc80000"],
            (0x40E00000, 0x41A7FFFF),
        ),
        (b"nothing\n", ["kexec_file: something else"], None),
        (b"", [], None),
    ],
)
def test_where_the_next_kernel_lies_is_known_where_anybody_says(
    out: bytes, news: list[str], found: tuple[int, int] | None
) -> None:
    assert kexec.placed(out, news) == found
