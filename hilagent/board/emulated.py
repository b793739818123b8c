# SPDX-License-Identifier: Apache-2.0
"""What an emulated board's QEMU is started with; a part of :mod:`hilagent.board.model`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from hilagent.board.hardware import STRICT, Text
from hilagent.limits import Between, Matches


@dataclass(frozen=True)
class Firmware:
    """A file that somebody else ships.

    Attributes:
        package: how to get it (apt).
        path: where it is once that is installed; of a foreign one, the file's path all
            the same: it is fetched and unpacked, and never installed.
        foreign: the package is for arm64, whatever this host is.
        start: QEMU's option for it: ``bios``, or ``kernel`` for a machine whose
            own first stage QEMU plays, and which enters the firmware as that would.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    package: Text
    path: Annotated[str, Matches(r"/[^\x00-\x1f\x7f]{0,999}", "an absolute path")]
    foreign: bool = False
    start: Literal["bios", "kernel"] = "bios"


@dataclass(frozen=True)
class QemuSpec:
    """An emulated board: what QEMU is started with.

    Attributes:
        firmware: what runs first; or a ``kernel`` with its ``initrd``, device tree ``dtb``
            and the arguments ``append``, started by QEMU itself: a board that boots a
            system of its own.
        kernel, initrd, append: instead of ``firmware``.
        system: the name of a kernel that `hilagent build kernel` makes, in place of ``kernel``
            and ``initrd``: with our root file system it is the board's own system. QEMU
            starts it, or a UEFI as ``firmware``.
        tree: source of a device tree; a path, from this file's folder, or the name of one
            that comes with hilagent. The firmware is started with it; without a firmware
            QEMU starts the payload itself, for machines that nobody has a firmware for.
        dtb: the same, but a flattened tree; a path.
        since: the first version of QEMU that has this machine, e.g. ``9.0``.
        machine: of ``-machine``, with its properties.
        cpu, smp, memory_mib: of ``-cpu``, ``-smp`` and ``-m``.
        binary: looked up in PATH.
        package: that it comes with (apt).
        args: further arguments, after ours. The console is the first serial line that
            they leave: after ``-serial null`` it is the machine's second.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    machine: Annotated[str, Matches(r"[A-Za-z0-9._,=-]{1,200}", "a QEMU machine and properties")]
    cpu: Annotated[str, Matches(r"[A-Za-z0-9._,=+-]{1,100}", "a QEMU CPU model")]
    smp: Annotated[int, Between(1, 64)]
    memory_mib: Annotated[int, Between(128, 65536)]
    firmware: Firmware | None = None
    kernel: Text | None = None
    initrd: Text | None = None
    dtb: Text | None = None
    append: Text | None = None
    system: Text | None = None
    tree: Text | None = None
    since: Annotated[str, Matches(r"[0-9]{1,3}\.[0-9]{1,3}", "a version, as '9.0'")] | None = None
    binary: Text = "qemu-system-aarch64"
    package: Text = "qemu-system-arm"
    args: tuple[Text, ...] = ()

    def __post_init__(self) -> None:
        if self.firmware is not None and self.kernel is not None and self.system is None:
            raise ValueError("an emulated board has either 'firmware' or 'kernel'")
        if self.starts_payload and not self.tree:
            raise ValueError("an emulated board needs 'firmware', 'kernel', or a 'tree' for us")
        if self.system is not None and self.tree is not None:
            raise ValueError("'system' has no 'tree' beside it")
        if self.kernel is None and (self.initrd or (self.append and self.system is None)):
            raise ValueError("'initrd' and 'append' belong to a 'kernel'")
        if self.tree is not None and (self.kernel is not None or self.dtb is not None):
            raise ValueError("'tree' has no 'kernel' or 'dtb' beside it")

    @property
    def starts_payload(self) -> bool:
        """Whether QEMU itself starts the payload: nothing else is there to be started."""
        return self.firmware is None and self.kernel is None and self.system is None
