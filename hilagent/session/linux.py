# SPDX-License-Identifier: Apache-2.0
"""A Linux on the board: built, started by U-Boot or by another kernel, and believed by its run id.

Each boot has an id of its own on the kernel's command line (``hilagent.run``). The
root file system says it on the console when it is ready, and the kernel over SSH:
what an older boot said can't pass for this one.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hilagent import errors
from hilagent.board import Board
from hilagent.clock import SYSTEM, Deadline
from hilagent.journal import Journal, parts
from hilagent.session.built import Built, build
from hilagent.session.early import before_the_test
from hilagent.text import scrub

if TYPE_CHECKING:
    from hilagent.build.given import Paths
    from hilagent.build.kernel import Kernel
    from hilagent.console import Console
    from hilagent.console.line import Line
    from hilagent.console.uboot import UBoot
    from hilagent.deploy.base import Transfer
    from hilagent.linux.probe import Probe
    from hilagent.linux.system import System
    from hilagent.payload import Payload
    from hilagent.power import Power
    from hilagent.session.own import OwnSystem
    from hilagent.transport.ssh_target import Target

SYSTEM_NAME = "rootfs"
"""Whose host key it is: one address may be the board's own system at another time."""
SSH_S = 20.0
_START_S = 30.0
_LATE_S, _STOPPED_S = 1.0, 60.0
_MOST_CONSOLE = 1 << 20
MODES = {
    "": "",
    "none": "kvm-arm.mode=none id_aa64mmfr1.vh=0",  # the hyp-stub, also where the CPU has VHE
    "nvhe": "kvm-arm.mode=nvhe",
    "protected": "kvm-arm.mode=protected",
}
"""What a kernel is told of EL2: Documentation/admin-guide/kernel-parameters.txt of 6.12."""
FOUND = frozenset({"debian"})
"""Kernels that aren't built from Debian's source."""
DEFAULT_MODES = ("", "nvhe", "none")
FIRST = b"Booting Linux on physical CPU"
READY = rb"hilagent-rootfs ready RUN=([0-9a-f]{16})"
UP = rb"hilagent-rootfs up RUN=([0-9a-f]{16})"
"""What it says before it looks for a network: from here on, the kernel isn't to blame."""
_REASON = re.compile(r"hilagent-rootfs: (no network: [^\r\n]{1,100}|dropbear failed)")


@dataclass(frozen=True)
class Boot:
    """Which kernel, and how it was told to use EL2.

    Attributes:
        kernel: a name of :func:`hilagent.build.kernel.build_kernel`.
        mode: of `MODES`; empty for the kernel's own choice.
    """

    kernel: str = "patched"
    mode: str = ""

    def __str__(self) -> str:
        return f"{self.kernel}, {self.mode}" if self.mode else self.kernel


@dataclass(frozen=True)
class Linux:
    """A kernel that runs, answers by SSH and proved to be the one that was started.

    Attributes:
        run_id: of this boot; ``position``: on the console, where its output begins.
        no_module: why there is no probe module in it; empty where there is one.
    """

    boot: Boot
    kernel: Kernel
    run_id: str
    system: System
    probe: Probe
    position: int
    no_module: str = ""


