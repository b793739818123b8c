# SPDX-License-Identifier: Apache-2.0
"""The switch of an emulated board: starts and ends its QEMU.

::

    power: {kind: qemu}
    qemu: {machine: "virt,virtualization=on", cpu: cortex-a57, smp: 4, ...}

Console and QMP are socket pairs whose far ends QEMU inherits (``-chardev
socket,fd=``, since QEMU 2.12): no path that others could open, no directory to
clean up, no race between starting and connecting.

QEMU ends on every way out. ``off`` ends it, and so does the death of this
process, SIGKILL included: it runs under ``setpriv --pdeathsig KILL``
(util-linux, so on every Debian). That is a plain exec wrapper, where
``preexec_fn`` would run Python between fork and exec of a threaded process.
The kernel sends that signal when the *thread* that started the child ends; so
a thread of ours starts it, keeps its stderr, and lives exactly as long as it.
"""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from hilagent.board.model import QemuSpec
from hilagent.clock import Deadline
from hilagent.errors import LabError
from hilagent.power.process import Supervised
from hilagent.power.qmp import Qmp

START_S = 20.0
ALIVE_S = 1.0
_OFF_S = 2.0


class QemuPower:
    """Owns at most one QEMU at a time.

    Args:
        spec: what to start.
        tftp_dir: served to the board by QEMU's TFTP server over a user-mode
            network that reaches nothing else; None for a board without network.
        forward: ports of the board that this host's loopback reaches, see :meth:`forwarded`.
        nic: the device that is put on that network, unless ``spec.args`` names
            one with ``netdev=net0``.
        serial: whether the machine's first UART is connected to anything.
    """

    def __init__(
        self,
        spec: QemuSpec,
        tftp_dir: Path | None = None,
        *,
        forward: Sequence[int] = (),
        nic: str = "virtio-net-device",
        serial: bool = True,
    ) -> None:
        self._spec = spec
        self._tftp_dir = tftp_dir
        self._forward = tuple(forward)
        self._nic = nic
        self._serial = serial
        self._lock = threading.Lock()  # alive() is asked from other threads than off()
        self._process: Supervised | None = None
        self._qmp: Qmp | None = None
        self._console: socket.socket | None = None
        self._why_off = "the emulated board was never switched on"

    def on(self) -> None:
        """Start QEMU and wait until its monitor answers."""
        if self.state():
            return
        self._end("restarted")
        argv = self.argv()
        here, console_far = socket.socketpair()
        monitor, monitor_far = socket.socketpair()
        with console_far, monitor_far:
            self._console, self._qmp = here, Qmp(monitor)
            fds = (console_far.fileno(), monitor_far.fileno())
            serial = _serial(fds[0]) if self._serial else ("-serial", "none")
            self._process = Supervised([*argv, *serial, *_monitor(fds[1])], fds)
        try:
            self._qmp.greet(Deadline.after(START_S))
        except LabError as error:
            why = self._ended(wait=True) or error.message
            self._end(why)
            raise LabError(f"the emulated board didn't start: {why}") from error

    def off(self) -> None:
        """End QEMU; a frozen one too."""
        self._end("the emulated board was switched off")

    def cycle(self) -> None:
        """End QEMU and start a new one: the old console is at its end."""
        self.off()
        self.on()

    def state(self) -> bool:
        """Return whether QEMU runs."""
        return self._process is not None and self._process.running()

    def alive(self) -> bool:
        """Return whether QEMU answered ``query-status`` within a second and isn't paused."""
        with self._lock:
            qmp = self._qmp
            if qmp is None or not self.state():
                return False
            try:
                status = qmp.execute("query-status", Deadline.after(ALIVE_S))
            except LabError:
                return False
            return bool(isinstance(status, dict) and status.get("running"))

    def threads(self) -> dict[int, int]:
        """Return the host's thread id of each CPU; empty where QEMU doesn't say."""
        with self._lock:
            if self._qmp is None or not self.state():
                return {}
            try:
                cpus = self._qmp.execute("query-cpus-fast", Deadline.after(ALIVE_S))
                return {int(cpu["cpu-index"]): int(cpu["thread-id"]) for cpu in cpus}
            except (LabError, KeyError, TypeError, ValueError):
                return {}

    def forwarded(self, port: int) -> int:
        """Return the port of 127.0.0.1 that reaches TCP ``port`` of the board.

        The kernel chose it when QEMU started, so two boards never want the same.
        """
        with self._lock:
            if self._qmp is None or not self.state():
                raise LabError(self._ended() or self._why_off)
            said = self._qmp.execute(
                "human-monitor-command", Deadline.after(START_S), **{"command-line": "info usernet"}
            )
        for line in str(said).splitlines():
            words = line.split()
            if words[:1] == ["TCP[HOST_FORWARD]"] and words[5:6] == [str(port)]:
                return int(words[3])
        raise LabError(f"QEMU forwards no port to {port} of the board")

    @property
    def pid(self) -> int | None:
        """QEMU's process id, None while it is off."""
        return self._process.pid if self._process is not None and self.state() else None

    def console(self) -> socket.socket:
        """Return a new socket onto the console of the QEMU that runs now."""
        if self._console is None or not self.state():
            raise LabError(self._ended() or self._why_off)
        return self._console.dup()

    def send_break(self) -> None:
        """Let the UART of the console receive a break."""
        with self._lock:
            if self._qmp is None or not self.state():
                raise LabError(self._ended() or self._why_off)
            self._qmp.execute("chardev-send-break", Deadline.after(START_S), id="console0")

    def epitaph(self) -> str:
        """Return why QEMU ended, with the last it said; ``""`` while it runs."""
        if self._process is None:
            return self._why_off
        return self._ended(wait=True)

    def argv(self) -> list[str]:
        """Return QEMU's argument list without console and monitor; checks what it needs."""
        spec = self._spec
        if not shutil.which(spec.binary):
            raise LabError(f"{spec.binary} isn't installed", hint=f"apt install {spec.package}")
        wrapper = shutil.which("setpriv")
        if not wrapper:
            raise LabError("setpriv isn't installed", hint="apt install util-linux")
        return [
            *(wrapper, "--pdeathsig", "KILL", "--", spec.binary),
            *("-name", "hilagent,debug-threads=on"),
            *("-nodefaults", "-no-user-config", "-display", "none"),
            *("-machine", spec.machine, "-cpu", spec.cpu),
            *("-smp", str(spec.smp), "-m", str(spec.memory_mib)),
            *self._first(),
            *self._network(),
            *spec.args,
        ]

    def _first(self) -> Sequence[str]:
        """Return what runs first: firmware, or a system that QEMU starts itself."""
        spec, firmware = self._spec, self._spec.firmware
        if firmware is not None:
            if not Path(firmware.path).is_file():
                raise LabError(
                    f"the firmware {firmware.path} isn't installed",
                    hint=f"apt install {firmware.package}",
                )
            tree = ("-dtb", spec.dtb) if spec.dtb else ()
            behind = self._system() if spec.kernel else tree
            return (f"-{firmware.start}", firmware.path, *behind)
        return self._system()

    def _system(self) -> Sequence[str]:
        spec = self._spec
        files = (("-kernel", spec.kernel), ("-initrd", spec.initrd), ("-dtb", spec.dtb))
        for option, path in files:
            if path and not Path(path).is_file():
                raise LabError(f"qemu.{option[1:]}: there is no file {path}")
        given = (*files, ("-append", spec.append))
        return [word for option, value in given if value for word in (option, value)]

    def _network(self) -> Sequence[str]:
        if self._tftp_dir is None:
            return ()
        served = str(self._tftp_dir).replace(",", ",,")  # QEMU's own escape for its comma
        forwards = "".join(f",hostfwd=tcp:127.0.0.1:0-:{port}" for port in self._forward)
        net = ("-netdev", f"user,id=net0,restrict=on,tftp={served}{forwards}")
        if any("netdev=net0" in argument for argument in self._spec.args):
            return net
        return (*net, "-device", f"{self._nic},netdev=net0")

    def _ended(self, *, wait: bool = False) -> str:
        if self._process is None or (not wait and self._process.running()):
            return ""
        return self._process.epitaph("QEMU")

    def _end(self, why: str) -> None:
        process, self._process = self._process, None
        if process is not None:
            self._why_off = why
            process.end(_OFF_S)
        with self._lock:
            for thing in (self._qmp, self._console):
                if thing is not None:
                    with suppress(OSError):
                        thing.close()
            self._qmp = self._console = None


def _serial(fd: int) -> tuple[str, ...]:
    return ("-chardev", f"socket,id=console0,fd={fd}", "-serial", "chardev:console0")


def _monitor(fd: int) -> tuple[str, ...]:
    return ("-chardev", f"socket,id=monitor0,fd={fd}", "-mon", "chardev=monitor0,mode=control")
