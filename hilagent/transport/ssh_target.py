# SPDX-License-Identifier: Apache-2.0
"""Where an SSH connection goes, and how it is said that it may not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hilagent.errors import LabError
from hilagent.transport.known import HostKey


@dataclass(frozen=True)
class Target:
    """Where to, as whom, and who has to answer.

    Attributes:
        key: a private key without passphrase; None for the keys of an ssh agent.
        system: ``BOARD/os`` or ``BOARD/rootfs``: its line in ``known_hosts``. The rootfs is
            ours, with its host key built in: no other key is right, and nobody is asked for trust.
        known_hosts: the board's file, see :mod:`hilagent.transport.known`.
    """

    host: str
    port: int
    user: str
    key: Path | None
    system: str
    known_hosts: Path

    @property
    def address(self) -> str:
        """Host and port, for messages."""
        return f"{self.host}:{self.port}"

    @property
    def trust_hint(self) -> str:
        """The command that pins the key of this system."""
        board, _, system = self.system.partition("/")
        how = f"hilagent trust {board}"
        return how if system in {"", "os"} else f"{how} --system {system}"

    @property
    def _stranger(self) -> str:
        ours = self.system.endswith("/rootfs")
        return "another system answers at this address: check linux.ssh.host" if ours else ""

    def unknown(self, shown: HostKey) -> LabError:
        """Return the error for a host whose key nobody has pinned."""
        return LabError(
            f"{self.system}: nobody has agreed to the host key of {self.address}: "
            f"{shown.kind} {shown.fingerprint}",
            hint=self._stranger or f"compare it with the board's own, then: {self.trust_hint}",
        )

    def changed(self, pinned: HostKey, shown: HostKey) -> LabError:
        """Return the error for a host that shows another key than the pinned one."""
        return LabError(
            f"{self.system}: the host key of {self.address} has changed: "
            f"pinned {pinned.kind} {pinned.fingerprint}, shown {shown.kind} {shown.fingerprint}",
            hint=self._stranger
            or "another system, another board, or somebody in between? "
            f"if it is right: {self.trust_hint}",
        )

    def refused(self) -> LabError:
        """Return the error for a login that the server doesn't take."""
        with_what = f"the key {self.key}" if self.key else "the keys of the ssh agent, if any"
        return LabError(
            f"{self.system}: {self.user}@{self.address} refused {with_what}",
            hint=f"put its public half into the authorized_keys of {self.user} on the board, "
            "or correct the ssh block of its file",
        )
