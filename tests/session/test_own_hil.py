# SPDX-License-Identifier: Apache-2.0
"""A board that QEMU boots into a Linux of its own, used by SSH and kexec alone: no U-Boot."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hilagent.build.keys import lab_keys
from hilagent.build.rootfs import build_rootfs
from hilagent.transport import known
from tests import kernels
from tests.fault.harness import ran

pytestmark = pytest.mark.hil

LIMIT_S = 600.0
NETWORK = "10.0.2.15::10.0.2.2:255.255.255.0::eth0:off"


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Arguments that name the board."""
    own = kernels.built("patched")
    keys = lab_keys()
    monkeypatch.setenv(known.ENVIRONMENT, str(tmp_path / "hosts"))
    known.pin(known.path_of("own"), "own/os", known.HostKey.parse(keys.host_public))
    virt = {"machine": "virt,virtualization=on", "cpu": "cortex-a57", "smp": 2,
            "memory_mib": 1024, "kernel": str(own.image),
            "initrd": str(build_rootfs(kernel=own).archive),
            "append": f"console=ttyAMA0 hilagent.ip={NETWORK}"}  # fmt: skip
    folder = tmp_path / "boards"
    folder.mkdir()
    (folder / "own.yaml").write_text(json.dumps({
        "schema": 1, "name": "own", "description": "boots a system of its own",
        "soc": "qemu-virt", "emulated": True, "cpus": 2, "console": {"kind": "qemu"},
        "power": {"kind": "qemu"}, "payload": {"entry_el": 2, "psci": "smc"}, "qemu": virt,
        "os": {"ssh": {"via": "qemu", "key": str(keys.client)}, "boot_timeout_s": 60},
        "linux": {"console": "ttyAMA0", "ssh": {"via": "qemu"}, "ip": NETWORK},
    }))  # fmt: skip
    return ["run", "own", "--boards", str(folder)]


def test_payload_and_kernels_are_started_from_it(tmp_path: Path, board: list[str]) -> None:
    what = ["--suite", "dispatch", "--suite", "restart", "--mode", "default"]
    only = ["-k", "test_dispatch or (kexec-file and payload)"]
    done = ran([*board, *what, *only], tmp_path, limit_s=LIMIT_S)
    assert done.code == 0, done.story()
    assert done.verdicts == {"PASS"}, done.story()
    assert done.run is not None
    states = [r["state"] for r in done.run.records if r["kind"] == "state"]
    assert "its own system" in states
    assert "U-Boot" not in states


def test_a_host_key_that_changed_sends_nothing_to_it(tmp_path: Path, board: list[str]) -> None:
    other = known.HostKey.parse(
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    )
    known.pin(known.path_of("own"), "own/os", other)
    done = ran([*board, "--suite", "architecture"], tmp_path, limit_s=LIMIT_S)
    assert done.code == 125, done.story()
    assert "host key" in done.out + done.err, done.story()
    assert not done.findings
