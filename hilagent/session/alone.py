# SPDX-License-Identifier: Apache-2.0
"""A board that nobody has a line to: there and back over SSH, with a batch of requests.

::

    its own system --kexec--> payload with a batch --'next'--> our kernel with the results
                                      ^                             |
                                      '------------- kexec ---------'

The bundle that travels as the initrd of the kexec holds the batch, the vectors under test,
the next kernel, its root file system and its device tree. What comes back is a property of
that tree: results of another run, or torn ones, are none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from threading import Event
from typing import TYPE_CHECKING

from hilagent import errors
from hilagent.board import Board
from hilagent.clock import SYSTEM, Deadline
from hilagent.journal import Journal, parts
from hilagent.session.linux import Boot, LinuxBench, new_run_id
from hilagent.session.own import KEXEC_S, OwnSystem

if TYPE_CHECKING:
    from hilagent.deploy.devicetree import Node, Tree
    from hilagent.linux.facts import KernelLine
    from hilagent.linux.system import System
    from hilagent.payload.alone import Alone
    from hilagent.payload.answers import Answers
    from hilagent.payload.batch import Batch
    from hilagent.payload.cargo import Cargo
    from hilagent.payload.places import Places, Sizes
    from hilagent.session.settings import Settings

FDT = "/sys/firmware/fdt"
_FILES = (FDT, "/proc/iomem", *(f"/sys/firmware/acpi/tables/{name}" for name in ("APIC", "FACP")))
JOB_S, EMPTY_S = 20.0, 10.0
"""What a batch may take: each job, as slow as an emulator is, and the rest."""
_ASK_S, _LOOK_S, _PACE_S, _LATE_S = 20.0, 20.0, 0.5, 1.0
_BEGINS = "Booting Linux on physical CPU"
_IMAGE_SIZE_AT, _TEXT_OFFSET_AT = 16, 8


class Trips:
    """Brings batches to the payload, and results back.

    Args:
        boot: the kernel that comes after the payload.
        pause: waits between two looks at who answers; a port that refuses has no event.
    """

    def __init__(
        self,
        board: Board,
        journal: Journal,
        own: OwnSystem,
        bench: LinuxBench,
        boot: Boot,
        pause: Callable[[float], object] | None = None,
    ) -> None:
        self._board, self._journal, self._own, self._bench = board, journal, own, bench
        self._boot, self._image = boot, b""
        self._pause = pause or Event().wait
        self._system: System | None = None

    def payload(self, system: System, image: bytes, run_id: Callable[[], int]) -> Alone:
        """Return the payload of a board whose own system has just been reached.

        Args:
            image: the payload's Image.
            run_id: draws the number of a batch.

        Raises:
            errors.Unsupported: the board has no PSCI: its CPUs could not be sent away, nor
                could it be reset where it can't go on.
            errors.PreconditionError: its kernel doesn't let anybody start another one, or
                the payload has no EL2 there.
            errors.LabError: an empty batch did not come back.
        """
        from hilagent.linux.facts import Entry
        from hilagent.payload.alone import Alone

        if self._board.payload.psci == "none":
            raise errors.Unsupported(
                f"{self._board.name} declares no PSCI: without a console the payload needs it, to"
                " send CPUs away, and to reset the board"
            )
        if system.facts(Deadline.after(_ASK_S)).entry is Entry.EL1:
            raise errors.PreconditionError(
                "the board's own system was entered at EL1, so that the payload would be, too",
                hint="firmware or boot loader gave EL2 away",
            )
        self._system, self._image = system, image
        alone = Alone(self._go, run_id=run_id, cpus=self._board.cpus)
        with self._journal.step("there and back, with an empty batch"):
            alone.begin()
        self._journal.write(
            "facts", payload_build_id=alone.hello.build_id, entry_el=alone.hello.entry_el,
            encoding=alone.encoding,
        )  # fmt: skip
        return alone

    def _go(self, batch: Batch, vectors: bytes) -> Answers:
        """Do a batch, see `hilagent.payload.alone.Go`."""
        from hilagent.deploy import devicetree
        from hilagent.link import memory
        from hilagent.linux import files

        system, run_id = self._system, new_run_id()
        if system is None:
            raise errors.StateError("the board is somewhere between two systems")
        self._system = None
        before = system.boot_id(Deadline.after(_ASK_S))
        found = files.read(system.connection, _FILES, Deadline.after(_ASK_S))
        bundle = self._bundle(system, found, batch, vectors, run_id)
        rootfs = self._bench.prepare(self._boot).initrd()  # at its end; our kernel retained it
        with self._journal.step("kexec the payload, with a batch") as share:
            self._own.kexec(
                system, self._image, bundle, progress=parts(share), retained=len(rootfs),
                dtb=_payloads_tree(found),
            )  # fmt: skip
        began_s = SYSTEM.now_s()
        with self._journal.step(f"wait for {self._boot}, with the results"):
            system = self._arrival(run_id, before, self._deadline(batch))
        tree = files.read(system.connection, [FDT], Deadline.after(_ASK_S)).get(FDT, b"")
        answers = batch.read_tree(devicetree.parse(tree))
        if answers.end == memory.BatchEnd.STUCK and (why := self._stalled(began_s)):
            raise errors.HostOverloaded(f"a job made no progress, but {why}")
        self._system = system
        return answers

    def _deadline(self, batch: Batch) -> Deadline:
        spec = self._board.linux
        assert spec is not None  # the board's file was refused without
        work_s = EMPTY_S + JOB_S * batch.jobs
        return Deadline.after(KEXEC_S + work_s + spec.boot_timeout_s + spec.ssh.timeout_s)

    def _bundle(
        self,
        system: System,
        found: Mapping[str, bytes],
        batch: Batch,
        vectors: bytes,
        run_id: str,
    ) -> bytes:
        from hilagent.deploy import bundle, devicetree
        from hilagent.link import wire
        from hilagent.linux import memory
        from hilagent.payload.handover import next_tree
        from hilagent.payload.places import Range, Sizes

        built = self._bench.prepare(self._boot)
        image, rootfs = built.kernel.image.read_bytes(), built.initrd()
        if _word(image, _IMAGE_SIZE_AT) < len(image):
            raise errors.PreconditionError(f"{self._boot}: its Image doesn't say its size")
        tree = devicetree.parse(found.get(FDT, b""))
        cargo = _cargo(tree, system.dmesg(Deadline.after(_ASK_S)))
        sizes = Sizes(_word(image, _IMAGE_SIZE_AT), _word(image, _TEXT_OFFSET_AT), len(rootfs),
                      devicetree.SIZE_MAX)  # fmt: skip
        places = _places(cargo, found.get(memory.IOMEM, b""), sizes)
        cmdline = self._bench.cmdline(self._boot, run_id, crash=True)
        initrd = Range(places.initrd, len(rootfs))
        dtb = batch.next_kernel(next_tree(tree, cargo, cmdline, initrd), places, sizes)
        batch.leave(wire.Op.RESET)
        return bundle.pack(
            {"kernel": image, "rootfs": rootfs, "dtb": dtb, "jobs": batch.pack(),
             "vectors": vectors}
        )  # fmt: skip

    def _arrival(self, run_id: str, before: str, deadline: Deadline) -> System:
        """Return the kernel of ``run_id`` once it answers; ``before`` is the boot that we left.

        Raises:
            Restarted: another boot of another system answers.
            Vanished: nobody does; HostOverloaded: nor could anybody have.
            errors.LabError: the board has no power any more.
        """
        from hilagent.payload.alone import Restarted, Vanished

        began_s = SYSTEM.now_s()
        why = "nobody answers by SSH"
        while not deadline.expired():
            if self._bench.powered() is False:
                raise errors.LabError("the board lost its power on the way")
            try:
                found, boot_id = self._who(run_id, deadline.sooner(_LOOK_S))
            except errors.LabError as exc:
                why = exc.message
            else:
                if found is not None:
                    return found
                if boot_id != before:
                    raise Restarted("the board restarted instead of starting the next kernel")
                why = "the system that was there before still answers"
            self._pause(min(_PACE_S, deadline.left_s()))
        if stood := self._stalled(began_s):
            raise errors.HostOverloaded(f"{self._boot} did not come after the payload, but {stood}")
        raise Vanished(
            f"{self._boot} did not come after the payload within {deadline.budget_s:g} s: {why}",
            hint="it may hang, or have lost its network: without a console nobody can see which",
        )

    def _who(self, run_id: str, deadline: Deadline) -> tuple[System | None, str]:
        """Return the kernel of ``run_id`` if it answers; else the boot id of who does."""
        from hilagent.linux.system import System
        from hilagent.transport import ssh

        target = self._bench.target()
        try:
            connection = ssh.connect(target, deadline)
        except errors.LabError:
            if deadline.expired():
                raise
            target = self._own.target()  # at the same address, with another key
            connection = ssh.connect(target, deadline)
        system, soon = System(connection, run_id), deadline.sooner(_ASK_S)
        try:
            if system.run(soon) == run_id:
                return system, ""
            boot_id = system.boot_id(soon)
        except BaseException:
            connection.close()
            raise
        connection.close()
        return None, boot_id

    def _stalled(self, since_s: float) -> str:
        stalled_s = self._bench.stalled_s(since_s)
        return f"this host stood still for {stalled_s:.1f} s" if stalled_s > _LATE_S else ""


def trips_of(settings: Settings, journal: Journal, own: OwnSystem, bench: LinuxBench) -> Trips:
    """Return the trips of a run: by the first kernel that was asked for; else by that which an
    emulated board boots itself, or by ours."""
    qemu = settings.board.qemu
    boot = settings.boots[0] if settings.boots else Boot()
    asked = settings.request.kernels or settings.request.own
    if qemu is not None and qemu.system is not None and not asked:
        boot = Boot(qemu.system)
    return Trips(settings.board, journal, own, bench, boot)


def refuse_kernels(board: Board) -> None:
    """Raise Unsupported where nobody would hear a kernel that is under test."""
    if board.console.kind == "none":
        raise errors.Unsupported(
            f"{board.name} has no console: kernels themselves are not tested by SSH alone"
        )


def _payloads_tree(found: Mapping[str, bytes]) -> bytes:
    """Return the tree that the payload gets; empty for the running kernel's own, which does.

    Raises:
        errors.PreconditionError: nothing says which CPUs there are.
    """
    from hilagent.deploy import devicetree
    from hilagent.linux import acpi, memory

    tree = devicetree.parse(found.get(FDT, b""))
    if not acpi.lacks(tree):
        return b""
    madt, fadt = found.get(acpi.MADT, b""), found.get(acpi.FADT, b"")
    ram = memory.ram(found.get(memory.IOMEM, b""))
    return devicetree.build(acpi.completed(tree, madt, fadt, ram))


def _cargo(tree: Tree, log: Sequence[KernelLine]) -> Cargo:
    """Return what a tree and its kernel's log say; nothing has come along yet.

    Raises:
        errors.PreconditionError: some memory is alive, and nobody knows where.
    """
    from hilagent.deploy.bundle import Index
    from hilagent.linux import memory
    from hilagent.payload.cargo import Cargo
    from hilagent.payload.places import Range

    tables = memory.lpi_tables(line.text for line in log)
    forgotten = not tables and _BEGINS not in "\n".join(line.text for line in log)
    if tables is None or (forgotten and _has_its(tree.root)):
        raise errors.PreconditionError(
            "its kernel gave the interrupt controller tables, which that goes on writing, and"
            " its log doesn't say where",
            hint="restart it, or boot it with a greater log_buf_len= or irqchip.gicv3_nolpi=1",
        )
    return Cargo(tree, Range(0, 0), Range(0, 0), Index({}, 0), lpi=tuple(tables or ()))


def _has_its(node: Node) -> bool:
    names = node.props.get("compatible", b"").split(b"\0")
    return b"arm,gic-v3-its" in names or any(map(_has_its, node.children))


def _places(cargo: Cargo, iomem: bytes, sizes: Sizes) -> Places:
    """Return places in the upper half of the memory: a kexec fills it from below.

    The payload refuses them where they meet itself or the bundle all the same.
    """
    from hilagent.linux import memory
    from hilagent.payload.places import Range, common, merged, plan

    ram = memory.ram(iomem)
    if not ram:
        raise errors.LabError("its /proc/iomem shows no memory", hint="is the user root there?")
    usable = common(merged(cargo.memory()), ram) if cargo.memory() else ram
    left, lower = sum(each.size for each in usable) // 2, []
    for each in usable:
        lower.append(Range(each.start, min(left, each.size)))
        left -= lower[-1].size
    taken = [*cargo.reserved(), *memory.taken(iomem), *cargo.lpi]
    return plan(usable, taken, lower, sizes)


def _word(image: bytes, at: int) -> int:
    return int.from_bytes(image[at : at + 8], "little")
