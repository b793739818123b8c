# SPDX-License-Identifier: Apache-2.0
"""The way back into a kernel, against a scripted payload; each refusal was printed once."""

from __future__ import annotations

import dataclasses
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from hilagent import errors
from hilagent.build import compile as compiling
from hilagent.build import sources
from hilagent.deploy import bundle, devicetree
from hilagent.deploy.devicetree import Node, Tree
from hilagent.link import wire
from hilagent.payload import Payload
from hilagent.payload.cargo import CORE, USABLE, BundleLost, foreign_cpus, look, read_member
from hilagent.payload.handover import hand_over, next_tree
from hilagent.payload.mover import Mover
from hilagent.payload.places import Range
from hilagent.testing import Traits, twin
from hilagent.testing.jobs import GOOD
from hilagent.testing.memory import Memory
from tests.payload.bench import Bench, bench

MIB = 1 << 20
RAM = Range(0x4000_0000, 192 * MIB)
DTB, AT = 0x4800_0000, 0x4900_0000
REGION = Range(0x4600_0000, 80 * MIB)
CORE_AT = Range(0x4AF0_0000, 4096)


def image(size: int = 70_000, memory: int = 3 * MIB, flags: int = 0xA) -> bytes:
    head = struct.pack("<IIQQQ", 0x14000010, 0, 0, memory, flags) + bytes(24) + b"ARM\x64\0\0\0\0"
    return head + bytes(n * 7 & 255 for n in range(size - len(head)))


MEMBERS = {
    "kernel": image(), "rootfs": bytes(range(251)) * 300, "cmdline": b"console=ttyAMA0 a=b",
    "vectors": b"\x1f\x20\x03\xd5" * 512,
}  # fmt: skip


@dataclass
class Board:
    """A scripted payload as a kexec entered it: its memory, tree and bundle."""

    members: dict[str, bytes] = field(default_factory=lambda: dict(MEMBERS))
    traits: Traits = GOOD
    chosen: dict[str, bytes] = field(default_factory=dict)
    crash: bool = False
    more: list[Node] = field(default_factory=list)
    reserve: list[tuple[int, int]] = field(default_factory=list)

    def start(self) -> Board:
        self.bundle = bundle.pack(self.members)
        self.index = bundle.parse_index(self.bundle, len(self.bundle))
        self.bench: Bench = bench(self.traits, functions=self._functions())
        self.memory = self.bench.twin.memory = Memory({RAM.start: RAM.size})
        self.memory.write(DTB, devicetree.build(self.tree()))
        self.memory.write(AT, self.bundle)
        return self

    def tree(self) -> Tree:
        chosen = {
            "linux,initrd-start": AT.to_bytes(8, "big"), "kaslr-seed": bytes(8),
            "linux,initrd-end": (AT + len(self.bundle)).to_bytes(8, "big"), "rng-seed": b"old",
            "linux,booted-from-kexec": b"", "bootargs": b"x\0", "stdout-path": b"/pl011\0",
        }  # fmt: skip
        if self.crash:
            chosen[USABLE] = struct.pack(">QQ", REGION.start, REGION.size)
            chosen[CORE] = struct.pack(">QQ", CORE_AT.start, CORE_AT.size)
        cells = {"#address-cells": struct.pack(">I", 2), "#size-cells": struct.pack(">I", 2)}
        memory = {"device_type": b"memory\0", "reg": struct.pack(">QQ", RAM.start, RAM.size)}
        nodes = [Node("chosen", chosen | self.chosen), Node("memory@40000000", memory), *self.more]
        reserve = [(AT, len(self.bundle)), *self.reserve]
        return Tree(Node("", cells, nodes), reserve)

    def connect(self) -> Payload:
        return self.bench.connect()

    def _functions(self) -> dict[int, Callable[..., int]]:
        """What the uploaded code does, in Python."""
        source = sources.firmware_dir() / "uploaded" / "mover.S"
        symbols = compiling.compile_blob(source).symbols
        does: dict[str, Callable[..., int]] = {
            "copy": self._copy,
            "clean": lambda *args: 0,
            "crc": self._crc,
        }
        return {twin.SCRATCH + symbols[name]: does[name] for name in does}

    def _copy(self, to: int, start: int, size: int, *_: int) -> int:
        self.memory.write(to, self.memory.read(start, size))
        return 0

    def _crc(self, crc: int, start: int, size: int, *_: int) -> int:
        return zlib.crc32(self.memory.read(start, size), crc)


