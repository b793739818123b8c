# SPDX-License-Identifier: Apache-2.0
"""A real U-Boot loads from our own TFTP server, over a tap device in a network of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.hil
PATH = os.pathsep.join(str(Path(part).absolute()) for part in sys.path)
BOARD = """\
extends: qemu-virt
name: tapped
qemu: {args: [-netdev, "tap,id=net0,ifname=hil0,script=no,downscript=no",
              -device, "virtio-net-device,netdev=net0"]}
uboot: {network: {mode: static, address: 192.0.2.20, netmask: 255.255.255.0,
                  server: 192.0.2.1, own_tftp: true}}
linux: ~
"""
NETWORK = """\
set -e
ip link set lo up
ip tuntap add hil0 mode tap
ip addr add 192.0.2.1/24 dev hil0
ip link set hil0 up
exec "$@"
"""


def _run(tmp_path: Path, board: str) -> subprocess.CompletedProcess[str]:
    if os.geteuid() != 0:
        pytest.skip("needs root, for a network namespace and a tap device")
    (tmp_path / "tapped.yaml").write_text(board)
    own = {"HILAGENT_RUNS": str(tmp_path / "runs"), "PYTHONPATH": PATH}
    command = [sys.executable, "-m", "hilagent", "run", "tapped", "--boards", str(tmp_path)]
    return subprocess.run(
        ["unshare", "--net", "sh", "-c", NETWORK, "sh", *command, "--json",
         "--suite", "architecture", "-o", "smp=1"],
        cwd=tmp_path, env={**os.environ, **own}, capture_output=True, text=True,
        timeout=240, check=False,
    )  # fmt: skip


def test_the_payload_is_loaded_by_our_own_server(tmp_path: Path) -> None:
    done = _run(tmp_path, BOARD)
    assert done.returncode == 0, done.stdout + done.stderr
    data = json.loads(done.stdout)
    assert data["verdict"] == "pass"
    (folder,) = (path for path in (tmp_path / "runs").iterdir() if not path.is_symlink())
    console = (folder / "console.raw").read_bytes()
    assert b"TFTP from server 192.0.2.1; our IP address is 192.0.2.20" in console
    assert b"Filename 'hil-" in console


def test_a_server_that_no_interface_has_is_the_labs(tmp_path: Path) -> None:
    done = _run(tmp_path, BOARD.replace("server: 192.0.2.1,", "server: 192.0.2.9,"))
    assert done.returncode == 125, done.stdout + done.stderr
    assert "can't serve TFTP on 192.0.2.9 port 69" in done.stdout
    assert "must be an address of this host" in done.stdout
