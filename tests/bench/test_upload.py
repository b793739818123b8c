# SPDX-License-Identifier: Apache-2.0
"""How much of a serial line an upload uses, in simulated time.

The board's end is the loader's own C; its UART has a FIFO of 16 bytes that loses what isn't
read in time, its memory costs a trip to DRAM each time, and what it says comes each 16 ms. So
the figures depend on no host. Beside them: what a receiver that waits for an answer to each
block (U-Boot's loady and loadx) can do at best on the same line.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from hilagent.link.memory import Uploaded
from hilagent.payload.upload import Piece
from tests import kernels
from tests.firmware.loader.simulated import BASE, Carried, Change, Conditions, carry

BAUDS = (115_200, 921_600, 1_500_000)
RAW, KERNEL = 0.97, 2.5
RAW_BYTES = 1 << 19
"""As much as makes the two answers that are waited for at begin and end small, beside it."""
ONE_AT_A_TIME: Change = ("if (offset >= UPLOAD_WINDOW", "if (offset >= 1")
_BLOCK, _OVERHEAD, _ANSWER_S = 1024, 5, 0.016


def share(data: bytes, carried: Carried, baud: int) -> float:
    """Return the bytes that arrived, by those that the bare line carries in that time."""
    assert carried.ended == Uploaded.DONE
    assert carried.right
    return len(data) * 10 / baud / carried.took_s


def stop_and_wait(baud: int) -> float:
    """Return the share of the line of blocks that are answered one by one, at best."""
    return _BLOCK * 10 / baud / ((_BLOCK + _OVERHEAD) * 10 / baud + _ANSWER_S)


def kernel() -> bytes:
    return kernels.built().image.read_bytes()


@pytest.mark.parametrize("baud", BAUDS)
def test_raw_bytes_use_the_line(baud: int, record_property: Callable[[str, object], None]) -> None:
    data = random.Random(baud).randbytes(RAW_BYTES)
    found = share(data, carry([Piece(BASE, data)], Conditions(baud=baud)), baud)
    record_property(f"{baud} baud: raw / the line", f"{found:.3f}")
    record_property(f"{baud} baud: raw / one block at a time", f"{found / stop_and_wait(baud):.2f}")
    assert found > RAW


def test_a_kernel_takes_less_than_its_bytes(
    record_property: Callable[[str, object], None],
) -> None:
    """At the highest rate: what is no part of the line counts most there."""
    data, baud = kernel(), BAUDS[-1]
    found = share(data, carry([Piece(BASE, data)], Conditions(baud=baud)), baud)
    record_property(f"{baud} baud: kernel Image / the line", f"{found:.2f}")
    assert found > KERNEL


def test_a_window_of_one_block_would_miss_it() -> None:
    data = random.Random(1).randbytes(RAW_BYTES // 32)
    carried = carry([Piece(BASE, data)], Conditions(), planted=[ONE_AT_A_TIME])
    assert share(data, carried, Conditions.baud) < RAW
