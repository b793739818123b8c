# SPDX-License-Identifier: Apache-2.0
"""RFC 2217 with real servers, and with ones that refuse."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from hilagent import transport
from hilagent.board.model import Console as Config
from hilagent.clock import Deadline
from hilagent.console import Console
from hilagent.errors import LabError, LinkError, LinkStuck
from hilagent.transport import rfc2217, telnet
from hilagent.transport.base import Breaks
from tests.transport import servers
from tests.transport.helper import heard, readable, soon
from tests.transport.test_telnet import command

AGREED = bytes((telnet.IAC, telnet.DO, telnet.COM_PORT))
SET = (b"\x00\x01\xc2\x00", b"\x08", b"\x01", b"\x01", b"\x01")
"""115200 baud, 8N1, no flow control: what is asked for."""

LAST_ASKED = command(telnet.SET_CONTROL, SET[4])


def answers(*values: bytes) -> bytes:
    """Return a server's answers to our settings."""
    return b"".join(command(101 + at, value) for at, value in enumerate(values))


@contextlib.contextmanager
def scripted(*said: bytes) -> Iterator[tuple[int, list[socket.socket]]]:
    """A server that says one thing at once, and the next when it was asked for settings."""
    listener = socket.create_server(("127.0.0.1", 0))
    clients: list[socket.socket] = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            client, _ = listener.accept()
            clients.append(client)
            for number, each in enumerate(said):
                heard = b""
                while number and LAST_ASKED not in heard:
                    heard += client.recv(4096)
                client.sendall(each)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1], clients
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for client in clients:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
            client.close()
        thread.join(20)


def refused(*said: bytes, connect_s: float = 20.0) -> LabError:
    with scripted(*said) as (port, _), pytest.raises(LabError) as caught:
        rfc2217.connect("127.0.0.1", port, 115200, connect_s=connect_s)
    return caught.value


@pytest.mark.parametrize("start", servers.SERVERS.values(), ids=servers.SERVERS)
def test_a_console_works_through_a_real_server(start: servers.Start) -> None:
    with start() as server:
        config = Config(kind="rfc2217", host=server.host, port=server.port, baud=57600)
        with Console(transport.open(config)) as console:
            line = console.take("test")
            os.write(server.far, b"\r\n=> ")
            assert line.expect([b"\n=> "], soon())
            line.write(b"version\r\xff", soon())
            assert heard(server.far, 9) == b"version\r\xff"


@pytest.mark.parametrize("start", servers.SERVERS.values(), ids=servers.SERVERS)
def test_a_break_is_begun_and_ended_and_confirmed_by_a_real_server(start: servers.Start) -> None:
    with start() as server:
        stream = rfc2217.connect(server.host, server.port, 115200)
        assert isinstance(stream, Breaks)
        with Console(stream) as console:
            console.send_break()
        assert server.breaks == ([True, False] if start is servers.pyserial else [])


def test_a_port_that_another_client_has_says_so() -> None:
    with servers.ser2net() as server:
        first = rfc2217.connect(server.host, server.port, 115200)
        with pytest.raises(LabError, match="before it was set up: Port already in use") as caught:
            rfc2217.connect(server.host, server.port, 115200)
        assert "another client" in caught.value.hint
        first.close()


