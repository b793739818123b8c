# SPDX-License-Identifier: Apache-2.0
"""Load by TFTP: U-Boot fetches a file that is put into the server's directory.

::

    uboot:
      network: {mode: qemu}                       # QEMU's own server
      network: {mode: dhcp, tftp_dir: /srv/tftp}  # server: ADDRESS, if not the DHCP server's choice
      network: {mode: static, address: 192.0.2.20, netmask: 255.255.255.0, server: 192.0.2.1,
                tftp_dir: /srv/tftp}
      network: {mode: static, address: 192.0.2.20, netmask: 255.255.255.0, server: 192.0.2.1,
                own_tftp: true}                   # we serve, on that address of this host

``tftp_dir`` is the root of what the server serves; we must be able to write there.
The file has a name of its own per load and is there only for its time, so two
runs on one server, or a board that retries an old name, never get each other's.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random

from hilagent.board.model import Network
from hilagent.clock import Deadline
from hilagent.console.prompt import CHANCE
from hilagent.console.uboot import UBoot
from hilagent.deploy import server
from hilagent.deploy.base import Progress
from hilagent.errors import LabError
from hilagent.text import scrub_line

_QEMU_ADDRESS, _QEMU_SERVER = "10.0.2.15", "10.0.2.2"
_SILENCE_S = 12.0
"""U-Boot's TFTP gives up after about 50 s and prints a T every 5 s until then."""


class Tftp:
    """Loads through the TFTP server that serves ``folder``, or through our own."""

    name = "tftp"

    def __init__(self, folder: Path, network: Network, chance: Random = CHANCE) -> None:
        self._folder, self._chance = folder, chance
        self._network = network

    def load(
        self, uboot: UBoot, addr: int, image: bytes, deadline: Deadline, progress: Progress
    ) -> None:
        """Bring the network up and fetch the image."""
        progress(0, len(image))
        self._configure(uboot, deadline)
        with self._served(image) as name:
            got = uboot.run("tftpboot", addr, name, deadline=deadline, silence_s=_SILENCE_S)
        if not got.ok:
            said = scrub_line(got.text, limit=300)
            served = (
                f"has {self._network.server} of this host a way to it?"
                if self._network.own_tftp
                else f"is this the directory that the server serves: {self._folder}?"
            )
            raise LabError(f"U-Boot's TFTP failed: {said}", hint=f"is the cable in? {served}")
        progress(len(image), len(image))

    def _configure(self, uboot: UBoot, deadline: Deadline) -> None:
        net = self._network
        wanted = {
            "ipaddr": net.address,
            "netmask": net.netmask,
            "gatewayip": net.gateway,
            "serverip": net.server,
        }
        if net.mode == "qemu":
            wanted |= {"ipaddr": _QEMU_ADDRESS, "serverip": _QEMU_SERVER}
        if net.mode == "dhcp":
            self._dhcp(uboot, deadline)
        for name, value in wanted.items():
            if value is not None:
                uboot.env_set(name, value)

    def _dhcp(self, uboot: UBoot, deadline: Deadline) -> None:
        uboot.env_set("autoload", "no")
        got = uboot.run("dhcp", deadline=deadline, silence_s=_SILENCE_S)
        if not got.ok:
            raise LabError(f"U-Boot got no address by DHCP: {scrub_line(got.text, limit=300)}")

    @contextmanager
    def _served(self, image: bytes) -> Iterator[str]:
        name = f"hil-{self._chance.randbytes(4).hex()}.img"
        if self._network.own_tftp and self._network.server is not None:
            with server.serving(self._network.server, name, image):
                yield name
            return
        path = self._folder / name
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            with open(fd, "wb") as file:
                os.fchmod(fd, 0o644)  # the server is another user, whatever our umask is
                file.write(image)
            yield path.name
        except OSError as error:
            raise LabError(f"can't put a file into {self._folder}: {error.strerror}") from error
        finally:
            with suppress(OSError):
                path.unlink()
