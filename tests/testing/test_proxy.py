# SPDX-License-Identifier: Apache-2.0
"""Faults around real lines, and scripted boards on real ptys."""

import os
import socket
from collections.abc import Iterator

import pytest

from hilagent import errors
from hilagent.clock import Deadline
from hilagent.payload import SweepRequest, connect
from hilagent.testing import (
    Fault,
    Faults,
    FaultyStream,
    MachineStream,
    ManualClock,
    PayloadTwin,
    PtyBoard,
    ScriptedUBoot,
    StreamLine,
    Traits,
    UBootTraits,
    faulty_pty,
    faulty_socket,
    on_pty,
)
from hilagent.transport.base import FdStream

WAIT_S = 10.0


def until(line: StreamLine, size: int) -> bytes:
    """Return ``size`` bytes, or fewer after a while."""
    deadline, out = Deadline.after(WAIT_S), b""
    while len(out) < size and not deadline.expired():
        out += line.read(deadline)
    return out


def until_said(line: StreamLine, text: bytes) -> bytes:
    """Return what came up to ``text``, or as much as came in a while."""
    deadline, out = Deadline.after(WAIT_S), b""
    while text not in out and not deadline.expired():
        out += line.read(deadline)
    return out


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, FdStream]]:
    far, near = socket.socketpair()
    yield far, FdStream(near.detach(), "test")
    far.close()


def open_tty(path: str) -> FdStream:
    return FdStream(os.open(path, os.O_RDWR | os.O_NOCTTY), path)


def test_a_good_line_carries_everything_both_ways(pair: tuple[socket.socket, FdStream]) -> None:
    board, stream = pair
    data = bytes(range(256)) * 2000
    with FaultyStream(stream) as worse:
        line = StreamLine(worse)
        board.setblocking(False)
        sent = 0
        while sent < len(data):  # more than any buffer holds: back-pressure
            sent += worse.write(data[sent:])
            try:
                board.send(board.recv(1 << 16))
            except BlockingIOError:
                continue
            assert line.read(Deadline.after(WAIT_S))
        assert sent == len(data)


def test_faults_of_each_direction_are_their_own(pair: tuple[socket.socket, FdStream]) -> None:
    board, stream = pair
    with FaultyStream(stream, to_board=Faults(at={1: Fault.DROP}), seed=3) as worse:
        line = StreamLine(worse)
        line.write(b"abc", Deadline.after(WAIT_S))
        assert board.recv(10) == b"ac"
        board.send(b"abc")
        assert until(line, 3) == b"abc"
        assert worse.proxy.to_board.done == [(1, Fault.DROP)]


def test_faults_are_armed_later(pair: tuple[socket.socket, FdStream]) -> None:
    board, stream = pair
    with FaultyStream(stream, to_host=Faults(drop=1.0, armed=False)) as worse:
        line = StreamLine(worse)
        board.send(b"first")
        assert until(line, 5) == b"first"
        worse.arm()
        board.send(b"second")
        assert line.read(Deadline.after(0.05)) == b""


def test_a_stall_comes_through_in_the_end(pair: tuple[socket.socket, FdStream]) -> None:
    board, stream = pair
    with FaultyStream(stream, to_host=Faults(at={0: Fault.STALL}, stall_s=0.05)) as worse:
        board.send(b"late")
        assert until(StreamLine(worse), 4) == b"late"


def test_a_cut_is_the_end_of_the_stream(pair: tuple[socket.socket, FdStream]) -> None:
    board, stream = pair
    with FaultyStream(stream, to_host=Faults(at={2: Fault.CUT})) as worse:
        board.send(b"abcdef")
        line = StreamLine(worse)
        assert until(line, 2) == b"ab"
        with pytest.raises(errors.LinkError):
            until(line, 1)


def test_the_end_of_the_board_is_the_end_of_the_stream(
    pair: tuple[socket.socket, FdStream],
) -> None:
    board, stream = pair
    with FaultyStream(stream) as worse:
        board.close()
        with pytest.raises(errors.LinkError):
            until(StreamLine(worse), 1)


def test_a_socket_gets_faults_on_every_connection() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        faulty_socket(server.getsockname(), to_host=Faults(at={0: Fault.DROP})) as (where, _),
    ):
        for _ in range(2):
            with socket.create_connection(where) as client:
                board, _ = server.accept()
                with board:
                    board.send(b"xyz")
                    client.settimeout(WAIT_S)
                    assert client.recv(10) == b"yz"


def test_a_scripted_board_on_a_pty_through_a_faulty_pty() -> None:
    with (
        on_pty(ScriptedUBoot(traits=UBootTraits(autoboot_s=0))) as path,
        faulty_pty(path, to_host=Faults(at={0: Fault.DROP}, armed=False)) as (worse, proxy),
    ):
        stream = open_tty(worse)
        line = StreamLine(stream)
        line.write(b"\x03", Deadline.after(WAIT_S))
        assert until_said(line, b"INTERRUPT>\r\n=> ")
        proxy.arm()
        line.write(b"echo hi\r", Deadline.after(WAIT_S))
        assert until_said(line, b"hi\r\n=> ") == b"cho hi\r\nhi\r\n=> "
        stream.close()


def test_the_twin_works_in_real_time_on_a_pty() -> None:
    twin = PayloadTwin(traits=Traits(cpus=2, sweep_s=0.2))
    with PtyBoard(twin) as board:
        stream = open_tty(board.path)
        payload = connect(StreamLine(stream), run_id=5, deadline=Deadline.after(WAIT_S))
        payload.start_cpus()
        requests = [SweepRequest(cpu=cpu, count=0x800) for cpu in (0, 1)]
        assert [swept.cpu for swept in payload.sweep(requests)] == [0, 1]
        stream.close()


def test_an_error_in_a_scripted_board_reaches_the_test() -> None:
    class Broken:
        def feed(self, data: bytes) -> bytes:
            raise RuntimeError("scripted")

        def tick(self) -> bytes:
            return b""

        def next_s(self) -> float:
            return float("inf")

    board = PtyBoard(Broken())
    with board:
        stream = open_tty(board.path)
        stream.write(b"x")
        board._thread.join(WAIT_S)
        stream.close()
        board.error, error = None, board.error
    assert isinstance(error, RuntimeError)


def test_a_machine_is_a_stream_too() -> None:
    clock = ManualClock()
    stream = MachineStream(ScriptedUBoot(clock=clock, traits=UBootTraits(autoboot_s=0)))
    line = StreamLine(stream)
    assert line.read(Deadline.after(WAIT_S)).endswith(b"=> ")
    assert line.read(Deadline.after(0)) == b""
    stream.write(b"echo hi\r")
    assert line.read(Deadline.after(WAIT_S)) == b"echo hi\r\nhi\r\n=> "
    stream.close()
