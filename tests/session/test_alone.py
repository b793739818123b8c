# SPDX-License-Identifier: Apache-2.0
"""There and back over SSH: who answers afterwards, with which results, and who is to blame."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from hilagent import board as boards
from hilagent import errors
from hilagent.build.given import Paths
from hilagent.clock import Deadline
from hilagent.deploy import bundle, devicetree
from hilagent.deploy.devicetree import Node, Tree
from hilagent.journal import Journal
from hilagent.link import wire
from hilagent.payload.alone import Restarted, Vanished
from hilagent.payload.batch import PROPERTY, Batch
from hilagent.payload.places import Range
from hilagent.session.alone import Trips, refuse_kernels, trips_of
from hilagent.session.linux import Boot
from hilagent.session.own import OwnSystem
from hilagent.session.settings import Request, look_up
from hilagent.testing.ssh import SshServer
from hilagent.transport import known
from hilagent.transport.ssh_target import Target
from tests.build import test_given
from tests.linux import fake_board, test_acpi
from tests.payload import tripping
from tests.session import lone as lones
from tests.session.lone import FDT, IMAGE, IOMEM, Board, Change, Lone, LoneBench, places, tree
from tests.session.test_linux import Switch
from tests.session.test_own import board_of


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Board]:
    for name in (known.ENVIRONMENT, "HILAGENT_STATE"):
        monkeypatch.setenv(name, str(tmp_path / name))
    root = fake_board.make(tmp_path / "board")
    fake_board.write(root / FDT, "")
    fake_board.write(root / "proc/iomem", IOMEM)
    with SshServer(root=root) as server:
        (key,) = known.read(server.target("own/os").known_hosts)["own/os"]
        known.pin(known.path_of("own"), "own/os", key)
        board = Board(root, server)
        board.shows(devicetree.build(tree()))
        yield board


@pytest.fixture
def lone(board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lone:
    described, journal, switch = board_of(board.server), Journal(tmp_path), cast(Any, Switch())
    monkeypatch.setattr(OwnSystem, "kexec", board.kexec)
    own = OwnSystem(described, journal, switch, lambda: cast(Any, None))
    bench = LoneBench(described, journal, switch, lambda: cast(Any, None), lambda since_s: 0.0,
                      tmp_path)  # fmt: skip
    bench.at = board.server.target("own/rootfs")
    trips = Trips(described, journal, own, bench, Boot(), pause=lambda seconds: None)
    return Lone(trips, own, bench)


def asked() -> Batch:
    batch = Batch(0x77)
    batch.ask(wire.Op.ECHO, b"four", reply=16)
    return batch


def test_the_results_are_those_of_the_kernel_that_was_sent_along(board: Board, lone: Lone) -> None:
    answers = lone.go(asked(), b"vectors")
    assert answers.body(1) == b"four"
    members = bundle.unpack(board.bundles[0])
    assert (members["kernel"], members["rootfs"], members["vectors"]) == (IMAGE, IMAGE, b"vectors")
    ops = [each.op for each in tripping.requests(members["jobs"])]
    assert ops[-2:] == [wire.Op.NEXT, wire.Op.RESET], "it resets where it can't go on"


def test_the_next_tree_is_the_boards_own_with_another_chosen(board: Board, lone: Lone) -> None:
    lone.go(asked())
    lone.go(asked())  # from a tree that has results already
    found = devicetree.parse(bundle.unpack(board.bundles[1])["dtb"])
    chosen = found.node("/chosen")
    assert chosen is not None
    assert found.reserve == tree().reserve
    assert not any(chosen.props[PROPERTY]), "nothing of an earlier trip is in the place for results"
    to = places(board.bundles[1])
    assert chosen.number("linux,initrd-start", 0) == to["rootfs"]
    assert chosen.number("linux,initrd-end", 0) == to["rootfs"] + len(IMAGE)
    taken = [Range(to[name], to[f"{name}_size"]) for name in ("image", "rootfs", "dtb")]
    assert all(each.start >= 0x60000000 and each.end <= 0x80000000 for each in taken)
    assert not any(a.overlaps(b) for a, b in itertools.combinations(taken, 2))


def test_the_payload_is_asked_by_trips(board: Board, lone: Lone) -> None:
    board.trips.traits = dataclasses.replace(board.trips.traits, cpus=4)
    numbers = itertools.count(0x100)
    payload = lone.trips.payload(lone.own.reach(), IMAGE, lambda: next(numbers))
    assert [each.cpu for each in payload.start_cpus()] == [0, 1, 2, 3]
    payload.vectors(wire.Target.SLOT, b"vectors!")
    assert payload.hvc(1).after.imm == 1
    assert len(board.bundles) == 2


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (lambda raw: raw[:40] + bytes([raw[40] ^ 1]) + raw[41:], "do not keep their CRC"),
        (lambda raw: bytes(len(raw)), "did not come to the end of its batch"),
        (lambda raw: raw[:100] + bytes(len(raw) - 100), "do not keep their CRC"),
    ],
    ids=["damaged", "none", "torn"],
)
def test_results_that_are_none_are_the_labs(
    board: Board, lone: Lone, changes: Change, said: str
) -> None:
    board.changes = changes
    with pytest.raises(errors.LabError, match=said):
        lone.go(asked())


def test_results_of_another_run_are_the_labs(board: Board, lone: Lone) -> None:
    kept: list[bytes] = []

    def keep(raw: bytes) -> bytes:
        kept.append(raw)
        return raw

    board.changes = keep
    lone.go(asked())
    board.changes = lambda raw: kept[0]
    other = Batch(0x78)
    other.ask(wire.Op.ECHO, b"four", reply=16)
    with pytest.raises(errors.LabError, match="of an earlier boot"):
        lone.go(other)


def test_the_system_from_before_is_waited_out(board: Board, lone: Lone) -> None:
    """It may answer for a moment; by its run id it can't pass for the next one."""
    board.comes = False
    looks = iter(range(9))

    def pause(seconds: float) -> None:
        if next(looks) == 2:
            board.comes = True
            board.kexec(None, IMAGE, board.bundles[0])

    lone.trips._pause = pause
    assert lone.go(asked()).body(1) == b"four"
    assert next(looks) == 3