def booted(board: Board) -> dict[str, int]:
    fields = board.bench.twin.booted
    assert fields is not None
    return {name: value for name, value in fields.items() if isinstance(value, int)}


def test_kernel_initrd_and_tree_are_where_the_payload_jumps_to() -> None:
    board = Board().start()
    payload = board.connect()
    shown: list[tuple[int, int]] = []
    done = hand_over(
        payload, look(payload, board.index), cmdline="quiet",
        progress=lambda now, total: shown.append((now, total)),
    )  # fmt: skip
    jump = booted(board)
    assert (jump["addr"], jump["x0"], jump["el"]) == (done.places.image, done.places.dtb, 2)
    assert (jump["x1"], jump["x2"], jump["x3"], jump["flags"]) == (0, 0, 0, 0)
    kernel, rootfs = MEMBERS["kernel"], MEMBERS["rootfs"]
    assert board.memory.read(done.places.image, len(kernel)) == kernel
    assert board.memory.read(done.places.initrd, len(rootfs)) == rootfs
    tree = devicetree.parse(board.memory.read(done.places.dtb, 4096))
    chosen = tree.node("/chosen")
    assert chosen is not None
    assert chosen.text("bootargs") == done.cmdline == "quiet"
    assert chosen.number("linux,initrd-start", 0) == done.places.initrd
    assert chosen.number("linux,initrd-end", 0) == done.places.initrd + len(rootfs)
    assert shown[-1] == (len(kernel) + len(rootfs),) * 2
    with pytest.raises(errors.StateError, match="it booted another image"):
        payload.echo(b"")


def test_nothing_that_was_alive_is_written() -> None:
    board = Board(reserve=[(0x4000_0000, 32 * MIB)]).start()
    payload = board.connect()
    cargo = look(payload)
    before = board.memory.read(AT, len(board.bundle))
    tree = board.memory.read(DTB, 4096)
    done = hand_over(payload, cargo)
    assert board.memory.read(AT, len(board.bundle)) == before
    assert board.memory.read(DTB, 4096) == tree
    assert done.cmdline == "console=ttyAMA0 a=b"
    assert min(done.places.image, done.places.initrd, done.places.dtb) >= 0x4200_0000


def test_the_kexecs_leftovers_stay_behind() -> None:
    board = Board(reserve=[(0x4010_0000, 0x1000), (CORE_AT.start, CORE_AT.size)],
                  chosen={"linux,ima-kexec-buffer": b"x"}).start()  # fmt: skip
    cargo = look(board.connect())
    tree = next_tree(cargo.tree, cargo, "quiet", Range(0, 0))
    chosen = tree.node("/chosen")
    assert chosen is not None
    assert set(chosen.props) == {"bootargs", "stdout-path", "kaslr-seed", "rng-seed"}
    assert chosen.props["kaslr-seed"] != bytes(8)
    assert len(chosen.props["rng-seed"]) == 64
    assert tree.reserve == board.reserve  # others' reservations, without the bundle's
    assert cargo.tree == board.tree()  # the cargo's own is not touched


def test_after_a_crash_everything_stays_inside_the_region() -> None:
    board = Board(crash=True).start()
    payload = board.connect()
    cargo = look(payload)
    assert cargo.crash
    done = hand_over(payload, cargo)
    assert done.crash
    for each in done.places.ranges(done.sizes):
        assert REGION.start <= each.start
        assert each.end <= REGION.end
        assert not each.overlaps(CORE_AT)
    tree = devicetree.parse(board.memory.read(done.places.dtb, 4096))
    chosen = tree.node("/chosen")
    assert chosen is not None
    assert chosen.props[USABLE] == struct.pack(">QQ", REGION.start, REGION.size)
    assert chosen.props[CORE] == struct.pack(">QQ", CORE_AT.start, CORE_AT.size)


