# SPDX-License-Identifier: Apache-2.0
"""The `hilagent` command on a bad line: all of it real, but for what is put around its console.

::

    python -m tests.fault.agent '{"rate": 0.01, "seed": 7, "after_boot": true}' run qemu-virt

It is a program of its own, so that a test sees what a user sees: an exit code, two
streams and a run directory, of a process that can be stopped, killed and waited for.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from unittest import mock

from hilagent import cli, deploy, transport
from hilagent.board.model import Console
from hilagent.clock import Deadline
from hilagent.console.uboot import UBoot
from hilagent.deploy.base import Progress, Transfer
from hilagent.link import wire
from hilagent.power import QemuPower
from hilagent.testing import Faults, FaultyStream, faulty_socket
from hilagent.testing.faults import Fault, Filter
from hilagent.transport import Stream, labgrid

BOOT = b":" + base64.b64encode(bytes([wire.Kind.EVENT, wire.Event.BOOT, 0]))[:3]
"""How the payload's first, armoured words begin: its hello to whoever listens."""
_OPENS = 1000
"""More than a run opens its console; each opening has a seed of its own."""


@dataclass(frozen=True)
class Spec:
    """What goes wrong.

    Attributes:
        rate: of faults a byte, a third each drops, flips and doubles, in both directions.
        after_boot: from the payload's first words on, instead of from power-on.
        spoil: what U-Boot gets instead of the image: ``truncated`` or ``flipped``.
        spoilt: how often; then it gets the image.
        ssh_cut: after so many bytes to the board each SSH connection is cut; 0: never.
        tally: a file that gets, as JSON, how many faults each opening of the console had.
    """

    rate: float = 0.0
    seed: int = 0
    after_boot: bool = False
    spoil: str = ""
    spoilt: int = 1000
    ssh_cut: int = 0
    tally: str = ""

    def text(self) -> str:
        return json.dumps(asdict(self))


def bad_line(stream: Stream, spec: Spec, number: int) -> FaultyStream:
    """Return ``stream`` with the faults of ``spec`` on it, the ``number``th of a run."""
    seed = spec.seed * _OPENS + number
    to_board = Faults.spread(spec.rate, armed=not spec.after_boot)
    to_host = Faults.spread(spec.rate, arm_after=BOOT if spec.after_boot else b"")
    if spec.after_boot:
        to_host = replace(to_host, filter=lambda: arms_the_other)
    seen = b""

    def arm_both(data: bytes) -> bytes:
        nonlocal seen
        seen = (seen + data)[-len(data) - len(BOOT) :]
        if BOOT in seen:  # this runs in the proxy's thread, under its lock
            line.proxy.to_board.arm()
        return data

    arms_the_other: Filter = arm_both
    line = FaultyStream(stream, to_board=to_board, to_host=to_host, seed=seed)
    return line


class Spoiling:
    """A way to load that hands over something else than the image, ``left`` times."""

    def __init__(self, by: Transfer, spec: Spec) -> None:
        self.name, self._by, self._spec, self._left = by.name, by, spec, spec.spoilt

    def load(
        self, uboot: UBoot, addr: int, image: bytes, deadline: Deadline, progress: Progress
    ) -> None:
        if self._left > 0:
            self._left -= 1
            image = spoilt(image, self._spec.spoil)
        self._by.load(uboot, addr, image, deadline, progress)


def spoilt(image: bytes, how: str) -> bytes:
    """Return ``image``, ``truncated`` or ``flipped`` (one bit in the middle of it)."""
    if how == "truncated":
        return image[: len(image) // 2]
    middle = len(image) // 2
    return image[:middle] + bytes([image[middle] ^ 0x10]) + image[middle + 1 :]


@contextlib.contextmanager
def bad_network(spec: Spec) -> Iterator[None]:
    """Put a proxy between this host and the port that the emulator forwards to SSH."""
    really_forwarded = QemuPower.forwarded
    with contextlib.ExitStack() as proxies:

        def faulty(self: QemuPower, port: int) -> int:
            there = ("127.0.0.1", really_forwarded(self, port))
            cut = Faults(at={spec.ssh_cut: Fault.CUT})
            (_, here), _ = proxies.enter_context(faulty_socket(there, to_board=cut))
            return here

        with mock.patch.object(QemuPower, "forwarded", faulty):
            yield


def main(spec: Spec, argv: list[str]) -> int:
    """Run ``hilagent ARGV`` and return its exit code."""
    really_open, really_transfer = transport.open, deploy.transfer
    lines: list[FaultyStream] = []
    count = itertools.count()

    def faulty(
        console: Console, power: object = None, place: labgrid.Place | None = None
    ) -> Stream:
        lines.append(bad_line(really_open(console, power, place), spec, next(count)))
        return lines[-1]

    def spoiling(*args: object, **kwargs: object) -> Spoiling:
        return Spoiling(really_transfer(*args, **kwargs), spec)  # type: ignore[arg-type]

    opens = faulty if spec.rate else really_open
    loads = spoiling if spec.spoil else really_transfer
    with (
        mock.patch.object(transport, "open", opens),
        mock.patch.object(deploy, "transfer", loads),
        bad_network(spec) if spec.ssh_cut else contextlib.nullcontext(),
    ):
        code = cli.main(argv)
    if spec.tally:
        done = [len(line.proxy.to_board.done) + len(line.proxy.to_host.done) for line in lines]
        Path(spec.tally).write_text(json.dumps(done))
    return code


if __name__ == "__main__":
    sys.exit(main(Spec(**json.loads(sys.argv[1])), sys.argv[2:]))
