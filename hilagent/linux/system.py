# SPDX-License-Identifier: Apache-2.0
"""A booted Linux, asked and told things as root over SSH."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hilagent.clock import Deadline
from hilagent.errors import LabError, PreconditionError, Unsupported
from hilagent.linux import files, kexec
from hilagent.linux.facts import (
    BOOT_ID,
    CMDLINE,
    CRASH_LOADED,
    FILES,
    KEXEC_LOADED,
    ONLINE,
    Facts,
    KernelLine,
    cpu_list,
    gather,
    log_lines,
    run_id_of,
)
from hilagent.text import scrub_line
from hilagent.transport.ssh import Connection, Progress, silent

KVM_TEST = "/sbin/hilkvm"
_NO_KVM = 3
_NOT_FOUND = 127
_PANIC = {
    "oops": "/proc/sys/kernel/panic_on_oops",
    "warn": "/proc/sys/kernel/panic_on_warn",
    "soft_lockup": "/proc/sys/kernel/softlockup_panic",
    "hung_task": "/proc/sys/kernel/hung_task_panic",
    "reboot_s": "/proc/sys/kernel/panic",
}
_CRASH, _RESET = 'echo c >"$1"', 'echo b >"$1"'
_SYSRQ = "/proc/sysrq-trigger"


class KvmState(enum.Enum):
    """What a virtual machine did."""

    OK = "ok"
    ABSENT = "absent"
    BROKEN = "broken"


@dataclass(frozen=True)
class KvmCheck:
    """The result of :meth:`System.kvm_check`; ``said`` is scrubbed."""

    state: KvmState
    said: str


class System:
    """The kernel at the other end of a connection.

    Args:
        connection: to root; it ends with this kernel.
        run_id: what the kernel was booted with as ``hilagent.run``; None for a
            system that somebody else booted.
    """

    def __init__(self, connection: Connection, run_id: str | None) -> None:
        self.connection, self.run_id = connection, run_id
        self._loader: kexec.Loader | None = None

    def verify(self, deadline: Deadline) -> None:
        """Raise LabError unless this is the kernel of ``run_id``, not one before it."""
        if self.run_id is None:
            return
        found = self.run(deadline)
        if found != self.run_id:
            other = f"the one of run {found}" if found else "one that hilagent did not boot"
            raise LabError(
                f"{self.connection.name}: stale: expected the kernel of run {self.run_id}, "
                f"and {other} answers",
                hint="the restart did not happen, or a bootloader started what it found",
            )

    def run(self, deadline: Deadline) -> str:
        """Return the run id on its kernel's command line; empty if hilagent did not boot it."""
        read = files.read(self.connection, [CMDLINE], deadline)
        return run_id_of(scrub_line(read.get(CMDLINE, b""), limit=4096))

    def boot_id(self, deadline: Deadline) -> str:
        """Return what is another one after each start of a kernel."""
        return scrub_line(files.read(self.connection, [BOOT_ID], deadline).get(BOOT_ID, b""))

    def facts(self, deadline: Deadline) -> Facts:
        """Return what the kernel says about itself now."""
        read = files.read(self.connection, FILES, deadline, "reading the kernel's facts")
        return gather(read, self.dmesg(deadline))

    def dmesg(self, deadline: Deadline, since_s: float = -1.0) -> tuple[KernelLine, ...]:
        """Return the kernel's log, of it what came after ``since_s`` of its own clock."""
        raw = self.connection.must(["dmesg", "-r"], deadline=deadline)
        return tuple(line for line in log_lines(raw) if line.at_s > since_s)

    def cpus_online(self, deadline: Deadline) -> tuple[int, ...]:
        """Return the numbers of the CPUs that run."""
        read = files.read(self.connection, [ONLINE], deadline)
        return cpu_list(scrub_line(read.get(ONLINE, b"")))

    def hotplug(self, cpu: int, *, on: bool, deadline: Deadline) -> None:
        """Switch a CPU on or off; nothing happens to one that is so already.

        Raises:
            Unsupported: this CPU can't be switched.
            LabError: the kernel refuses, or says it did and didn't.
        """
        if (cpu in self.cpus_online(deadline)) == on:
            return
        what = f"switching CPU {cpu} {'on' if on else 'off'}"
        path = f"/sys/devices/system/cpu/cpu{cpu}/online"
        done = files.write(self.connection, path, "1" if on else "0", deadline, what)
        if done.status == files.ABSENT:
            raise Unsupported(f"{self.connection.name}: {what}: it can't be switched")
        if done.status:
            raise self.connection.failed(what, done)
        if (cpu in self.cpus_online(deadline)) != on:
            raise LabError(f"{self.connection.name}: {what}: no error, and no effect")

    def kexec_load(
        self,
        image: kexec.Source,
        *,
        initrd: kexec.Source | None = None,
        cmdline: str,
        deadline: Deadline,
        crash: bool = False,
        syscall: kexec.Syscall = "file",
        retained: int = 0,
        dtb: bytes = b"",
        progress: Progress = silent,
    ) -> tuple[int, int] | None:
        """Load the next kernel (or the crash kernel), uploading what isn't there yet.

        Args:
            retained: how many bytes at the end of ``initrd`` this kernel may have retained of
                its own; then they aren't sent.
            dtb: a device tree instead of this kernel's own; kexec_load(2) alone takes one.
            progress: told about the bytes of each upload.

        Returns the physical addresses of its first and last byte, None where nobody says.

        Raises:
            InputError: the image is not one for arm64.
            Unsupported: this kernel never takes one, with its reason
                (protected KVM, CPUs that can't be switched off, no such call).
            LabError: it was refused otherwise, or could not be uploaded.
        """
        if not isinstance(image, str):
            name = image if isinstance(image, Path) else "the image"
            kexec.check_image(_head(image), name)
        kind = "crash" if crash else "next"

        def place(source: kexec.Source, what: str, retained: int) -> str:
            name = f"{kind}-{what}"
            return kexec.place(self.connection, source, name, deadline, progress, retained)

        there = place(image, "image", 0)
        root = place(initrd, "initrd", retained) if initrd else None
        tree = place(dtb, "dtb", 0) if dtb else None
        argv = self._program(deadline).load(
            there, root, cmdline, crash=crash, syscall=syscall, dtb=tree
        )
        last_s = max((line.at_s for line in self.dmesg(deadline)), default=-1.0)
        call = f"loading the {kind} kernel by {kexec.CALLS[syscall]}"
        done = self.connection.run(argv, deadline=deadline, doing=call)
        news = [line.text for line in self.dmesg(deadline, last_s)]
        if done.status:
            raise kexec.refusal(self.connection, done, call, self.facts(deadline), news)
        if not self._loaded(crash, deadline):
            raise LabError(f"{self.connection.name}: {call}: no error, and none is loaded")
        return kexec.placed(done.out, news)

    def kexec_unload(self, deadline: Deadline, *, crash: bool = False) -> None:
        """Forget the kernel that was loaded."""
        argv = self._program(deadline).unload(crash=crash)
        self.connection.must(argv, deadline=deadline, doing="unloading a kernel")

    def kexec_exec(self, deadline: Deadline) -> None:
        """Go to the loaded kernel; this connection is closed, whatever becomes of the files.

        Raises:
            PreconditionError: no kernel is loaded, so the board stays where it is.
        """
        if not self._loaded(False, deadline):
            raise PreconditionError(f"{self.connection.name}: no kernel is loaded to go to")
        self._leave(self._program(deadline).execute(), deadline)

    def crash(self, deadline: Deadline, *, cpu: int | None = None) -> None:
        """Panic the kernel, which starts its crash kernel; this connection is closed.

        Args:
            cpu: where it panics, None for where the kernel likes.

        Raises:
            PreconditionError: no crash kernel is loaded, and the board would only be dead.
        """
        if not self._loaded(True, deadline):
            raise PreconditionError(f"{self.connection.name}: no crash kernel is loaded")
        where = ["taskset", f"{1 << cpu:x}"] if cpu is not None else []
        self._leave([*where, "sh", "-c", _CRASH, "sh", _SYSRQ], deadline)

    def reset(self, deadline: Deadline) -> None:
        """Reset the board at once, by SysRq; nothing is written back to its disks."""
        self._leave(["sh", "-c", _RESET, "sh", _SYSRQ], deadline)

    def kvm_check(self, deadline: Deadline) -> KvmCheck:
        """Make a virtual machine that runs a few instructions, and say what it did.

        Raises:
            Unsupported: the system on the board has no program for it.
        """
        done = self.connection.run([KVM_TEST], deadline=deadline, doing="running a guest in KVM")
        said = scrub_line(done.out + b" " + done.err)
        if done.status == _NOT_FOUND:
            raise Unsupported(f"{self.connection.name}: has no {KVM_TEST} to try KVM with")
        if done.status == _NO_KVM:
            return KvmCheck(KvmState.ABSENT, said)
        works = done.status == 0 and b"kvm ok" in done.out
        return KvmCheck(KvmState.OK if works else KvmState.BROKEN, said)

    def panic_on(self, deadline: Deadline, **values: int) -> Mapping[str, int]:
        """Set what the kernel panics on, and return what holds now.

        Args:
            values: of ``oops``, ``warn``, ``soft_lockup``, ``hung_task`` (1 or 0), and
                ``reboot_s``, the seconds from a panic to a reset (0: stay). What a
                kernel doesn't have is left out of the answer.
        """
        for name, value in values.items():
            what = f"setting {_PANIC[name]} to {value}"
            done = files.write(self.connection, _PANIC[name], str(value), deadline, what)
            if done.status not in {0, files.ABSENT}:
                raise self.connection.failed(what, done)
        read = files.read(self.connection, tuple(_PANIC.values()), deadline)
        return {name: int(read[path]) for name, path in _PANIC.items() if path in read}

    def _program(self, deadline: Deadline) -> kexec.Loader:
        if self._loader is None:
            self._loader = kexec.loader(self.connection, deadline)
        return self._loader

    def _loaded(self, crash: bool, deadline: Deadline) -> bool:
        path = CRASH_LOADED if crash else KEXEC_LOADED
        return files.read(self.connection, [path], deadline).get(path, b"").strip() == b"1"

    def _leave(self, argv: list[str], deadline: Deadline) -> None:
        try:
            self.connection.start(argv, deadline=deadline)
        finally:
            self.connection.close()


def _head(source: Path | bytes) -> bytes:
    if isinstance(source, bytes):
        return source[:1024]
    try:
        with source.open("rb") as file:
            return file.read(1024)
    except OSError as exc:
        raise LabError(f"{source}: can't be read: {exc.strerror}") from exc
