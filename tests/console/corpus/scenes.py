# SPDX-License-Identifier: Apache-2.0
"""Kernels that are made to crash, and what they are made to crash by."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from .driver import Command, Scene

_VIRT = ("-M", "virt,virtualization=on", "-smp", "2", "-m", "768", "-nic", "none")
_CPU = "max,pauth-impdef=on"
_DIRECT = "/sys/kernel/debug/provoke-crash/DIRECT"
LKDTM = re.findall(
    r"\w+",
    """
BUG WARNING WARNING_MESSAGE EXCEPTION REPORT_STACK REPORT_STACK_CANARY
UNALIGNED_LOAD_STORE_WRITE OVERFLOW_SIGNED OVERFLOW_UNSIGNED ARRAY_BOUNDS FAM_BOUNDS
CORRUPT_LIST_ADD CORRUPT_LIST_DEL STACK_GUARD_PAGE_LEADING STACK_GUARD_PAGE_TRAILING CORRUPT_PAC
SLAB_LINEAR_OVERFLOW VMALLOC_LINEAR_OVERFLOW WRITE_AFTER_FREE READ_AFTER_FREE
KFENCE_READ_AFTER_FREE WRITE_BUDDY_AFTER_FREE READ_BUDDY_AFTER_FREE SLAB_INIT_ON_ALLOC
BUDDY_INIT_ON_ALLOC SLAB_FREE_DOUBLE SLAB_FREE_CROSS SLAB_FREE_PAGE WRITE_RO WRITE_RO_AFTER_INIT
WRITE_KERN EXEC_DATA EXEC_STACK EXEC_KMALLOC EXEC_VMALLOC EXEC_RODATA EXEC_USERSPACE EXEC_NULL
ACCESS_USERSPACE ACCESS_NULL REFCOUNT_INC_OVERFLOW REFCOUNT_ADD_OVERFLOW
REFCOUNT_INC_NOT_ZERO_OVERFLOW REFCOUNT_DEC_ZERO REFCOUNT_DEC_NEGATIVE
REFCOUNT_DEC_AND_TEST_NEGATIVE REFCOUNT_SUB_AND_TEST_NEGATIVE REFCOUNT_INC_ZERO
REFCOUNT_ADD_ZERO REFCOUNT_INC_SATURATED REFCOUNT_DEC_SATURATED USERCOPY_SLAB_SIZE_TO
USERCOPY_SLAB_SIZE_FROM USERCOPY_SLAB_WHITELIST_TO USERCOPY_STACK_FRAME_TO
USERCOPY_STACK_FRAME_FROM USERCOPY_STACK_BEYOND USERCOPY_VMALLOC USERCOPY_FOLIO USERCOPY_KERNEL
FORTIFY_STR_OBJECT FORTIFY_STR_MEMBER FORTIFY_MEM_OBJECT FORTIFY_MEM_MEMBER FORTIFY_STRSCPY
CFI_FORWARD_PROTO CFI_BACKWARD
""",
)
LAST = (
    *("EXHAUST_STACK", "PANIC", "PANIC_STOP_IRQOFF", "CORRUPT_STACK", "CORRUPT_STACK_STRONG"),
    *("LOOP", "SOFTLOCKUP", "HARDLOCKUP", "SMP_CALL_LOCKUP", "SPINLOCKUP", "HUNG_TASK"),
)
"""None of these comes back."""
OOPS = (
    *("BUG", "EXCEPTION", "WRITE_RO", "EXEC_NULL", "READ_AFTER_FREE", "WRITE_AFTER_FREE"),
    *("SLAB_FREE_DOUBLE", "STACK_GUARD_PAGE_LEADING", "ACCESS_NULL", "CORRUPT_LIST_ADD"),
)
"""Tried again where an oops is a panic."""
WARN = (
    *("WARNING", "WARNING_MESSAGE", "REFCOUNT_INC_ZERO", "SOFTLOCKUP", "HARDLOCKUP"),
    *("HUNG_TASK", "LOOP", "SPINLOCKUP"),
)
ALL_PANIC = (
    "panic_on_warn=1 softlockup_panic=1 hardlockup_panic=1 hung_task_panic=1"
    " sysctl.kernel.panic_on_rcu_stall=1"
)
"""Tried again where every complaint is a panic."""
KASAN = re.findall(
    r"\w+",
    """
