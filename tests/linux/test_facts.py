# SPDX-License-Identifier: Apache-2.0
"""What a kernel's own sentences mean, those of 6.12 in each of its modes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilagent.linux import facts
from hilagent.linux.facts import Conduit, Entry, KernelLine, Kvm
from tests.linux import fake_board


@pytest.mark.parametrize(
    ("line", "mode"),
    [
        ("kvm [1]: Hyp nVHE mode initialized successfully", Kvm.NVHE),
        ("kvm [1]: Hyp hVHE mode initialized successfully", Kvm.HVHE),
        ("kvm [1]: Protected nVHE mode initialized successfully", Kvm.PROTECTED),
        ("kvm [1]: Protected hVHE mode initialized successfully", Kvm.PROTECTED),
        ("kvm [1]: VHE mode initialized successfully", Kvm.VHE),
        ("kvm [1]: KVM disabled from command line", Kvm.NONE),
        ("kvm [1]: HYP mode not available", Kvm.ABSENT),
        ("kvm [1]: error initializing Hyp mode: -12", Kvm.ABSENT),
    ],
)
def test_kvms_mode_is_what_it_says_it_is(line: str, mode: Kvm) -> None:
    said = "kvm [1]: IPA Size Limit: 44 bits"
    assert facts.kvm_of([said, line]) == (mode, line.removeprefix("kvm [1]: "))


def test_a_kernel_without_kvm_says_nothing_of_it() -> None:
    assert facts.kvm_of(["Booting Linux", "random: VHE mode initialized"]) == (Kvm.ABSENT, "")


@pytest.mark.parametrize(
    ("line", "entry"),
    [
        ("CPU: All CPU(s) started at EL2", Entry.EL2),
        ("CPU: All CPU(s) started at EL1", Entry.EL1),
        ("CPU: CPUs started in inconsistent modes", Entry.MIXED),
        ("CPU features: detected: GIC system register CPU interface", Entry.UNKNOWN),
    ],
)
def test_the_entry_is_what_the_kernels_own_check_found(line: str, entry: Entry) -> None:
    assert facts.entry_of(["Booting Linux", line]) is entry


def test_raw_lines_are_read_with_level_and_time() -> None:
    raw = (
        b"<6>[    0.034512] CPU: All CPU(s) started at EL2\n"
        b"<12>[   12.5] user: \x1b[31mred\x1b[0m \xff\n"
        b"[    3.000001] no level\n"
        b"<4>[    3.000002][    T1] with a caller\n"
        b"no line of the log\n<6>[    9.1"
    )
    assert facts.log_lines(raw) == (
        KernelLine(6, 0.034512, "CPU: All CPU(s) started at EL2"),
        KernelLine(4, 12.5, r"user: red \xff"),
        KernelLine(7, 3.000001, "no level"),
        KernelLine(4, 3.000002, "with a caller"),
    )


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("0-3,6\n", (0, 1, 2, 3, 6)), ("0", (0,)), ("", ()), ("x-3,7-,2-1", ()), ("5,0", (0, 5))],
)
def test_a_list_of_cpus_is_read(text: str, numbers: tuple[int, ...]) -> None:
    assert facts.cpu_list(text) == (numbers if text != "x-3,7-,2-1" else (7,))


def test_the_last_run_id_counts_as_the_last_option_does() -> None:
    assert facts.run_id_of("a hilagent.run=1 b hilagent.run=2") == "2"
    assert facts.run_id_of("xhilagent.run=1 quiet") == ""


def test_all_of_it_together() -> None:
    read = {f"/{name}": text.encode() for name, text in fake_board.FILES.items()}
    found = facts.gather(read, facts.log_lines(fake_board.LOG.encode()))
    assert found == facts.Facts(
        release="6.12.117-hilagent",
        version="#1 SMP PREEMPT",
        cmdline="console=ttyAMA0 hilagent.run=0123456789abcdef crashkernel=160M",
        run_id="0123456789abcdef",
        boot_id="9f2e6c9e-5c3d-4a5c-8f0e-000000000001",
        entry=Entry.EL2,
        kvm=Kvm.NVHE,
        kvm_line="Hyp nVHE mode initialized successfully",
        psci=Conduit.SMC,
        psci_version="1.1",
        cpus_online=(0, 1),
        cpus_possible=(0, 1),
        crash_bytes=160 << 20,
        kexec_loaded=False,
        crash_loaded=False,
        memory_bytes=1_000_000 << 10,
        available_bytes=900_000 << 10,
    )


def test_a_kernel_that_has_none_of_it_is_told_as_such() -> None:
    found = facts.gather({}, ())
    assert (found.entry, found.kvm, found.psci) == (Entry.UNKNOWN, Kvm.ABSENT, Conduit.NONE)
    assert (found.cpus_online, found.crash_bytes, found.crash_loaded) == ((), 0, False)


@given(st.binary(max_size=300), st.sampled_from(facts.FILES))
def test_no_content_of_a_file_or_the_log_breaks_the_reading(raw: bytes, path: str) -> None:
    facts.gather({path: raw}, facts.log_lines(raw))
