# SPDX-License-Identifier: Apache-2.0
"""The phases in which a kernel runs: a scripted one, on a real console and behind a real SSH.

Its words come over a socket, its shell is SshServer's; nothing but its silence takes time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any, cast

from hilagent import board as boards
from hilagent import errors
from hilagent.board import Board
from hilagent.build.kernel import Kernel
from hilagent.build.rootfs import Rootfs
from hilagent.clock import Deadline
from hilagent.console import Console
from hilagent.journal import Journal
from hilagent.linux.system import System
from hilagent.power.base import Power
from hilagent.probe import ended
from hilagent.probe.ended import Seen
from hilagent.probe.restart import Kind, Leg, Receiver, Sender, Times
from hilagent.result import Verdict
from hilagent.session.built import Built
from hilagent.session.linux import Boot, Linux, LinuxBench, run_id_in
from hilagent.session.restart import Restarts, Trip, Way
from hilagent.session.verdict import verdict_of
from hilagent.testing.ssh import SshServer, SshTraits
from hilagent.transport.base import FdStream
from hilagent.transport.ssh_target import Target
from tests.fault.matrix.runner import Ran
from tests.fault.matrix.score import Came, Scored
from tests.fault.matrix.table import RIGHT, Allowed, Cell, lab
from tests.linux import fake_board

BOOT = Boot("patched")
FIRST_ID = "0123456789abcdef"
RELEASE = "6.12.117-hilagent"
BOOTS = b"[    0.000000] Booting Linux on physical CPU 0x0000000000 [0x411fd070]\r\n"
PANIC = (
    b"[    0.512345] Kernel panic - not syncing: VFS: Unable to mount root fs\r\n"
    b"[    0.512400] ---[ end Kernel panic - not syncing: VFS: Unable to mount root fs ]---\r\n"
)
U_BOOT = b"\r\n\r\nU-Boot 2023.01+dfsg-2 (Jan 01 2024 - 00:00:00 +0000)\r\n"
BOOT_S, SSH_S = 3.0, 8.0
IMAGE = bytes(56) + b"ARM\x64" + bytes(40_000)


class Wire:
    """What the kernel says on its console, and what becomes of that.

    Attributes:
        spoils: what the line makes of everything that is said.
    """

    def __init__(self, folder: Path) -> None:
        near, self._far = socket.socketpair()
        self.console = Console(FdStream(near.detach(), "a scripted kernel"), folder)
        self.spoils: Callable[[bytes], bytes] = bytes

    def say(self, data: bytes) -> None:
        """Say something, as far as anybody can hear it."""
        with contextlib.suppress(OSError):
            self._far.sendall(self.spoils(data))

    def pull(self) -> None:
        """Unplug it."""
        self._far.close()

    def close(self) -> None:
        """Close both ends."""
        self.console.close()
        self._far.close()


class Switch:
    """The power of such a board: it is on."""

    def alive(self) -> bool | None:
        return True

    def state(self) -> bool | None:
        return True


class Scripted(System):
    """A system that goes where it is told to, which here is a function."""

    goes: Callable[[], None]

    def kexec_exec(self, deadline: Deadline) -> None:
        super().kexec_exec(deadline)
        self.goes()


class Bench(LinuxBench):
    """A bench whose kernel is a few bytes, and whose address is the scripted server's."""

    server: SshServer
    board_target: Target

    def target(self) -> Target:
        return self.board_target

    def _build(self, name: str) -> Built:
        (self._folder / "Image").write_bytes(IMAGE)
        (self._folder / "archive").write_bytes(bytes(1000))
        kernel = Kernel(name, self._folder / "Image", RELEASE, "6.12", "iss-6.12", "0" * 64)
        return Built(kernel, Rootfs(self._folder / "archive", "0" * 64))


