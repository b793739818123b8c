# SPDX-License-Identifier: Apache-2.0
"""The crash watch."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilagent.console.watch import MAX_LINE, Crash, CrashWatch, Kind
from hilagent.errors import BoardReset, LabError, TargetCrash

BANNER = b"\r\n\r\nU-Boot 2023.01+dfsg-2 (Jun 22 2026 - 08:38:07 +0000)\r\n\r\nDRAM:  512 MiB\r\n"
VERSION = (
    b"=> version\r\nU-Boot 2023.01+dfsg-2 (Jun 22 2026)\r\n\r\n"
    b"aarch64-linux-gnu-gcc (Debian 12.2.0-14) 12.2.0\r\nGNU ld 2.40\r\n=> "
)
PANIC = b"[    1.234567] Kernel panic - not syncing: VFS: Unable to mount root fs\r\n"
WARNING = b"[   20.000000] WARNING: CPU: 0 PID: 1 at kernel/x.c:1 y+0x1/0x2\r\n"
STALL = b"[   21.000000] rcu: INFO: rcu_preempt self-detected stall on CPU\r\n"
ABORT = (
    b'"Synchronous Abort" handler, esr 0x96000010\r\nelr: 0000000040213a4c lr : 00000000\r\n'
    b"### ERROR ### Please RESET the board ###\r\n"
)
QUIET = b"Starting kernel ...\r\n\r\n[    0.000000] Booting Linux on physical CPU 0x0\r\n"


def feed(data: bytes, sizes: list[int] | None = None) -> list[Crash]:
    watch, found, at = CrashWatch(), [], 0
    for size in [*(sizes or []), len(data)]:
        found += watch.feed(data[at : at + size])
        at += size
    return found


@pytest.mark.parametrize(
    ("text", "kind", "title"),
    [
        (PANIC, Kind.KERNEL, "Kernel panic - not syncing: VFS: Unable to mount root fs"),
        (ABORT, Kind.FIRMWARE, '"Synchronous Abort" handler, esr 0x96000010'),
        (BANNER, Kind.RESET, "U-Boot 2023.01+dfsg-2 (Jun 22 2026 - 08:38:07 +0000)"),
        (b"[ 2.0] Internal error: Oops: 96000004 [#1]\n", Kind.KERNEL, "Internal error: Oops"),
        (b"[ 2.0][    T1] BUG: spinlock bad magic on CPU#0\n", Kind.KERNEL, "BUG: spinlock"),
        (STALL, Kind.STALL, "rcu: INFO: rcu_preempt self-detected stall on CPU"),
        (
            b"[ 9.0] watchdog: BUG: soft lockup - CPU#1 stuck for 23s!\n",
            Kind.STALL,
            "watchdog: BUG",
        ),
        (b"[ 9.0] BUG: workqueue lockup - pool cpus=0 stuck!\n", Kind.STALL, "BUG: workqueue"),
        (b"U-Boot SPL 2022.04 (x)\r\nTrying to boot from MMC1\r\n", Kind.RESET, "U-Boot SPL"),
    ],
)
def test_a_death_is_named_by_kind_and_title(text: bytes, kind: Kind, title: str) -> None:
    crash = feed(QUIET + text)[0]
    assert crash.kind is kind
    assert crash.title.startswith(title)
    assert (QUIET + text)[crash.start : crash.end].rstrip().endswith(crash.title.encode())


@pytest.mark.parametrize(
    "text",
    [
        QUIET,
        VERSION,
        b"debug: BUG reports go to the list\n",
        b"PANIC=1 panic_on_oops\r\n",
        b"\x00\xff" * 400,
        b"",
    ],
)
def test_what_is_no_death_yields_nothing(text: bytes) -> None:
    assert feed(text * 3) == []


@pytest.mark.parametrize(
    ("line", "kind", "sort"),
    [
        ("rcu: INFO: rcu_sched detected stalls on CPUs/tasks:", Kind.STALL, "RCU stall"),
        ("watchdog: CPU1: Watchdog detected hard LOCKUP on cpu 2", Kind.STALL, "lockup"),
        ("watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [a:1]", Kind.STALL, "lockup"),
        ("INFO: task kworker/0:1:12 blocked for more than 120 seconds.", Kind.STALL, "hung task"),
        ("INFO: task sh:1 blocked in I/O for more than 122 seconds.", Kind.STALL, "hung task"),
        ("BUG: KASAN: slab-use-after-free in x+0x1/0x2", Kind.KERNEL, "sanitizer"),
        ("BUG: KFENCE: out-of-bounds read in x+0x1/0x2", Kind.KERNEL, "sanitizer"),
        ("UBSAN: array-index-out-of-bounds in a.c:1:2", Kind.REPORT, "sanitizer"),
        ("BUG: KCSAN: data-race in a / b", Kind.REPORT, "sanitizer"),
        ("BUG kmalloc-64 (Not tainted): Poison overwritten", Kind.KERNEL, "sanitizer"),
        ("KASAN: null-ptr-deref in range [0x0000000000000000-0x7]", Kind.KERNEL, "sanitizer"),
        ("WARNING: CPU: 0 PID: 71 at lib/refcount.c:28 x+0x1/0x2", Kind.REPORT, "WARNING"),
        ("WARNING: kernel/x.c:12 at x+0x1/0x2, CPU#0: sh/71", Kind.REPORT, "WARNING"),
        ("WARNING: [a && b] io/u.c:12 at x+0x1/0x2, CPU#0: sh/71", Kind.REPORT, "WARNING"),
        ("WARNING: fs/x.c:1058 at 0x0, CPU#0: sh/71", Kind.REPORT, "WARNING"),
        ("INFO: task sh:1 blocked in I/O wait for more than 143 seconds.", Kind.STALL, "hung task"),
        ("[ INFO: SOFTIRQ-safe -> SOFTIRQ-unsafe lock order detected ]", Kind.REPORT, "lockdep"),
        ("WARNING: possible recursive locking detected", Kind.REPORT, "lockdep"),
        ("WARNING: possible circular locking dependency detected", Kind.REPORT, "lockdep"),
        ("WARNING: suspicious RCU usage", Kind.REPORT, "lockdep"),
        ("[ BUG: Invalid wait context ]\r", Kind.REPORT, "lockdep"),
        ("INFO: possible circular locking dependency detected", Kind.REPORT, "lockdep"),
        ("BUG: sleeping function called from invalid context at a.c:1", Kind.REPORT, "BUG"),
        ("BUG: using smp_processor_id() in preemptible [00000000] code: a/1", Kind.REPORT, "BUG"),
        ("rcu: INFO: rcu_preempt detected expedited stalls on CPUs/tasks: { 1-... }", Kind.STALL,
         "RCU stall"),
        ("BUG: workqueue lockup - pool cpus=0 node=0 flags=0x0 nice=0 stuck for 30s!", Kind.STALL,
         "lockup"),
        ("Unhandled fault at 0xffff800081a0f000", Kind.KERNEL, "oops"),
        ("Unhandled fault: synchronous external abort (0x96000210) at 0xffff0", Kind.KERNEL,
         "oops"),
        ("Internal error: Oops - CFI: 00000000f2008228 [#1] PREEMPT SMP", Kind.KERNEL, "oops"),
        ("Internal error: UBSAN: shift out of bounds: 00000000f2005514 [#1] SMP", Kind.KERNEL,
         "oops"),
        ("kvm [1]: nVHE hyp CFI failure at: [<ffff80008>] x+0x1/0x2!", Kind.KERNEL, "hyp panic"),
        ("BUG: failure at drivers/x.c:12/probe()!", Kind.FIRMWARE, "U-Boot"),
        ("Kernel panic - not syncing: HYP panic:", Kind.KERNEL, "hyp panic"),
        ("kvm [1]: nVHE hyp panic at: [<ffff800080a1b2c0>] x+0x1/0x2!", Kind.KERNEL, "hyp panic"),
        ("kvm [1]: nVHE hyp BUG at: arch/arm64/kvm/hyp/nvhe/mm.c:1!", Kind.KERNEL, "hyp panic"),
        ("Kernel panic - not syncing: Asynchronous SError Interrupt", Kind.KERNEL, "panic"),
        ("SError Interrupt on CPU0, code 0x00000000be000000 -- SError", Kind.KERNEL, "SError"),
        ("Internal error: Oops: 0000000096000044 [#1] PREEMPT SMP", Kind.KERNEL, "oops"),
        ("Internal error: Oops - BUG: 00000000f2000800 [#1] SMP", Kind.KERNEL, "oops"),
        ("Internal error: synchronous external abort: 0000000096000010 [#1]", Kind.KERNEL, "oops"),
        ("Unable to handle kernel NULL pointer dereference at virtual address 0", Kind.KERNEL,
         "oops"),
        ("Unhandled 64-bit el1h sync exception on CPU2, ESR 0x2000000", Kind.KERNEL, "oops"),
        ("Insufficient stack space to handle exception!", Kind.KERNEL, "oops"),
        ("Bad mode in Error handler detected on CPU1, code 0xbf000002", Kind.KERNEL, "oops"),
        ("kernel BUG at mm/slub.c:4000!", Kind.KERNEL, "BUG"),
        ("BUG: scheduling while atomic: swapper/0/0/0x00010002", Kind.REPORT, "BUG"),
        ('"Error" handler, esr 0xbf000002', Kind.FIRMWARE, "U-Boot"),
        ('"Bad Irq" handler, esr 0x0', Kind.FIRMWARE, "U-Boot"),
        ("### ERROR ### Please RESET the board ###", Kind.FIRMWARE, "U-Boot"),
        ("Unhandled Exception in EL3.", Kind.FIRMWARE, "TF-A"),
        ("PANIC in EL3.", Kind.FIRMWARE, "TF-A"),
        ("PANIC at PC : 0x000000000e0a0b0c", Kind.FIRMWARE, "TF-A"),
        ("ERROR:   Unhandled External Abort received on 0x80000000 from S-EL1", Kind.FIRMWARE,
         "TF-A"),
        ("ASSERT: lib/psci/psci_common.c:123", Kind.FIRMWARE, "TF-A"),
        ("E/TC:0 0 Core data-abort at address 0x10 (translation fault)", Kind.FIRMWARE, "OP-TEE"),
        ("E/TC:0 0 Panic at core/kernel/x.c:12 <y>", Kind.FIRMWARE, "OP-TEE"),
        ("Synchronous Exception at 0x000000013F5B1C4C", Kind.FIRMWARE, "UEFI"),
        ("ASSERT [ArmCpuDxe] /edk2/ArmPkg/x.c(123): a == b", Kind.FIRMWARE, "UEFI"),
        ("ASSERT_EFI_ERROR (Status = Not Found)", Kind.FIRMWARE, "UEFI"),
        ("HIL: an exception that nothing guards on CPU 0", Kind.FIRMWARE, "payload"),
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "before", ["", "[   12.3][  C0] ", "2026-11-27T22:22:39 <0>", "garb\x01age"]
)
def test_each_sort_of_death_is_known_whatever_stands_before_it(
    line: str, kind: Kind, sort: str, before: str
) -> None:
    (crash, *_) = feed(f"{before}{line}\r\n".encode())
    assert (crash.kind, crash.type) == (kind, sort)
    assert line.strip().endswith(crash.title)


@pytest.mark.parametrize(
    "line",
    [
        "random: crng init done, error handler installed",
        "EXT4-fs (vda): error count since last fsck: 1",
        "mce: CPU supports 6 MCE banks; abort on SError",
        "NOTICE:  BL31: v2.8(release)",
        "ASSERT is a macro",
        "INFO: task is done",
        "UEFI exception table at 0x10",
        "panic=1 panic_on_warn kernel.panic_on_oops",
        "handled Exception",
        "Internal error: please report this",
        "ODEBUG: selftest passed",
        "rcu: INFO line of its own",
        "WARNING: unable to open an initial console.",
        "kasan: KernelAddressSanitizer initialized (generic)",
        "kfence: initialized - using 2097152 bytes for 255 objects",
        'Kernel command line: oops=panic dyndbg="BUG: x" Kernel panic - not syncing',
        "Unhandled exception: System.Exception at 0x1",
        "see the manual for Kernel panic - not syncing: x",
        "grep -c 'Kernel panic - not syncing' log",
    ],
)
def test_what_only_sounds_like_it_is_none(line: str) -> None:
    assert feed(f"[  1.0] {line}\r\n".encode()) == []


@pytest.mark.parametrize(
    "typed",
    [
        "/ # echo Kernel panic - not syncing: x",
        "hilagent# echo 'BUG: KASAN: x in y'",
        "=> echo ### ERROR ### Please RESET the board ###",
        "=> setenv x kernel BUG at a.c:1",
        "root@pi:~$ grep -n Internal error: Oops [#1] log",
        "# BUG: what is expected here",
        "+ echo Unable to handle kernel paging request at virtual address 0",
    ],
)
def test_what_somebody_types_or_a_script_remarks_accuses_nobody(typed: str) -> None:
    assert feed(f"{typed}\r\n".encode()) == []


@pytest.mark.parametrize(
    "before",
    ["/ # echo c > /proc/sys", "/ # ls /proc/", "=> ", "hilagent login: ", "# ", "# setenv A=",
     "[    0.000000] Kernel command line: console=ttyAMA0"],
)  # fmt: skip
def test_a_kernel_that_dies_while_somebody_types_is_heard(before: str) -> None:
    assert [crash.type for crash in feed(before.encode() + PANIC)] == ["panic"]


def test_a_timestamp_is_no_part_of_the_title_and_control_bytes_never_get_out() -> None:
    crash = feed(b"[   12.000001] Internal error: Oops: \x1b[31mevil\x07\n")[0]
    assert crash.title == "Internal error: Oops: evil\\x07"


def test_each_kind_accuses_whom_it_should() -> None:
    kinds = {crash.kind: crash.error() for crash in feed(WARNING + STALL + PANIC + ABORT + BANNER)}
    assert set(kinds) == set(Kind)
    alive = [crash.kind for crash in feed(WARNING + STALL + PANIC) if not crash.fatal]
    assert alive == [Kind.REPORT, Kind.STALL]
    assert isinstance(kinds[Kind.KERNEL], TargetCrash)
    assert type(kinds[Kind.FIRMWARE]) is LabError
    assert isinstance(kinds[Kind.RESET], BoardReset)


def test_an_endless_line_costs_no_memory_and_no_answer() -> None:
    watch = CrashWatch()
    for _ in range(1000):
        assert watch.feed(b"x" * 1000) == []
    assert len(watch._line) <= MAX_LINE
    assert [crash.kind for crash in watch.feed(b"\n" + PANIC)] == [Kind.KERNEL]


@given(
    parts=st.lists(
        st.sampled_from([PANIC, WARNING, STALL, ABORT, BANNER, VERSION, QUIET, b"\n", b"junk"]),
        max_size=6,
    ),
    sizes=st.lists(st.integers(1, 60), max_size=40),
)
def test_the_answer_is_the_same_whole_in_pieces_and_byte_by_byte(
    parts: list[bytes], sizes: list[int]
) -> None:
    data = b"".join(parts)
    whole = feed(data)
    assert feed(data, sizes) == whole
    assert feed(data, [1] * len(data)) == whole


@given(st.binary(max_size=3000))
def test_no_input_makes_it_fail(data: bytes) -> None:
    for crash in feed(data):
        assert 0 <= crash.start < crash.end <= len(data)
