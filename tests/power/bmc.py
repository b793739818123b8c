# SPDX-License-Identifier: Apache-2.0
"""A BMC on loopback: OpenIPMI's simulator, out of Debian's package, which is only unpacked."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hilagent.build import debian
from hilagent.clock import Deadline

PASSWORD = "s3cret"
_CHASSIS = """\
#!/bin/sh
case "$*" in
*"get power"*) echo "power:$(cat {folder}/power)" ;;
*"set power 1"*) echo 1 >{folder}/power ;;
*"set power 0"*) echo 0 >{folder}/power ;;
esac
"""
_LAN = """\
name "bmc"
set_working_mc 0x20
  startlan 1
    addr 127.0.0.1 {port}
    priv_limit admin
    allowed_auths_callback none md2 md5 straight
    allowed_auths_user none md2 md5 straight
    allowed_auths_operator none md2 md5 straight
    allowed_auths_admin none md2 md5 straight
    guid a123456789abcdefa123456789abcdef
  endlan
  chassis_control "{folder}/chassis 0x20"
  user 1 true "" "test" user 10 none md2 md5 straight
  user 2 true "lab" "{password}" admin 10 none md2 md5 straight
"""
_MC = """\
mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02
sel_enable 0x20 1000 0x0a
mc_enable 0x20
"""
_START_S = 20.0


@dataclass(frozen=True)
class Bmc:
    """A BMC that answers.

    Attributes:
        environment: for ipmitool, its path and libraries.
    """

    folder: Path
    port: int
    environment: dict[str, str]

    @property
    def on(self) -> bool:
        """Whether its board has power."""
        return (self.folder / "power").read_text() == "1\n"


@contextlib.contextmanager
def bmc(folder: Path) -> Iterator[Bmc]:
    """Run one for the ``with`` block."""
    root = debian.unpack(debian.fetch(["openipmi", "ipmitool"], depends=True, for_host=True))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "state").mkdir()
    (folder / "power").write_text("0\n")
    (folder / "password").write_text(f"{PASSWORD}\n")
    (folder / "chassis").write_text(_CHASSIS.format(folder=folder))
    (folder / "chassis").chmod(0o755)
    (folder / "mc").write_text(_MC)
    lan = _LAN.format(port=port, folder=folder, password=PASSWORD)
    (folder / "lan").write_text(lan)
    libraries = ":".join(map(str, (root / "usr/lib").glob("*-linux-gnu")))
    own = {"LD_LIBRARY_PATH": libraries, "PATH": f"{root}/usr/bin:{os.environ['PATH']}"}
    tool = (
        *("ipmitool", "-I", "lanplus", "-H", "127.0.0.1", "-p", str(port)),
        *("-U", "lab", "-f", str(folder / "password")),
    )
    process = subprocess.Popen(
        [root / "usr/bin/ipmi_sim", "-c", "lan", "-f", "mc", "-n", "-s", "state"],
        cwd=folder, env={**os.environ, **own}, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = Deadline.after(_START_S)
        ask = [*tool, "-N", "1", "-R", "1", "mc", "info"]
        while subprocess.run(ask, env={**os.environ, **own}, capture_output=True).returncode:
            assert not deadline.expired()
        yield Bmc(folder, port, own)
    finally:
        process.kill()
        process.wait()
