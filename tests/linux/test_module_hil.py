# SPDX-License-Identifier: Apache-2.0
"""The real module in a real kernel: what it sees, and what it survives."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from hilagent import errors
from hilagent.abi import load
from hilagent.build.module import build_module
from hilagent.build.rootfs import build_rootfs
from hilagent.clock import Deadline
from hilagent.link.wire import Seen
from hilagent.linux import records, wire
from hilagent.linux.exchange import LiveExchange
from hilagent.linux.probe import PASSES, Probe
from hilagent.linux.records import Record
from hilagent.linux.request import Request, for_contract
from hilagent.linux.wire import Effect, Feature, Flag, Landed, Op
from hilagent.transport.ssh import Connection
from tests import kernels
from tests.build.booted import booted, run

pytestmark = pytest.mark.hil

CPUS = (0, 1)
PROFILE = load("iss-6.12")
HOST_CALLS = range(0xC6000000, 0xC6000010)  # KVM's own, with arguments that make no sense
CONVERSATION = 'exec 3<>/dev/hilhvc && dd bs="$0" >&3 && cat <&3'


@contextlib.contextmanager
def _board(folder: Path, *words: str) -> Iterator[Connection]:
    kernel = kernels.built("patched")
    module = build_module(kernel, wire.c_header())
    rootfs = build_rootfs(kernel=kernel, module=module)
    with booted(folder, kernel, rootfs, *words) as machine, machine.connect() as board:
        yield board


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    with _board(tmp_path_factory.mktemp("boot")) as board:
        yield board


@pytest.fixture
def probe(board: Connection) -> Probe:
    return Probe(board)


def _restarted(probe: Probe, cpu: int, pass_no: int = 0) -> LiveExchange:
    contract = PROFILE.contracts["HVC_SOFT_RESTART", "kvm"]
    return probe.hvc(for_contract(PROFILE, contract, cpu=cpu, pass_no=pass_no))


def _replugged(board: Connection, cpu: int) -> None:
    for on in "01":
        run(board, "sh", "-c", f"echo {on} >/sys/devices/system/cpu/cpu{cpu}/online")


def test_it_says_what_kernel_it_is_in(probe: Probe, board: Connection) -> None:
    found = probe.identify()
    assert found.release == run(board, "uname", "-r").strip()
    assert (found.current_el, found.conduit, found.online) == (1, wire.Conduit.SMC, CPUS)
    assert Feature.KVM in found.features
    assert found.server == found.refused == ""


def test_without_an_hvc_nothing_changes(probe: Probe) -> None:
    asked = [Request(cpu=cpu, pass_no=n, flags=Flag.NO_HVC) for cpu in CPUS for n in PASSES]
    for found in probe.hvcs(asked):
        assert not found.changed
        assert found.exchange.sig.seen == Seen.RETURNED
        assert found.exchange.sig.pc_off == 0


def test_the_two_passes_see_every_register_of_el1(probe: Probe) -> None:
    unseen = [probe.hvc(Request(pass_no=n, flags=Flag.NO_HVC)).unseen for n in PASSES]
    assert {name for name in unseen[0] & unseen[1] if not name.endswith("EL2")} <= {"SP_EL1"}


@pytest.mark.parametrize("size", ["1", "7", "391", "100000"])
def test_records_may_be_split_at_any_byte(board: Connection, size: str) -> None:
    asked = [
        Record(Op.IDENTIFY, 1, 0, b""),
        *(Record(Op.HVC, n, 0, Request(flags=Flag.NO_HVC).packed()) for n in (2, 3)),
    ]
    stdin = b"".join(records.packed(each) for each in asked)
    argv = ["sh", "-c", CONVERSATION, size]
    done = board.run(argv, stdin=stdin, deadline=Deadline.after(60))
    assert [each.status for each in records.replies(done.out, asked)] == [0, 0, 0]


@pytest.mark.parametrize("at", [0, 5, 18, 21, 30])
def test_a_damaged_record_ends_the_conversation(board: Connection, at: int) -> None:
    whole = records.packed(Record(Op.HVC, 1, 0, Request().packed()))
    bent = bytearray(whole)
    bent[at] ^= 0x40
    argv = ["sh", "-c", CONVERSATION, "4096"]
    done = board.run(argv, stdin=bytes(bent) + whole, deadline=Deadline.after(60))
    [reply] = records.replies(done.out, [Record(0, 0, 0, b"")])
    assert (reply.status, reply.reason) == (-74, "a damaged record: the rest is not read")


def test_what_it_does_not_know_is_refused_one_by_one(board: Connection) -> None:
    asked = [
        Record(9, 1, 0, b""),
        Record(Op.HVC, 2, 0, b"short"),
        Record(Op.HVC, 3, 0, Request(cpu=77).packed()),
        Record(Op.IDENTIFY, 4, 0, b""),
    ]
    stdin = b"".join(records.packed(each) for each in asked)
    done = board.run(["sh", "-c", CONVERSATION, "4096"], stdin=stdin, deadline=Deadline.after(60))
    statuses = [each.status for each in records.replies(done.out, asked)]
    assert statuses == [-38, -22, -22, 0]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (Request(fixed={0: 1}), "its effect must be declared"),
        (Request(effect=Effect.RESTART), "a restart to an address that is not a catch table"),
        (Request(effect=Effect.CALL, catch_mask=1), "not by the hyp-stub"),
        (Request(effect=Effect.SET_VECTORS, flags=Flag.STUB), "not a catch table"),
    ],
)
def test_what_may_kill_the_kernel_wants_a_flag(probe: Probe, asked: Request, said: str) -> None:
    with pytest.raises(errors.Unsupported, match=said):
        probe.hvc(asked)


@pytest.mark.parametrize("cpu", CPUS)
def test_a_restart_lands_at_el2_and_leaves_the_stub_behind(
    probe: Probe, board: Connection, cpu: int
) -> None:
    assert probe.server(PROFILE, cpu) == "kvm"
    found = _restarted(probe, cpu)
    assert found.landing is not None
    assert (found.landing.kind, found.landing.el, found.caught) == (Landed.RESTARTED, 2, 0)
    assert found.landing.reg["SCTLR_EL2"] & 0b101 == 0
    assert found.landing.reg["VBAR_EL2"] == probe.identify().stub_vectors
    assert probe.server(PROFILE, cpu) == "hyp-stub"
    _replugged(board, cpu)
    assert probe.server(PROFILE, cpu) == "kvm"
    assert run(board, "hilkvm") == "kvm ok\n"


def test_a_sweep_covers_every_immediate(probe: Probe) -> None:
    skip = tuple(sorted(PROFILE.numbers.values()))
    asked = Request(cpu=1, count=0x1000, catch_mask=0xF, skip=skip)
    found = probe.sweep(asked).swept
    assert found.crc_ok
    assert sum(count for _, count, _ in found.runs) == 0x1000
    missed = [first for first, _, index in found.runs if found.sigs[index].seen == Seen.NOT_ISSUED]
    assert missed[0] == min(skip)


def test_a_cpu_that_is_off_is_named(probe: Probe, board: Connection) -> None:
    run(board, "sh", "-c", "echo 0 >/sys/devices/system/cpu/cpu1/online")
    try:
        with pytest.raises(errors.PreconditionError, match=r"on CPU 1: the CPU is offline"):
            probe.hvc(Request(cpu=1))
        assert probe.identify().online == (0,)
    finally:
        run(board, "sh", "-c", "echo 1 >/sys/devices/system/cpu/cpu1/online")


def test_loaded_used_and_removed_over_and_over(probe: Probe, board: Connection) -> None:
    module = "/lib/modules/hilhvc.ko"
    for turn in range(6):
        run(board, "rmmod", "hilhvc")
        with pytest.raises(errors.PreconditionError, match="not loaded"):
            probe.identify()
        run(board, "insmod", module)
        assert probe.hvc(Request(cpu=turn % 2)).exchange.sig.seen == Seen.RETURNED
        _restarted(probe, turn % 2, turn // 2 % 2)
        _replugged(board, turn % 2)
    assert "Call trace" not in run(board, "dmesg")


def test_a_panic_of_kvm_comes_home(probe: Probe) -> None:
    asked = (Request(cpu=1, fixed={0: host_call, 1: 0x12345}) for host_call in HOST_CALLS)
    answers = (probe.hvc(each).exchange for each in asked)
    found = next(each for each in answers if each.sig.seen == Seen.EL1_FAULT)
    assert found.sig.esr >> 26 == 0x25  # a data abort at EL1: the panic had no stack
    assert found.after.far >> 48 == 0x5AA5
    assert probe.server(PROFILE, 1) == "kvm"


def test_a_cpu_that_never_comes_back_is_named_by_another(tmp_path: Path) -> None:
    with _board(tmp_path, "kvm-arm.mode=none") as board:
        probe = Probe(board)
        probe.find_stub()
        lost = Request(
            cpu=1, imm=PROFILE.numbers["HVC_SET_VECTORS"], fixed={0: 0x123000},
            effect=Effect.SET_VECTORS, flags=Flag.DANGEROUS | Flag.ASK,
        )  # fmt: skip
        with pytest.raises(errors.TargetHang, match="did not come back within 10 s"):
            probe.hvc(lost)
        assert probe.identify().lost_cpu == 1
        with pytest.raises(errors.LabError, match="only a reset helps"):
            probe.hvc(Request(cpu=0))
        assert "CPU 1 did not come back from an hvc" in run(board, "dmesg")
