# SPDX-License-Identifier: Apache-2.0
"""A board's SSH server on loopback, that can misbehave on command.

The protocol is paramiko's, and the commands are run for real, by ``sh``. With
``root`` each argument that is an absolute path is taken to be below that folder,
which so stands for the board's file system; programs in its ``bin`` and ``sbin``
come first::

    with SshServer(root=tmp_path) as board, ssh.connect(board.target(), deadline) as connection:
        connection.run(["cat", "/proc/cmdline"], deadline=deadline)   # tmp_path/proc/cmdline
        board.traits.hang = "command"
        board.change_key()

What it takes from a client is bounded only by the test's good will: loopback only.
"""

from __future__ import annotations

import contextlib
import logging
import shlex
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import paramiko
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hilagent.transport import known
from hilagent.transport.known import HostKey
from hilagent.transport.ssh import Target

_CHUNK = 1 << 15
_LOG = logging.getLogger("hilagent.testing.ssh")
_LOG.addHandler(logging.NullHandler())
_HANDSHAKE_S = 10.0
_TICK_S = 0.1  # how long paramiko lets a socket block
_FULL = b"cat: write error: No space left on device\n"


@dataclass
class SshTraits:
    """How the server behaves; a test may change it at any time.

    Attributes:
        refuse_logins: no key is good enough.
        banner_delay_s: the server says nothing for so long after a connection.
        hang: where it hangs: before its banner, at a login, at a new channel, at the
            request to run a command, in each command (which is not run), or altogether: the
            network takes what fits into its buffers, and nobody reads it.
        cut_after_bytes: of a command's input; then the connection is lost.
        full_after_bytes: of a command's input; then the disk is full.
        truncate_bytes: of a command's output; then its channel is closed, and no
            exit status is told.
        refuse_commands: no command is run.
    """

    refuse_logins: bool = False
    banner_delay_s: float = 0.0
    hang: Literal["", "banner", "login", "channel", "exec", "command", "network"] = ""
    cut_after_bytes: int | None = None
    full_after_bytes: int | None = None
    truncate_bytes: int | None = None
    refuse_commands: bool = False


class SshServer:
    """Listens on loopback while its ``with`` block lasts.

    Args:
        root: the folder that is the board's ``/``; None for this host's. With a ``bin/sh``
            of its own it has those programs only that are in it.
        traits: how it behaves.
        port: 0 for any free one.

    Attributes:
        ran: the commands so far, as the client meant them.
        key_file: the private key that may log in; another may not.
        logins: how many clients got in.
    """

    def __init__(
        self, *, root: Path | None = None, traits: SshTraits | None = None, port: int = 0
    ) -> None:
        self.traits = traits or SshTraits()
        self.ran: list[list[str]] = []
        self.logins = 0
        self.root = root
        self._port = port
        self._folder = tempfile.TemporaryDirectory(prefix="hilagent-ssh-")
        self.key_file = new_key(Path(self._folder.name) / "client")
        self.client_key = public_half(self.key_file)
        self._stop = threading.Event()
        self._transports: list[paramiko.Transport] = []
        self.change_key()

    def __enter__(self) -> SshServer:
        self._listener = socket.create_server(("127.0.0.1", self._port))
        self.host, self._port = self._listener.getsockname()
        self._thread = threading.Thread(target=self._accept, name="ssh server", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        self.drop()
        self._folder.cleanup()

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._port

    @property
    def host_key(self) -> HostKey:
        """What it shows to whoever connects from now on."""
        return HostKey(self._key.get_name(), self._key.asbytes())

    def change_key(self) -> HostKey:
        """Make a new host key, and return it."""
        path = Path(self._folder.name) / "host"
        self._key = paramiko.Ed25519Key.from_private_key_file(str(new_key(path)))
        return self.host_key

    def target(self, system: str = "scripted/rootfs", *, trusted: bool = True) -> Target:
        """Return how to connect, with the key of now pinned if ``trusted``."""
        hosts = Path(self._folder.name) / "known_hosts"
        if trusted:
            known.pin(hosts, system, self.host_key)
        return Target(self.host, self.port, "root", self.key_file, system, hosts)

    def drop(self) -> None:
        """Lose every connection, without a word."""
        while self._transports:
            transport = self._transports.pop()
            with contextlib.suppress(OSError):
                transport.sock.shutdown(socket.SHUT_RDWR)
            transport.close()

    def wait(self, seconds: float) -> bool:
        """Wait, at most until the server ends; returns whether it does."""
        return self._stop.wait(seconds)

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._greet, args=(sock,), daemon=True).start()

    def _greet(self, sock: socket.socket) -> None:
        delay_s = 3600.0 if self.traits.hang == "banner" else self.traits.banner_delay_s
        if delay_s and self.wait(delay_s):
            sock.close()
            return
        transport = paramiko.Transport(cast(socket.socket, _Socket(sock, self)))
        transport.set_log_channel(_LOG.name)
        transport.add_server_key(self._key)
        self._transports.append(transport)
        with contextlib.suppress(paramiko.SSHException, EOFError, OSError):
            transport.start_server(event=threading.Event(), server=_Door(self, transport))


class _Socket:
    """A socket that gives its reader nothing while the server is to hang."""

    def __init__(self, sock: socket.socket, server: SshServer) -> None:
        self._sock, self._server = sock, server

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def recv(self, size: int) -> bytes:
        """Receive as a socket does."""
        if self._server.traits.hang == "network":
            self._server.wait(_TICK_S)
            raise TimeoutError
        return self._sock.recv(size)


