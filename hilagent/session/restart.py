# SPDX-License-Identifier: Apache-2.0
"""Soft restarts: a kernel starts a kernel or the payload, and the payload starts a kernel.

What is done, and what was seen of it (`Trip`); :mod:`hilagent.probe.ended` judges that.
What is started next goes to the board by SSH and is verified there. Before the jump the
console is taken for whoever comes next, so that nothing it says is lost; and each kernel
has a run id of its own, so that the old one can't pass for the new one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from hilagent import errors
from hilagent.clock import SYSTEM, Deadline
from hilagent.journal import Journal, parts
from hilagent.session.linux import (
    FIRST,
    READY,
    UP,
    Boot,
    Linux,
    LinuxBench,
    check_network,
    new_run_id,
)

if TYPE_CHECKING:
    from hilagent.console import Console
    from hilagent.console.line import Line
    from hilagent.payload import Payload
    from hilagent.payload.cargo import Cargo

LOAD_S, EXEC_S, TAIL_S = 180.0, 20.0, 2.0
PAYLOAD_S = 60.0
_CRASHED = rb"Starting crashdump kernel"
_LEFT = rb"Bye!\r?\n"
_MOST_CONSOLE = 1 << 20
_GONE = (errors.TargetHang, errors.LinkError, errors.BoardReset, errors.HostOverloaded)


@dataclass(frozen=True)
class Way:
    """How a kernel is made to start another one.

    Attributes:
        kind: ``kexec``: asked to; ``crash``: its crash kernel, started by a panic.
        syscall: ``file`` (kexec_file_load) or ``load`` (kexec_load).
    """

    kind: Literal["kexec", "crash"] = "kexec"
    syscall: Literal["file", "load"] = "file"

    def __str__(self) -> str:
        name = "crash kernel" if self.kind == "crash" else "kexec"
        return name if self.syscall == "file" else f"{name} by kexec_load"


@dataclass
class Trip:
    """One restart, as it was seen; times in seconds since it was asked for.

    Attributes:
        to: what was started, ``payload`` or a kernel's name; ``run_id``: that it must prove.
        image: physical addresses of the first and last byte of what was loaded, where known.
        refused: what loading it was refused with; nothing was started then.
        console: everything since it was asked for.
        found_run_id: that of the kernel that answers now; empty for none.
        dmesg: of the kernel that arrived.
        stalled_s: the longest that this host or the emulator stood still meanwhile.
        began_s: the monotonic time at which it was asked for.
        powered: whether the board has power; None where that can't be told.
        trouble: why the payload that arrived can't be asked; ``no_cargo``: why it can't
            start a kernel; ``lost``: the tree is good and the bundle is not what was sent.
        linux, payload, cargo: what arrived.
    """

    way: Way
    sender: Boot
    to: str
    run_id: str = ""
    image: tuple[int, int] | None = None
    refused: errors.HilagentError | None = None
    console: bytes = b""
    found_run_id: str = ""
    dmesg: str = ""
    load_s: float = 0.0
    left_s: float | None = None
    first_s: float | None = None
    ready_s: float | None = None
    waited_s: float = 0.0
    stalled_s: float = 0.0
    powered: bool | None = None
    began_s: float = 0.0
    trouble: str = ""
    no_cargo: str = ""
    lost: bool = False
    linux: Linux | None = None
    payload: Payload | None = None
    cargo: Cargo | None = None

    def since_s(self) -> float:
        """Return the seconds since it was asked for."""
        return SYSTEM.now_s() - self.began_s

    @property
    def arrived(self) -> bool:
        """Whether what was started answers."""
        return self.linux is not None or self.payload is not None


class Restarts:
    """What the session does for a restart.

    Args:
        image: returns the payload's Image.
        connect: waits for a payload that says so itself on the line, by the deadline.
    """

    def __init__(
        self,
        bench: LinuxBench,
        journal: Journal,
        console: Callable[[], Console],
        image: Callable[[], bytes],
        connect: Callable[[Line, Deadline], Payload],
    ) -> None:
        self._bench, self._journal, self._console = bench, journal, console
        self._image, self._connect = image, connect

    def into_linux(self, running: Linux, way: Way, boot: Boot) -> Trip:
        """Make ``running`` start ``boot``, and see what comes of it.

        Raises:
            errors.LabError: the upload failed, or what arrived doesn't answer by SSH.
        """
        built, trip = self._bench.prepare(boot), Trip(way, running.boot, boot.kernel, new_run_id())
        cmdline = self._bench.cmdline(boot, trip.run_id, crash=way.kind == "crash")
        image, initrd = built.kernel.image.read_bytes(), built.initrd()
        if not self._load(running, trip, image, initrd, cmdline, len(initrd)):
            return trip

        def arrive(line: Line) -> None:
            position = line.position
            self._until_ready(trip, boot, line, self._bench.boot_timeout_s)
            if trip.ready_s is not None:
                trip.linux = self._bench.reach(boot, trip.run_id, position)
                trip.found_run_id, trip.dmesg = trip.run_id, self._bench.dmesg(trip.linux)

        return self._travel(running, trip, arrive)

    def into_payload(self, running: Linux, way: Way, boot: Boot) -> Trip:
        """Make ``running`` start the payload, with ``boot`` in a bundle as its initrd."""
        from hilagent.deploy import bundle
        from hilagent.payload import cargo

        trip = Trip(way, running.boot, "payload", new_run_id())
        data, cmdline = self._bundle(boot, trip), f"hilagent.run={trip.run_id}"
        retained = len(self._bench.prepare(boot).initrd())
        if not self._load(running, trip, self._image(), data, cmdline, retained):
            return trip
        index = bundle.parse_index(data[: bundle.HEAD_BYTES], len(data))

        def arrive(line: Line) -> None:
            trip.payload = self._connect(line, Deadline.after(PAYLOAD_S))
            trip.ready_s = trip.first_s = trip.since_s()
            try:
                trip.cargo = cargo.look(trip.payload, expect=index)
            except (errors.LinkError, errors.BoardReset):
                raise
            except errors.LabError as exc:  # entered with a wrong tree, it has no bundle either
                trip.no_cargo, trip.lost = exc.message, isinstance(exc, cargo.BundleLost)

        return self._travel(running, trip, arrive)

    def home(self, payload: Payload, trip: Trip, boot: Boot) -> Linux:
        """Let the payload start the kernel that came along; return it when it answers."""
        from hilagent.payload.handover import hand_over

        if trip.cargo is None:
            raise errors.StateError(trip.no_cargo or "this payload was entered without a bundle")
        began_s = SYSTEM.now_s()
        with self._journal.step("the payload starts the kernel") as share:
            done = hand_over(payload, trip.cargo, progress=parts(share))
        line = self._console().take("Linux, from the payload")
        linux = self._bench.arrived(boot, trip.run_id, line)
        took_s = SYSTEM.now_s() - began_s
        self._journal.observation("handover", boot=str(boot), took_s=took_s, done=done)
        return linux

    def _bundle(self, boot: Boot, trip: Trip) -> bytes:
        """Return a bundle that carries ``boot`` along, for this trip."""
        from hilagent.deploy import bundle

        built = self._bench.prepare(boot)
        cmdline = self._bench.cmdline(boot, trip.run_id, crash=trip.way.kind == "crash")
        members = {
            "kernel": built.kernel.image.read_bytes(),
            "rootfs": built.initrd(),
            "cmdline": cmdline.encode(),
        }
        return bundle.pack(members)

    def _load(
        self, running: Linux, trip: Trip, image: bytes, initrd: bytes, cmdline: str, retained: int
    ) -> bool:
        """Load what comes next; False where the kernel refused it."""
        began_s, way = SYSTEM.now_s(), trip.way
        with self._journal.step(f"upload and load for a {way}") as share:
            try:
                trip.image = running.system.kexec_load(
                    image,
                    initrd=initrd,
                    cmdline=cmdline,
                    crash=way.kind == "crash",
                    syscall=way.syscall,
                    retained=retained,
                    deadline=Deadline.after(LOAD_S),
                    progress=parts(share),
                )
            except (errors.Unsupported, errors.TargetError) as refusal:
                trip.refused = refusal
        trip.load_s = SYSTEM.now_s() - began_s
        return trip.refused is None

    def _travel(self, running: Linux, trip: Trip, arrive: Callable[[Line], None]) -> Trip:
        """Start the restart, wait for who comes, and gather what was seen.

        Raises:
            errors.LinkError: SSH was lost before anybody was waited for; or the console, at
                any time, on a board that still has power.
        """
        line = self._console().take(f"whoever comes after {running.boot}")
        line.skip()
        start, trip.began_s, asked = line.position, SYSTEM.now_s(), False
        try:
            goes = self._jump(running, trip, line)
            asked = True
            if goes:
                arrive(line)
        except _GONE as exc:  # told by the trip: nothing arrived
            cable = line.console.lost is not None and self._bench.powered() is not False
            if isinstance(exc, errors.LinkError) and (cable or not asked):
                raise  # SSH, or the console: of no kernel it says anything
        except errors.PreconditionError as exc:
            trip.trouble = exc.message
        except errors.TargetCrash:
            line.expect([rb"end Kernel panic"], Deadline.after(TAIL_S), crashes=False)
        trip.waited_s = trip.since_s()
        trip.console = line.console.cut(start, _MOST_CONSOLE)[1]
        trip.stalled_s, trip.powered = self._bench.stalled_s(trip.began_s), self._bench.powered()
        if not trip.arrived:
            trip.found_run_id = self._found(running, trip)
        self._journal.observation("restart", **_record(trip))
        return trip

    def _found(self, running: Linux, trip: Trip) -> str:
        """Return the run id of the old or the new kernel, if either answers; else empty.

        The new one may be there although the console lost its word.
        """
        mine = {running.run_id} if trip.to == "payload" else {running.run_id, trip.run_id}
        found = self._bench.who()
        return found if found in mine else ""

    def _jump(self, running: Linux, trip: Trip, line: Line) -> bool:
        """Ask for the restart; return whether anything can come of it."""
        deadline = Deadline.after(EXEC_S)
        if trip.way.kind == "kexec":
            running.system.kexec_exec(deadline=deadline)
            return True
        running.system.crash(deadline=deadline)
        if line.expect([_CRASHED], deadline, crashes=False) is None:
            return False
        line.forgive(line.position)
        return True

    def _until_ready(self, trip: Trip, boot: Boot, line: Line, seconds: float) -> None:
        """Wait for the word of the kernel of this trip; note when it passed what.

        Raises:
            errors.LabError: it runs, but has no network.
        """
        deadline, up, position = Deadline.after(seconds), False, line.position
        while found := line.expect([READY, _LEFT, FIRST, UP], deadline):
            now_s = trip.since_s()
            if found.index == 1 and trip.left_s is None:
                trip.left_s = now_s
            elif found.index == 2 and trip.first_s is None:
                trip.first_s = now_s
            elif found.index == 0 and found.groups[0] == trip.run_id.encode():
                trip.ready_s = now_s
                return
            elif found.index == 3:
                up = up or found.groups[0] == trip.run_id.encode()
        if up:
            check_network(boot, line, position, seconds)


def _record(trip: Trip) -> dict[str, object]:
    """Return what the journal keeps of a trip."""
    times = ("load_s", "left_s", "first_s", "ready_s", "waited_s", "stalled_s")
    out: dict[str, object] = {name: getattr(trip, name) for name in times}
    out |= {"way": str(trip.way), "sender": str(trip.sender), "to": trip.to}
    out |= {"run_id": trip.run_id, "found_run_id": trip.found_run_id, "arrived": trip.arrived}
    if trip.payload is not None:
        out["entry"] = dict(trip.payload.cpus()[0].entry)
    return out
