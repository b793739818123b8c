# SPDX-License-Identifier: Apache-2.0
"""A TFTP server of this program's own, for the time of one load, for a lab that has none.

It is bound to one address of this host, serves one file from memory by its exact name to
whoever asked last, and takes none. RFC 1350, with the options blksize (RFC 2348) and tsize
(RFC 2349), which U-Boot asks for.

Not tftpy, the one library there is: a packet that it can't read ends its thread, its
answers leave by whatever address the host likes, and it takes half a second to stop (0.8.7).
"""

from __future__ import annotations

import errno
import select
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from hilagent.errors import LabError

PORT = 69
RETRY_S, RETRIES = 1.0, 20
_READ, _WRITE, _DATA, _ACK, _ERROR, _OACK = range(1, 7)
_NOT_FOUND, _NO_ACCESS = 1, 2
_BLOCK, _BLOCK_MAX = 512, 1468  # the larger one fills a frame of Ethernet
_HINTS = {
    errno.EACCES: "port 69 wants a privilege: run 'sudo sysctl net.ipv4.ip_unprivileged_port_start"
    "=69', or give the capability cap_net_bind_service to the Python of .venv",
    errno.EADDRINUSE: "another TFTP server is there: name its directory, 'uboot.network.tftp_dir'",
    errno.EADDRNOTAVAIL: "'uboot.network.server' must be an address of this host, on the lab's"
    " network",
}


@contextmanager
def serving(address: str, name: str, content: bytes, port: int | None = None) -> Iterator[None]:
    """Serve ``content`` as ``name`` on ``address`` for the ``with`` block.

    Args:
        address: of this host; nothing listens on any other.
        name: exactly as it is asked for.
        port: 69 if not given.

    Raises:
        LabError: the port can't be had.
    """
    port = port or PORT
    wake, waker = socket.socketpair()
    with wake, waker, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
        try:
            door.bind((address, port))
        except OSError as error:
            raise LabError(
                f"can't serve TFTP on {address} port {port}: {error.strerror or error}",
                hint=_HINTS.get(error.errno or 0, ""),
            ) from error
        served = _Served(door, wake, address, name, content)
        thread = threading.Thread(target=served.run, name="tftp", daemon=True)
        thread.start()
        try:
            yield
        finally:
            waker.send(b"!")
            thread.join()


class _Served:
    """One thread, and at most one transfer: whoever asks anew has given the old one up."""

    def __init__(
        self, door: socket.socket, wake: socket.socket, address: str, name: str, content: bytes
    ) -> None:
        self._door, self._wake, self._address = door, wake, address
        self._name, self._content = name.encode(), content
        self._transfer: _Transfer | None = None

    def run(self) -> None:
        """Serve until it is woken."""
        while True:
            transfer = self._transfer
            sockets = [self._door, self._wake, *([transfer.line] if transfer else [])]
            ready, _, _ = select.select(sockets, [], [], RETRY_S if transfer else None)
            if self._wake in ready:
                break
            if self._door in ready:
                self._ask()
            elif transfer is not None and not transfer.go_on(heard=bool(ready)):
                self._end()
        self._end()

    def _ask(self) -> None:
        packet, client = self._door.recvfrom(2048)
        opcode, words = int.from_bytes(packet[:2], "big"), packet[2:].split(b"\0")
        if opcode not in {_READ, _WRITE} or len(words) < 3:  # name, mode, and the last zero
            return
        self._end()
        line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with suppress(OSError):
            line.bind((self._address, 0))
            line.connect(client)
            line.setblocking(False)
            if opcode == _WRITE:
                line.send(_error(_NO_ACCESS, b"nothing is taken here"))
            elif words[0] != self._name:
                line.send(_error(_NOT_FOUND, b"no such file"))
            else:
                options = dict(zip(words[2:-1:2], words[3::2], strict=False))
                self._transfer = _Transfer(line, self._content, options)
                return
        line.close()

    def _end(self) -> None:
        if self._transfer is not None:
            self._transfer.line.close()
            self._transfer = None


class _Transfer:
    """The file on its way to one client, a block at a time."""

    def __init__(self, line: socket.socket, content: bytes, options: Mapping[bytes, bytes]) -> None:
        self.line, self._content = line, content
        self._block, self._size, self._tries = 0, _BLOCK, 0
        asked = {name.lower(): value for name, value in options.items()}
        granted = b""
        if (wanted := asked.get(b"blksize", b"")).isdigit() and int(wanted) >= 8:
            self._size = min(int(wanted), _BLOCK_MAX)
            granted += b"blksize\0%d\0" % self._size
        if b"tsize" in asked:
            granted += b"tsize\0%d\0" % len(content)
        if granted:
            self._send(_OACK.to_bytes(2, "big") + granted)
        else:
            self._next()

    def go_on(self, *, heard: bool) -> bool:
        """Take an answer, or send once more in its absence; return whether there is more."""
        if heard:
            try:
                packet = self.line.recv(2048)
            except OSError:  # the client's port is closed
                return False
            opcode, number = (int.from_bytes(packet[at : at + 2], "big") for at in (0, 2))
            if opcode == _ERROR:
                return False
            if opcode == _ACK and number == self._block & 0xFFFF:
                self._tries = 0
                return self._next()
            return True  # of a block that was sent twice: to answer it would double every one
        self._tries += 1
        self._send(self._last)
        return self._tries < RETRIES

    def _next(self) -> bool:
        """Send the next block; return False if the last one has arrived."""
        begin = self._block * self._size
        if begin > len(self._content):
            return False
        self._block += 1
        head = _DATA.to_bytes(2, "big") + (self._block & 0xFFFF).to_bytes(2, "big")
        self._send(head + self._content[begin : begin + self._size])
        return True

    def _send(self, packet: bytes) -> None:
        self._last = packet
        with suppress(OSError):  # a full buffer or a cable that is out: it is sent once more
            self.line.send(packet)


def _error(code: int, said: bytes) -> bytes:
    return _ERROR.to_bytes(2, "big") + code.to_bytes(2, "big") + said + b"\0"