class LinuxBench:
    """Brings Linux up on one board.

    Args:
        console: returns the console that is open now.
        stalled_s: how long this host or the emulator stood still since a time, at worst.
        folder: private to the run: for the pinned host keys.
        own: where the kernel ``given`` is.
    """

    def __init__(
        self,
        board: Board,
        journal: Journal,
        power: Power,
        console: Callable[[], Console],
        stalled_s: Callable[[float], float],
        folder: Path,
        own: Paths | None = None,
    ) -> None:
        self._own = own
        self._board, self._journal, self._power = board, journal, power
        self._console, self._stalled_s, self._folder = console, stalled_s, folder
        self._built: dict[str, Built] = {}

    def prepare(self, boot: Boot) -> Built:
        """Build what ``boot`` needs, or take it from the cache.

        Raises:
            errors.Unsupported: the board's file says nothing of Linux.
            errors.TargetError: the kernel doesn't build.
        """
        if self._board.linux is None:
            raise errors.Unsupported(
                f"{self._board.name} declares no Linux: its file has no 'linux' block"
            )
        if boot.kernel not in self._built:
            self._built[boot.kernel] = self._build(boot.kernel)
        return self._built[boot.kernel]

    def start(self, uboot: UBoot, boot: Boot, by: Transfer) -> Linux:
        """Load ``boot`` by U-Boot, start it, and wait until it answers."""
        from hilagent.deploy.linux import start_linux

        built, spec, run_id = self.prepare(boot), self._board.linux, new_run_id()
        assert spec is not None
        deadline = Deadline.after(uboot.spec.transfer_timeout_s + _START_S)
        with self._journal.step(f"load {boot} by {by.name}"), before_the_test():
            position = start_linux(
                uboot,
                spec,
                built.kernel.image.read_bytes(),
                built.initrd(),
                self.cmdline(boot, run_id),
                by,
                dtb=built.dtb.read_bytes() if built.dtb else b"",
                deadline=deadline,
            )
        line = self._console().take("Linux")
        line.position = position
        return self.arrived(boot, run_id, line)

    def start_by_kexec(self, own: OwnSystem, system: System, boot: Boot) -> Linux:
        """Let the board's own system start ``boot`` by kexec, and wait until it answers.

        Raises:
            errors.LabError: also for what happens before the kernel's first word: a kexec of
                which nothing comes, or in which the board's own system crashes, is not its.
        """
        built, run_id = self.prepare(boot), new_run_id()
        with self._journal.step(f"upload {boot} and kexec it") as share:
            line = own.kexec(
                system, built.kernel.image.read_bytes(), built.initrd(),
                self.cmdline(boot, run_id), progress=parts(share),
            )  # fmt: skip
        since = line.position
        try:
            return self.arrived(boot, run_id, line)
        except (errors.TargetHang, errors.TargetCrash) as exc:
            if FIRST in line.console.cut(since, _MOST_CONSOLE)[1]:
                raise
            died = f": {exc.message}" if isinstance(exc, errors.TargetCrash) else ""
            raise errors.LabError(
                f"the board's own system did a kexec, and {boot} never said a word{died}",
                hint="does its kernel support kexec on this board? try: kexec -l ...; kexec -e",
            ) from exc

    def needs_uboot(self, boot: Boot) -> str:
        """Return why only U-Boot itself can start ``boot``; empty where the payload can, too."""
        spec = self._board.linux
        if spec is not None and spec.start == "bootefi":
            return "its file says that kernels are started by EFI"
        return "it has a device tree of its own" if self.prepare(boot).dtb else ""

    def start_by_loader(self, payload: Payload, boot: Boot) -> Linux:
        """Let the payload receive ``boot`` and start it, and wait until it answers.

        Raises:
            errors.LabError: also for what happens before the kernel's first word.
        """
        from hilagent.payload.second_stage import Kernel as Loaded
        from hilagent.payload.second_stage import budget_s, start_kernel
        from hilagent.payload.upload import Wire

        built, run_id = self.prepare(boot), new_run_id()
        kernel = Loaded(built.kernel.image.read_bytes(), built.initrd(), self.cmdline(boot, run_id))
        wire = Wire(self._board.console.baud, self._board.console.fifo_bytes)
        since = self._console().position()
        with self._journal.step(f"upload {boot} by loader") as share, before_the_test():
            done = start_kernel(
                payload, kernel, wire=wire, deadline=Deadline.after(budget_s(kernel, wire)),
                progress=parts(share),
            )  # fmt: skip
        self._journal.observation("upload", **done.sent.observed())
        line = self._console().take("Linux, from the payload")
        return self._first_word(boot, run_id, line, since)

    def _first_word(self, boot: Boot, run_id: str, line: Line, since: int) -> Linux:
        """Wait as `arrived` does; of a kernel that never spoke, whatever died isn't its."""
        try:
            return self.arrived(boot, run_id, line)
        except (errors.TargetHang, errors.TargetCrash) as exc:
            if FIRST in line.console.cut(since, _MOST_CONSOLE)[1]:
                raise
            died = f": {exc.message}" if isinstance(exc, errors.TargetCrash) else ""
            raise errors.LabError(
                f"the payload started {boot}, which never said a word{died}",
                hint="is linux.console of the board's file right? Else try: --transfer ymodem",
            ) from exc

    def cmdline(self, boot: Boot, run_id: str, *, crash: bool = False) -> str:
        """Return the arguments of the kernel of ``boot``."""
        spec = self._board.linux
        assert spec is not None
        words = [f"console={spec.console}", f"hilagent.ip={spec.ip}", f"hilagent.run={run_id}"]
        words.append("retain_initrd")  # the next kernel's is the same: see kexec.RETAINED
        words += [] if crash else [f"crashkernel={spec.crashkernel}"]
        return " ".join([*words, *MODES[boot.mode].split(), *spec.cmdline.split()])

    def arrived(self, boot: Boot, run_id: str, line: Line) -> Linux:
        """Wait for the root file system's word, then for SSH; return who answers.

        Raises:
            errors.TargetCrash: the kernel crashed on its way up.
            errors.TargetHang: it never got there, and neither host nor emulator stood still.
            errors.LabError: it has no network, or SSH doesn't answer as it should.
        """
        with self._journal.step(f"boot {boot}"):
            position = line.position
            self._await_ready(boot, run_id, line, self.boot_timeout_s)
        return self.reach(boot, run_id, position)

    @property
    def boot_timeout_s(self) -> float:
        """How long a kernel may take until its root file system is ready."""
        assert self._board.linux is not None
        return self._board.linux.boot_timeout_s

    def reach(self, boot: Boot, run_id: str, position: int) -> Linux:
        """Return the kernel of ``boot``, which has said that it is ready, by SSH."""
        with self._journal.step("reach it by SSH"):
            return self._connect(boot, self.prepare(boot), run_id, position)

    def dmesg(self, linux: Linux) -> str:
        """Return the log of a kernel."""
        lines = linux.system.dmesg(Deadline.after(SSH_S))
        return "\n".join(line.text for line in lines)

    def stalled_s(self, since_s: float) -> float:
        """Return how long this host or the emulator stood still since a time, at worst."""
        stopped = self._power.alive() is False
        return max(self._stalled_s(since_s), _STOPPED_S if stopped else 0.0)

    def powered(self) -> bool | None:
        """Return whether the board has power; None where that can't be told."""
        return self._power.state()

    def _await_ready(self, boot: Boot, run_id: str, line: Line, seconds: float) -> None:
        since_s, position = SYSTEM.now_s(), line.position
        deadline, up = Deadline.after(seconds), False
        while found := line.expect([READY, UP], deadline):
            if found.groups[0] == run_id.encode():
                if found.index == 0:
                    return
                up = True
        if self.who() == run_id:
            self._journal.note(f"{boot} answers, and the console lost its word", blame="infra")
            return
        tail = line.console.tail(6, position)
        said = f"it last said:\n{tail}" if tail else "it said nothing at all"
        if self.stalled_s(since_s) > _LATE_S:
            raise errors.HostOverloaded(
                f"{boot} was not ready within {seconds:g} s, but this host stood still meanwhile"
            )
        if up:
            check_network(boot, line, position, seconds)
        raise errors.TargetHang(f"{boot} never got ready within {seconds:g} s; {said}")

    def _connect(self, boot: Boot, built: Built, run_id: str, position: int) -> Linux:
        from hilagent.linux.probe import Probe
        from hilagent.linux.system import System
        from hilagent.transport import ssh

        assert self._board.linux is not None
        deadline = Deadline.after(self._board.linux.ssh.timeout_s)
        connection = ssh.connect(self.target(), deadline)
        system = System(connection, run_id)
        system.verify(deadline)
        release = system.facts(deadline).release
        if release != built.kernel.release:
            raise errors.LabError(
                f"kernel {release} answers, {built.kernel.release} was started",
                hint="is the address that of another board?",
            )
        probe = Probe(connection)
        return Linux(boot, built.kernel, run_id, system, probe, position, built.no_module)

    def who(self) -> str:
        """Return the run id of the kernel that answers by SSH now; empty if none does."""
        from hilagent.linux.system import System
        from hilagent.transport import ssh

        deadline = Deadline.after(SSH_S)
        try:
            with ssh.connect(self.target(), deadline) as connection:
                return System(connection, None).run(deadline)
        except errors.HilagentError:
            return ""

    def target(self) -> Target:
        """Return where our own root file system answers: its host key was built in."""
        from hilagent.session.own import lab_target

        assert self._board.linux is not None
        name = f"{self._board.name}/{SYSTEM_NAME}"
        return lab_target(self._board.linux.ssh, self._power, name, self._folder)

    def _build(self, name: str) -> Built:
        return build(self._board, self._journal, name, self._own)