class Scene:
    """A board with a kernel to be started, and what may be done to it.

    Attributes:
        dies: the kernel that is started panics.
        before, after: what is said before its last words, and after them.
        stranger: whoever answers by SSH is another kernel.
        first: happens as each kernel starts.
    """

    def __init__(self, folder: Path, *, dies: bool) -> None:
        folder.mkdir(parents=True)
        self.root = fake_board.make(folder / "board")
        self.dies, self.chance = dies, Random(0)
        self.journal = Journal(folder)
        self.wire, self.traits = Wire(folder), SshTraits()
        self.server = SshServer(root=self.root, traits=self.traits)
        self.before = self.after = b""
        self.said = ""
        self.stranger = False
        self.first: Callable[[], object] = lambda: None
        self.bench = Bench(
            _board(), self.journal, _switch(), lambda: self.wire.console,
            lambda since_s: 0.0, folder,
        )  # fmt: skip

    def __enter__(self) -> Scene:
        self.server.__enter__()
        self.bench.server, self.bench.board_target = self.server, self.server.target("own/rootfs")
        return self

    def __exit__(self, *exc: object) -> None:
        self.wire.close()
        self.server.__exit__(*exc)
        self.journal.close()

    def boots(self, run_id: str) -> None:
        """Let the kernel of ``run_id`` start: its files are there at once, its words come."""
        self.first()
        shown = "e" * 16 if self.stranger else run_id
        (self.root / "proc/cmdline").write_text(f"console=ttyAMA0 hilagent.run={shown}\n")
        for name in ("kexec_loaded", "kexec_crash_loaded"):
            (self.root / "sys/kernel" / name).write_text("0\n")
        if self.dies:
            self.traits.refuse_logins = True  # nobody is there
            self.wire.say(BOOTS + self.before + PANIC)
            return
        word = f"hilagent-rootfs {{}} RUN={run_id}\r\n"
        ready = (word.format("up") + word.format("ready")).encode()
        self.wire.say(BOOTS + self.before + ready + self.after)

    def kernel(self) -> Verdict:
        """Do the phase *kernel*: what U-Boot started is waited for, and asked who it is."""
        line = self.wire.console.take("Linux")
        self.boots(FIRST_ID)
        linux = self.bench.arrived(BOOT, FIRST_ID, line)
        linux.system.facts(Deadline.after(SSH_S))
        return Verdict.PASS

    def kexec(self) -> Verdict:
        """Do the phase *kexec*: that kernel starts the next one; its end is judged."""
        running = self._running()
        assert isinstance(running.system, Scripted)
        running.system.goes = self._goes
        restarts = Restarts(
            self.bench, self.journal, lambda: self.wire.console, lambda: b"", _nobody
        )
        trip = restarts.into_linux(running, Way(), BOOT)
        done = ended.judge(_leg(trip), _seen(trip))
        self.said = f"{done.message} {trip.trouble}"
        return done.verdict

    def _running(self) -> Linux:
        from hilagent.transport import ssh

        connection = ssh.connect(self.bench.target(), Deadline.after(SSH_S))
        built = self.bench.prepare(BOOT)
        nothing: Any = None
        system = Scripted(connection, FIRST_ID)
        return Linux(BOOT, built.kernel, FIRST_ID, system, nothing, 0)

    def _goes(self) -> None:
        calls = (self.root / "calls").read_text()
        self.wire.say(b"[    9.1] kexec_core: Starting new kernel\r\nBye!\r\n")
        self.boots(run_id_in(calls))


def _nobody(*_: object) -> Any:
    raise errors.StateError("no payload is started here")


def _switch() -> Power:
    return cast("Power", Switch())


def _board() -> Board:
    board = boards.load("qemu-virt")
    assert board.linux is not None
    reached = dataclasses.replace(board.linux.ssh, timeout_s=SSH_S)
    linux = dataclasses.replace(board.linux, ssh=reached, boot_timeout_s=BOOT_S)
    return dataclasses.replace(board, linux=linux)


def _leg(trip: Trip) -> Leg:
    sender = Sender("patched", "nvhe", 2, FIRST_ID)
    return Leg(Kind.FILE, sender, Receiver.KERNEL, "patched", trip.run_id, kvm="nvhe")


def _seen(trip: Trip) -> Seen:
    """Return what the suite would judge; after a silence the board did start from power."""
    times = Times(trip.left_s, trip.first_s, trip.ready_s)
    return Seen(
        console=trip.console, refused=trip.refused, run_id=trip.found_run_id, dmesg=trip.dmesg,
        times=times, waited_s=trip.waited_s, stalled_s=trip.stalled_s, powered=trip.powered,
        boots=True,
    )  # fmt: skip


Trouble = Callable[[Scene], None]


def _flips(scene: Scene) -> None:
    """One bit of what it says is wrong, in the words that it is waited for by."""

    def spoil(data: bytes) -> bytes:
        at = data.find(b"ready RUN=")
        at = scene.chance.randrange(len(data)) if at < 0 else at + scene.chance.randrange(20)
        return data[:at] + bytes([data[at] ^ 1 << scene.chance.randrange(8)]) + data[at + 1 :]

    scene.wire.spoils = spoil


def _loses(rate: float) -> Trouble:
    def begin(scene: Scene) -> None:
        lost = scene.chance
        scene.wire.spoils = lambda data: bytes(b for b in data if lost.random() >= rate)

    return begin


def _mute(scene: Scene) -> None:
    scene.wire.spoils = lambda data: data[:10]


def _before(text: bytes) -> Trouble:
    return lambda scene: setattr(scene, "before", text)


def _ssh(**traits: object) -> Trouble:
    def begin(scene: Scene) -> None:
        for name, value in traits.items():
            setattr(scene.traits, name, value)

    return begin