BUG EXCEPTION ACCESS_NULL ACCESS_USERSPACE EXHAUST_STACK SLAB_LINEAR_OVERFLOW
VMALLOC_LINEAR_OVERFLOW WRITE_AFTER_FREE READ_AFTER_FREE WRITE_BUDDY_AFTER_FREE
READ_BUDDY_AFTER_FREE SLAB_FREE_DOUBLE SLAB_FREE_CROSS SLAB_FREE_PAGE CORRUPT_LIST_ADD
CORRUPT_LIST_DEL WRITE_RO EXEC_NULL EXEC_KMALLOC USERCOPY_SLAB_SIZE_TO FAM_BOUNDS ARRAY_BOUNDS
REFCOUNT_INC_ZERO WARNING FORTIFY_MEM_OBJECT CFI_BACKWARD CORRUPT_PAC UNALIGNED_LOAD_STORE_WRITE
""",
)
_BIG = "rcupdate.rcu_cpu_stall_timeout=4 watchdog_thresh=4 workqueue.watchdog_thresh=5"


def kernel(image: Path, initrd: Path | None, append: str, *, cpu: str = _CPU,
           extra: tuple[str, ...] = ()) -> tuple[str | Path, ...]:  # fmt: skip
    """Return QEMU's arguments for a kernel."""
    start = ("-initrd", initrd) if initrd else ()
    said = f"console=ttyAMA0 hilagent.ip=off {append}"
    return (*_VIRT, *extra, "-cpu", cpu, "-kernel", image, *start, "-append", said)


def lkdtm(name: str, said: str, image: Path, initrd: Path, points: list[str]) -> Iterator[Scene]:
    """Yield scenes in which a kernel goes through lkdtm's crash points and goes on."""
    for first in range(0, len(points), 12):
        yield Scene(
            kernel(image, initrd, "sysctl.kernel.oops_limit=0 oops_limit=0"),
            commands=[
                Command(
                    f"{name}-lkdtm-{point.lower()}",
                    f"{said}, lkdtm {point}",
                    f"sh -c 'echo {point} > {_DIRECT}'",
                    5.0,
                )
                for point in points[first : first + 12]
            ],
        )


def last(name: str, said: str, image: Path, initrd: Path, points: tuple[str, ...],
         append: str = "", quiet_s: float = 25.0) -> Iterator[Scene]:  # fmt: skip
    """Yield scenes that each end with a crash point."""
    for point in points:
        label = f"{said}, lkdtm {point}" + (f", {append}" if append else "")
        command = Command(f"{name}-lkdtm-{point.lower()}", label,
                          f"sh -c 'echo {point} > {_DIRECT}'", quiet_s, 60.0)  # fmt: skip
        yield Scene(kernel(image, initrd, f"{append} {_BIG}"), commands=[command])


_SYSRQ_LIVES = {"t": "tasks", "w": "blocked tasks", "l": "backtraces", "m": "memory",
                "d": "locks", "q": "timers", "f": "an OOM kill", "9": "the log level",
                "s": "a sync", "h": "help", "z": "ftrace"}  # fmt: skip
