# SPDX-License-Identifier: Apache-2.0
"""The one file that makes SSH connections: to boards, and through one to the next.

::

    key, pinned = Path("~/.ssh/lab"), known.path_of("my-board")
    target = Target("192.0.2.7", 22, "root", key, "my-board/os", pinned)
    with connect(target, Deadline.after(30)) as board:
        board.run(["uname", "-r"], deadline=Deadline.after(5)).out

Neither the user's ssh config nor known_hosts is read. A host key that nobody
has pinned is refused, and one that differs from the pinned one as well, before
anything is sent that a stranger could use. A board that is still booting
refuses, resets or says nothing: it is tried again until the deadline.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
from collections.abc import Callable, Iterator, Sequence
from threading import Event
from typing import TYPE_CHECKING, Any, TypeVar

from hilagent.clock import Deadline
from hilagent.errors import LabError
from hilagent.text import scrub_line
from hilagent.transport import known, tcp
from hilagent.transport.known import HostKey
from hilagent.transport.ssh_channel import Done, Progress, silent
from hilagent.transport.ssh_connection import Connection
from hilagent.transport.ssh_target import Target

if TYPE_CHECKING:
    import paramiko

__all__ = ["Connection", "Done", "Progress", "Target", "connect", "offered", "silent"]

_PACE_S = 0.2
_TCP_S = 5.0
_BANNER_S = (1.0, 15.0)
"""The least and the most that an attempt waits for a banner. A forwarded port takes
the connection long before the board does, and then only a new one is a new question."""
_TRY_S = 5.0
"""How long an attempt may take at least. A board that restarts in the middle of one
never says so, and what waits for its next packet waits for ever."""
_BOOTING = frozenset(
    {
        *(errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE),
        *(errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.ENETUNREACH, errno.ETIMEDOUT),
    }
)
Pause = Callable[[float], object]
_Got = TypeVar("_Got")


def connect(
    target: Target,
    deadline: Deadline,
    proxy: Connection | None = None,
    *,
    pause: Pause | None = None,
) -> Connection:
    """Connect and log in.

    Args:
        proxy: a connection to go through, which has to outlive this one.
        pause: waits between two attempts; a port that refuses has no event to wait for.

    Raises:
        LabError: the host key is unknown or another one, the login is refused,
            the key file can't be used, or nothing answered by the deadline.
    """
    pinned = known.read(target.known_hosts).get(target.system, ())
    key = None
    if target.key is not None:
        from hilagent.transport import ssh_keys

        key = ssh_keys.private(target.key)

    def log_in(sock: Any, attempt: Deadline, banner_s: float) -> Connection:
        return _log_in(target, pinned, key, sock, attempt, banner_s)

    return _attempts(target, deadline, proxy, log_in, pause)


def offered(
    target: Target,
    deadline: Deadline,
    proxy: Connection | None = None,
    *,
    pause: Pause | None = None,
) -> HostKey:
    """Return the host key that the server shows; neither checks it nor logs in.

    Raises:
        LabError: nothing answered by the deadline.
    """

    def look(sock: Any, attempt: Deadline, banner_s: float) -> HostKey:
        import paramiko

        from hilagent.transport import ssh_keys

        transport = paramiko.Transport(sock)
        transport.set_log_channel(_log())
        transport.banner_timeout = banner_s
        try:
            with _translated(target, attempt, lambda: transport):
                transport.start_client(timeout=attempt.left_s())
                return ssh_keys.public(transport.get_remote_server_key())
        finally:
            transport.close()

    return _attempts(target, deadline, proxy, look, pause)


class _NotYet(Exception):
    """This attempt failed as one to a booting board does."""


def _attempts(
    target: Target,
    deadline: Deadline,
    proxy: Connection | None,
    use: Callable[[Any, Deadline, float], _Got],
    pause: Pause | None,
) -> _Got:
    """Open sockets until ``use`` succeeds with one, or fails for good."""
    least_s, most_s = _BANNER_S
    began_s = deadline.clock.now_s()
    while True:
        waited_s = deadline.clock.now_s() - began_s
        attempt = deadline.sooner(max(_TRY_S, waited_s / 2))
        banner_s = min(max(least_s, waited_s / 4), most_s, max(attempt.left_s(), 0.1))
        try:
            return use(_socket(target, attempt, proxy), attempt, banner_s)
        except _NotYet as exc:
            why = str(exc)
        if deadline.expired():
            raise LabError(
                f"{target.system}: no SSH at {target.address} "
                f"within {deadline.budget_s:g} s: {why}",
                hint="is the board up, and is this its address? its console may tell",
            )
        (pause or Event().wait)(min(_PACE_S, deadline.left_s()))


def _socket(target: Target, deadline: Deadline, proxy: Connection | None) -> Any:
    """Return a connected socket, or what does as one."""
    if proxy is not None:
        return _through(target, deadline, proxy)
    address = (target.host, target.port)
    try:
        sock = socket.create_connection(address, timeout=max(0.1, deadline.sooner(_TCP_S).left_s()))
    except socket.gaierror as exc:
        hint = "look at linux.ssh.host of the board, and at this host's name server"
        raise LabError(f"{target.system}: {target.host!r}: {exc.strerror}", hint=hint) from exc
    except OSError as exc:
        why = exc.strerror or "no answer"
        if exc.errno in _BOOTING or isinstance(exc, TimeoutError):
            raise _NotYet(why) from exc
        raise LabError(f"{target.system}: {target.address}: {why}") from exc
    tcp.tune(sock)
    return sock


def _through(target: Target, deadline: Deadline, proxy: Connection) -> Any:
    import paramiko

    to, seconds = (target.host, target.port), max(0.1, deadline.sooner(_TCP_S).left_s())
    try:
        return proxy.transport.open_channel("direct-tcpip", to, ("", 0), timeout=seconds)
    except (paramiko.SSHException, EOFError, OSError) as exc:
        if proxy.transport.is_active():
            raise _NotYet(f"{proxy.name} can't reach it: {scrub_line(str(exc))}") from exc
        lost = f"{target.system}: the connection to {proxy.name}, on the way there, was lost"
        raise LabError(lost) from exc


def _log_in(
    target: Target,
    pinned: Sequence[HostKey],
    key: paramiko.PKey | None,
    sock: Any,
    attempt: Deadline,
    banner_s: float,
) -> Connection:
    """Log in by Fabric, with everything that it would find in the user's files kept from it."""
    import fabric
    import paramiko

    from hilagent.transport import ssh_keys

    left_s = max(attempt.left_s(), 0.1)
    login = fabric.Connection(
        target.host,
        user=target.user,
        port=target.port,
        config=fabric.Config(lazy=True, ssh_config=paramiko.SSHConfig()),
        forward_agent=False,
        connect_kwargs={
            "sock": sock,
            "pkey": key,
            "allow_agent": key is None,
            "look_for_keys": False,
            "timeout": left_s,
            "auth_timeout": left_s,
            "banner_timeout": banner_s,
        },
    )
    client = login.client
    # after Fabric's constructor, which has put paramiko's AutoAddPolicy there
    client.set_missing_host_key_policy(ssh_keys.Refuse())
    client.set_log_channel(_log())
    name = target.host if target.port == 22 else f"[{target.host}]:{target.port}"
    for one in pinned:
        client.get_host_keys().add(name, one.kind, ssh_keys.loaded(one))

    def close() -> None:
        for thing in (login, client, sock):
            with contextlib.suppress(EOFError, OSError):  # it may be gone, and what it went through
                thing.close()

    try:
        with _translated(target, attempt, client.get_transport):
            login.open()
    except BaseException:
        close()
        raise
    return Connection(login.transport, target.system, close)