def test_a_cpu_left_in_the_kernel_before_us_is_a_refusal_but_after_a_crash() -> None:
    traits = Traits(elsewhere=frozenset({2}))
    board = Board(traits=traits).start()
    payload = board.connect()
    states = payload.cpu_states()
    assert (states[1], states[2]) == (wire.CpuState.OFF, wire.CpuState.ELSEWHERE)
    assert foreign_cpus(payload, look(payload)) == (2,)
    assert [cpu.cpu for cpu in payload.start_cpus(elsewhere=(2,))] == [0, 1, 3]
    with pytest.raises(errors.PreconditionError, match="no handover: CPU 2 still runs in the k"):
        hand_over(payload, look(payload))
    assert payload.echo(b"still here") == b"still here"
    board = Board(traits=traits, crash=True).start()
    payload = board.connect()
    assert hand_over(payload, look(payload)).elsewhere == (2,)


def test_after_a_crash_without_firmware_to_ask_no_other_cpu_is_touched() -> None:
    """On a spin-table board they wait in the dead kernel's loop: CPU_START would wait for ever."""
    for crash, left in ((True, (1, 2, 3)), (False, ())):
        payload = Board(crash=crash).start().connect()
        payload.hello = dataclasses.replace(payload.hello, psci_conduit=0)
        assert foreign_cpus(payload, look(payload)) == left
        assert foreign_cpus(payload, None, crash=crash) == left


def test_a_cpu_that_never_came_out_of_a_dead_kernel_is_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without PSCI it stays STARTING: after a crash that is its grave, else it may still come."""
    states = dict.fromkeys(range(4), wire.CpuState.STARTING) | {0: wire.CpuState.READY}
    for crash in (True, False):
        payload = Board(crash=crash).start().connect()
        payload.hello = dataclasses.replace(payload.hello, psci_conduit=0)
        monkeypatch.setattr(payload, "cpu_states", lambda: states)
        cargo = look(payload)
        if crash:
            monkeypatch.setattr(payload, "stop_cpus", lambda: None)
            assert hand_over(payload, cargo).elsewhere == (1, 2, 3)
            continue
        with pytest.raises(errors.PreconditionError, match="CPU 1, 2, 3 still runs"):
            hand_over(payload, cargo)


@pytest.mark.parametrize("own", [True, False])
def test_a_board_that_was_booted_by_efi_is_refused(own: bool) -> None:
    """Memory that its firmware keeps is in EFI's map alone."""
    efi = {"linux,uefi-system-table": bytes(8)}
    template = devicetree.build(Tree(Node("", {}, [Node("chosen", dict(efi))])))
    members = {**MEMBERS, "dtb": template} if own else MEMBERS
    board = Board(members=members, chosen={} if own else efi).start()
    payload = board.connect()
    with pytest.raises(errors.PreconditionError, match=r"booted by EFI \(linux,uefi-system-table"):
        hand_over(payload, look(payload))
    assert board.bench.twin.booted is None


def test_the_page_that_spin_table_cpus_wait_in_is_reserved() -> None:
    board = Board().start()
    payload = board.connect()
    payload.hello = dataclasses.replace(payload.hello, psci_conduit=0)
    done = hand_over(payload, look(payload))
    tree = devicetree.parse(board.memory.read(done.places.dtb, 4096))
    assert (payload.hello.image, 4096) in tree.reserve


def test_cpus_that_cannot_be_switched_off_are_a_refusal() -> None:
    board = Board(traits=Traits(no_cpu_off=True)).start()
    payload = board.connect()
    payload.start_cpus()
    with pytest.raises(errors.PreconditionError, match=r"other CPUs can.t be sent away .*REFUSED"):
        hand_over(payload, look(payload))
    assert board.bench.twin.booted is None


def test_every_started_cpu_is_off_before_the_jump() -> None:
    board = Board().start()
    payload = board.connect()
    payload.start_cpus()
    payload.move_link(1)
    hand_over(payload, look(payload))
    ops = board.bench.twin.executed
    assert ops[-4:] == [wire.Op.CPU_STOP, wire.Op.CPU_STOP, wire.Op.CPU_STOP, wire.Op.BOOT]
    assert ops.count(wire.Op.LINK_MOVE) == 2  # the kernel starts where the kexec left from


def test_a_bundle_broken_on_the_way_and_a_copy_that_breaks_it_are_told_apart() -> None:
    board = Board().start()
    at = AT + board.index.entries["kernel"].offset + 5000
    board.memory.write(at, b"!!")
    payload = board.connect()
    with pytest.raises(BundleLost, match="the bundle's kernel came along broken"):
        hand_over(payload, look(payload))
    board = Board().start()
    board._copy = lambda to, start, size, *_: 0  # type: ignore[method-assign]
    board.bench.twin.functions.update(board._functions())
    payload = board.connect()
    with pytest.raises(errors.LabError, match="the bundle's kernel was broken by the copy") as exc:
        hand_over(payload, look(payload))
    assert not isinstance(exc.value, BundleLost)


