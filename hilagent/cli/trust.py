# SPDX-License-Identifier: Apache-2.0
"""``hilagent trust``: agree to the host key that a board shows, once a person has looked at it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from hilagent import board as boards_room
from hilagent import errors
from hilagent.board import Board
from hilagent.cli.ending import say
from hilagent.clock import Deadline
from hilagent.result import EXIT_OK, EXIT_USAGE
from hilagent.transport import known, ssh

ANSWER_S = 20.0


def trust(name: str, folders: Sequence[Path], *, system: str, yes: bool) -> int:
    """Show the key that the board offers and the pinned one, ask, and pin."""
    found = boards_room.load(name, dirs=folders)
    target = target_of(found, system)
    shown = ssh.offered(target, Deadline.after(ANSWER_S))
    pinned = known.read(target.known_hosts).get(target.system, ())
    print(f"{target.system} at {target.address} shows  {shown.kind} {shown.fingerprint}")
    for old in pinned:
        print(f"{'':{len(target.system)}} pinned so far: {old.kind} {old.fingerprint}")
    if pinned == (shown,):
        print("They are the same: there is nothing to do.")
        return EXIT_OK
    if not _agreed(pinned, yes=yes):
        say("nothing was changed")
        return EXIT_USAGE
    known.pin(target.known_hosts, target.system, shown)
    print(f"pinned in {target.known_hosts}")
    return EXIT_OK


def target_of(board: Board, system: str) -> ssh.Target:
    """Return how ``board`` is reached as one of its systems.

    Raises:
        errors.UsageError: its file does not say how.
    """
    name = "os" if system == "os" and board.os is not None else "linux"
    block = board.os if name == "os" else board.linux
    address = block.ssh if block is not None else None
    if address is None or address.host is None:
        hint = "a system that hilagent builds itself, such as an emulated board's, needs no trust"
        raise errors.UsageError(f"{board.name} has no '{name}.ssh' with a host", hint=hint)
    key = Path(address.key).expanduser() if address.key else None
    hosts = known.path_of(board.name)
    return ssh.Target(
        address.host, address.port, address.user, key, f"{board.name}/{system}", hosts
    )


def _agreed(pinned: tuple[known.HostKey, ...], *, yes: bool) -> bool:
    if yes:
        return True
    if not sys.stdin.isatty():
        hint = "look at the fingerprint, then say --yes"
        raise errors.UsageError("nobody is there to ask", hint=hint)
    print("On the board, it is told by: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub")
    what = "Forget the old key and trust this one?" if pinned else "Trust this key?"
    return click.confirm(what, default=False)