def _other_key(scene: Scene) -> None:
    scene.server.change_key()


TROUBLES: Mapping[str, Trouble] = {
    "nothing": lambda scene: None,
    "a bit of its word is flipped": _flips,
    "2 % of its words are lost": _loses(0.02),
    "the console falls silent": _mute,
    "the console is unplugged": lambda scene: scene.wire.pull(),
    "50 KB of messages": _before(b"[    1.0] usb 1-1: new device\r\n" * 1700),
    "an endless line": _before(b"A" * 60_000),
    "500 NULs, then noise": _before(bytes(500) + bytes(range(128, 256))),
    "a prompt that is none": _before(b"\r\n=> \r\n# "),
    "the word of an older boot": _before(b"hilagent-rootfs ready RUN=feedfacefeedface\r\n"),
    "an RCU stall": _before(b"[   21.0] rcu: INFO: rcu_preempt self-detected stall on CPU\r\n"),
    "its SSH takes no key": _ssh(refuse_logins=True),
    "its SSH says nothing": _ssh(hang="banner"),
    "its SSH hangs at the login": _ssh(hang="login"),
    "its SSH hangs at a channel": _ssh(hang="channel"),
    "its SSH hangs at a command": _ssh(hang="command"),
    "its SSH refuses commands": _ssh(refuse_commands=True),
    "its SSH cuts off what is said": _ssh(truncate_bytes=3),
    "its host key is another": _other_key,
    "its SSH is another board's": lambda scene: setattr(scene, "stranger", True),
    "the upload is cut": _ssh(cut_after_bytes=20_000),
    "its disk is full": _ssh(full_after_bytes=20_000),
}
_KEXEC_ONLY = {"the upload is cut", "its disk is full"}
_SSH_LATE = {
    "its SSH takes no key", "its SSH says nothing", "its SSH hangs at the login",
    "its SSH hangs at a channel", "its SSH hangs at a command", "its SSH refuses commands",
    "its SSH cuts off what is said", "its host key is another", "its SSH is another board's",
}  # fmt: skip


def _allowed(trouble: str, phase: str) -> Allowed:
    if trouble in WORDS:
        return lab(WORDS[trouble], *(["SSH was lost"] if phase == "kexec" else []))
    if trouble in _MAY_BE_LOST:
        return lab("SSH was not ready", "its log was not read")
    return RIGHT


WORDS: Mapping[str, str] = {
    "the console is unplugged": "a scripted kernel ended",
    "its SSH takes no key": "refused the key",
    "its SSH says nothing": "no SSH answers",
    "its SSH hangs at the login": "before we were logged in",
    "its SSH hangs at a channel": "didn't end within",
    "its SSH hangs at a command": "didn't end within",
    "its SSH refuses commands": "the SSH server refused",
    "its SSH cuts off what is said": "cut off without an exit status",
    "its host key is another": "has changed: pinned",
    "its SSH is another board's": "stale: expected the kernel of run",
    "the upload is cut": "the connection was lost in the upload",
    "its disk is full": "no space for",
}
"""What the lab is blamed by."""
_MAY_BE_LOST = {"2 % of its words are lost", "a bit of its word is flipped",
                "the console falls silent"}  # fmt: skip
LINUX_CELLS = tuple(
    Cell(trouble, phase, _allowed(trouble, phase))
    for trouble in TROUBLES
    for phase in ("kernel", "kexec")
    if not (phase == "kernel" and trouble in _KEXEC_ONLY)
)


def run(cell: Cell, folder: Path, seed: int) -> Ran:
    """Do one run, of a kernel that panics with odd seeds."""
    dies = bool(seed % 2)
    with Scene(folder, dies=dies) as scene:
        scene.chance = Random(seed)
        trouble = TROUBLES[cell.trouble]
        try:
            if cell.phase == "kernel" or cell.trouble not in _SSH_LATE:
                trouble(scene)
            else:
                _when_it_goes(scene, trouble)
            verdict = scene.kernel() if cell.phase == "kernel" else scene.kexec()
            said = scene.said
        except errors.HilagentError as exc:
            verdict, said = verdict_of(exc), str(exc)
    return Ran(cell, seed, Scored(_came(verdict, dies), f"{verdict.name} {said}", said), True)


def _when_it_goes(scene: Scene, trouble: Trouble) -> None:
    """In a kexec the next kernel's SSH is the bad one: the old kernel's must do its work."""
    scene.first = lambda: trouble(scene)


def _came(verdict: Verdict, dies: bool) -> Came:
    if verdict.accuses:
        return Came.RIGHT if dies else Came.WRONG_ACCUSATION
    if verdict is Verdict.PASS:
        return Came.WRONG_PASS if dies else Came.RIGHT
    if verdict is Verdict.BUG:
        return Came.BUG
    return Came.INFRA
