# SPDX-License-Identifier: Apache-2.0
"""The SSH host keys that a lab has agreed to, one file a board.

The files are in ``$HILAGENT_KNOWN_HOSTS``, else in ``hilagent/known_hosts`` of the
user's configuration, and are named for the board. A line holds a *system*, not
an address, since one address answers with another key after another system was
booted::

    my-board/os ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI...
    my-board/rootfs ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI...

A system may have several lines, one a kind of key; ``#`` begins a comment.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from hilagent.errors import LabError

ENVIRONMENT = "HILAGENT_KNOWN_HOSTS"
SYSTEMS = ("os", "rootfs")
"""What a board can be running: its own system, or the root file system of hilagent."""


@dataclass(frozen=True)
class HostKey:
    """A public key.

    Attributes:
        kind: ``ssh-ed25519``, ``ssh-rsa``, ...
        blob: as RFC 4253 section 6.6 encodes it.
    """

    kind: str
    blob: bytes

    @classmethod
    def parse(cls, line: str) -> HostKey:
        """Return the key of an OpenSSH public key line; raises ValueError."""
        kind, encoded, *_ = [*line.split(), "", ""]
        blob = base64.b64decode(encoded, validate=True)
        size = int.from_bytes(blob[:4], "big")
        if not kind or blob[4 : 4 + size] != kind.encode():
            raise ValueError(f"{line[:60]!r} is not a public key")
        return cls(kind, blob)

    @property
    def fingerprint(self) -> str:
        """The fingerprint as OpenSSH prints it: ``SHA256:`` and base64."""
        digest = hashlib.sha256(self.blob).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")

    def __str__(self) -> str:
        return f"{self.kind} {base64.b64encode(self.blob).decode()}"


def folder(env: Mapping[str, str] | None = None) -> Path:
    """Return the folder of the files; it need not exist."""
    env = os.environ if env is None else env
    if chosen := env.get(ENVIRONMENT):
        return Path(chosen)
    config = env.get("XDG_CONFIG_HOME") or Path(env.get("HOME") or "/nonexistent") / ".config"
    return Path(config) / "hilagent" / "known_hosts"


def path_of(board: str, env: Mapping[str, str] | None = None) -> Path:
    """Return the file of ``board``; it need not exist."""
    return folder(env) / board


def read(path: Path) -> dict[str, tuple[HostKey, ...]]:
    """Return the keys by system; none for a file that isn't there.

    Raises:
        LabError: the file can't be read, or a line of it holds no key.
    """
    found: dict[str, tuple[HostKey, ...]] = {}
    for number, line in enumerate(_lines(path), 1):
        system, _, rest = line.strip().partition(" ")
        if not system or system.startswith("#"):
            continue
        try:
            key = HostKey.parse(rest)
        except ValueError as exc:
            hint = "correct or remove the line, then: hilagent trust BOARD"
            raise LabError(f"{path}:{number}: not a host key: {exc}", hint=hint) from exc
        found[system] = (*found.get(system, ()), key)
    return found


def pin(path: Path, system: str, key: HostKey) -> None:
    """Make ``key`` the only one of ``system``; every other line stays as it is.

    Raises:
        LabError: the file can't be written; the old one is still there, whole.
    """
    kept = [line for line in _lines(path) if line.strip().partition(" ")[0] != system]
    text = "".join(f"{line}\n" for line in [*kept, f"{system} {key}"])
    with _disk(path):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(fd, "w") as out:
                out.write(text)
                out.flush()
                os.fsync(out.fileno())
            os.replace(name, path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="backslashreplace").splitlines()
    except FileNotFoundError:
        return []
    except OSError as exc:
        raise LabError(f"{path}: can't be read: {exc.strerror}") from exc


@contextlib.contextmanager
def _disk(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        hint = f"set ${ENVIRONMENT} to a folder that can be written"
        raise LabError(f"{path}: can't be written: {exc.strerror}", hint=hint) from exc
