# SPDX-License-Identifier: Apache-2.0
"""Incidents: which lines belong to one death, and what it's called."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilagent.console.incident import MOST_BYTES
from hilagent.console.watch import CrashWatch, Incident, Kind, incidents

TRACE = """\
CPU: 0 UID: 0 PID: 59 Comm: sh Not tainted 6.12.117 #1
Hardware name: linux,dummy-virt (DT)
pstate: 61000809 (nZCv daif -PAN -UAO -TCO +DIT -SSBS BTYPE=-c)
pc : lkdtm_WRITE+0x10/0x4
lr : lkdtm_do_action+0x24/0x30
x29: ffff00000260bcc0 x28: ffff000002bdb040 x27: 0000000000000000
Call trace:
 lkdtm_WRITE+0x10/0x4
 direct_entry+0x108/0x12c
"""
END = "Code: 91116c00 97f2e78a (d4210000)\n---[ end trace 0000000000000000 ]---\n"
NULL = (
    "Unable to handle kernel NULL pointer dereference at virtual address 0000000000000000\n"
    "Mem abort info:\n  ESR = 0x0000000096000044\n"
    "[0000000000000000] user address but active_mm is swapper\n"
    "Internal error: Oops: 0000000096000044 [#1] SMP\nModules linked in:\n"
)
OOPS = NULL + TRACE + END
RULE = "==================================================================\n"
KASAN = (
    "BUG: KASAN: slab-use-after-free in lkdtm_READ_AFTER_FREE+0x1f0/0x2a0\n"
    "Read of size 4 at addr ffff0000c0a5b5f0 by task sh/59\n\n"
    + TRACE
    + "\nAllocated by task 59:\n kasan_save_stack+0x3c/0x64\n\n"
    "Memory state around the buggy address:\n ffff0000c0a5b480: fa fb\n>ffff0000c0a5b580: fa\n"
    "                                       ^\n"
)
PANICKED = (
    "Kernel panic - not syncing: Oops: Fatal exception\nSMP: stopping secondary CPUs\n"
    "Kernel Offset: disabled\nCPU features: 0x10,00000c\nMemory Limit: none\n"
    "---[ end Kernel panic - not syncing: Oops: Fatal exception ]---\n"
)
WARNED = (
    "WARNING: CPU: 1 PID: 59 at lib/refcount.c:28 refcount_warn_saturate+0xf4/0x144\n"
    "Modules linked in:\n" + TRACE + "---[ end trace 0000000000000000 ]---\n"
)
HUNG = (
    "INFO: task sh:59 blocked for more than 10 seconds.\n      Not tainted 6.12 #1\n"
    "task:sh              state:D stack:0     pid:59\nCall trace:\n"
    " __switch_to+0xcc/0x11c\n __schedule+0x37c/0x87c\n lkdtm_HUNG_TASK+0x20/0x28\n"
)
HYP = (
    "kvm [1]: nVHE hyp panic at: [<ffff80008>] __kvm_nvhe_handle_trap+0x1/0x2!\n"
    "Kernel panic - not syncing: HYP panic:\nPS:a00003c9 PC:0000\n"
)
CUT = "------------[ cut here ]------------\n"


def only(text: str) -> tuple[Incident, str]:
    """Return the one incident in ``text``, and its lines."""
    (found,) = incidents(text.encode())
    return found, text.encode()[found.start : found.end].decode()


def stamped(text: str) -> str:
    lines = text.splitlines(keepends=True)
    return "".join(f"[{number:5}.123456] {line}" for number, line in enumerate(lines))


def test_an_oops_and_the_panic_that_comes_of_it_are_one_incident() -> None:
    found, block = only("Starting\n" + OOPS + "note: sh[59] exited\n" + PANICKED + "after\n")
    assert found.title == "Unable to handle kernel NULL pointer dereference in lkdtm_WRITE"
    assert (found.kind, found.type, found.fatal) == (Kind.KERNEL, "oops", True)
    assert found.panic == "Kernel panic - not syncing: Oops: Fatal exception"
    assert block.startswith("Unable to handle")
    assert block.endswith("Fatal exception ]---\n")


def test_an_oops_alone_ends_with_its_trace() -> None:
    found, block = only(OOPS + "note: sh[59] exited\n" + "next\n" * 50)
    assert block == OOPS
    assert not found.panic


def test_what_kasan_saw_names_the_oops_and_the_panic_that_follow() -> None:
    found, block = only("x\n" + RULE + KASAN + RULE + OOPS + PANICKED)
    assert found.title == "KASAN: slab-use-after-free Read in lkdtm_READ_AFTER_FREE"
    assert found.type == "sanitizer"
    assert block == RULE + KASAN + RULE + OOPS + PANICKED


def test_two_reports_are_two_incidents() -> None:
    text = RULE + KASAN + RULE
    first, second = incidents((text + text).encode())
    assert (first.end, second.start) == (len(text), len(text))


def test_a_warning_is_no_death_and_begins_at_its_cut() -> None:
    found, block = only("x\n" + CUT + "refcount_t: underflow; use-after-free.\n" + WARNED + "y\n")
    assert found.title == "refcount_t: underflow; use-after-free in lkdtm_WRITE"
    assert (found.type, found.fatal) == ("WARNING", False)
    assert block.startswith("---")
    assert block.endswith("]---\n")


def test_a_warning_that_the_kernel_was_told_to_die_of_is_one() -> None:
    found, _ = only(CUT + WARNED + "Kernel panic - not syncing: kernel: panic_on_warn set ...\n")
    assert (found.title, found.fatal) == ("WARNING in refcount_warn_saturate", True)
    assert found.panic.endswith("panic_on_warn set ...")


def test_a_panic_is_not_that_of_a_warning_before_it() -> None:
    warned, panicked = incidents((WARNED + "Kernel panic - not syncing: VFS: no root\n").encode())
    assert not warned.fatal
    assert panicked.title == "Kernel panic - not syncing: VFS: no root"


def test_a_panic_on_purpose_is_not_that_of_an_oops_before_it() -> None:
    text = OOPS + "login: \nKernel panic - not syncing: sysrq triggered crash\n"
    died, panicked = incidents(text.encode())
    assert (died.panic, panicked.type) == ("", "panic")


def test_an_oops_of_init_ends_in_a_panic_that_names_init() -> None:
    text = OOPS + "note: init[1] exited\nKernel panic - not syncing: Attempted to kill init!\n"
    found, block = only(text)
    assert (found.panic, block) == ("Kernel panic - not syncing: Attempted to kill init!", text)


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("kernel BUG at drivers/misc/lkdtm/bugs.c:105!\n",
         "kernel BUG at drivers/misc/lkdtm/bugs.c:105"),
        ("Internal error: synchronous external abort: 0000000096000010 [#1] SMP\n" + TRACE,
         "synchronous external abort in lkdtm_WRITE"),
        ("Internal error: Oops - Undefined instruction: 0000000002000000 [#2] PREEMPT SMP\n"
         + TRACE, "Oops - Undefined instruction in lkdtm_WRITE"),
        ("Kernel panic - not syncing: Attempted to kill init! exitcode=0x0000000b\n",
         "Kernel panic - not syncing: Attempted to kill init"),
        ("Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)\n",
         "Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)"),
        ("rcu: INFO: rcu_preempt self-detected stall on CPU\nrcu: \t0-....: (5250 ticks)\n"
         + TRACE, "RCU stall in lkdtm_WRITE"),
        ("watchdog: BUG: soft lockup - CPU#1 stuck for 26s! [sh:59]\n" + TRACE,
         "soft lockup in lkdtm_WRITE"),
        (HUNG,
         "hung task in lkdtm_HUNG_TASK"),
        ("BUG: sleeping function called from invalid context at mm/x.c:12\n",
         "BUG: sleeping function called from invalid context at mm/x.c:12"),
        ("BUG: spinlock bad magic on CPU#0, swapper/0/0\n", "BUG: spinlock bad magic"),
        ("WARNING: possible recursive locking detected\n",
         "WARNING: possible recursive locking detected"),
        ("UBSAN: shift-out-of-bounds in ../lib/test_ubsan.c:60:8\n",
         "UBSAN: shift-out-of-bounds in ../lib/test_ubsan.c:60"),
        ("BUG: KCSAN: data-race in one / another\n", "KCSAN: data-race in one / another"),
        ("SError Interrupt on CPU0, code 0x00000000be000000 -- SError\n" + TRACE,
         "SError in lkdtm_WRITE"),
        (HYP, "HYP panic in __kvm_nvhe_handle_trap"),
        ("kvm [1]: nVHE hyp BUG at: arch/arm64/kvm/hyp/nvhe/mm.c:12!\n",
         "HYP BUG at arch/arm64/kvm/hyp/nvhe/mm.c:12"),
        ('"Synchronous Abort" handler, esr 0x96000010\nelr: 0000000040213a4c\n',
         "U-Boot: Synchronous Abort"),
        ("Unhandled Exception in EL3.\nx30            = 0x000000000e0a0b0c\n",
         "TF-A: Unhandled Exception in EL3"),
        ("Synchronous Exception at 0x000000013F5B1C4C\n", "UEFI: Synchronous Exception"),
        ("HIL: an exception that nothing guards on CPU 0\n",
         "payload: an exception that nothing guards"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("form", [str, stamped])
def test_a_title_is_the_same_for_the_same_bug(text: str, title: str, form: type[str]) -> None:
    found, block = only(form(text))
    assert found.title == title
    assert block == form(text)


def test_an_endless_dump_is_cut() -> None:
    found, *_ = incidents((NULL + " x+0x1/0x2\n" * 20_000).encode())
    assert found.end - found.start <= MOST_BYTES + 512


def test_a_gap_in_the_line_ends_an_incident() -> None:
    watch = CrashWatch()
    watch.feed(OOPS.encode())
    watch.cut()
    watch.feed(PANICKED.encode())
    watch.end()
    assert [each.type for each in watch.incidents()] == ["oops", "panic"]


def test_the_next_boot_is_no_part_of_it() -> None:
    _, block = only(NULL + "[    0.000000] Booting Linux on physical CPU 0x0\n" + TRACE)
    assert block == NULL


def test_a_sign_on_a_last_line_without_an_end_counts() -> None:
    watch = CrashWatch(7)
    assert watch.feed(b"Kernel panic - not syncing: x") == []
    (crash,) = watch.end()
    (found,) = watch.incidents()
    assert (crash.start, crash.end) == (found.start, found.end) == (7, 36)


BRK = (
    "Unexpected kernel BRK exception at EL1\n"
    "Internal error: BRK handler: 00000000f2000001 [#1] SMP\n" + TRACE
)
CFI = (
    "CFI failure at do_one+0x10/0x20 (target: other+0x0/0x4; expected type: 0x12345678)\n"
    "Internal error: Oops - CFI: 00000000f2008228 [#1] SMP\n" + TRACE
)
TAGS = "BUG: KASAN: invalid-access in f+0x1/0x2\nRead at addr f5ff000008 by task sh/1\n"
TWICE = "BUG: KASAN: double-free in f+0x1/0x2\nFree of addr ffff000008 by task sh/1\n"


@pytest.mark.parametrize(
    ("text", "title"),
    [
        (BRK, "Unexpected kernel BRK exception in lkdtm_WRITE"),
        (CFI, "CFI failure in do_one"),
        (TAGS, "KASAN: invalid-access Read in f"),
        (TWICE, "KASAN: double-free in f"),
    ],
)
def test_what_comes_first_names_it(text: str, title: str) -> None:
    found, block = only(stamped(text))
    assert (found.title, found.kind) == (title, Kind.KERNEL)
    assert block == stamped(text)


@given(
    parts=st.lists(
        st.sampled_from([OOPS, PANICKED, RULE + KASAN + RULE, CUT + WARNED, HUNG, HYP, BRK, "x\n"]),
        max_size=6,
    ),
    sizes=st.lists(st.integers(1, 300), max_size=60),
)
def test_incidents_are_in_order_apart_and_the_same_in_pieces(
    parts: list[str], sizes: list[int]
) -> None:
    text = "".join(parts).encode()
    whole = incidents(text)
    for before, after in itertools.pairwise(whole):
        assert before.end <= after.start
    for each in whole:
        assert 0 <= each.start < each.end <= len(text)
        assert incidents(text[each.start :], each.start)[0] == each
    watch, found, at = CrashWatch(), [], 0
    for size in [*sizes, len(text)]:
        watch.feed(text[at : at + size])
        found += watch.incidents()
        at += size
    watch.end()
    assert found + watch.incidents() == whole


@given(st.lists(st.binary(max_size=200) | st.sampled_from([OOPS.encode(), b"\n"]), max_size=20))
def test_no_input_makes_it_fail(parts: list[bytes]) -> None:
    text = b"".join(parts)
    for each in incidents(text):
        assert 0 <= each.start < each.end <= len(text)


def test_of_two_cpus_that_die_together_the_first_one_names_it() -> None:
    """Their lines come in turn, each with its caller's id."""
    first = OOPS.splitlines()
    second = OOPS.replace("lkdtm_WRITE", "other_WRITE").splitlines()
    text = "".join(
        f"[    9.123456][   T59] {one}\r\n[    9.123456][    C1] {two}\r\n"
        for one, two in zip(["starting", *first], [*second, ""], strict=True)
    )
    found = incidents(text.encode())
    assert found[0].title == "Unable to handle kernel NULL pointer dereference in other_WRITE"
    assert len(found) == 1