@contextlib.contextmanager
def _translated(
    target: Target, attempt: Deadline, transport_of: Callable[[], paramiko.Transport | None]
) -> Iterator[None]:
    """Make of paramiko's errors either one of ours, or _NotYet."""
    import paramiko

    from hilagent.transport import ssh_keys

    try:
        yield
    except ssh_keys.Unknown as exc:
        raise target.unknown(exc.key) from exc
    except paramiko.BadHostKeyException as exc:
        raise target.changed(ssh_keys.public(exc.expected_key), ssh_keys.public(exc.key)) from exc
    except paramiko.ssh_exception.IncompatiblePeer as exc:
        raise LabError(f"{target.system}: no SSH in common: {scrub_line(str(exc))}") from exc
    except (paramiko.SSHException, EOFError, OSError) as exc:
        transport = transport_of()
        answers = transport is not None and transport.is_active() and not attempt.expired()
        if answers and (isinstance(exc, paramiko.AuthenticationException) or _no_keys(exc)):
            raise target.refused() from exc
        if transport is None or not transport.remote_version:
            why = "it takes connections, and no SSH answers"
        else:
            why = "its SSH server broke off, or got stuck, before we were logged in"
        raise _NotYet(f"{why} ({scrub_line(str(exc)) or type(exc).__name__})") from exc


def _no_keys(exc: BaseException) -> bool:
    return "No authentication methods" in str(exc)  # paramiko has no class for it


def _log() -> str:
    """Return the logger for paramiko, which otherwise writes tracebacks to stderr."""
    logger = logging.getLogger("hilagent.ssh")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    return logger.name
