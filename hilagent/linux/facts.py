# SPDX-License-Identifier: Apache-2.0
"""What a booted kernel says about itself, read from what it keeps for that purpose.

The sentences are those of Linux 6.12: ``hyp_mode_check`` in
arch/arm64/kernel/smp.c (EL at entry), ``kvm_arm_init`` in arch/arm64/kvm/arm.c
(KVM's mode), ``psci_probe`` in drivers/firmware/psci/psci.c.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hilagent.text import scrub_line

_RAW_LINE = re.compile(rb"(?:<(\d+)>)?\[ *(\d+\.\d+)\](?:\[ *[TC]\d+\])? ?(.*)")
_KVM = re.compile(r"kvm \[\d+\]: (.*)")
_MODE = re.compile(r"(Protected |Hyp )?([nh]?)VHE mode initialized")
_PSCI = re.compile(r"psci: PSCIv(\d+\.\d+) detected in firmware")
_LONGEST = 1000


class Entry(enum.Enum):
    """The exception level that the CPUs entered this kernel at."""

    EL2 = "EL2"
    EL1 = "EL1"
    MIXED = "inconsistent"
    UNKNOWN = "unknown"


class Kvm(enum.Enum):
    """Who serves hcalls in this kernel, as far as KVM is concerned.

    NONE: disabled on the command line; the hyp-stub stays. ABSENT: no KVM in
    this kernel, no EL2, or it failed; see :attr:`Facts.kvm_line`.
    """

    NONE = "none"
    NVHE = "nvhe"
    HVHE = "hvhe"
    PROTECTED = "protected"
    VHE = "vhe"
    ABSENT = "absent"


class Conduit(enum.Enum):
    """How firmware is called, by the device tree."""

    SMC = "smc"
    HVC = "hvc"
    NONE = "none"


@dataclass(frozen=True)
class KernelLine:
    """One line of the kernel's log; ``level`` is 7 where it isn't told."""

    level: int
    at_s: float
    text: str


@dataclass(frozen=True)
class Facts:
    """What is known about the kernel that runs.

    Attributes:
        release, version: as of ``uname``.
        run_id: ``hilagent.run`` of the command line, "" without one.
        boot_id: another one after each start of a kernel.
        entry: UNKNOWN where the log no longer reaches back to the boot.
        kvm_line: what KVM said, "" for nothing.
        psci_version: "" where it wasn't told.
        cpus_online, cpus_possible: numbers of CPUs, sorted.
        crash_bytes: reserved for a crash kernel.
        kexec_loaded, crash_loaded: whether there is a kernel to go to.
        memory_bytes, available_bytes: in all, and what could be had now.
    """

    release: str
    version: str
    cmdline: str
    run_id: str
    boot_id: str
    entry: Entry
    kvm: Kvm
    kvm_line: str
    psci: Conduit
    psci_version: str
    cpus_online: tuple[int, ...]
    cpus_possible: tuple[int, ...]
    crash_bytes: int
    kexec_loaded: bool
    crash_loaded: bool
    memory_bytes: int
    available_bytes: int


CMDLINE = "/proc/cmdline"
_RELEASE, _VERSION = "/proc/sys/kernel/osrelease", "/proc/sys/kernel/version"
BOOT_ID, _MEMORY = "/proc/sys/kernel/random/boot_id", "/proc/meminfo"
_METHODS = ("/proc/device-tree/psci/method", "/proc/device-tree/firmware/psci/method")
ONLINE, _POSSIBLE = "/sys/devices/system/cpu/online", "/sys/devices/system/cpu/possible"
KEXEC_LOADED, CRASH_LOADED = "/sys/kernel/kexec_loaded", "/sys/kernel/kexec_crash_loaded"
_CRASH_SIZE = "/sys/kernel/kexec_crash_size"
FILES = (
    *(CMDLINE, _RELEASE, _VERSION, BOOT_ID, _MEMORY, *_METHODS, ONLINE, _POSSIBLE),
    *(KEXEC_LOADED, CRASH_LOADED, _CRASH_SIZE),
)
"""What :func:`gather` has to be given, where the kernel has it."""


def gather(files: Mapping[str, bytes], log: Iterable[KernelLine]) -> Facts:
    """Make facts of the contents of FILES and of the kernel's log."""

    def text(path: str) -> str:
        return scrub_line(files.get(path, b"").rstrip(b"\0"), limit=4096)

    lines = [line.text for line in log]
    kvm, kvm_line = kvm_of(lines)
    memory = dict(re.findall(r"^(\w+): +(\d+) kB", _decoded(files.get(_MEMORY)), re.MULTILINE))
    return Facts(
        release=text(_RELEASE),
        version=text(_VERSION),
        cmdline=text(CMDLINE),
        run_id=run_id_of(text(CMDLINE)),
        boot_id=text(BOOT_ID),
        entry=entry_of(lines),
        kvm=kvm,
        kvm_line=kvm_line,
        psci=_conduit(next((text(path) for path in _METHODS if text(path)), "")),
        psci_version=next((found[1] for line in lines if (found := _PSCI.search(line))), ""),
        cpus_online=cpu_list(text(ONLINE)),
        cpus_possible=cpu_list(text(_POSSIBLE)),
        crash_bytes=int(text(_CRASH_SIZE)) if text(_CRASH_SIZE).isdecimal() else 0,
        kexec_loaded=text(KEXEC_LOADED) == "1",
        crash_loaded=text(CRASH_LOADED) == "1",
        memory_bytes=int(memory.get("MemTotal", 0)) << 10,
        available_bytes=int(memory.get("MemAvailable", 0)) << 10,
    )


