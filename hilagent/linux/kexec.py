# SPDX-License-Identifier: Apache-2.0
"""The next kernel: loaded, and what the running one says when it won't take it.

hilagent's own root file system has ``/sbin/hilkexec``; another system needs
kexec-tools. Both take either system call: ``file`` is kexec_file_load(2), where
the kernel reads the image itself, ``load`` is kexec_load(2), where the loader
brings its own purgatory.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hilagent.clock import Deadline
from hilagent.errors import HilagentError, InputError, LabError, PreconditionError, Unsupported
from hilagent.linux import facts
from hilagent.text import scrub, scrub_line
from hilagent.transport.ssh import Connection, Done, Progress

Syscall = Literal["file", "load"]
CALLS: Mapping[Syscall, str] = {"file": "kexec_file_load", "load": "kexec_load"}
Source = Path | bytes | str
"""A file here, its content, or the path of a file on the board."""
FOLDER = "/run/hilagent"
RETAINED = "/sys/firmware/initrd"
"""What a kernel was started with, if its command line says ``retain_initrd`` (6.12's
init/initramfs.c)."""
OURS, TOOLS = "/sbin/hilkexec", "kexec"
_HAVE = '[ -x "$1" ] && exit 0; command -v kexec >/dev/null && exit 1; exit 2'
_MAGIC, _MAGIC_AT = b"ARM\x64", 56
_OTHERS = (
    (0, b"\x1f\x8b", "a gzip file: unpack it"),
    (0, b"\x7fELF", "an ELF file, such as vmlinux: the Image is in arch/arm64/boot"),
    (0x202, b"HdrS", "a kernel for x86"),
    (0x24, b"\x18\x28\x6f\x01", "a zImage for 32-bit arm"),
    (0, b"\x27\x05\x19\x56", "a U-Boot uImage"),
    (0, b"\xd0\x0d\xfe\xed", "a device tree or a FIT image"),
)
_SAYS = {
    "busy": ("Device or resource busy", "Resource busy"),
    "absent": ("Function not implemented",),
    "denied": ("Operation not permitted", "Required key not available", "Permission denied"),
    "unfit": ("Exec format error", "Invalid argument"),
    "address": ("Cannot assign requested address", "Address not available"),
    "memory": ("Cannot allocate memory", "Out of memory"),
}

_PLACED = re.compile(
    r"(?:^image|Loaded kernel at) 0x([0-9a-f]+) (?:bufsz=0x[0-9a-f]+ memsz=)?0x([0-9a-f]+)"
)
"""hilkexec's own words, and those of arch/arm64/kernel/kexec_image.c of 6.12."""


class NoSuchCall(Unsupported):
    """This kernel was built without the system call (ENOSYS); it may have the other one."""


@dataclass(frozen=True)
class Loader:
    """The program that loads kernels on a board, and how it wants to be called."""

    program: str

    def load(
        self,
        image: str,
        initrd: str | None,
        cmdline: str,
        *,
        crash: bool,
        syscall: Syscall,
        dtb: str | None = None,
    ) -> list[str]:
        """Return the command that loads."""
        if self.program == OURS:
            more = ["--initrd", initrd] if initrd else []
            more += ["--dtb", dtb] if dtb else []
            argv = [OURS, "load", image, *more, "--cmdline", cmdline, "--syscall", syscall]
            return [*argv, "--crash"] if crash else argv
        how = "-s" if syscall == "file" else "-c"
        more = [f"--initrd={initrd}"] if initrd else []
        more += [f"--dtb={dtb}"] if dtb else []
        return [TOOLS, how, "-p" if crash else "-l", image, *more, f"--command-line={cmdline}"]

    def unload(self, *, crash: bool) -> list[str]:
        """Return the command that unloads."""
        if self.program == OURS:
            return [OURS, "unload", *(["--crash"] if crash else [])]
        return [TOOLS, "-u", *(["-p"] if crash else [])]

    def execute(self) -> list[str]:
        """Return the command that goes to the loaded kernel and does not come back."""
        return [OURS, "exec"] if self.program == OURS else [TOOLS, "-e"]