def test_a_board_that_restarts_is_told_from_one_that_never_comes(board: Board, lone: Lone) -> None:
    board.comes = False
    lone.trips._pause = lambda seconds: board.restarts()
    with pytest.raises(Restarted, match="restarted instead"):
        lone.go(asked())


@pytest.mark.parametrize(("stands_s", "kind"), [(0.0, Vanished), (5.0, errors.HostOverloaded)])
def test_a_kernel_that_never_comes_accuses_nobody_by_itself(
    board: Board,
    lone: Lone,
    stands_s: float,
    kind: type[errors.LabError],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    board.comes, lone.bench.stands_s = False, stands_s
    monkeypatch.setattr(lone.trips, "_deadline", lambda batch: Deadline.after(0.5))
    with pytest.raises(kind, match="patched did not come after the payload"):
        lone.go(asked())
    with pytest.raises(errors.StateError):
        lone.trips._go(asked(), b"")


def test_a_board_that_lost_its_power_is_not_waited_for(
    board: Board, lone: Lone, monkeypatch: pytest.MonkeyPatch
) -> None:
    board.comes = False
    monkeypatch.setattr(lone.bench, "powered", lambda: False)
    with pytest.raises(errors.LabError, match="lost its power") as caught:
        lone.go(asked())
    assert not isinstance(caught.value, Vanished)


def test_its_own_system_has_another_key_at_the_same_address(board: Board, lone: Lone) -> None:
    other = Target(board.server.host, board.server.port, "root", board.server.key_file,
                   "own/rootfs", board.root / "pinned")  # fmt: skip
    with SshServer() as stranger:
        (key,) = known.read(stranger.target("x").known_hosts)["x"]
        known.pin(other.known_hosts, "own/rootfs", key)
    lone.bench.at = other
    board.comes = False
    lone.trips._pause = lambda seconds: board.restarts()
    with pytest.raises(Restarted):
        lone.go(asked())


def test_tables_that_the_interrupt_controller_writes_are_reserved_and_avoided(
    board: Board, lone: Lone
) -> None:
    table = 0x60200000
    said = f"<6>[    0.1] GICv3: using LPI property table @0x{table:016x}\n"
    (board.root / "log").write_text(fake_board.LOG + said)
    lone.go(asked())
    found = devicetree.parse(bundle.unpack(board.bundles[0])["dtb"])
    assert (table, 0x10000) in found.reserve
    to = places(board.bundles[0])
    for name in ("image", "rootfs", "dtb"):
        assert not Range(to[name], to[f"{name}_size"]).overlaps(Range(table, 0x10000))


@pytest.mark.parametrize("its", [True, False])
def test_a_log_that_has_lost_where_they_are_is_a_precondition(
    board: Board, lone: Lone, its: bool
) -> None:
    (board.root / "log").write_text("<6>[   99.0] the ring is full of other things\n")
    changed = tree()
    if its:
        changed.root.children.append(Node("its", {"compatible": b"arm,gic-v3-its\0"}))
    board.shows(devicetree.build(changed))
    if its:
        with pytest.raises(errors.PreconditionError, match="its log doesn't say where"):
            lone.go(asked())
    else:
        lone.go(asked())


def test_memory_that_is_taken_is_avoided(board: Board, lone: Lone) -> None:
    (board.root / "proc/iomem").write_text(
        "40000000-7fffffff : System RAM\n  60000000-6fffffff : reserved\n"
    )
    lone.go(asked())
    to = places(board.bundles[0])
    assert min(to["image"], to["rootfs"], to["dtb"]) >= 0x70000000


def test_a_system_that_has_no_el2_has_none_to_give(board: Board, lone: Lone) -> None:
    log = fake_board.LOG.replace("started at EL2", "started at EL1")
    (board.root / "log").write_text(log)
    with pytest.raises(errors.PreconditionError, match="entered at EL1"):
        lone.trips.payload(lone.own.reach(), IMAGE, lambda: 1)
    assert board.bundles == []


def test_a_board_without_psci_needs_a_console(board: Board, lone: Lone) -> None:
    described = lone.trips._board
    payload = dataclasses.replace(described.payload, psci="none")
    lone.trips._board = dataclasses.replace(described, payload=payload)
    with pytest.raises(errors.Unsupported, match="declares no PSCI"):
        lone.trips.payload(lone.own.reach(), IMAGE, lambda: 1)


def test_a_kernel_that_does_not_say_its_size_is_not_sent(
    board: Board, lone: Lone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lones, "IMAGE", IMAGE[:16] + bytes(8) + IMAGE[24:])
    with pytest.raises(errors.PreconditionError, match="doesn't say its size"):
        lone.go(asked())
    assert board.bundles == []


def test_kernels_are_not_tested_where_nobody_hears_them() -> None:
    refuse_kernels(boards.load("qemu-virt"))
    with pytest.raises(errors.Unsupported, match="qemu-virt-ssh has no console"):
        refuse_kernels(boards.load("qemu-virt-ssh"))


@pytest.mark.parametrize(
    ("name", "kernels", "own", "boot"),
    [
        ("qemu-virt-ssh-acpi", (), False, "debian"),
        ("qemu-virt-ssh", (), False, "patched"),
        ("qemu-virt-ssh-acpi", ("unpatched",), False, "unpatched"),
        ("qemu-virt-ssh-acpi", (), True, "given"),
    ],
)
def test_the_next_kernel_is_the_boards_own_unless_one_is_asked_for(
    name: str, kernels: tuple[str, ...], own: bool, boot: str, tmp_path: Path
) -> None:
    image = tmp_path / "Image"
    image.write_bytes(test_given.IMAGE)
    paths = Paths(image=image) if own else None
    request = Request(board=name, kernels=kernels, own=paths, vectors=("reference-stub",))
    settings = look_up(request)
    nothing: Any = None
    assert trips_of(settings, nothing, nothing, nothing)._boot.kernel == boot


def test_a_board_with_acpi_alone_gets_a_tree_for_the_payload(board: Board, lone: Lone) -> None:
    stub = Tree(Node("", {}, [Node("chosen", {"linux,uefi-mmap-start": bytes(8)})]))
    board.shows(devicetree.build(stub))
    for name, raw in (("APIC", test_acpi.CPUS), ("FACP", test_acpi.fadt(1))):
        (board.root / "sys/firmware/acpi/tables").mkdir(parents=True, exist_ok=True)
        (board.root / "sys/firmware/acpi/tables" / name).write_bytes(raw)
    assert lone.go(asked()).body(1) == b"four"
    given = devicetree.parse(board.dtbs[0])
    assert [each.name for each in given.root.children] == [
        "chosen", "cpus", "psci", "memory@40000000",
    ]  # fmt: skip
    next_one = devicetree.parse(bundle.unpack(board.bundles[0])["dtb"])
    assert [each.name for each in next_one.root.children] == ["chosen"], "it has ACPI itself"
    chosen = next_one.node("/chosen")
    assert chosen is not None
    assert "linux,uefi-mmap-start" in chosen.props


def test_memory_that_is_hidden_is_said(board: Board, lone: Lone) -> None:
    (board.root / "proc/iomem").write_text("00000000-00000000 : System RAM\n")
    with pytest.raises(errors.LabError, match="shows no memory"):
        lone.go(asked())