def test_what_comes_with_the_settings_is_readable_at_once_and_then_the_rest() -> None:
    with scripted(b"a banner\r\n" + AGREED, answers(*SET) + b"=> ") as (port, clients):
        stream = rfc2217.connect("127.0.0.1", port, 115200)
        assert readable(stream, 0)
        assert stream.read() == b"a banner\r\n=> "
        assert not readable(stream, 0)
        clients[0].sendall(b"more")
        assert readable(stream)
        assert stream.read() == b"more"
        stream.close()


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ((bytes((telnet.IAC, telnet.DONT, telnet.COM_PORT)),), "telnet, but not RFC 2217"),
        ((AGREED, answers(b"\x00\x00\x25\x80", *SET[1:])),
         "has set 9600 baud where 115200 baud was asked"),
        ((AGREED, answers(SET[0], b"\x07", *SET[2:])), "has set 7 data bits where 8 data bits"),
        ((AGREED, answers(*SET[:2], b"\x03", *SET[3:])), r"has set parity 3 .* where parity 1"),
        ((AGREED, answers(*SET[:3], b"\x02", SET[4])), "has set 2 stop bits where 1 stop bits"),
        ((AGREED, answers(b"", *SET[1:])), "has set 0 baud where 115200 baud was asked"),
    ],
)  # fmt: skip
def test_a_server_that_does_not_do_as_asked_is_refused(
    said: tuple[bytes, ...], message: str
) -> None:
    with pytest.raises(LabError, match=message):
        raise refused(*said)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ((b"\r\n=> ",), r"said no telnet within 0\.2 s"),
        ((bytes((telnet.IAC, telnet.WILL, telnet.ECHO)),), r"said nothing of RFC 2217 within"),
        ((AGREED, answers(*SET[:1])), "did not answer when 8 data bits was asked"),
    ],
)
def test_a_server_that_says_nothing_of_it_is_refused_in_time(
    said: tuple[bytes, ...], message: str
) -> None:
    with pytest.raises(LabError, match=message):
        raise refused(*said, connect_s=0.2)


def test_a_server_that_leaves_flow_control_alone_is_accepted() -> None:
    with scripted(AGREED, answers(*SET[:4])) as (port, _):
        rfc2217.connect("127.0.0.1", port, 115200).close()


@contextlib.contextmanager
def connected() -> Iterator[tuple[rfc2217.Rfc2217Stream, socket.socket]]:
    """A stream, and the server's socket."""
    with scripted(AGREED, answers(*SET)) as (port, clients):
        stream = rfc2217.connect("127.0.0.1", port, 115200)
        yield stream, clients[0]
        stream.close()


def test_a_server_that_suspends_gets_nothing_until_it_resumes() -> None:
    with connected() as (stream, server):
        server.sendall(command(telnet.SUSPEND, b""))
        assert readable(stream)
        assert stream.read() == b""
        assert (stream.paused, stream.write(b"x")) == (True, 0)
        server.sendall(command(telnet.RESUME, b""))
        assert readable(stream)
        assert stream.read() == b""
        assert (stream.paused, stream.write(b"x")) == (False, 1)


def test_a_console_waits_for_a_suspended_server_without_spinning() -> None:
    with connected() as (stream, server), Console(stream) as console:
        line, calls = console.take("test"), [0]

        def counting(data: bytes, write: Callable[[bytes], int] = stream.write) -> int:
            calls[0] += 1
            return write(data)

        stream.write = counting  # type: ignore[method-assign]
        server.sendall(command(telnet.SUSPEND, b"") + b"!")
        assert line.expect([b"!"], soon())
        with pytest.raises(LinkStuck):
            line.write(b"x", Deadline.after(0.3))
        assert calls[0] < 40
        server.sendall(command(telnet.RESUME, b"") + b"!")
        line.write(b"y", soon())


@pytest.mark.parametrize(
    ("said", "message"),
    [(b"\x01", "said 01 to a break"), (b"", "did not answer to a break")],
)
def test_a_break_that_is_not_confirmed_is_an_error(
    said: bytes, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rfc2217, "_ANSWER_S", 0.2 if not said else 20)
    with connected() as (stream, server), Console(stream) as console:

        def answer() -> None:
            server.recv(4096)
            server.sendall(command(105, said) if said else b"")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(LabError, match=message):
            console.send_break()
        thread.join()


def test_a_line_that_ends_in_a_break_is_a_link_error() -> None:
    with connected() as (stream, _):
        stream.close()
        with pytest.raises(LinkError, match="closed by this program"):
            stream.send_break()


def test_a_full_socket_keeps_a_pair_of_escapes_whole() -> None:
    block = b"\xff" * 1001  # whatever fits, an odd number of bytes does at some time
    with connected() as (stream, server):
        taken = 0
        while count := stream.write(block):
            taken += count
        assert stream.write(b"x") == 0
        came = 0
        server.settimeout(20)
        while came < 2 * taken:
            stream.read()  # what was kept leaves with it
            chunk = server.recv(1 << 20)
            assert not chunk.strip(b"\xff")
            came += len(chunk)
        assert stream.write(b"x") == 1
        assert (came, server.recv(2)) == (2 * taken, b"x")
