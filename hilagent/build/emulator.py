# SPDX-License-Identifier: Apache-2.0
"""An emulator that is new enough for a board's machine: the host's own, or a backport.

Debian 12 has QEMU 7.2, and a newer one in its backports. That is fetched when a board
first needs it, and unpacked into the cache; what it links to is what the host's own QEMU
brought along.
"""

from __future__ import annotations

import dataclasses
import re

from hilagent.board.model import Board, QemuSpec
from hilagent.errors import LabError

from . import child, debian
from .progress import Progress, silent

_PACKAGES = ("qemu-system-common", "qemu-system-data")
_QUIET = ("-audio", "none")
"""Else it looks for the modules of sound that the host's own QEMU has, and aborts."""


def version(binary: str) -> str:
    """Return the version that a QEMU says it has, e.g. ``7.2.22``; "" if it says none."""
    try:
        said = child.output([binary, "--version"])
    except LabError:  # whoever starts it tells why it can't
        return ""
    found = re.search(r"version ([0-9]+\.[0-9]+(?:\.[0-9]+)?)", said)
    return found[1] if found else ""


def is_too_old(spec: QemuSpec) -> bool:
    """Return whether the QEMU of ``spec`` says that it is older than the board's machine."""
    if spec.since is None:
        return False
    found = version(spec.binary)
    return bool(found) and _numbers(found) < _numbers(spec.since)


def at_hand(board: Board, *, progress: Progress = silent) -> Board:
    """Return ``board`` with a QEMU that has its machine, fetched if this host's hasn't.

    Raises:
        LabError: it can't be had, or is too old as well.
    """
    spec = board.qemu
    if spec is None or not is_too_old(spec):
        return board
    found = version(spec.binary)
    try:
        packages = debian.fetch(
            [spec.package, *_PACKAGES], for_host=True, backports=True, progress=progress
        )
        root = debian.unpack(packages)
        binary = root / "usr" / "bin" / spec.binary
        newer = dataclasses.replace(
            spec,
            binary=str(binary),
            args=("-L", str(root / "usr" / "share" / "qemu"), *_QUIET, *spec.args),
        )
        if is_too_old(newer) or not version(newer.binary):
            raise LabError(f"{packages[0].identity} is no such QEMU")
    except LabError as error:
        raise LabError(
            f"{board.name} needs QEMU {spec.since} or newer, this host has {found}: "
            f"{error.message}",
            hint="Debian 13 has one, and Debian 12 in bookworm-backports; or name"
            " another in the board's qemu.binary",
        ) from error
    return dataclasses.replace(board, qemu=newer)


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(".")[:2]]
