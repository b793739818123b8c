# SPDX-License-Identifier: Apache-2.0
"""The lab's SSH keys for the root file systems that are built here: made once.

A client key that opens the board, and the board's host key, which is pinned
because it is built in: both ed25519. Where they are: ``$HILAGENT_KEYS``, else
``hilagent/keys`` in the user's configuration. Nobody else can read them.

A root file system that is built with them holds the host's private key, so its
archive is a secret, too: only its owner can read it, here and where ``--out`` puts it.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hilagent import data
from hilagent.errors import LabError

from . import cache

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ENV = "HILAGENT_KEYS"
_COMMENT = "hilagent"
_KIND = b"ssh-ed25519"
_REMAKE = "remove it: a new one is made"


@dataclass(frozen=True)
class Keys:
    """One lab's keys.

    Attributes:
        client: the private key in OpenSSH's format.
        client_public, host_public: one line each, as OpenSSH writes them.
        host_dropbear: the host's private key as dropbear reads it.
    """

    folder: Path
    client: Path
    client_public: str
    host_public: str
    host_dropbear: bytes


def folder() -> Path:
    """Return where this lab's keys are, or will be."""
    if own := os.environ.get(ENV):
        return Path(own)
    config = os.environ.get("XDG_CONFIG_HOME")
    return (Path(config) if config else data.home() / ".config") / "hilagent" / "keys"


def lab_keys() -> Keys:
    """Return the lab's keys; make those that aren't there.

    Raises LabError if they can't be kept or read, or others could read them.
    """
    home = folder()
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        home.chmod(0o700)
        with cache.locked(home):
            client, host = _key(home / "client"), _key(home / "host")
    except OSError as error:
        raise LabError(
            f"can't keep the lab's SSH keys in {home}: {error.strerror}",
            hint=f"set {ENV} to a folder of your own",
        ) from error
    return Keys(home, home / "client", _public(client), _public(host), _dropbear(host))


def _key(path: Path) -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    if not path.exists():
        made = Ed25519PrivateKey.generate()
        openssh = form.PrivateFormat.OpenSSH
        _write(path, made.private_bytes(form.Encoding.PEM, openssh, form.NoEncryption()))
    if path.stat().st_mode & 0o077:
        raise LabError(f"{path} can be read by others", hint=f"chmod 600 {path}, or remove it")
    try:
        key = form.load_ssh_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError) as error:
        raise LabError(f"{path}: not a private key ({error})", hint=_REMAKE) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise LabError(f"{path}: not an ed25519 key", hint=_REMAKE)
    return key


def _write(path: Path, data: bytes) -> None:
    """Write a file that is there whole or not at all, and only for its owner."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    with os.fdopen(handle, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    Path(name).rename(path)


def _public(key: Ed25519PrivateKey) -> str:
    from cryptography.hazmat.primitives import serialization as form

    encoding, public = form.Encoding.OpenSSH, form.PublicFormat.OpenSSH
    return f"{key.public_key().public_bytes(encoding, public).decode()} {_COMMENT}"


def _dropbear(key: Ed25519PrivateKey) -> bytes:
    """Return dropbear's format: the kind, then private and public part as one string."""
    from cryptography.hazmat.primitives import serialization as form

    raw, no = form.Encoding.Raw, form.NoEncryption()
    private = key.private_bytes(raw, form.PrivateFormat.Raw, no)
    public = key.public_key().public_bytes(raw, form.PublicFormat.Raw)
    return _string(_KIND) + _string(private + public)


def _string(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data