def run_id_of(cmdline: str) -> str:
    """Return the last ``hilagent.run`` of a kernel command line, "" without one."""
    found = [word for word in cmdline.split() if word.startswith("hilagent.run=")]
    return found[-1].partition("=")[2] if found else ""


def entry_of(lines: Iterable[str]) -> Entry:
    """Return the EL that all CPUs were entered at, by the kernel's own check at boot."""
    for line in lines:
        if "CPU: CPUs started in inconsistent modes" in line:
            return Entry.MIXED
        if found := re.search(r"CPU: All CPU\(s\) started at (EL[12])", line):
            return Entry(found[1])
    return Entry.UNKNOWN


def kvm_of(lines: Iterable[str]) -> tuple[Kvm, str]:
    """Return KVM's mode and the line that tells it; without one, the last that KVM said."""
    said = [found[1] for line in lines if (found := _KVM.search(line))]
    for line in said:
        if "KVM disabled from command line" in line:
            return Kvm.NONE, line
        if found := _MODE.search(line):
            if found[1] == "Protected ":
                return Kvm.PROTECTED, line
            return {"n": Kvm.NVHE, "h": Kvm.HVHE}.get(found[2], Kvm.VHE), line
    return Kvm.ABSENT, said[-1] if said else ""


def log_lines(raw: bytes) -> tuple[KernelLine, ...]:
    """Return the lines of ``dmesg -r``; what is no line of it is left out."""
    return tuple(
        KernelLine(int(found[1] or 7) & 7, float(found[2]), scrub_line(found[3], limit=_LONGEST))
        for line in raw.split(b"\n")
        if (found := _RAW_LINE.fullmatch(line.rstrip(b"\r")))
    )


def cpu_list(text: str) -> tuple[int, ...]:
    """Return the numbers of a kernel's CPU list, ``0-3,6``; what is none of it is left out."""
    numbers: set[int] = set()
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if first.isdecimal() and (last or first).isdecimal():
            numbers.update(range(int(first), min(int(last or first), int(first) + 4096) + 1))
    return tuple(sorted(numbers))


def _conduit(method: str) -> Conduit:
    return Conduit(method) if method in {"smc", "hvc"} else Conduit.NONE


def _decoded(raw: bytes | None) -> str:
    return (raw or b"").decode("utf-8", "replace")
