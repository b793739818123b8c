# SPDX-License-Identifier: Apache-2.0
"""From power-on into an image over a bad line, by the real U-Boot: a sample."""

from __future__ import annotations

from pathlib import Path

import pytest

from hilagent import deploy
from hilagent.clock import Deadline
from hilagent.testing import Faults, FaultyStream
from tests.console.emulated import emulated
from tests.deploy.image import HELLO, image

pytestmark = pytest.mark.hil
_THIRD = len(HELLO) // 3
SIGNS = [HELLO[at : at + _THIRD] for at in range(0, 3 * _THIRD, _THIRD)]


@pytest.mark.parametrize(
    ("way", "rate", "seed"), [("tftp", 0.001, 1), ("tftp", 0.001, 2), ("ymodem", 0.0001, 3)]
)
def test_the_image_is_reached_over_a_line_that_damages_bytes(
    tmp_path: Path, way: str, rate: float, seed: int
) -> None:
    bad = Faults.spread(rate)
    with emulated(
        tmp_path, lambda stream: FaultyStream(stream, to_board=bad, to_host=bad, seed=seed)
    ) as board:
        uboot = board.uboot()
        uboot.attach()
        by = deploy.transfer(board.board, way, tftp_dir=tmp_path)
        deploy.start_payload(uboot, image(), by, signs=SIGNS)
        assert board.console.take("image").expect(SIGNS, Deadline.after(5)) is not None