_ENDS = {
    "no-root": ("", "root=/dev/vda"),
    "no-init": ("", "rdinit=/bin/nothing init=/nothing"),
    "init-false": ("", "rdinit=/bin/false"),
    "init-true": ("", "rdinit=/bin/true"),
    "sysrq-c": ("echo c > /proc/sysrq-trigger", ""),
    "sysrq-c-reboots": ("echo c > /proc/sysrq-trigger", "panic=2"),
    "sysrq-c-quiet": ("echo c > /proc/sysrq-trigger", "quiet loglevel=4"),
    "sysrq-c-no-time": ("echo c > /proc/sysrq-trigger", "printk.time=0"),
    "bug-no-time": (f"echo BUG > {_DIRECT}", "printk.time=0 oops=panic"),
    "oops-no-time": (f"sh -c 'echo ACCESS_NULL > {_DIRECT}'", "printk.time=0"),
    "warn-no-time": (f"sh -c 'echo WARNING > {_DIRECT}'", "printk.time=0"),
    "oom": ("sysctl -w vm.panic_on_oom=2; echo f > /proc/sysrq-trigger", ""),
    "init-exits": ("exec /bin/false", "rdinit=/bin/sh"),
    "one-cpu": (f"echo EXCEPTION > {_DIRECT}", "maxcpus=1 oops=panic"),
    "oops-often": (f"sh -c 'echo BUG > {_DIRECT}'; sh -c 'echo BUG > {_DIRECT}'; true",
                   "oops_limit=2"),
    "warn-often": (f"for i in 1 2 3; do echo WARNING > {_DIRECT}; done", "warn_limit=2"),
    "bad-initrd": ("", "initrd=0x70000000,1 rdinit=/none"),
}  # fmt: skip
_POKE = (
    'poke() { a=$(grep " $1\\$" /proc/kallsyms | cut -c1-16); '
    "t=$(grep ' _text$' /proc/kallsyms | cut -c1-16); "
    "p=$(grep 'Kernel code' /proc/iomem | cut -d- -f1); "
    "devmem $((0x$(echo $p) + 0x$a - 0x$t)) 32 $2; }"
)
_POKED = {
    "undefined": ("__arm64_sys_getcwd", "0x00000000", "pwd -P; cd /tmp; readlink -f x; /bin/pwd"),
    "brk": ("__arm64_sys_getcwd", "0xd4200000", "/bin/pwd; sh -c /bin/pwd"),
    "brk-bug": ("__arm64_sys_getcwd", "0xd4210000", "/bin/pwd"),
    "brk-cfi": ("__arm64_sys_getcwd", "0xd4300000", "/bin/pwd"),
    "brk-kasan": ("__arm64_sys_getcwd", "0xd4212000", "/bin/pwd"),
    "brk-ubsan": ("__arm64_sys_getcwd", "0xd42aa240", "/bin/pwd"),
    "loops": ("__arm64_sys_getcwd", "0x14000000", "/bin/pwd"),
    "to-null": ("__arm64_sys_getcwd", "0xd61f03e0", "/bin/pwd"),
    "hvc": ("__arm64_sys_getcwd", "0xd4000002", "/bin/pwd"),
    "smc": ("__arm64_sys_getcwd", "0xd4000003", "/bin/pwd"),
    "eret": ("__arm64_sys_getcwd", "0xd69f03e0", "/bin/pwd"),
    "sp": ("__arm64_sys_getcwd", "0x9100079f", "/bin/pwd"),  # mov sp, x28 + 1
    "scheduler": ("schedule", "0x00000000", "true"),
    "irq": ("handle_fasteoi_irq", "0x00000000", "true"),
    "idle": ("default_idle_call", "0x00000000", "true"),
    "timer": ("tick_nohz_handler", "0x00000000", "true"),
    "fault": ("do_mem_abort", "0x00000000", "true"),
    "exit": ("do_exit", "0x00000000", "sh -c true"),
    "page-fault-brk": ("handle_mm_fault", "0xd4210000", "sh -c true"),
}
_POKED_HYP = {
    "trap-undefined": ("__kvm_nvhe_handle_trap", "0x00000000"),
    "trap-brk": ("__kvm_nvhe_handle_trap", "0xd4210000"),
    "trap-loads-null": ("__kvm_nvhe_handle_trap", "0xf9400000"),
    "exit-undefined": ("__kvm_nvhe___kvm_vcpu_run", "0x00000000"),
    "hcall-undefined": ("__kvm_nvhe_handle___kvm_vcpu_run", "0x00000000"),
    "loops": ("__kvm_nvhe_handle_trap", "0x14000000"),
    "vector": ("__kvm_nvhe___kvm_hyp_host_vector", "0x00000000"),
}


