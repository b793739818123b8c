# SPDX-License-Identifier: Apache-2.0
"""Our own TFTP server on loopback, asked packet by packet, well and badly."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, cast

import pytest

from hilagent.board.model import Network
from hilagent.clock import Deadline
from hilagent.console.uboot import UBoot
from hilagent.deploy import server
from hilagent.deploy.tftp import Tftp
from hilagent.errors import LabError

HOST = "127.0.0.1"
IMAGE = Random(1).randbytes(70_001)
READ, WRITE, DATA, ACK, ERROR, OACK = range(1, 7)  # RFC 1350, 5; RFC 2347


LINES: list[socket.socket] = []


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while LINES:
        LINES.pop().close()


@pytest.fixture
def port() -> int:
    """A port that nobody has."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind((HOST, 0))
        return int(free.getsockname()[1])


@pytest.fixture
def served(port: int) -> Iterator[int]:
    """A server with one file; the port."""
    with server.serving(HOST, "ours.img", IMAGE, port):
        yield port


class Client:
    """Asks for a file, and drops or repeats what a bad network would."""

    def __init__(self, port: int, opcode: int = READ, name: str = "ours.img", **options: int):
        self.line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        LINES.append(self.line)
        self.line.settimeout(10)
        words = [name, "octet", *(str(w) for option in options.items() for w in option)]
        self.line.sendto(opcode.to_bytes(2, "big") + b"".join(w.encode() + b"\0" for w in words),
                         (HOST, port))  # fmt: skip

    def hear(self) -> tuple[int, bytes]:
        packet, self.peer = self.line.recvfrom(4096)
        return int.from_bytes(packet[:2], "big"), packet[2:]

    def ack(self, block: int) -> None:
        self.line.sendto(ACK.to_bytes(2, "big") + (block & 0xFFFF).to_bytes(2, "big"), self.peer)

    def fetch(
        self, *, size: int = 512, lost: frozenset[int] = frozenset(), twice: int = 0
    ) -> bytes:
        """Fetch it; of the blocks in ``lost`` the first ACK is, ``twice`` is acknowledged twice."""
        out, block, dropped = b"", 1, set[int]()
        while True:
            opcode, body = self.hear()
            assert opcode == DATA
            number = int.from_bytes(body[:2], "big")
            if number == block & 0xFFFF:
                out += body[2:]
                block += 1
                if block - 1 in lost and block - 1 not in dropped:
                    dropped.add(block - 1)
                    continue
            self.ack(number)
            if number == twice:
                self.ack(number)
            if len(body) - 2 < size:
                return out


def test_the_file_arrives_whole_more_than_once(served: int) -> None:
    assert Client(served).fetch() == IMAGE
    assert Client(served).fetch() == IMAGE


@pytest.mark.parametrize("size", [70_001, 512 * 9, 0, 511])
def test_a_file_of_any_size_ends_with_a_short_block(port: int, size: int) -> None:
    with server.serving(HOST, "ours.img", IMAGE[:size], port):
        assert Client(port).fetch() == IMAGE[:size]


@pytest.mark.parametrize(("asked", "granted"), [(1468, 1468), (9000, 1468), (600, 600), (8, 8)])
def test_u_boots_options_are_granted(served: int, asked: int, granted: int) -> None:
    client = Client(served, blksize=asked, tsize=0, timeout=5)
    assert client.hear() == (OACK, b"blksize\0%d\0tsize\0%d\0" % (granted, len(IMAGE)))
    client.ack(0)
    assert client.fetch(size=granted) == IMAGE


def test_a_nonsense_of_an_option_is_not_granted(served: int) -> None:
    assert Client(served, blksize=-1).hear()[0] == DATA
    assert Client(served, blksize=1).hear()[0] == DATA


def test_what_is_lost_is_sent_again_and_what_comes_twice_is_sent_once(
    served: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "RETRY_S", 0.05)
    assert Client(served).fetch(lost=frozenset({1, 7, 137}), twice=9) == IMAGE


def test_block_numbers_go_round(port: int) -> None:
    big = Random(2).randbytes(8 * 65_540)
    with server.serving(HOST, "ours.img", big, port):
        client = Client(port, blksize=8)
        assert client.hear()[0] == OACK
        client.ack(0)
        assert client.fetch(size=8) == big


