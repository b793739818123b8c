# SPDX-License-Identifier: Apache-2.0
"""The contract of a stream, the same for every kind."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator

import pytest

from hilagent import transport
from hilagent.board.model import Console
from hilagent.errors import AgentBug, LabError, LinkError
from hilagent.transport.base import Breaks
from tests.transport import helper
from tests.transport.helper import KINDS, Ends, FakeEmulator, readable, receive, send

EVERY_BYTE = bytes(range(256))


@pytest.fixture(params=KINDS)
def ends(request: pytest.FixtureRequest) -> Iterator[Ends]:
    with KINDS[request.param]() as ends:
        yield ends


def test_a_read_of_an_idle_line_returns_nothing_at_once(ends: Ends) -> None:
    assert not readable(ends.stream, 0)
    assert ends.stream.read() == b""


def test_every_byte_value_passes_both_ways_unchanged(ends: Ends) -> None:
    os.write(ends.far, EVERY_BYTE)
    assert receive(ends.stream, 256) == EVERY_BYTE
    send(ends.stream, EVERY_BYTE)
    assert helper.heard(ends.far, 256) == EVERY_BYTE


def test_a_mebibyte_arrives_whole_and_in_order(ends: Ends) -> None:
    data = os.urandom(1 << 20)
    sender = threading.Thread(target=_write_all, args=(ends.far, data))
    sender.start()
    assert receive(ends.stream, len(data)) == data
    sender.join()


def test_a_write_never_blocks_and_says_how_much_was_taken(ends: Ends) -> None:
    taken, last = 0, 1
    while last and taken < 64 << 20:  # nobody reads: at some time the line is full
        last = ends.stream.write(b"x" * 65536)
        taken += last
    assert 0 < taken < 64 << 20
    assert last == 0


def test_the_end_of_the_line_is_a_link_error_that_names_it(ends: Ends) -> None:
    ends.hang_up()
    with pytest.raises(LinkError, match=r"console .* ended"):
        receive(ends.stream, 1)


def test_closing_twice_is_harmless_and_a_closed_stream_reads_as_lost(ends: Ends) -> None:
    ends.stream.close()
    ends.stream.close()
    with pytest.raises(LinkError, match="closed by this program"):
        ends.stream.read()


@pytest.mark.parametrize("kind", ["tcp", "qemu"])
def test_what_was_sent_before_the_end_is_handed_out_first(kind: str) -> None:
    with KINDS[kind]() as ends:
        os.write(ends.far, b"z" * 3000)
        ends.hang_up()
        assert receive(ends.stream, 3000) == b"z" * 3000
        with pytest.raises(LinkError):
            ends.stream.read()


def test_a_serial_port_sends_a_break_and_an_emulated_one_lets_its_emulator(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent: list[int] = []
    monkeypatch.setattr("termios.tcsendbreak", lambda fd, duration: sent.append(fd))
    emulator = FakeEmulator()
    emulated = transport.open(Console(kind="qemu"), emulator)
    with helper.serial() as ends:
        for stream in (ends.stream, emulated):
            assert isinstance(stream, Breaks)
            stream.send_break()
        assert sent == [ends.stream.fileno()]
    assert emulator.breaks == 1
    for thing in (emulated, emulator.near, emulator.far):
        thing.close()
    with helper.tcp() as ends:
        assert not isinstance(ends.stream, Breaks)


def test_a_break_on_a_port_that_is_gone_is_a_link_error() -> None:
    with helper.serial() as ends:
        ends.stream.close()
        assert isinstance(ends.stream, Breaks)
        with pytest.raises(LinkError, match="closed by this program"):
            ends.stream.send_break()


def test_the_end_of_an_emulated_board_says_why_its_emulator_ended() -> None:
    with helper.qemu() as ends:
        ends.hang_up()
        with pytest.raises(LinkError, match="QEMU was killed by signal 9"):
            ends.stream.read()


def test_a_serial_port_is_opened_by_one_only() -> None:
    far, near = os.openpty()
    config = Console(kind="serial", path=os.ttyname(near))
    first = transport.open(config)
    with pytest.raises(LabError, match="can't open /dev/pts") as caught:
        transport.open(config)
    assert "another program" in caught.value.hint
    first.close()
    transport.open(config).close()
    os.close(near)
    os.close(far)


def test_a_serial_port_that_is_not_there_says_so() -> None:
    with pytest.raises(LabError, match="No such file") as caught:
        transport.open(Console(kind="serial", path="/dev/no-such-port"))
    assert "plugged in" in caught.value.hint


def test_a_console_server_that_refuses_says_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(LabError, match=f"127.0.0.1:{port}: Connection refused"):
        transport.open(Console(kind="tcp", host="127.0.0.1", port=port))


def test_an_emulated_console_needs_an_emulator() -> None:
    with pytest.raises(AgentBug):
        transport.open(Console(kind="qemu"), None)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
