# SPDX-License-Identifier: Apache-2.0
"""A payload resets its board, which nobody switches: by PSCI, or by the watchdog."""

from __future__ import annotations

from pathlib import Path

import pytest

from hilagent.journal import Journal
from hilagent.session.open import bench
from hilagent.session.settings import Request, look_up

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