def test_a_client_that_went_away_is_given_up(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "RETRY_S", 0.01)
    with server.serving(HOST, "ours.img", IMAGE, port):
        gone = Client(port)
        assert gone.hear()[0] == DATA
        heard = 1
        gone.line.settimeout(2)
        with contextlib.suppress(TimeoutError):
            while gone.hear()[0] == DATA:
                heard += 1
        assert heard == server.RETRIES + 1
        assert Client(port).fetch() == IMAGE


def test_who_asks_anew_has_given_up_the_old_transfer(served: int) -> None:
    first = Client(served)
    assert first.hear()[0] == DATA
    assert Client(served).fetch() == IMAGE


@pytest.mark.parametrize("name", ["other.img", "../ours.img", "/etc/passwd", "ours.img/", ""])
def test_nothing_else_is_served(served: int, name: str) -> None:
    assert Client(served, name=name).hear() == (ERROR, b"\0\1no such file\0")


@pytest.mark.parametrize("name", ["ours.img", "theirs.img"])
def test_nothing_is_taken(served: int, name: str) -> None:
    assert Client(served, WRITE, name).hear() == (ERROR, b"\0\2nothing is taken here\0")
    assert Client(served).fetch() == IMAGE


def test_rubbish_does_not_end_it(served: int) -> None:
    chance = Random(3)
    packets = [b"", b"\0", b"\0\1", b"\0\1a", b"\0\1a\0", b"\0\7x\0y\0", b"\xff" * 3000]
    packets += [bytes([0, chance.randrange(8)]) + chance.randbytes(n % 40) for n in range(2000)]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        for number, packet in enumerate(packets):
            line.sendto(packet, (HOST, served))
            if number % 50 == 0:  # the host drops what no buffer holds, an answer too
                assert Client(served, name="other.img").hear()[0] == ERROR
    assert Client(served).fetch() == IMAGE


def test_rubbish_within_a_transfer_does_not_end_it(served: int) -> None:
    client = Client(served)
    assert client.hear()[0] == DATA
    for packet in (b"", b"\0", b"\0\4", b"\0\4\0\7", b"\0\x63abc"):
        client.line.sendto(packet, client.peer)
    client.ack(1)
    assert client.hear()[1][:2] == b"\0\2"
    client.line.sendto(b"\0\5\0\0enough\0", client.peer)  # an error ends it
    assert Client(served).fetch() == IMAGE


def test_afterwards_nobody_listens_and_no_thread_is_left(port: int) -> None:
    before = threading.active_count()
    with server.serving(HOST, "ours.img", IMAGE, port):
        assert Client(port).hear()[0] == DATA
    assert threading.active_count() == before
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind((HOST, port))


@pytest.mark.parametrize(
    ("address", "hint"),
    [(HOST, "another TFTP server is there"), ("192.0.2.99", "must be an address of this host")],
)
def test_a_port_that_can_not_be_had_says_what_to_do(port: int, address: str, hint: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind((HOST, port))
        with (
            pytest.raises(LabError, match=f"can't serve TFTP on {address} port {port}") as caught,
            server.serving(address, "ours.img", IMAGE, port),
        ):
            pass
    assert hint in caught.value.hint


def test_a_load_serves_for_its_own_time(
    port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """U-Boot's part is played: what it is told to fetch, it fetches."""
    monkeypatch.setattr(server, "PORT", port)
    got: list[bytes] = []

    class Asked:
        ok, text = True, ""

    class Fetches:
        def env_set(self, name: str, value: str) -> None:
            pass

        def run(self, verb: str, addr: int, name: str, **_: Any) -> Asked:
            got.append(Client(port, name=name).fetch())
            return Asked()

    network = Network("static", HOST, "255.0.0.0", server=HOST, own_tftp=True)
    steps: list[tuple[int, int]] = []
    Tftp(tmp_path, network).load(
        cast(UBoot, Fetches()), 0, IMAGE, Deadline.after(20), lambda *step: steps.append(step)
    )
    assert got == [IMAGE]
    assert steps == [(0, len(IMAGE)), (len(IMAGE), len(IMAGE))]
    assert list(tmp_path.iterdir()) == []