def boots(kernels: Sequence[str], modes: Sequence[str], *, own: bool = False) -> tuple[Boot, ...]:
    """Return each of ``kernels`` in each of ``modes`` ("default": the kernel's choice).

    Args:
        own: whether the lab has named a kernel of its own.

    Raises:
        errors.UsageError: a kernel or a mode that nobody knows.
    """
    from hilagent.build.kernel import GIVEN
    from hilagent.build.series import recipe

    if GIVEN in kernels and not own:
        hint = "say where: --image FILE, --artifacts DIR or --source DIR"
        raise errors.UsageError(f"no kernel '{GIVEN}' was named", hint=hint)
    for kernel in kernels:
        if kernel not in FOUND | {GIVEN}:
            recipe(kernel)
    chosen = tuple("" if mode == "default" else mode for mode in modes) or DEFAULT_MODES
    for mode in chosen:
        if mode not in MODES:
            modes_known = ", ".join(mode or "default" for mode in MODES)
            raise errors.UsageError(f"no mode '{mode}'", hint=f"modes: {modes_known}")
    return tuple(Boot(kernel, mode) for kernel in kernels for mode in dict.fromkeys(chosen))


def check_network(boot: Boot, line: Line, position: int, seconds: float) -> None:
    """Say who is to blame for a root file system that is up and never gets ready.

    Raises:
        errors.LabError: the network, unless a CPU has stalled since ``position``.
    """
    from hilagent.console.watch import CrashWatch, Kind

    found = CrashWatch().feed(line.console.cut(position, _MOST_CONSOLE)[1] + b"\n")
    if any(each.kind is not Kind.REPORT for each in found):
        return
    said = scrub(line.console.cut(position, _MOST_CONSOLE)[1])
    reasons = _REASON.findall(said) or ["SSH was not ready"]
    raise errors.LabError(
        f"{boot} runs, but {reasons[-1]}, and it was not ready within {seconds:g} s; "
        f"it last said:\n{line.console.tail(6, position)}",
        hint="is the cable in, and does linux.ip of the board's file suit this network?",
    )


def new_run_id() -> str:
    """Return an id for one boot: 16 hexadecimal digits."""
    return secrets.token_hex(8)


def run_id_in(cmdline: str) -> str:
    """Return the run id on a kernel's command line, empty if there is none."""
    found = re.search(r"(?:^|\s)hilagent\.run=([0-9a-f]{16})(?:\s|$)", cmdline)
    return found[1] if found else ""
