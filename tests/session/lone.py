# SPDX-License-Identifier: Apache-2.0
"""A folder and an SSH server that stand for a board with SSH alone."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hilagent.deploy import bundle, devicetree
from hilagent.deploy.devicetree import Node, Tree
from hilagent.link import memory, wire
from hilagent.payload.batch import Batch
from hilagent.payload.channel import numbers
from hilagent.session.alone import Trips
from hilagent.session.built import Built
from hilagent.session.own import OwnSystem
from hilagent.testing.ssh import SshServer
from hilagent.transport.ssh_target import Target
from tests.payload import tripping
from tests.session.test_linux import Bench
from tests.session.test_own import BOOT_ID

FDT, CMDLINE = "sys/firmware/fdt", "proc/cmdline"
IOMEM = """\
40000000-7fffffff : System RAM
  40200000-411fffff : Kernel code
90000000-90000fff : pl011@9000000
"""
IMAGE = (bytes(16) + (2 << 20).to_bytes(8, "little")).ljust(56, b"\0") + b"ARM\x64" + bytes(1000)
Change = Callable[[bytes], bytes]


def tree() -> Tree:
    """Return the tree of a board with 1 GiB at 0x40000000."""
    root = Node(
        "", {"#address-cells": (2).to_bytes(4, "big"), "#size-cells": (2).to_bytes(4, "big")}
    )
    reg = (0x40000000).to_bytes(8, "big") + (1 << 30).to_bytes(8, "big")
    root.children = [
        Node("memory@40000000", {"device_type": b"memory\0", "reg": reg}),
        Node("chosen"),
        Node("cpus"),
    ]
    return Tree(root, [(0x44000000, 0x1000)])


def places(packed: bytes) -> dict[str, int]:
    """Return where the next kernel of a bundle is to go: the fields of ``memory.NEXT``."""
    jobs = bundle.unpack(packed)["jobs"]
    (asked,) = [each for each in tripping.requests(jobs) if each.op == wire.Op.NEXT]
    return numbers(memory.NEXT.unpack(asked.body))


@dataclasses.dataclass
class Board:
    """A folder that an SSH server shows; `kexec` does what payload and next kernel would.

    Attributes:
        changes: what becomes of the results on their way.
        comes: whether the next kernel does.
        bundles: what was brought along; dtbs: the payload's tree, empty for the kernel's.
    """

    root: Path
    server: SshServer
    changes: Change = bytes
    comes: bool = True
    boots: Iterator[int] = dataclasses.field(default_factory=lambda: itertools.count(2))
    trips: tripping.Trips = dataclasses.field(default_factory=tripping.Trips)
    bundles: list[bytes] = dataclasses.field(default_factory=list)
    dtbs: list[bytes] = dataclasses.field(default_factory=list)

    def kexec(
        self, _: object, image: bytes, initrd: bytes = b"", *, dtb: bytes = b"", **__: Any
    ) -> None:
        self.bundles.append(initrd)
        self.dtbs.append(dtb)
        members = bundle.unpack(initrd)
        jobs = members["jobs"]
        done = self.trips.done(jobs, members["vectors"])
        head = numbers(memory.BATCH.unpack(jobs))
        results = done[memory.BATCH.size + head["size"] :]
        to, dtb = places(initrd), members["dtb"]
        at = to["results"]
        results = self.changes(results[: to["results_size"]])
        if self.comes:
            self.shows(dtb[:at] + results + dtb[at + len(results) :])

    def shows(self, dtb: bytes) -> None:
        """Let a kernel with this tree run."""
        (self.root / FDT).write_bytes(dtb)
        chosen = devicetree.parse(dtb).node("/chosen")
        assert chosen is not None
        (self.root / CMDLINE).write_bytes(chosen.props.get("bootargs", b"x\0")[:-1] + b"\n")
        self.restarts()

    def restarts(self) -> None:
        """Be another boot."""
        (self.root / BOOT_ID).write_text(f"9f2e6c9e-5c3d-4a5c-8f0e-{next(self.boots):012}\n")


class LoneBench(Bench):
    """Its kernel is a small file, and answers at the address of the server."""

    at: Target
    stands_s = 0.0

    def target(self) -> Target:
        return self.at

    def stalled_s(self, since_s: float) -> float:
        return self.stands_s

    def _build(self, name: str) -> Built:
        made, path = super()._build(name), self._folder / "Image"
        path.write_bytes(IMAGE)
        kernel = dataclasses.replace(made.kernel, image=path)
        return dataclasses.replace(
            made, kernel=kernel, rootfs=dataclasses.replace(made.rootfs, archive=path)
        )


@dataclasses.dataclass
class Lone:
    """What goes there and back."""

    trips: Trips
    own: OwnSystem
    bench: LoneBench

    def go(self, batch: Batch, vectors: bytes = b"") -> Any:
        self.trips._system = self.own.reach()
        return self.trips._go(batch, vectors)
