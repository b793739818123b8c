# SPDX-License-Identifier: Apache-2.0
"""A board that nobody switches is reset: by PSCI, a watchdog, SysRq over SSH or by a break."""

from __future__ import annotations

from pathlib import Path

import pytest

from hilagent.journal import Journal
from hilagent.session.linux import Boot
from hilagent.session.open import bench
from hilagent.session.settings import Request, look_up
from tests import kernels

pytestmark = pytest.mark.hil


@pytest.mark.parametrize("name", ["qemu-virt", "qemu-raspi3b"])
def test_u_boot_comes_again_and_starts_another_payload(tmp_path: Path, name: str) -> None:
    settings = look_up(Request(board=name))
    with bench(settings, Journal(tmp_path)) as real:
        try:
            real.on()
            first = real.payload(real.uboot())
            assert bool(first.hello.psci_conduit) == (settings.board.payload.watchdog is None)
            assert real.reset(first)
            second = real.payload(real.uboot())
            assert second.hello.boot_id != first.hello.boot_id
            assert second.echo(b"hi") == b"hi"
        finally:
            real.off()


@pytest.mark.parametrize("by", ["the kernel, over SSH", "a break and SysRq"])
def test_u_boot_comes_again_after_a_kernel(tmp_path: Path, by: str) -> None:
    kernels.built("patched")
    log = Journal(tmp_path)
    with bench(look_up(Request(board="qemu-virt", options={"smp": "1"})), log) as real:
        try:
            real.on()
            linux = real.linux(real.uboot(), Boot("patched", "none"))
            if by != "the kernel, over SSH":
                linux.system.connection.close()  # as that of a kernel that has died
            assert real.reset(linux)
            assert real.uboot() is not None
        finally:
            real.off()
    assert f"reset by {by}" in (tmp_path / "journal.jsonl").read_text()
