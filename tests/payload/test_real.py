# SPDX-License-Identifier: Apache-2.0
"""The client against the real payload, on an emulated machine; one boot for all."""

from __future__ import annotations

import contextlib
import random
import socket
import subprocess
from collections.abc import Iterator

import pytest

from hilagent.build.payload import build_payload
from hilagent.clock import Deadline
from hilagent.link import wire
from hilagent.payload import Payload, PayloadFault, SweepRequest, connect
from hilagent.result import SweepPass
from hilagent.testing import Faults, StreamLine, faulty_socket, filters
from hilagent.testing.proxy import SocketProxy
from hilagent.transport.base import FdStream

pytestmark = pytest.mark.hil
NONE = Faults()
RUNS = iter(range(1, 1000))
RET = 0xD65F03C0


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Path of the console's socket; a new connection may be made for each test."""
    path = tmp_path_factory.mktemp("q") / "console"
    qemu = subprocess.Popen(
        ["qemu-system-aarch64", "-M", "virt,virtualization=on", "-cpu", "cortex-a57",
         "-smp", "2", "-m", "128", "-display", "none", "-monitor", "none", "-nodefaults",
         "-kernel", build_payload().image, "-serial", f"unix:{path},server=on,wait=off"],
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = Deadline.after(20)
    while not path.exists() and not deadline.expired() and qemu.poll() is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            qemu.wait(0.01)
    yield str(path)
    qemu.kill()
    qemu.wait()


@contextlib.contextmanager
def talk(
    console: str, to_board: Faults = NONE, to_host: Faults = NONE, seed: int = 0
) -> Iterator[tuple[Payload, SocketProxy]]:
    with faulty_socket(console, to_board=to_board, to_host=to_host, seed=seed) as (where, proxy):
        stream = FdStream(socket.create_connection(where).detach(), "QEMU")
        yield connected(stream), proxy
        stream.close()


def connected(stream: FdStream) -> Payload:
    return connect(
        StreamLine(stream), run_id=next(RUNS), deadline=Deadline.after(20), emulated=True,
        alive=lambda: True,
    )  # fmt: skip


def observed(passes: list[SweepPass]) -> list[object]:
    return [(p.cpu, p.origin, p.pass_no, p.sigs, p.runs, p.crc_ok) for p in passes]


def test_the_whole_face_of_the_payload(console: str) -> None:
    data = random.Random(1).randbytes(5000)
    with talk(console) as (payload, _):
        assert payload.encoding == "raw"
        assert [cpu.cpu for cpu in payload.start_cpus()] == [0, 1]
        assert payload.hello.build_id == build_payload().build_id
        scratch = payload.hello.scratch
        payload.write(scratch, data)
        assert payload.read(scratch, len(data)) == data
        payload.write64(scratch, RET)
        assert payload.call(scratch, 42, cpu=1).x0 == 42
        for cpu in (0, 1):
            assert payload.mrs("CURRENTEL", cpu=cpu) == 8
            payload.msr("TPIDR_EL0", cpu + 5, cpu=cpu)
            assert payload.mrs("TPIDR_EL0", cpu=cpu) == cpu + 5
        with pytest.raises(PayloadFault, match="READ: exception"):
            payload.read64(1 << 47)
        with pytest.raises(PayloadFault, match="call of 0x800000000000"):
            payload.call(1 << 47)
        with pytest.raises(PayloadFault, match="system register 0xe780"):
            payload.mrs("S3_4_C15_C0_0")
        payload.vectors(wire.Target.RECORDER)
        exchange = payload.hvc(0x1234, x={5: 55}, cpu=1)
        assert (exchange.sig.seen, exchange.before.x[5]) == (wire.Seen.RECORDED, 55)
        assert exchange.before.x == exchange.after.x
        assert payload.counters.damaged == payload.counters.naks == 0


def work() -> list[SweepRequest]:
    origins = (wire.Origin.EL1H, wire.Origin.EL2H)
    return [
        SweepRequest(cpu=cpu, pass_no=n, origin=origins[n], count=0x200)
        for cpu in (0, 1)
        for n in (0, 1)
    ]


@pytest.fixture(scope="module")
def truth(console: str) -> list[object]:
    with talk(console) as (payload, _):
        payload.start_cpus()
        payload.vectors(wire.Target.RECORDER)
        passes = payload.sweep(work(), want=lambda sig: True)
        assert all(swept.runs == ((0, 0x200, 0),) and swept.crc_ok for swept in passes)
        assert all(swept.sigs[0].esr == 0x5A000000 for swept in passes)
        assert {swept.frames[0].after.seen for swept in passes} == {wire.Seen.RECORDED}
        assert payload.link_cpu == 1
        return observed(passes)


@pytest.mark.parametrize("rate", [0.001, 0.01])
def test_a_line_that_loses_gives_the_same_sweeps(
    console: str, truth: list[object], rate: float
) -> None:
    bad = Faults.spread(rate, armed=False)
    with talk(console, bad, bad, seed=7) as (payload, proxy):
        proxy.arm()
        payload.start_cpus()
        payload.vectors(wire.Target.RECORDER)
        assert observed(payload.sweep(work())) == truth
        assert payload.counters.repeats > 0


@pytest.mark.parametrize("name", ["telnet", "xoff-latches", "no-nul"])
def test_a_console_that_is_not_8_bit_clean_gets_armour(console: str, name: str) -> None:
    bad = Faults(filter=filters.ALL[name])
    with talk(console, bad, bad) as (payload, _):
        assert payload.encoding == "armoured"
        data = bytes(range(256)) * 3
        payload.write(payload.hello.scratch, data)
        assert payload.read(payload.hello.scratch, len(data)) == data


def test_the_link_moves_from_cpu_to_cpu_and_neither_is_lost(console: str) -> None:
    """A CPU that went on believing itself the owner took no job: one move in 30 did it."""
    with talk(console) as (payload, _):
        payload.start_cpus()
        for owner in (1, 0) * 50:
            payload.move_link(owner)
            (swept,) = payload.sweep([SweepRequest(cpu=1 - owner, count=16)])
            assert (payload.link_cpu, swept.cpu, swept.count) == (owner, 1 - owner, 16)


def test_after_a_reset_it_boots_again_with_another_boot_id(console: str) -> None:
    with talk(console) as (payload, _):
        payload.reset()
        old = payload.hello.boot_id
        stream = payload._channel.line.stream  # type: ignore[attr-defined]
        again = connected(stream)
        assert again.hello.boot_id not in (0, old)
        assert again.echo(b"hi") == b"hi"