def lives(name: str, said: str, image: Path, initrd: Path) -> Iterator[Scene]:
    """Yield a whole start, and what sounds like trouble at a shell and is none."""
    asked = [Command(f"{name}-sysrq-{key}", f"{said}, sysrq {key}: {what}",
                     f"echo {key} > /proc/sysrq-trigger", limit_s=20)
             for key, what in _SYSRQ_LIVES.items()]  # fmt: skip
    typed = {
        "cmdline": "cat /proc/cmdline; grep panic /proc/kallsyms | head -20",
        "typed": "echo 'this is no Kernel panic - not syncing' > /tmp/a # BUG: KASAN: none",
        "sysctl": "sysctl -a 2>/dev/null | grep -e panic -e oops -e warn -e hung -e watchdog",
        "segfault": "sh -c 'kill -SEGV $$'; sh -c 'kill -ABRT $$'; sh -c 'kill -BUS $$'",
        "dmesg": "dmesg | grep -i -e panic -e error -e bug -e warn -e fail -e kfence -e rcu",
        "points": "cat /sys/kernel/debug/provoke-crash/DIRECT",
        "kmsg": "echo '<2>it says BUG but means nothing' > /dev/kmsg",
        "devmem": "devmem 0xdead0000; devmem 0x0c000000",
        "offline": "echo 0 > /sys/devices/system/cpu/cpu1/online;"
                   " echo 1 > /sys/devices/system/cpu/cpu1/online",
        "interrupts": "cat /proc/interrupts /proc/iomem | head -60",
        "reboot": "reboot -f",
    }  # fmt: skip
    asked += [Command(f"{name}-{key}", f"{said}, {text}", text) for key, text in typed.items()]
    yield Scene(kernel(image, initrd, "panic=1 oops=panic softlockup_panic=1 -- BUG: none"),
                commands=asked, whole=(f"{name}-boot", f"{said}, its start"))  # fmt: skip


def ends(name: str, said: str, image: Path, initrd: Path) -> Iterator[Scene]:
    """Yield scenes in which a kernel ends without lkdtm's help."""
    for key, (typed, append) in _ENDS.items():
        label = ", ".join(each for each in (said, append, typed) if each)
        start = kernel(image, None if key == "no-root" else initrd, append)
        if typed:
            prompt = rb"# (?:\x1b\[6n)?$" if "rdinit" in append else rb"hilagent# (?:\x1b\[6n)?$"
            command = Command(f"{name}-{key}", label, typed, 6.0)
            yield Scene(start, prompt, commands=[command])
        else:
            yield Scene(start, rb"^never$", whole=(f"{name}-{key}", label), boot_quiet_s=15.0)


def poked(name: str, said: str, image: Path, initrd: Path) -> Iterator[Scene]:
    """Yield scenes in which one instruction of the running kernel is overwritten."""
    for key, (symbol, word, then) in _POKED.items():
        command = Command(f"{name}-poked-{key}", f"{said}, {symbol}() begins with {word}",
                          f"poke {symbol} {word}; {then}", 14.0, 60.0)  # fmt: skip
        start = kernel(image, initrd, "watchdog_thresh=3 rcupdate.rcu_cpu_stall_timeout=5")
        yield Scene(start, commands=[Command("", "", _POKE), command])
    for key, (symbol, word) in _POKED_HYP.items():
        command = Command(f"{name}-hyp-{key}", f"{said}, nVHE, {symbol}() begins with {word}",
                          f"poke {symbol} {word}; hilkvm", 10.0, 40.0)  # fmt: skip
        yield Scene(kernel(image, initrd, "kvm-arm.mode=nvhe"),
                    commands=[Command("", "", _POKE), command])  # fmt: skip


def tested(name: str, said: str, image: Path, initrd: Path, module: str) -> Iterator[Scene]:
    """Yield a start that ends with the kernel's own test, ``module``, and its findings."""
    yield Scene(kernel(image, initrd, "loglevel=8"), whole=(f"{name}-{module}",
                f"{said}, its module {module}"), boot_s=200.0, boot_quiet_s=30.0)  # fmt: skip


def stock(name: str, said: str, image: Path, initrd: Path) -> Iterator[Scene]:
    """Yield scenes of a kernel as a distribution ships it, without debugging options."""
    yield Scene(kernel(image, initrd, "loglevel=8"), whole=(f"{name}-boot", f"{said}, its start"))
    for key in ("no-root", "init-false", "sysrq-c", "sysrq-c-reboots", "sysrq-c-no-time", "oom"):
        typed, append = _ENDS[key]
        label = ", ".join(each for each in (said, append, typed) if each)
        start = kernel(image, None if key == "no-root" else initrd, append)
        if typed:
            command = Command(f"{name}-{key}", label, typed, 6.0)
            yield Scene(start, commands=[command])
        else:
            yield Scene(start, rb"^never$", whole=(f"{name}-{key}", label), boot_quiet_s=15.0)