def test_another_bundle_than_the_one_that_was_sent_is_refused() -> None:
    board = Board().start()
    other = bundle.pack({**MEMBERS, "cmdline": b"older"})
    with pytest.raises(BundleLost, match="not the one that was sent"):
        look(board.connect(), bundle.parse_index(other, len(other)))
    board = Board().start()
    board.memory.write(AT, b"!!")
    with pytest.raises(BundleLost, match="no bundle of this program"):
        look(board.connect(), board.index)


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"linux,initrd-start": bytes(8), "linux,initrd-end": bytes(8)}, "no bundle came along"),
        ({"linux,initrd-end": bytes(8)}, "no bundle came along"),
        ({"linux,initrd-end": b"\0\0\0\1" + bytes(4)}, "is not in the tree's memory"),
        ({"linux,initrd-start": (AT + 64).to_bytes(8, "big")}, "no bundle of this program"),
        ({CORE: struct.pack(">QQ", 0x4AF0_0000, 4096)}, "nothing is safe here"),
    ],
)
def test_what_came_along_is_looked_at(chosen: dict[str, bytes], said: str) -> None:
    board = Board(chosen=chosen).start()
    with pytest.raises(errors.LabError, match=said):
        look(board.connect())


@pytest.mark.parametrize(
    ("kernel", "said"),
    [
        (b"\x1f\x8b" + bytes(5000), "no uncompressed arm64 Image"),
        (image(memory=0), "no uncompressed arm64 Image that says its size"),
        (image(flags=0xB), "big-endian"),
        (image(flags=0x2), "the lowest memory"),
        (image(memory=300 * MIB), "no room for the next kernel"),
    ],
)
def test_a_kernel_that_cannot_be_started_is_refused(kernel: bytes, said: str) -> None:
    board = Board(members={**MEMBERS, "kernel": kernel}).start()
    payload = board.connect()
    with pytest.raises(errors.PreconditionError, match=said):
        hand_over(payload, look(payload))
    assert payload.echo(b"still here") == b"still here"


def test_the_bundles_own_tree_is_used_where_it_has_one() -> None:
    template = Tree(Node("", {"model": b"template\0"}))
    board = Board(members={**MEMBERS, "dtb": devicetree.build(template)}).start()
    payload = board.connect()
    done = hand_over(payload, look(payload), cmdline="x")
    tree = devicetree.parse(board.memory.read(done.places.dtb, 4096))
    assert tree.root.text("model") == "template"
    assert tree.node("/chosen") is not None


def test_reserved_memory_and_spin_table_pages_are_left_alone() -> None:
    cells = {"#address-cells": struct.pack(">I", 2), "#size-cells": struct.pack(">I", 2)}
    firmware = Node("fw@40000000", {"reg": struct.pack(">QQ", 0x4000_0000, 0x10_0000)})
    cpu = Node("cpu@1", {"cpu-release-addr": struct.pack(">Q", 0x4010_00D8)})
    board = Board(more=[Node("reserved-memory", cells, [firmware]), Node("cpus", {}, [cpu])])
    cargo = look(board.start().connect())
    assert {Range(0x4000_0000, 0x10_0000), Range(0x4010_0000, 4096)} <= set(cargo.reserved())


def test_the_vectors_that_came_along_get_into_the_slot() -> None:
    board = Board().start()
    payload = board.connect()
    cargo = look(payload)
    where = cargo.member("vectors")
    Mover(payload).into_slot(where.start, where.size)
    payload.vectors(wire.Target.SLOT, read_member(payload, cargo, "vectors"), there=True)
    size = len(MEMBERS["vectors"])
    assert board.memory.read(payload.hello.slot, size) == MEMBERS["vectors"]
    with pytest.raises(errors.LabError, match="the bundle has no jobs"):
        read_member(payload, cargo, "jobs")


def test_a_copy_that_would_eat_its_own_source_is_a_mistake() -> None:
    mover = Mover(Board().start().connect())
    with pytest.raises(errors.UsageError, match="can't copy"):
        mover.copy(AT + 4096, AT, 8192)
