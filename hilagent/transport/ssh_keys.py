# SPDX-License-Identifier: Apache-2.0
"""Between the keys of paramiko and ours; imports paramiko, so it is imported late."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import paramiko

from hilagent.errors import LabError
from hilagent.text import scrub_line
from hilagent.transport.known import HostKey


class Unknown(Exception):
    """A server showed a key that nobody has pinned."""

    def __init__(self, key: HostKey) -> None:
        super().__init__(key.fingerprint)
        self.key = key


class Refuse(paramiko.RejectPolicy):
    """Refuses a host without a pinned key, and tells what it showed."""

    def missing_host_key(
        self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey
    ) -> NoReturn:
        """Raise Unknown."""
        raise Unknown(public(key))


def public(key: paramiko.PKey) -> HostKey:
    """Return the public half of ``key``."""
    return HostKey(key.get_name(), key.asbytes())


def loaded(key: HostKey) -> paramiko.PKey:
    """Return ``key`` as paramiko has it; LabError for a kind that it doesn't know."""
    try:
        return paramiko.PKey.from_type_string(key.kind, key.blob)
    except (paramiko.SSHException, ValueError) as exc:
        raise LabError(f"a pinned host key of the kind {key.kind!r} can't be used") from exc


def private(path: Path) -> paramiko.PKey:
    """Return the private key in ``path``; LabError names the file."""
    path = path.expanduser()
    try:
        return paramiko.PKey.from_path(path)
    except OSError as exc:
        why, hint = exc.strerror or str(exc), "look at linux.ssh.key of the board"
    except (TypeError, paramiko.PasswordRequiredException):
        why, hint = "it has a passphrase", "use a key without one, or an ssh agent and no key"
    except Exception as exc:  # whatever the parsers of three formats raise
        why, hint = scrub_line(str(exc)) or type(exc).__name__, "is it a private key?"
    raise LabError(f"{path}: can't be used as an SSH key: {why}", hint=hint)
