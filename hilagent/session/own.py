# SPDX-License-Identifier: Apache-2.0
"""The system that a board boots by itself, and kexec out of it: for a board without a U-Boot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from hilagent import errors
from hilagent.board import Board
from hilagent.board.model import Ssh
from hilagent.clock import Deadline
from hilagent.journal import Journal
from hilagent.session import quarantine

if TYPE_CHECKING:
    from hilagent.console import Console
    from hilagent.console.line import Line
    from hilagent.linux.kexec import Syscall
    from hilagent.linux.system import System
    from hilagent.power import Power
    from hilagent.transport.ssh import Progress
    from hilagent.transport.ssh_target import Target

NAME = "os"
"""Whose host key it is, see :data:`hilagent.session.linux.SYSTEM_NAME`."""
KEXEC_S = 30.0
"""From asking for a kexec until the next image runs: a server's devices take their time."""
_LOAD_S, _ASK_S = 300.0, 20.0
STALE = 2
"""How often in a row it must be the boot from before to accuse the switch: one may be slow."""


class OwnSystem:
    """Reaches a board's own system after power on, and leaves it by kexec.

    Args:
        console: returns the console that is open now.
        folder: private to the run: for the host key of a system that is ours.
    """

    def __init__(
        self,
        board: Board,
        journal: Journal,
        power: Power,
        console: Callable[[], Console],
        folder: Path | None = None,
    ) -> None:
        self._board, self._journal, self._folder = board, journal, folder
        self._power, self._console = power, console
        self._boots: set[str] = set()
        self._stale = 0

    def reach(self) -> System:
        """Wait until it answers by SSH.

        Raises:
            errors.LabError: it doesn't in time, its key is another one, or it is still the
                boot from before power was cycled.
        """
        from hilagent.linux.system import System
        from hilagent.transport import ssh

        spec = self._board.os
        assert spec is not None  # settings.look_up refused a board without a way in
        target = self.target()
        name = target.system
        connection = ssh.connect(target, Deadline.after(spec.boot_timeout_s))
        system = System(connection, None)
        facts = system.facts(Deadline.after(_ASK_S))
        if facts.boot_id in self._boots:
            connection.close()
            saw = f"{name} is still the boot from before power was cycled"
            self._stale += 1
            if self._stale < STALE:
                raise errors.LabError(saw, hint="the power switch may be slow, or switch nothing")
            raise quarantine.lied(self._board, self._journal, f"{saw}, {self._stale} times")
        self._boots.add(facts.boot_id)
        self._stale = 0
        self._journal.write("facts", own_system=facts.release)
        return system

    def target(self) -> Target:
        """Return where it answers, and by which keys."""
        from hilagent.transport import known
        from hilagent.transport.ssh_target import Target

        spec, qemu = self._board.os, self._board.qemu
        assert spec is not None
        name = f"{self._board.name}/{NAME}"
        if qemu is not None and qemu.system is not None and self._folder is not None:
            return lab_target(spec.ssh, self._power, name, self._folder)
        host, port = address_of(spec.ssh, self._power)
        key = Path(spec.ssh.key).expanduser() if spec.ssh.key else None
        return Target(host, port, spec.ssh.user, key, name, known.path_of(self._board.name))

    def kexec(
        self,
        system: System,
        image: bytes,
        initrd: bytes = b"",
        cmdline: str = "",
        *,
        progress: Progress,
        retained: int = 0,
        dtb: bytes = b"",
    ) -> Line:
        """Start ``image``; return the line on which it will say its first word.

        Args:
            retained, dtb: see `hilagent.linux.system.System.kexec_load`.

        Raises:
            errors.LabError: the upload failed, or the kernel doesn't take it.
            errors.PreconditionError: it takes none, or none of ours: no kexec, lockdown.
        """
        try:
            self._load(system, image, initrd, cmdline, progress, retained, dtb)
        except errors.Unsupported as exc:
            raise errors.PreconditionError(
                f"the board's own system can't start another kernel: {exc.message}", hint=exc.hint
            ) from exc
        line = self._console().take("whoever comes after the board's own system")
        line.skip()
        system.kexec_exec(Deadline.after(KEXEC_S))
        return line

    def _load(
        self,
        system: System,
        image: bytes,
        initrd: bytes,
        cmdline: str,
        progress: Progress,
        retained: int,
        dtb: bytes,
    ) -> None:
        """Load by kexec_file_load; by kexec_load where the kernel lacks that."""
        from hilagent.linux.kexec import NoSuchCall

        def load(syscall: Syscall) -> None:
            system.kexec_load(
                image, initrd=initrd or None, cmdline=cmdline, deadline=deadline,
                syscall=syscall, progress=progress, retained=retained, dtb=dtb,
            )  # fmt: skip

        deadline = Deadline.after(_LOAD_S)
        try:
            load("load" if dtb else "file")
        except NoSuchCall:
            if dtb:
                raise
            load("load")


def lab_target(ssh: Ssh, power: Power, system: str, folder: Path) -> Target:
    """Return where a root file system of ours answers: its host key was built in.

    Args:
        system: its name, e.g. ``my-board/rootfs``.
        folder: for the file of pinned keys.
    """
    from hilagent.build.keys import lab_keys
    from hilagent.transport import known
    from hilagent.transport.ssh_target import Target

    host, port = address_of(ssh, power)
    keys, pinned = lab_keys(), folder / "known_hosts"
    known.pin(pinned, system, known.HostKey.parse(keys.host_public))
    return Target(host, port, ssh.user, keys.client, system, pinned)


def address_of(ssh: Ssh, power: Power) -> tuple[str, int]:
    """Return host and port; where an emulator forwards one, that of the loopback."""
    from hilagent.power import QemuPower

    if isinstance(power, QemuPower) and ssh.via == "qemu":
        return "127.0.0.1", power.forwarded(ssh.port)
    return ssh.host or "127.0.0.1", ssh.port