def loader(connection: Connection, deadline: Deadline) -> Loader:
    """Return the board's loader; LabError without one."""
    argv = ["sh", "-c", _HAVE, "sh", OURS]
    status = connection.run(argv, deadline=deadline, doing="looking for kexec").status
    if status > 1:
        hint = "apt install kexec-tools there, or boot hilagent's own root file system"
        raise LabError(f"{connection.name}: no program on it can load a kernel", hint=hint)
    return Loader(TOOLS if status else OURS)


def check_image(data: bytes, name: Path | str) -> None:
    """Raise InputError unless ``data`` is an arm64 Image (arch/arm64/booting.rst)."""
    if data[_MAGIC_AT : _MAGIC_AT + 4] == _MAGIC:
        return
    what = next((text for at, sign, text in _OTHERS if data[at : at + len(sign)] == sign), "")
    raise InputError(
        name,
        f"is not an arm64 Image{f', but {what}' if what else ''}",
        hint="expected an uncompressed arch/arm64/boot/Image",
    )


def place(
    connection: Connection,
    source: Source,
    name: str,
    deadline: Deadline,
    progress: Progress,
    retained: int = 0,
) -> str:
    """Return the path of ``source`` on the board, uploaded as ``name`` if it isn't there.

    Args:
        retained: how many bytes at its end may be the initrd that this kernel retained.
    """
    if isinstance(source, str):
        return source
    remote, tail = f"{FOLDER}/{name}", (RETAINED if retained else "", retained)
    connection.put(source, remote, deadline, progress, tail=tail)
    return remote


def placed(said: bytes, news: Sequence[str]) -> tuple[int, int] | None:
    """Return the first and last byte of the loaded image, by what loader or kernel said."""
    lines = [*reversed(news), *scrub(said).splitlines()]
    found = next((match for line in lines if (match := _PLACED.search(line))), None)
    if found is None:
        return None
    start, size = int(found[1], 16), int(found[2], 16)
    return start, start + size - 1


def refusal(
    connection: Connection, done: Done, call: str, known: facts.Facts, news: Sequence[str]
) -> HilagentError:
    """Return what it means that a kernel was not loaded.

    Args:
        call: what was done, for messages.
        news: what the kernel logged meanwhile.
    """
    text = (done.err + done.out).decode("utf-8", "replace")
    said = scrub_line(text) or f"status {done.status}"
    why = next((w for w, texts in _SAYS.items() if any(t in text for t in texts)), "")
    where = f"{connection.name}: {call}"
    if why == "busy":
        return _busy(where, known, news)
    if why == "absent":
        return NoSuchCall(f"{where}: this kernel has no such system call (ENOSYS)")
    if why == "denied":
        hint = "not root, kexec_load_disabled, a kernel in lockdown, or one for signed images only"
        return PreconditionError(f"{where}: not permitted: {said}", hint=hint)
    if why in {"address", "memory"} and not known.crash_bytes and "crash" in call:
        hint = "boot it with crashkernel=SIZE"
        return LabError(f"{where}: no memory is reserved for a crash kernel", hint=hint)
    last = f"; the kernel said: {news[-1]}" if news else ""
    hint = "is it an arm64 Image that this kernel accepts?" if why == "unfit" else ""
    return LabError(f"{where}: refused: {said}{last}", hint=hint)


def _busy(where: str, known: facts.Facts, news: Sequence[str]) -> HilagentError:
    if known.kvm is facts.Kvm.PROTECTED:
        reason = "protected KVM holds EL2 for good, and this kernel refuses kexec (EBUSY)"
        return Unsupported(f"{where}: {reason}")
    if any("CPUs are stuck in the kernel" in line for line in news):
        reason = "its secondary CPUs can't be switched off (EBUSY, CPUs are stuck in the kernel)"
        hint = "a board with spin tables: boot it with nr_cpus=1"
        return Unsupported(f"{where}: {reason}", hint=hint)
    hint = "is something else loading a kernel?"
    return LabError(f"{where}: the kernel is busy (EBUSY), and doesn't say why", hint=hint)