class _Door(paramiko.ServerInterface):
    """Decides for one connection, in the thread of its transport."""

    def __init__(self, server: SshServer, transport: paramiko.Transport) -> None:
        self._server, self._transport = server, transport

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        if self._server.traits.hang == "login":
            self._server.wait(3600)
        known_key = key.asbytes() == self._server.client_key.blob
        if username != "root" or not known_key or self._server.traits.refuse_logins:
            return paramiko.common.AUTH_FAILED
        self._server.logins += 1
        return paramiko.common.AUTH_SUCCESSFUL

    def check_channel_request(self, kind: str, chanid: int) -> int:
        if self._server.traits.hang == "channel":
            self._server.wait(3600)
        return paramiko.common.OPEN_SUCCEEDED

    def check_channel_direct_tcpip_request(
        self, chanid: int, origin: tuple[str, int], destination: tuple[str, int]
    ) -> int:
        try:
            self._onward = socket.create_connection(destination, timeout=5)
        except OSError:
            return paramiko.common.OPEN_FAILED_CONNECT_FAILED
        threading.Thread(target=self._carry, args=(self._onward,), daemon=True).start()
        return paramiko.common.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        if self._server.traits.refuse_commands:
            return False
        if self._server.traits.hang == "exec":
            self._server.wait(3600)
        run = _Run(self._server, self._transport, channel, command.decode())
        thread = threading.Thread(target=run, daemon=True)
        _after_the_reply(self._transport, thread.start)
        return True

    def _carry(self, onward: socket.socket) -> None:
        """Carry bytes between a forwarded channel and where it goes."""
        channel = self._transport.accept(_HANDSHAKE_S)
        if channel is None:
            onward.close()
            return
        onward.settimeout(None)
        threading.Thread(target=_copy, args=(channel.recv, onward.sendall), daemon=True).start()
        _copy(onward.recv, channel.sendall)
        channel.close()
        onward.close()


class _Run:
    """One command, with three threads for its three streams."""

    def __init__(
        self, server: SshServer, transport: paramiko.Transport, channel: paramiko.Channel, text: str
    ) -> None:
        self._server, self._transport, self._channel = server, transport, channel
        self._traits = server.traits
        argv = shlex.split(text)
        server.ran.append(argv)
        if server.root is not None:
            text = shlex.join([f"{server.root}{a}" if a.startswith("/") else a for a in argv])
        self._text = text
        self._told = 0
        self._full = False

    def __call__(self) -> None:
        if self._traits.hang == "command":
            self._server.wait(3600)
            return
        root = self._server.root
        path = "/usr/sbin:/usr/bin:/sbin:/bin"
        if root:
            whole = (root / "bin/sh").exists()
            path = f"{root}/bin:{root}/sbin" + ("" if whole else ":/usr/bin:/bin")
        with subprocess.Popen(
            ["sh", "-c", self._text],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={"PATH": path, "HOME": str(root or "/")}, cwd=root or "/", bufsize=0,
        ) as process, contextlib.suppress(OSError, EOFError, paramiko.SSHException):  # fmt: skip
            threading.Thread(target=self._input, args=(process,), daemon=True).start()
            errors = threading.Thread(target=self._errors, args=(process,), daemon=True)
            errors.start()
            assert process.stdout is not None
            _copy(process.stdout.read, self._output)
            errors.join()
            self._end(process.wait())

    def _end(self, status: int) -> None:
        if self._full:
            self._channel.sendall_stderr(_FULL)
            status = 1
        if self._traits.truncate_bytes is None:
            self._channel.send_exit_status(status if status >= 0 else 128 - status)
        self._channel.close()

    def _input(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        taken = 0
        with contextlib.suppress(OSError, EOFError, ValueError):  # ValueError: closed meanwhile
            while piece := self._channel.recv(_CHUNK):
                taken += len(piece)
                if _reached(self._traits.cut_after_bytes, taken):
                    self._server.drop()
                    break
                if _reached(self._traits.full_after_bytes, taken):
                    self._full = True
                    process.kill()
                    break
                process.stdin.write(piece)
        with contextlib.suppress(OSError):
            process.stdin.close()

    def _output(self, piece: bytes) -> None:
        limit = self._traits.truncate_bytes
        piece = piece if limit is None else piece[: max(0, limit - self._told)]
        self._told += len(piece)
        if piece:
            self._channel.sendall(piece)

    def _errors(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stderr is not None
        with contextlib.suppress(OSError, EOFError):
            _copy(process.stderr.read, self._channel.sendall_stderr)


def _after_the_reply(transport: paramiko.Transport, start: Callable[[], object]) -> None:
    """Start a command once its client knows that it is run: a short one would be over, and
    its channel closed, before paramiko has said so, and the client took that for a refusal."""
    some = cast(Any, transport)
    really = some._send_user_message

    def send(message: paramiko.Message) -> None:
        really(message)
        if threading.current_thread() is transport:
            some._send_user_message = really
            start()

    some._send_user_message = send


def new_key(path: Path) -> Path:
    """Write a new private key, as ssh-keygen does, to ``path``; returns it."""
    private = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
    path.write_bytes(private)
    path.chmod(0o600)
    return path


def public_half(path: Path) -> HostKey:
    """Return the public half of the private key in ``path``."""
    key = paramiko.Ed25519Key.from_private_key_file(str(path))
    return HostKey(key.get_name(), key.asbytes())


def _reached(limit: int | None, count: int) -> bool:
    return limit is not None and count >= limit


def _copy(read: Callable[[int], bytes], write: Callable[[bytes], object]) -> None:
    with contextlib.suppress(OSError, EOFError):
        while piece := read(_CHUNK):
            write(piece)
